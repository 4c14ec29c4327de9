"""A prompt: a few seconds of somebody's speech, as codes and semantic tokens, that gives a voice.

The file is a NumPy `.npz` without pickle: `codes` [frames, levels] and `semantic_tokens` [tokens], each
in the smallest unsigned type that holds it.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import BundleError
from .manifest import Manifest

_ARRAYS = {"codes": 2, "semantic_tokens": 1}  # and how many axes each has
_LARGEST = 16 << 20  # bytes, unpacked: hours of speech


@dataclass(frozen=True)
class Prompt:
    """codes: int64 [frames, levels]. semantic_tokens: int64 [tokens]; they cover the same time."""

    codes: np.ndarray
    semantic_tokens: np.ndarray

    def seconds(self, manifest: Manifest) -> float:
        """Return how long the prompt lasts."""
        return len(self.codes) * manifest.audio.hop / manifest.audio.sample_rate


def write_prompt(path: Path, prompt: Prompt) -> None:
    """Write a prompt; the same one gives the same bytes."""
    codes, tokens = map(_smallest, (prompt.codes, prompt.semantic_tokens))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:  # given a path, NumPy would add a suffix where there is another
        np.savez_compressed(file, codes=codes, semantic_tokens=tokens)


def read_prompt(path: Path, manifest: Manifest) -> Prompt:
    """Read a prompt of the voice that `manifest` describes.

    Raises `BundleError` for a file that is no prompt, or one that was made for another voice.
    """
    try:
        arrays = _read(path)
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BundleError(f"{path} cannot be read as a prompt ({reason}); make it again") from error
    prompt = Prompt(**{name: array.astype(np.int64) for name, array in arrays.items()})
    _check(path, prompt, manifest)
    return prompt


def _smallest(array: np.ndarray) -> np.ndarray:
    return array.astype(np.min_scalar_type(int(array.max())))


def _read(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        size = sum(info.file_size for info in archive.infolist())
    if size > _LARGEST:
        raise ValueError(f"it unpacks to {size} bytes, expected {_LARGEST} at most")
    with np.load(path, allow_pickle=False) as file:
        if set(file.files) != set(_ARRAYS):
            raise ValueError(f"it has the arrays {sorted(file.files)}, expected {sorted(_ARRAYS)}")
        arrays = {name: file[name] for name in _ARRAYS}
    for name, axes in _ARRAYS.items():
        array = arrays[name]
        if array.ndim != axes or array.dtype.kind not in "iu" or not array.size:
            raise ValueError(f"{name} is {array.dtype} {list(array.shape)}, expected integers of {axes} axes")
    return arrays


def _check(path: Path, prompt: Prompt, manifest: Manifest) -> None:
    audio, per_token = manifest.audio, manifest.frames_per_token
    frames, levels = prompt.codes.shape
    tokens, most = len(prompt.semantic_tokens), manifest.axes["frames"].max // 2
    if levels != audio.levels or frames != tokens * per_token or frames > most:
        raise BundleError(
            f"{path} has codes [{frames}, {levels}] and {tokens} semantic tokens, expected {audio.levels} "
            f"levels, {per_token} frames per token and at most {most} frames; make it with this voice's codec"
        )
    for name, array, count in (
        ("codes", prompt.codes, audio.codebook_size),
        ("semantic tokens", prompt.semantic_tokens, manifest.semantic.vocabulary),
    ):
        if array.min() < 0 or array.max() >= count:
            raise BundleError(
                f"{path} has {name} from {array.min()} to {array.max()}, expected 0 to {count - 1}; "
                "make it with this voice's codec and units"
            )
