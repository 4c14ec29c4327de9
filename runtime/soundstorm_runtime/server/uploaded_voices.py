"""Voices that clients make of recordings: prompts in a folder, which all processes of a server share."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..audio.recording import LOOKED_AT, Recording, read_recording
from ..bundle.manifest import Manifest
from ..bundle.prompts import SUFFIX, Prompt, read_prompt, write_prompt
from ..errors import BundleError
from .api_errors import Refusal

MOST_VOICES = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class UploadedVoice:
    """A voice in the folder.

    Attributes:
        name: Its name.
        created: When it was made, in seconds since 1970.
        seconds: How long the recording was that it was made of.
        prompt: What it speaks with.
    """

    name: str
    created: int
    seconds: float
    prompt: Prompt


class UploadedVoices:
    """The voices in a folder. It is looked at for every request, so that processes agree.

    Args:
        folder: The folder; it is made if it does not exist.
        manifest: Manifest of the bundle that they are made for.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._manifest = folder, manifest
        self._read: dict[Path, tuple[int, UploadedVoice]] = {}  # and when the file was changed

    def names(self) -> list[str]:
        """Return the names of all voices."""
        stems = (path.stem for path in self._folder.glob(f"*{SUFFIX}"))
        return sorted(stem for stem in stems if _NAME.fullmatch(stem))

    def get(self, name: str) -> UploadedVoice | None:
        """Return a voice; None if there is none, or it was made for another bundle."""
        path = self._folder / f"{name}{SUFFIX}"
        if not _NAME.fullmatch(name):
            return None
        try:
            changed = path.stat().st_mtime_ns
            if self._read.get(path, (0,))[0] != changed:
                prompt, audio = read_prompt(path, self._manifest), self._manifest.audio
                seconds = len(prompt.codes) * audio.hop / audio.sample_rate
                self._read[path] = changed, UploadedVoice(name, changed // 10**9, seconds, prompt)
        except (FileNotFoundError, BundleError):
            self._read.pop(path, None)
            return None
        return self._read[path][1]

    def check_name(self, name: object) -> str:
        """Return a name that a new voice may have. Raises `Refusal` for others."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise Refusal(400, "name: expected 1 to 64 letters, digits, - and _, such as anna", "name")
        names = self.names()
        if name in names:
            raise Refusal(409, f"there is a voice {name!r}; delete it first, or take another name", "name")
        if len(names) >= MOST_VOICES:
            raise Refusal(409, f"there are {len(names)} voices, the most that are kept; delete one", "name")
        return name

    def add(self, name: str, prompt: Prompt) -> UploadedVoice:
        """Keep a prompt as a voice. Raises `Refusal` where the name is taken or cannot be one."""
        write_prompt(self._folder / f"{self.check_name(name)}{SUFFIX}", prompt)
        voice = self.get(name)
        if voice is None:
            raise Refusal(409, f"the voice {name!r} was deleted while it was made; send it again", "name")
        return voice

    def remove(self, name: str) -> bool:
        """Delete a voice; return whether there was one."""
        if not _NAME.fullmatch(name):
            return False
        path = self._folder / f"{name}{SUFFIX}"
        existed = path.exists()
        path.unlink(missing_ok=True)
        return existed


def read_upload(file: IO[bytes]) -> Recording:
    """Read an uploaded recording.

    Raises:
        AudioError: It is not audio, or too long.
    """
    with tempfile.NamedTemporaryFile(suffix=".upload") as copy:
        shutil.copyfileobj(file, copy)
        copy.flush()
        return read_recording(Path(copy.name), "the recording", longest=LOOKED_AT)
