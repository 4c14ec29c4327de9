"""Prompts: a few seconds of a speaker as codes and semantic tokens, which the voice continues.

The file is a NumPy `.npz` without pickle: `codes` [frames, levels] and `semantic_tokens` [tokens], each
in the smallest unsigned type that holds it, and the `fingerprint` of the voice that they were made for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import BundleError
from ..support.arrays import DAMAGES, read_arrays
from ..support.atomic import atomic_file
from ..support.files import reason
from .manifest import Manifest

SUFFIX = ".npz"

_ARRAYS = {"codes": 2, "semantic_tokens": 1}  # and how many axes each has
_FINGERPRINT = "fingerprint"
_LARGEST = 16 << 20  # bytes, unpacked: hours of speech


@dataclass(frozen=True, eq=False)  # compared by identity, so that a prompt can be a key
class Prompt:
    """A prompt.

    Attributes:
        codes: int64 [frames, levels].
        semantic_tokens: int64 [tokens], of the same time.
        fingerprint: That of the manifest of the voice that it was made for.
    """

    codes: np.ndarray
    semantic_tokens: np.ndarray
    fingerprint: str = ""

    def seconds(self, manifest: Manifest) -> float:
        """Return the seconds of the prompt."""
        return len(self.codes) * manifest.audio.hop / manifest.audio.sample_rate


@dataclass(frozen=True, eq=False)
class MixedPrompt(Prompt):
    """Several prompts for a voice between theirs; its codes and semantic tokens are those of the first.

    Attributes:
        parts: Each prompt with its weight; the weights add up to 1.
    """

    parts: tuple[tuple[float, Prompt], ...] = ()


def mixed_prompt(parts: Sequence[tuple[float, Prompt]]) -> Prompt:
    """Return the prompt of a voice between others; one with all the weight is itself.

    Args:
        parts: Weights above 0, whatever their sum, and prompts.
    """
    total = sum(weight for weight, _ in parts)
    first = parts[0][1]
    if len(parts) == 1:
        return first
    shares = tuple((weight / total, prompt) for weight, prompt in parts)
    return MixedPrompt(first.codes, first.semantic_tokens, first.fingerprint, shares)


class Prompts(Mapping[str, Prompt]):
    """Named prompts. A file is read and checked when its name is first asked for."""

    def __init__(self, files: Mapping[str, Path], manifest: Manifest) -> None:
        self._files, self._manifest = dict(files), manifest
        self._read: dict[str, Prompt] = {}

    def __getitem__(self, name: str) -> Prompt:
        """Return a prompt. Raises `BundleError` for one that is damaged or was made for another voice."""
        if not name.isprintable():
            raise BundleError(
                f"a voice is named {name!r}; rename its file to a name without control characters"
            )
        if name not in self._read:
            self._read[name] = read_prompt(self._files[name], self._manifest)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def write_prompt(path: Path, prompt: Prompt) -> None:
    """Write a prompt, whole or not at all; the same one gives the same bytes."""
    arrays = {name: _smallest(getattr(prompt, name)) for name in _ARRAYS}
    if prompt.fingerprint:
        arrays[_FINGERPRINT] = np.array(prompt.fingerprint)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as work, work.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stub takes them for flags


def read_prompt(path: Path, manifest: Manifest) -> Prompt:
    """Read a prompt of the voice that `manifest` describes.

    Raises:
        BundleError: The file is not a prompt, or was made for another voice.
    """
    try:
        prompt = _read(path)
    except DAMAGES as error:
        raise BundleError(f"{path} cannot be read as a prompt ({reason(error)}); make it again") from error
    check_prompt(prompt, manifest, str(path))
    return prompt


def check_prompt(prompt: Prompt, manifest: Manifest, name: str) -> None:
    """Raise `BundleError` for a prompt of another voice; `name` is its name in the message."""
    audio, per_token = manifest.audio, manifest.frames_per_token
    frames, levels = prompt.codes.shape
    tokens, most = len(prompt.semantic_tokens), manifest.axes["frames"].max // 2
    if levels != audio.levels or frames != tokens * per_token or frames > most:
        raise BundleError(
            f"{name} has codes [{frames}, {levels}] and {tokens} semantic tokens, expected {audio.levels} "
            f"levels, {per_token} frames per token and at most {most} frames; make it with this voice's codec"
        )
    for what, array, count in (
        ("codes", prompt.codes, audio.codebook_size),
        ("semantic tokens", prompt.semantic_tokens, manifest.semantic.vocabulary),
    ):
        if array.min() < 0 or array.max() >= count:
            raise BundleError(
                f"{name} has {what} from {array.min()} to {array.max()}, expected 0 to {count - 1}; "
                "make it with this voice's codec and units"
            )
    if prompt.fingerprint != manifest.fingerprint:
        raise BundleError(
            f"{name} was made for another codec and other units ({prompt.fingerprint or 'unknown'}, expected "
            f"{manifest.fingerprint or 'unknown'}); make it again with soundstorm prompt and this voice"
        )


def _smallest(array: np.ndarray) -> np.ndarray:
    return array.astype(np.min_scalar_type(int(array.max())))


def _read(path: Path) -> Prompt:
    arrays = read_arrays(path, _LARGEST, _ARRAYS, optional=[_FINGERPRINT])
    fingerprint = arrays.get(_FINGERPRINT, np.array(""))
    for name, axes in _ARRAYS.items():
        array = arrays[name]
        if array.ndim != axes or array.dtype.kind not in "iu" or not array.size:
            raise ValueError(f"{name} is {array.dtype} {list(array.shape)}, expected integers of {axes} axes")
    if fingerprint.ndim or fingerprint.dtype.kind != "U":
        raise ValueError(f"its fingerprint is {fingerprint.dtype} {list(fingerprint.shape)}, expected a text")
    codes, tokens = (arrays[name].astype(np.int64) for name in _ARRAYS)
    return Prompt(codes, tokens, str(fingerprint))
