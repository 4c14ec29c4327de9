"""Ways to write a sequence one token after another: sampling, beam search and speculative decoding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from ..nn.transformer import Decoded, EarlyExit
    from .alphabet import Alphabet
    from .autoregressive import TextToSemantic

Probabilities = Callable[[Tensor], Tensor]  # logits to probabilities, both `[..., ids]`


def top_k(logits: Tensor, thres: float = 0.1, k: int | None = None) -> Tensor:
    """Keep the `k` largest of the last dimension, or the share `thres` of it; the rest becomes -inf."""
    count = math.ceil(thres * logits.shape[-1]) if k is None else k
    best, place = logits.topk(count, dim=-1)
    return torch.full_like(logits, -torch.inf).scatter(-1, place, best)


def top_p(logits: Tensor, thres: float = 0.9) -> Tensor:
    """Keep the most likely ids that together reach the probability `thres` (arXiv 1904.09751)."""
    ordered, place = logits.sort(dim=-1, descending=True)
    before = F.pad(ordered.softmax(dim=-1).cumsum(dim=-1), (1, -1))
    return torch.empty_like(logits).scatter(-1, place, ordered.masked_fill(before > thres, -torch.inf))


def to_probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Give the softmax of `logits` `[..., ids]`; a temperature of 0 gives all to the most likely id."""
    if temperature == 0:
        return F.one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(logits.dtype)
    return (logits / temperature).softmax(dim=-1)


class Continuation:
    """What a batch of sequences has come to: sources to look at, and the key/value cache of its tokens.

    Each source has as many rows as there are `copies`, one after the other.
    With a `cond_scale` above 1 every row is scored a second time without its source, and the scores
    are driven away from those by that factor (classifier-free guidance, arXiv 2207.12598).
    """

    def __init__(
        self,
        model: TextToSemantic,
        target: Alphabet,
        encoded: Tensor,
        mask: Tensor,
        cond_scale: float = 1.0,
        copies: int = 1,
    ) -> None:
        self.model, self.target, self.cond_scale = model, target, cond_scale
        encoded, mask = encoded.repeat_interleave(copies, dim=0), mask.repeat_interleave(copies, dim=0)
        self.rows = len(encoded)
        self.cross_mask = F.pad(mask, (1, 0), value=True)
        if cond_scale > 1:
            withheld = F.pad(torch.zeros_like(mask), (1, 0), value=True)
            self.cross_mask = torch.cat([self.cross_mask, withheld])
            encoded = encoded.repeat(2, 1, 1)
        self.cross = model.target.cross(encoded)
        self.past: tuple[list[Tensor], list[Tensor]] | None = None

    def begin(self) -> Tensor:
        """Give a batch of no tokens, int64 `[rows, 0]`."""
        return torch.empty(self.rows, 0, dtype=torch.int64, device=self.cross_mask.device)

    def advance(self, ids: Tensor) -> Tensor:
        """Take the next tokens `[rows, length]` and score what follows each: `[rows, length, ids]`.

        The first call scores what begins the sequence as well: `[rows, 1 + length, ids]`.
        """
        decoded = self._decode(ids, self.past)
        self.past = (decoded.keys, decoded.values)
        return self._guided(self.model.score(decoded.x, self.target.name))

    def draft(
        self, ids: Tensor, count: int, head: EarlyExit, probabilities: Probabilities
    ) -> tuple[Tensor, Tensor]:
        """Guess the `count` tokens that follow `ids` `[rows, length]`, which are yet to be taken.

        Gives them `[rows, count]` and the probabilities `[rows, count, ids]` they were drawn from. Only
        the blocks below the early exit are run, and the cache stays as it is.
        """
        past = None if self.past is None else (self.past[0][: head.layer], self.past[1][: head.layer])
        drafted, drawn_from = [], []
        for _ in range(count):
            decoded = self._decode(ids, past, head.layer)
            past = (decoded.keys, decoded.values)
            drawn_from.append(probabilities(self._guided(head(decoded.hidden[-1][:, -1]))))
            ids = torch.multinomial(drawn_from[-1], 1)
            drafted.append(ids)
        return torch.cat(drafted, dim=1), torch.stack(drawn_from, dim=1)

    def forget(self, count: int) -> None:
        """Take back the last `count` tokens."""
        if self.past is not None and count:
            keys, values = self.past
            self.past = ([k[:, :, :-count] for k in keys], [v[:, :, :-count] for v in values])

    def select(self, rows: Tensor) -> None:
        """Go on from other rows: int64 `[rows]`, each of the same source as the one it replaces."""
        if self.cond_scale > 1:
            rows = torch.cat([rows, rows + self.rows])
        if self.past is not None:
            self.past = ([k[rows] for k in self.past[0]], [v[rows] for v in self.past[1]])

    def finished(self, ids: Tensor) -> Tensor:
        """Tell which rows of `ids` `[rows, length]` have come to their end: bool `[rows]`."""
        if not self.target.has_end:
            return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        return (ids == self.target.end).any(dim=1)

    def _decode(
        self, ids: Tensor, past: tuple[list[Tensor], list[Tensor]] | None, depth: int | None = None
    ) -> Decoded:
        if self.cond_scale > 1:
            ids = ids.repeat(2, 1)
        x = self.model.embed(ids, self.target.name, begin=past is None)
        return self.model.target(x, self.cross, self.cross_mask, past, depth=depth)

    def _guided(self, logits: Tensor) -> Tensor:
        if self.cond_scale <= 1:
            return logits
        sighted, blind = logits.chunk(2)
        return blind + (sighted - blind) * self.cond_scale


def sample(state: Continuation, probabilities: Probabilities, max_length: int) -> Tensor:
    """Draw one token after the other, int64 `[rows, length]`, until all rows have ended."""
    ids = token = state.begin()
    while ids.shape[1] < max_length and not state.finished(ids).all():
        token = torch.multinomial(probabilities(state.advance(token)[:, -1]), 1)
        ids = torch.cat([ids, token], dim=1)
    return ids


def beam_search(state: Continuation, beam_size: int, temperature: float, max_length: int) -> Tensor:
    """Find the likeliest sequence of each sample, int64 `[batch, length]`, among `beam_size` kept at a time.

    `state` holds `beam_size` rows of every sample. Likelihoods are not divided by lengths.
    """
    ids, batch = state.begin(), state.rows // beam_size
    first = torch.arange(batch, device=ids.device) * beam_size
    # All rows begin alike, so at first only one of each sample counts.
    scores = torch.full((batch, beam_size), -torch.inf, device=ids.device)
    scores[:, 0] = 0
    logits = state.advance(ids)[:, -1]
    while True:
        steps = (logits / max(temperature, 1e-10)).log_softmax(dim=-1)
        ended = state.finished(ids)
        steps[ended] = -torch.inf
        steps[ended, -1] = 0  # what has ended stays as likely as it is: its end is said again
        totals = (scores[..., None] + steps.unflatten(0, (batch, beam_size))).flatten(1)
        scores, best = totals.topk(beam_size, dim=1)
        rows = (first[:, None] + best // logits.shape[-1]).flatten()
        ids = torch.cat([ids[rows], (best % logits.shape[-1]).view(-1, 1)], dim=1)
        # Others only become less likely, so a best row that has ended stays the best.
        if ids.shape[1] >= max_length or state.finished(ids[first]).all():
            return ids[first]
        state.select(rows)
        logits = state.advance(ids[:, -1:])[:, -1]


def speculate(
    state: Continuation,
    head: EarlyExit,
    probabilities: Probabilities,
    max_length: int,
    guesses: tuple[int, float],
) -> Tensor:
    """Draw what `sample` would draw, in fewer passes of the whole decoder (arXiv 2211.17192, algorithm 1).

    The blocks below the early exit guess some tokens, and one pass of all blocks scores the guesses.
    Rows keep equal lengths: as many guesses are taken as the row with the fewest accepted ones allows,
    which leaves every row's distribution as it is. `guesses` are how many, and the lenience: below 1,
    more of them are accepted than the whole decoder alone would draw.
    """
    gamma, lenience = guesses
    ids = token = state.begin()
    while ids.shape[1] < max_length and not (ended := state.finished(ids)).all():
        count = min(gamma, max_length - ids.shape[1])
        drafted, guess = state.draft(token, count, head, probabilities)
        guess = guess * lenience
        truth = probabilities(state.advance(torch.cat([token, drafted], dim=1))[:, -count - 1 :])
        likely = [p.gather(2, drafted[..., None])[..., 0] for p in (truth[:, :-1], guess)]
        agreed = (torch.rand_like(likely[0]) * likely[1] < likely[0]).long().cumprod(dim=1).sum(dim=1)
        agreed[ended] = count
        kept = int(agreed.min())
        token = _correct(truth[:, kept], drafted[:, kept:], guess[:, kept:], agreed > kept)
        ids = torch.cat([ids, drafted[:, :kept], token], dim=1)
        state.forget(count - kept)
    return ids[:, :max_length]


def _correct(truth: Tensor, drafted: Tensor, guess: Tensor, agreed: Tensor) -> Tensor:
    """Give the token after those kept: the guess where it is agreed to, else what it fell short of."""
    if not drafted.shape[1]:
        return torch.multinomial(truth, 1)
    rest = (truth - guess[:, 0]).relu()
    useless = agreed | (rest.sum(dim=1) == 0)
    drawn = torch.multinomial(torch.where(useless[:, None], truth, rest), 1)
    return torch.where(agreed[:, None], drafted[:, :1], drawn)
