"""Requests and responses of the API, from which its OpenAPI description is made."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..synthesis.dialogue.turns import LONGEST_GAP, MOST_TURNS
from ..synthesis.options import LONGEST_PAUSE, LOUDEST, PAUSE_SECONDS, SPEEDS
from .encoding import PCM_RATE, Format
from .settings import MOST_CHARACTERS

# Names in programs written for the OpenAI API. They stand for the default voice and the one model.
OPENAI_VOICES = "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()
OPENAI_MODELS = re.compile(
    r"(tts-1|tts-1-hd|gpt-4o-mini-tts)(-\d{4}(-\d{2}-\d{2})?)?"
)  # with or without a date
USUAL_VOICE = "default"


PauseSeconds = Annotated[float, Field(ge=0, le=LONGEST_PAUSE, allow_inf_nan=False)]


class VoiceId(BaseModel):
    """An object with the name of a voice."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1, max_length=200)


def _allow_null(schema: dict[str, Any]) -> None:
    """Say in the description of a model that null stands for the default of a field."""
    for name, field in schema["properties"].items():
        if name in schema.get("required", ()):
            continue
        if "anyOf" in field:
            field["anyOf"] = [kind for kind in field["anyOf"] if kind != {"type": "null"}] + [
                {"type": "null"}
            ]
        else:
            field["type"] = [field["type"], "null"]
            if "enum" in field:
                field["enum"] = [*field["enum"], None]


class SpeechFields(BaseModel):
    """How to speak, in a request of either form. A field that is null has its default."""

    # Clients of other servers send fields that are not known here: they are named in the response.
    model_config = ConfigDict(extra="allow", strict=True, json_schema_extra=_allow_null)

    model: str | None = Field(
        None, max_length=200, description="Name of the model, or one of OpenAI's: there is one here."
    )
    voice: str | VoiceId = Field(
        USUAL_VOICE,
        description="One of /voices. OpenAI's names (alloy, nova, ...) stand for the default voice.",
    )
    speed: float = Field(
        1.0,
        ge=SPEEDS[0],
        le=SPEEDS[1],
        allow_inf_nan=False,
        description="Speaking rate; the pitch does not change.",
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
    mark_pauses: dict[Literal[",", ";", ":", ".", "?", "!"], PauseSeconds] = Field(
        default_factory=dict,
        description="Seconds of silence after a mark, at speed 1; by default the voice's own within a "
        "sentence, and sentence_pause after one.",
    )
    volume: float = Field(1.0, ge=0, le=LOUDEST, allow_inf_nan=False, description="Factor of the amplitude.")
    timestamp_granularities: list[Literal["word", "phone"]] = Field(
        default_factory=list,
        max_length=2,
        description="Also send when each word (and each phone of it) is spoken, in events of type "
        "speech.words.delta; a request over HTTP needs stream_format 'sse' for that. The span counts "
        "characters of the input.",
    )
    instructions: str | None = Field(
        None, max_length=MOST_CHARACTERS, description="Accepted without effect, as by OpenAI's tts-1."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="The same text, voice and seed give the same audio.")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        """Clients send null for what their user has not set."""
        if not isinstance(data, dict):
            return data
        optional = {name for name, field in cls.model_fields.items() if not field.is_required()}
        return {name: value for name, value in data.items() if value is not None or name not in optional}

    @property
    def voice_name(self) -> str:
        """The name of the voice."""
        return self.voice if isinstance(self.voice, str) else self.voice.id

    @property
    def ignored(self) -> list[str]:
        """The names of what the client sent that is not a field."""
        return sorted(self.model_extra or ())


class AudioFields(SpeechFields):
    """How to speak, and what is sent."""

    response_format: Format = Field(
        "mp3",
        description=f"pcm is 16-bit little-endian mono at {PCM_RATE} Hz. The others state their rate, which "
        "is the voice's own, or the next higher one that the format has. aac needs ffmpeg on the server.",
    )
    stream_format: Literal["audio", "sse"] = Field(
        "audio", description="The bytes of the audio, or server-sent events that carry them in base64."
    )
    stream: bool = Field(
        True,
        description="Whether the audio is sent while it is made; false sends it when it is complete, with "
        "its length in the header of WAV and FLAC.",
    )


class SpeechRequest(AudioFields):
    """A text, and how to speak it: the fields and defaults of the OpenAI API, with a few extensions."""

    input: str = Field(
        min_length=1,
        max_length=MOST_CHARACTERS,
        description="The text. It needs a letter or a digit that can be spoken.",
        examples=["Good morning."],
    )
    input_type: Literal["text", "ssml"] = Field(
        "text", description="What `input` is: plain text, or an SSML document, whose root is `speak`."
    )
    strict: bool = Field(
        False,
        description="Refuse text with characters that cannot be spoken; otherwise they are left out, and the "
        "header X-Dropped-Characters names them.",
    )


class DialogueTurn(BaseModel):
    """What one speaker says before another one does."""

    model_config = ConfigDict(extra="forbid", strict=True)

    voice: str | VoiceId | None = Field(None, description="One of /voices; by default that of the request.")
    input: str = Field(
        min_length=1,
        max_length=MOST_CHARACTERS,
        description="What is said. [gap 0.5s] or [overlap 0.3s] at its start is the same as `gap`.",
        examples=["Good morning."],
    )
    gap: float | None = Field(
        None,
        ge=-LONGEST_GAP,
        le=LONGEST_GAP,
        allow_inf_nan=False,
        description="Seconds of silence before it; below 0, it overlaps the turn before for so long.",
    )


class DialogueRequest(AudioFields):
    """The turns of several speakers, and how to speak them."""

    turns: list[DialogueTurn] = Field(min_length=1, max_length=MOST_TURNS)

    @property
    def characters(self) -> int:
        """Characters of all turns."""
        return sum(len(turn.input) for turn in self.turns)


def voice_name(turn: DialogueTurn, request: DialogueRequest) -> str:
    """Return the name of the voice of a turn."""
    if turn.voice is None:
        return request.voice_name
    return turn.voice if isinstance(turn.voice, str) else turn.voice.id


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


class VoiceInfo(BaseModel):
    """A voice, as the OpenAI API describes one that was made of a recording, with a few extensions."""

    id: str
    object: Literal["audio.voice"] = "audio.voice"
    name: str
    type: Literal["audio_sample"] = "audio_sample"
    created_at: int
    uploaded: bool = Field(description="Whether a client made it, so that it can be deleted.")
    description: str


class VoiceMade(VoiceInfo):
    """A voice that has just been made."""

    warnings: list[str] = Field(description="What speaks against the recording.")


class VoiceList(BaseModel):
    """The voices of a server."""

    object: Literal["list"] = "list"
    default: str
    uploads: bool = Field(description="Whether clients may make voices of recordings.")
    times: bool = Field(description="Whether timestamp_granularities can be asked for.")
    voices: list[VoiceInfo]


class VoiceDeleted(BaseModel):
    """A voice that has been deleted."""

    id: str
    object: Literal["audio.voice.deleted"] = "audio.voice.deleted"
    deleted: Literal[True] = True


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
