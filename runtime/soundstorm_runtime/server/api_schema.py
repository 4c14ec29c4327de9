"""Requests and responses of the API, from which its OpenAPI description is made."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..synthesis.options import LONGEST_PAUSE, PAUSE_SECONDS
from .encoding import PCM_RATE, Format
from .settings import MOST_CHARACTERS

# Names in programs written for the OpenAI API. They stand for the default voice and the one model.
OPENAI_VOICES = "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()
OPENAI_MODELS = "tts-1 tts-1-hd gpt-4o-mini-tts gpt-4o-mini-tts-2025-12-15".split()
USUAL_VOICE = "default"


class VoiceId(BaseModel):
    """An object with the name of a voice."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1, max_length=200)


class SpeechRequest(BaseModel):
    """A text, and how to speak it: the fields and defaults of the OpenAI API, with a few extensions."""

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
    input_type: Literal["text", "ssml"] = Field(
        "text", description="What `input` is: plain text, or an SSML document, whose root is `speak`."
    )
    strict: bool = Field(
        False,
        description="Refuse text with characters that cannot be spoken; otherwise they are left out, and the "
        "header X-Dropped-Characters names them.",
    )
    model: str | None = Field(
        None, max_length=200, description="Name of the model, or one of OpenAI's: there is one here."
    )
    voice: str | VoiceId = Field(
        USUAL_VOICE,
        description="One of /voices. OpenAI's names (alloy, nova, ...) stand for the default voice.",
    )
    response_format: Format = Field(
        "mp3",
        description=f"pcm is 16-bit little-endian mono at {PCM_RATE} Hz. The others state their rate, "
        "which is the voice's own, or the next higher one that the format has.",
    )
    speed: float = Field(
        1.0, ge=0.5, le=2.0, allow_inf_nan=False, description="Speaking rate; the pitch does not change."
    )
    sentence_pause: float = Field(
        PAUSE_SECONDS,
        ge=0,
        le=LONGEST_PAUSE,
        allow_inf_nan=False,
        description="Seconds of silence between sentences, at speed 1.",
    )
    paragraph_pause: float | None = Field(
        None,
        ge=0,
        le=LONGEST_PAUSE,
        allow_inf_nan=False,
        description="The same where a blank line separates two sentences; by default like sentence_pause.",
    )
    stream_format: Literal["audio", "sse"] = Field(
        "audio", description="The bytes of the audio, or server-sent events that carry them in base64."
    )
    timestamp_granularities: list[Literal["word", "phone"]] = Field(
        default_factory=list,
        max_length=2,
        description="With stream_format 'sse', also send when each word (and each phone of it) is spoken, in "
        "events of type speech.words.delta. The span counts characters of the input.",
    )
    instructions: str | None = Field(
        None, max_length=MOST_CHARACTERS, description="Accepted without effect, as by OpenAI's tts-1."
    )
    stream: bool = Field(
        True,
        description="Whether the audio is sent while it is made; false sends it when it is complete, with "
        "its length in the header of WAV and FLAC.",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="The same text, voice and seed give the same audio.")


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
    """The names that `voice` may have, and the default."""

    default: str
    voices: list[str]


class Health(BaseModel):
    """The state of the server: texts that are spoken, and texts that wait."""

    status: Literal["ok"] = "ok"
    model: str
    working: int
    waiting: int


class ErrorDetail(BaseModel):
    """An error: a message for people; parameter and code for programs."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """An error in the form of the OpenAI API."""

    error: ErrorDetail
