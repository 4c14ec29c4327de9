"""Batches of similar lengths, so that little of them is padding."""

from __future__ import annotations

from collections.abc import Sequence

MOST_WASTE = 0.15  # share of a batch that is padding
MOST_FRAMES = 4096  # of one step of the network, padded: attention's memory grows with them


def buckets(lengths: Sequence[int], most: int, most_padded: int) -> list[list[int]]:
    """Group lengths into batches of similar length, the longest first.

    At most the share `MOST_WASTE` of a batch is padding.

    Args:
        lengths: The lengths.
        most: Members of a batch, at most.
        most_padded: Length of a batch with its padding, at most; a batch of one member may exceed it.

    Returns:
        For each batch the places of its members in `lengths`.
    """
    batches: list[list[int]] = []
    filled = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if batches:
            padded = lengths[batches[-1][0]] * (len(batches[-1]) + 1)
            fits = len(batches[-1]) < most and padded <= most_padded
            if fits and filled + lengths[place] >= (1 - MOST_WASTE) * padded:
                batches[-1].append(place)
                filled += lengths[place]
                continue
        batches.append([place])
        filled = lengths[place]
    return batches
