"""The voices that a request may name: those of the model, those that clients made, and mixtures of both."""

from __future__ import annotations

import time

from ..bundle.prompts import Prompt, mixed_prompt
from ..errors import OptionError
from ..synthesis.options import mixture
from ..voice import Voice
from .api_errors import Refusal
from .api_schema import OPENAI_VOICES, USUAL_VOICE, Model, VoiceInfo, VoiceList
from .uploaded_voices import UploadedVoice, UploadedVoices


class ServedVoices:
    """The voices of a server.

    Args:
        voice: The voice of the model, with its own voices.
        model: Description of the model.
        uploads: The voices that clients made; None where they may make none.
    """

    def __init__(self, voice: Voice, model: Model, uploads: UploadedVoices | None) -> None:
        self._voice, self._model, self._uploads = voice, model, uploads

    @property
    def names(self) -> list[str]:
        """The names that a request may give; the default is first."""
        uploaded = self._uploads.names() if self._uploads else []
        return list(dict.fromkeys([USUAL_VOICE, *self._voice.voices, *uploaded]))

    def describe(self) -> VoiceList:
        """Describe all voices, the default first."""
        speaker, made = self._voice.speaker, self._model.created
        own = {USUAL_VOICE: f"The default voice{f': {speaker}' if speaker else ''}."}
        own |= {name: f"Part of the model {self._model.id}." for name in self._voice.voices}
        voices = [
            VoiceInfo(id=name, name=name, created_at=made, uploaded=False, description=description)
            for name, description in own.items()
        ]
        for name in self._uploads.names() if self._uploads else []:
            if name not in own and (voice := self._uploads and self._uploads.get(name)):
                voices.append(self._described(voice))
        uploads, times = self._uploads is not None, self._voice.has_times
        return VoiceList(default=USUAL_VOICE, uploads=uploads, times=times, voices=voices)

    def find(self, name: str) -> str | Prompt | None:
        """Return a voice, as `SynthesisOptions.voice` takes it. Raises `Refusal` where it is unknown."""
        if name in self._voice.voices:
            return name
        if self._uploads and (uploaded := self._uploads.get(name)):
            return uploaded.prompt
        if name == USUAL_VOICE or name in OPENAI_VOICES:
            return None
        try:
            parts = mixture(name)
        except OptionError as error:
            raise Refusal(400, str(error), "voice") from error
        if parts:
            prompts = [(weight, self.find(own)) for weight, own in parts]
            if any(prompt is None for _, prompt in prompts):
                raise Refusal(400, f"the mixture {name!r} has the default voice; name its speaker", "voice")
            named = self._voice.named
            return mixed_prompt(
                [(w, named(p) if isinstance(p, str) else p) for w, p in prompts if p is not None]
            )
        message = f"voice {name!r} was asked for, but there are {', '.join(self.names)}; take one of these"
        raise Refusal(400, message, "voice", "voice_not_found")

    def check_uploads(self) -> UploadedVoices:
        """Return the uploaded voices. Raises `Refusal` where clients may make none."""
        if self._uploads is None:
            message = "clients may not make voices here; start the server with --voice-uploads FOLDER"
            raise Refusal(403, message, code="uploads_off")
        return self._uploads

    def check_new(self, name: object) -> str:
        """Return a name that a client's voice may have.

        Raises:
            Refusal: Clients may make no voices, or the name is taken or cannot be one.
        """
        wanted = self.check_uploads().check_name(name)
        if wanted in (USUAL_VOICE, *self._voice.voices):
            raise Refusal(409, f"{wanted!r} is a voice of the model; take another name", "name")
        return wanted

    def add(self, name: str, prompt: Prompt) -> VoiceInfo:
        """Keep a prompt as a client's voice. Raises `Refusal` as `check_new` does."""
        return self._described(self.check_uploads().add(name, prompt))

    def delete(self, name: str) -> None:
        """Delete a client's voice. Raises `Refusal` where there is none of that name."""
        if name in (USUAL_VOICE, *self._voice.voices):
            raise Refusal(403, f"{name!r} is a voice of the model and stays", "name")
        if not self.check_uploads().remove(name):
            raise Refusal(404, f"there is no voice {name!r}", "name", "voice_not_found")

    def _described(self, voice: UploadedVoice) -> VoiceInfo:
        day = time.strftime("%Y-%m-%d", time.localtime(voice.created))
        description = f"Made of {voice.seconds:.1f} s of a recording on {day}."
        return VoiceInfo(
            id=voice.name, name=voice.name, created_at=voice.created, uploaded=True, description=description
        )
