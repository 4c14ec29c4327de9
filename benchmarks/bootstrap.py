"""95 % intervals by the bootstrap over sentences."""

from __future__ import annotations

import numpy as np

RESAMPLES = 2000


def redraw(of_sentences: np.ndarray) -> np.ndarray:
    """Resample the values of sentences, `[resamples, sentences]`: the same sentences in every call.

    What is compared is so compared on the same sentences.
    """
    count = len(of_sentences)
    return of_sentences[np.random.default_rng(0).integers(count, size=(RESAMPLES, count))]


def central(values: np.ndarray, digits: int = 2) -> tuple[float, ...]:
    """Return the bounds between which 95 % of the values lie."""
    return tuple(round(float(edge), digits) for edge in np.percentile(values, (2.5, 97.5)))
