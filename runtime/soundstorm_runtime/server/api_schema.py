"""What the requests and answers look like; the OpenAPI page is drawn from it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .encoding import PCM_RATE, Format
from .settings import MOST_CHARACTERS

# Names in scripts that were written for the OpenAI API. They stand for the usual voice and the one model.
OPENAI_VOICES = "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()
OPENAI_MODELS = "tts-1 tts-1-hd gpt-4o-mini-tts gpt-4o-mini-tts-2025-12-15".split()
USUAL_VOICE = "default"


class VoiceId(BaseModel):
    """A voice by its name, as an object."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1, max_length=200)


class SpeechRequest(BaseModel):
    """A text, and how to speak it. Fields and defaults are those of the OpenAI API, and `seed`."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"input": "Good morning.", "voice": "default"}]},
    )

    input: str = Field(
        min_length=1,
        max_length=MOST_CHARACTERS,
        description="The text. It needs a letter or a digit that can be spoken.",
    )
    model: str | None = Field(
        None, max_length=200, description="Name of the model, or one of OpenAI's: there is but one here."
    )
    voice: str | VoiceId = Field(
        USUAL_VOICE,
        description="One of /voices. OpenAI's names (alloy, nova, ...) stand for the usual voice.",
    )
    response_format: Format = Field(
        "mp3",
        description=f"pcm is 16-bit, little end first, mono, {PCM_RATE} Hz. The others say their rate, "
        "which is the voice's own, or the next higher one that the format has.",
    )
    speed: float = Field(1.0, ge=0.5, le=2.0, allow_inf_nan=False, description="The pitch stays.")
    stream_format: Literal["audio", "sse"] = Field(
        "audio", description="The bytes of the audio, or server-sent events with them in base64."
    )
    timestamp_granularities: list[Literal["word", "phone"]] = Field(
        default_factory=list,
        max_length=2,
        description="With stream_format 'sse', also send when each word (and each phone of it) is spoken, in "
        "events of type speech.words.delta. The span counts characters of the input.",
    )
    instructions: str | None = Field(
        None, max_length=MOST_CHARACTERS, description="Taken, and without effect, as with OpenAI's tts-1."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="The same text, voice and seed give the same speech.")


class Model(BaseModel):
    """A model, as the OpenAI API describes one."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    """All models: one."""

    object: Literal["list"] = "list"
    data: list[Model]


class Voices(BaseModel):
    """The names that `voice` takes, and which of them is the usual one."""

    default: str
    voices: list[str]


class Health(BaseModel):
    """That the server works, and how much it has to do."""

    status: Literal["ok"] = "ok"
    model: str
    working: int
    waiting: int


class ErrorDetail(BaseModel):
    """What is wrong, for people, and for programs: which parameter, which code."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """An error in the form of the OpenAI API."""

    error: ErrorDetail
