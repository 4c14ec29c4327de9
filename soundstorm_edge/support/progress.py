"""Progress bars, which `--quiet` turns off."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from soundstorm_runtime.support.command import shows_progress


def progress_bar(items: Iterable[Any] | None = None, *, shown: bool = True, **options: Any) -> tqdm:
    """Return a progress bar over `items`.

    Args:
        items: what to iterate over; None for a bar that is updated by hand.
        shown: whether this process shows the bar.
        options: of `tqdm`, such as `desc`, `unit` and `total`.
    """
    return tqdm(items, disable=not (shown and shows_progress()), **options)
