"""Which phone each semantic token belongs to, for a text stage without durations.

A sentence is a hidden Markov model with one state for each of its phones, as in forced alignment with a
discrete acoustic model (Rabiner 1989). How often a phone is spoken by each semantic token is measured when a
bundle is exported (`soundstorm_export.alignment_training`); the file is a NumPy `.npz` without pickle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..decoding.monotonic_alignment import monotonic_path
from ..errors import BundleError
from ..support.arrays import DAMAGES, read_arrays
from ..support.files import reason

_ARRAY = "log_probabilities"
_LARGEST = 16 << 20  # bytes, unpacked: 128 phones and 60,000 tokens


@dataclass(frozen=True)
class TokenAlignment:
    """Aligns the semantic tokens of a sentence with its phones.

    Attributes:
        log_probabilities: Of each semantic token while a phone is spoken, float [symbols, vocabulary].
    """

    log_probabilities: np.ndarray

    def counts(self, phones: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Return the tokens of each phone, int64 [phones]; at least 1 where there are enough.

        Args:
            phones: Ids of the phones, int64 [phones].
            tokens: Semantic tokens, int64 [tokens].
        """
        scores = self.log_probabilities[phones][:, tokens].astype(np.float64)
        if len(tokens) >= len(phones):
            return np.bincount(monotonic_path(scores.T), minlength=len(phones))
        # Phones share a token, which is counted for the last of them.
        return np.diff(monotonic_path(scores), append=len(tokens))


def write_alignment(path: Path, alignment: TokenAlignment) -> None:
    """Write an alignment; the same one gives the same bytes."""
    with path.open("wb") as file:
        np.savez_compressed(file, **{_ARRAY: alignment.log_probabilities.astype(np.float16)})  # type: ignore[arg-type]  # as in `prompts`


def read_alignment(path: Path, symbols: int, vocabulary: int) -> TokenAlignment:
    """Read what `write_alignment` wrote.

    Args:
        path: The file.
        symbols: Phones that the text stage reads.
        vocabulary: Semantic tokens of the voice.

    Raises:
        BundleError: The file is damaged, or was made for other phones or tokens.
    """
    try:
        array = read_arrays(path, _LARGEST, [_ARRAY])[_ARRAY]
        if array.shape != (symbols, vocabulary) or array.dtype != np.float16 or not np.isfinite(array).all():
            raise ValueError(
                f"it has {array.dtype} {list(array.shape)}, expected finite float16 [{symbols}, {vocabulary}]"
            )
    except DAMAGES as error:
        raise BundleError(
            f"{path} cannot be read as an alignment ({reason(error)}); export the bundle again"
        ) from error
    return TokenAlignment(array)
