"""The token ids of a text-to-semantic model: tokens, padding, and the end of a sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from soundstorm_runtime.engines.graphs import AXES

from ..errors import CorpusError

Modality = Literal["speech", "text"]
MODALITIES: tuple[Modality, ...] = ("speech", "text")
LONGEST = AXES["tokens"].max  # ids of a sequence, without its end


@dataclass(frozen=True)
class Alphabet:
    """The ids of one modality: `size` tokens and, with `has_end`, the end after them.

    Args:
        name: of the modality.
        size: number of tokens.
        pad: the id of padding where no mask is given; it may be that of a token.
        has_end: whether sequences are ended.
    """

    name: Modality
    size: int
    pad: int
    has_end: bool

    @property
    def end(self) -> int:
        """The id of the end, whether sequences have one or not."""
        return self.size

    @property
    def rows(self) -> int:
        """The number of ids to embed and to score."""
        return self.size + self.has_end

    @property
    def _filler(self) -> int:
        """The padding as an id that can be embedded."""
        return self.pad if 0 <= self.pad < self.rows else 0

    def with_mask(self, ids: Tensor, mask: Tensor | None, with_end: bool) -> tuple[Tensor, Tensor]:
        """Check ids, and return them int64 with a mask bool `[batch, length]`, false for padding.

        Args:
            ids: `[batch, length]`.
            mask: false for padding; None takes the padding id as padding.
            with_end: insert the end where the padding of each sequence begins, if this alphabet has one,
                which makes sequences longer by one.

        Raises:
            CorpusError: another shape, a sequence that is too long, or an unknown id.
        """
        if ids.ndim != 2 or ids.is_floating_point():
            raise CorpusError(
                f"{self.name} is {ids.dtype} of shape {list(ids.shape)}, expected ids [batch, length]"
            )
        mask = ids != self.pad if mask is None else mask
        if mask.shape != ids.shape or mask.dtype != torch.bool:
            raise CorpusError(
                f"the mask of {self.name} is {mask.dtype} of shape {list(mask.shape)}, "
                f"expected bool {list(ids.shape)}, false for padding"
            )
        if ids.shape[1] > LONGEST:
            raise CorpusError(
                f"a sample has {ids.shape[1]} {self.name} tokens, expected at most {LONGEST}; leave it out"
            )
        wrong = ids[mask & ((ids < 0) | (ids >= self.rows))]
        if len(wrong):
            raise CorpusError(
                f"{self.name} holds the id {int(wrong[0])}, expected 0 to {self.size - 1}; "
                "make it with the symbols and units that this model was made for"
            )
        ids = torch.where((ids >= 0) & (ids < self.rows), ids, self._filler).long()
        return self._ended(ids, mask) if with_end and self.has_end else (ids, mask)

    def _ended(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        ids, mask = F.pad(ids, (0, 1), value=self._filler), F.pad(mask, (0, 1))
        place = mask.long().cumprod(dim=1).sum(dim=1, keepdim=True)
        return ids.scatter(1, place, self.end), mask.scatter(1, place, True)

    def cut(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Pad `ids` `[batch, length]` after their first end; return them and their mask, end included."""
        mask = torch.ones_like(ids, dtype=torch.bool)
        if self.has_end:
            mask = F.pad((ids == self.end).cumsum(dim=1) == 0, (1, -1), value=True)
            # The columns after the longest sequence are empty.
            longest = int(mask.sum(dim=1).max()) if mask.numel() else 0
            ids, mask = ids[:, :longest], mask[:, :longest]
        return ids.masked_fill(~mask, self.pad), mask
