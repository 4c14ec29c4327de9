"""Autoregressive generation of a sequence: sampling, beam search and speculative decoding."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..nn.transformer import Decoded, Decoder, EarlyExit
from .alphabet import Alphabet

Embed = Callable[[Tensor, bool], Tensor]  # ids `[rows, length]`, behind a begin vector or not, to vectors
Score = Callable[[Tensor], Tensor]  # decoded vectors `[..., dim]` to logits `[..., ids]`
Probabilities = Callable[[Tensor], Tensor]  # logits to probabilities, both `[..., ids]`


def top_k(logits: Tensor, thres: float = 0.1, k: int | None = None) -> Tensor:
    """Keep the `k` largest logits of the last dimension, or the share `thres` of them; the rest is -inf."""
    count = math.ceil(thres * logits.shape[-1]) if k is None else k
    best, place = logits.topk(count, dim=-1)
    return torch.full_like(logits, -torch.inf).scatter(-1, place, best)


def top_p(logits: Tensor, thres: float = 0.9) -> Tensor:
    """Keep the most likely ids whose probabilities add up to `thres` (nucleus sampling, arXiv 1904.09751)."""
    ordered, place = logits.sort(dim=-1, descending=True)
    before = F.pad(ordered.softmax(dim=-1).cumsum(dim=-1), (1, -1))
    return torch.empty_like(logits).scatter(-1, place, ordered.masked_fill(before > thres, -torch.inf))


def to_probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Return the softmax of `logits` `[..., ids]`; at a temperature of 0 the likeliest id has all of it."""
    if temperature == 0:
        return F.one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(logits.dtype)
    return (logits / temperature).softmax(dim=-1)


class Continuation:
    """A batch of sequences being generated: what they attend to, and the key/value cache of their tokens.

    Args:
        decoder: the network.
        embed: embeds ids of the target, behind the vector that begins a sequence where asked.
        score: maps decoded vectors to logits over the ids of the target.
        target: the alphabet of the sequences.
        encoded: the sources, float32 `[batch, length, dim]`.
        mask: bool `[batch, length]`, false where a source is padding.
        cond_scale: above 1, every row is scored a second time without its source, and the logits are
            extrapolated away from those (classifier-free guidance, arXiv 2207.12598).
        copies: rows of each source, one after the other.
    """

    def __init__(
        self,
        decoder: Decoder,
        embed: Embed,
        score: Score,
        target: Alphabet,
        encoded: Tensor,
        mask: Tensor,
        cond_scale: float = 1.0,
        copies: int = 1,
    ) -> None:
        self.decoder, self.embed, self.score = decoder, embed, score
        self.target, self.cond_scale = target, cond_scale
        encoded, mask = encoded.repeat_interleave(copies, dim=0), mask.repeat_interleave(copies, dim=0)
        self.rows = len(encoded)
        self.cross_mask = F.pad(mask, (1, 0), value=True)
        if cond_scale > 1:
            withheld = F.pad(torch.zeros_like(mask), (1, 0), value=True)
            self.cross_mask = torch.cat([self.cross_mask, withheld])
            encoded = encoded.repeat(2, 1, 1)
        self.cross = decoder.cross(encoded)
        self.past: tuple[list[Tensor], list[Tensor]] | None = None

    def begin(self) -> Tensor:
        """Return an empty batch, int64 `[rows, 0]`."""
        return torch.empty(self.rows, 0, dtype=torch.int64, device=self.cross_mask.device)

    def advance(self, ids: Tensor) -> Tensor:
        """Append tokens int64 `[rows, length]`; return the logits after each, `[rows, length, ids]`.

        The first call also scores the start of the sequence: `[rows, 1 + length, ids]`.
        """
        decoded = self._decode(ids, self.past)
        self.past = (decoded.keys, decoded.values)
        return self._guided(self.score(decoded.x))

    def draft(
        self, ids: Tensor, count: int, head: EarlyExit, probabilities: Probabilities
    ) -> tuple[Tensor, Tensor]:
        """Draft the `count` tokens that follow `ids` `[rows, length]`, which have not been appended yet.

        Runs the blocks below the early exit only, and leaves the cache unchanged.

        Returns:
            The tokens int64 `[rows, count]`, and the probabilities `[rows, count, ids]` they were drawn from.
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
        """Remove the last `count` tokens from the cache."""
        if self.past is not None and count:
            keys, values = self.past
            self.past = ([k[:, :, :-count] for k in keys], [v[:, :, :-count] for v in values])

    def select(self, rows: Tensor) -> None:
        """Continue from other rows, int64 `[rows]`, each of the same source as the row it replaces."""
        if self.cond_scale > 1:
            rows = torch.cat([rows, rows + self.rows])
        if self.past is not None:
            self.past = ([k[rows] for k in self.past[0]], [v[rows] for v in self.past[1]])

    def finished(self, ids: Tensor) -> Tensor:
        """Return which rows of `ids` `[rows, length]` hold the end, bool `[rows]`."""
        if not self.target.has_end:
            return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        return (ids == self.target.end).any(dim=1)

    def _decode(
        self, ids: Tensor, past: tuple[list[Tensor], list[Tensor]] | None, depth: int | None = None
    ) -> Decoded:
        if self.cond_scale > 1:
            ids = ids.repeat(2, 1)
        x = self.embed(ids, past is None)
        return self.decoder(x, self.cross, self.cross_mask, past, depth=depth)

    def _guided(self, logits: Tensor) -> Tensor:
        if self.cond_scale <= 1:
            return logits
        conditional, unconditional = logits.chunk(2)
        return unconditional + (conditional - unconditional) * self.cond_scale


def sample(state: Continuation, probabilities: Probabilities, max_length: int) -> Tensor:
    """Sample one token after another until all rows have ended; returns int64 `[rows, length]`."""
    ids = token = state.begin()
    while ids.shape[1] < max_length and not state.finished(ids).all():
        token = torch.multinomial(probabilities(state.advance(token)[:, -1]), 1)
        ids = torch.cat([ids, token], dim=1)
    return ids


def beam_search(state: Continuation, beam_size: int, temperature: float, max_length: int) -> Tensor:
    """Find the likeliest sequence of each sample by beam search; returns int64 `[batch, length]`.

    Likelihoods are not normalised by length.

    Args:
        state: holds `beam_size` rows of every sample.
        beam_size: candidates kept at a time.
        temperature: divides the logits.
        max_length: tokens at which generation stops.
    """
    ids, batch = state.begin(), state.rows // beam_size
    first = torch.arange(batch, device=ids.device) * beam_size
    # All rows start equal, so at first only one of each sample counts.
    scores = torch.full((batch, beam_size), -torch.inf, device=ids.device)
    scores[:, 0] = 0
    logits = state.advance(ids)[:, -1]
    while True:
        steps = (logits / max(temperature, 1e-10)).log_softmax(dim=-1)
        ended = state.finished(ids)
        steps[ended] = -torch.inf
        steps[ended, -1] = 0  # an ended row repeats its end, and keeps its likelihood
        totals = (scores[..., None] + steps.unflatten(0, (batch, beam_size))).flatten(1)
        scores, best = totals.topk(beam_size, dim=1)
        rows = (first[:, None] + best // logits.shape[-1]).flatten()
        ids = torch.cat([ids[rows], (best % logits.shape[-1]).view(-1, 1)], dim=1)
        # Likelihoods only fall, so a best row that has ended remains the best.
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
    """Sample from the same distribution as `sample`, in fewer passes of the whole decoder.

    Speculative decoding (arXiv 2211.17192, algorithm 1): the blocks below the early exit draft some tokens,
    and one pass of all blocks scores them. Rows keep equal lengths: the row with the fewest accepted drafts
    decides how many are kept, which leaves every row's distribution unchanged.

    Args:
        state: the sequences.
        head: the early exit that drafts.
        probabilities: from logits to probabilities.
        max_length: tokens at which generation stops.
        guesses: tokens drafted at a time, and the lenience: below 1, more of them are accepted than the
            whole decoder alone would draw.
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
    """Return the token after those kept: the draft where accepted, else one of the residual distribution."""
    if not drafted.shape[1]:
        return torch.multinomial(truth, 1)
    rest = (truth - guess[:, 0]).relu()
    useless = agreed | (rest.sum(dim=1) == 0)
    drawn = torch.multinomial(torch.where(useless[:, None], truth, rest), 1)
    return torch.where(agreed[:, None], drafted[:, :1], drawn)
