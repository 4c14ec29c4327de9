"""Put things of unlike lengths into batches that are padded little."""

from __future__ import annotations

from collections.abc import Sequence

MOST_WASTE = 0.15  # share of a batch that is padding
MOST_FRAMES = 4096  # of one step of the network, padded: attention's memory grows with them


def buckets(lengths: Sequence[int], most: int, most_padded: int) -> list[list[int]]:
    """Return the places of `lengths` in batches of like length, the longest first.

    A batch has up to `most` members and, padded, `most_padded` in all (one member always fits); no
    more than `MOST_WASTE` of it is padding.
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
