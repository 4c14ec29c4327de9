"""The masks of training (SoundStorm, arXiv 2305.09636, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from soundstorm_runtime.decoding.maskgit import Schedule, level_order, masked_share
from soundstorm_runtime.decoding.prefix_cache import BLOCK_FRAMES

from ..errors import ConfigError


@dataclass(frozen=True)
class Masking:
    """Which codes are masked; the defaults are the paper's.

    Args:
        level_weights: relative frequency of each level, coarse to fine; empty draws all equally often.
        prompted: share of samples that keep a prefix of random length, as a prompt.
        fully_masked: share of samples whose level is fully masked, as in the first step of decoding; the
            others draw the masked share from the schedule, at a random progress.
        no_replace_prob, random_token_prob: shares of the masked codes that keep their value, or have a random
            one, and are predicted all the same (BERT, arXiv 1810.04805).
        schedule: as that of `DecodeOptions`.

    Raises:
        ConfigError: a share is impossible.
    """

    level_weights: tuple[float, ...] = ()
    prompted: float = 1.0
    fully_masked: float = 0.0
    no_replace_prob: float = 0.0
    random_token_prob: float = 0.0
    schedule: Schedule = "cosine"

    def __post_init__(self) -> None:
        for name in ("prompted", "fully_masked", "no_replace_prob", "random_token_prob"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise ConfigError(f"{name} is {share}, expected a share from 0 to 1")
        if self.no_replace_prob + self.random_token_prob > 1:
            raise ConfigError(
                f"no_replace_prob {self.no_replace_prob} and random_token_prob {self.random_token_prob} add "
                "up to more than 1; lower one of them"
            )


class Hidden(NamedTuple):
    """Masked codes, and what is to be predicted.

    Args:
        codes: int64 `[batch, frames, levels]`, with mask tokens.
        asked: bool `[batch, frames]`, where the code of the drawn level is to be predicted.
        level: the column of the drawn level, int64 `[batch]`.
        known: the first frames whose codes are all shown, int64 `[batch]`: the prompt, and what was spoken.
    """

    codes: Tensor
    asked: Tensor
    level: Tensor
    known: Tensor


def hide(
    codes: Tensor,
    mask: Tensor,
    codebook_size: int,
    masking: Masking,
    groups: int = 1,
    prompt: Tensor | None = None,
    given: Tensor | None = None,
) -> Hidden:
    """Draw a level of each sample; mask a part of it and all finer levels, but no coarser one.

    Args:
        codes: int64 `[batch, frames, levels]`.
        mask: bool `[batch, frames]`, true for real frames.
        codebook_size: the id of the mask token.
        masking: what to mask.
        groups: of the codec; each column of codes is a level, in the order of decoding.
        prompt: the frames of the prompts, int64 `[batch]`; more known frames follow half of them, as in a
            stream; -1 draws the known frames alone.
        given: bool `[batch, frames]`, true for frames that are not asked for, wherever they are: they are
            shown up to the drawn level, as the decode loop shows given codes.

    Returns:
        The masked codes; at least one frame of each sample is asked for.

    Raises:
        ConfigError: `masking.level_weights` has another number of levels.
    """
    order = torch.tensor(level_order(codes.shape[2], groups), device=codes.device)
    weights = torch.tensor(masking.level_weights or (1.0,) * len(order))
    if len(weights) != len(order):
        raise ConfigError(
            f"level_weights has {len(weights)} numbers, but the codes {len(order)} levels; give one for each"
        )
    drawn = torch.multinomial(weights, len(codes), replacement=True).to(codes.device)
    after_known = _after_known(mask, masking, prompt)
    asked = _asked(after_known if given is None else after_known & ~given, masking)

    rank = order.argsort()  # rank of each column, coarse to fine
    at_level, finer = rank == drawn[:, None], rank > drawn[:, None]
    shown_as_mask, shown = _disguise(codes, asked, codebook_size, masking)
    hidden = (shown_as_mask[:, :, None] & at_level[:, None]) | (after_known[:, :, None] & finer[:, None])
    codes = torch.where(at_level[:, None], shown, codes)
    known = (after_known.cumsum(dim=1) == 0).sum(dim=1)
    return Hidden(codes.masked_fill(hidden, codebook_size), asked, order[drawn], known)


def draw_blocks(known: Tensor, frames: int, prompt: Tensor | None = None) -> Tensor:
    """Draw the blocks of training samples, int64 `[batch, frames]`, as decoding makes them.

    The first block is the voice's prompt, and the last one has all frames that are not known. Where known
    frames follow the prompt, they are a stream's finished blocks: `BLOCK_FRAMES` frames each, the last one
    cut short.

    Args:
        known: frames of each sample whose codes are all shown, int64 `[batch]`.
        frames: of a sample.
        prompt: frames of each prompt, int64 `[batch]`; -1 draws one, which in half of the samples is all that
            is known, as where a voice speaks whole sentences.
    """
    batch, device = len(known), known.device
    drawn = torch.where(torch.rand(batch, device=device) < 0.5, torch.rand(batch, device=device), 1.0)
    drawn = (drawn * known).long()
    prompt = drawn if prompt is None else torch.where(prompt >= 0, torch.minimum(prompt, known), drawn)
    lengths = torch.tensor(BLOCK_FRAMES, device=device)
    most = -(-frames // BLOCK_FRAMES[0])
    spoken = lengths[torch.randint(len(lengths), (batch, most), device=device)].cumsum(dim=1)
    ends = prompt[:, None] + torch.cat([torch.zeros_like(prompt)[:, None], spoken], dim=1)
    ends = torch.minimum(ends, known[:, None])
    starts = torch.zeros(batch, frames + 1, dtype=torch.int64, device=device).scatter(1, ends, 1)
    starts[:, 0] = 0
    return starts[:, :frames].cumsum(dim=1)


def _after_known(mask: Tensor, masking: Masking, prompt: Tensor | None) -> Tensor:
    """Mark the frames after the known ones; at least one is left where there are any."""
    batch, device, frames = len(mask), mask.device, mask.sum(dim=1)
    known = (torch.rand(batch, device=device) * frames).long()
    known = torch.where(torch.rand(batch, device=device) < masking.prompted, known, 0)
    if prompt is not None:
        more = (torch.rand(batch, device=device) * (frames - prompt)).long().clamp(min=0)
        more = torch.where(torch.rand(batch, device=device) < 0.5, more, 0)
        known = torch.where(prompt >= 0, torch.minimum(prompt + more, frames - 1), known)
    return mask & (mask.cumsum(dim=1) > known[:, None])


def _asked(after_prompt: Tensor, masking: Masking) -> Tensor:
    """Draw which frames of the level are to be predicted, at least one where there are any."""
    batch, device = len(after_prompt), after_prompt.device
    # On the host, one by one: a schedule is any function of one number.
    shares = [masked_share(masking.schedule, progress) for progress in torch.rand(batch).tolist()]
    share = torch.tensor(shares, device=device)
    share = torch.where(torch.rand(batch, device=device) < masking.fully_masked, 1.0, share)
    draw = torch.rand(after_prompt.shape, device=device).masked_fill(~after_prompt, 2.0)
    return after_prompt & ((draw < share[:, None]) | (draw == draw.amin(dim=1, keepdim=True)))


def _disguise(codes: Tensor, asked: Tensor, codebook_size: int, masking: Masking) -> tuple[Tensor, Tensor]:
    """Draw which of the asked codes are shown as the mask token, and what the others are shown as."""
    if not (masking.no_replace_prob or masking.random_token_prob):
        return asked, codes
    draw = torch.rand(asked.shape, device=codes.device)
    kept = draw < masking.no_replace_prob
    replaced = ~kept & (draw < masking.no_replace_prob + masking.random_token_prob)
    random = torch.randint_like(codes, codebook_size)
    shown = torch.where((asked & replaced)[:, :, None], random, codes)
    return asked & ~kept & ~replaced, shown


def of_numbers(schedule: Schedule) -> Schedule:
    """Return a schedule of numbers for one that is a function of tensors."""
    if not callable(schedule):
        return schedule
    function: Callable[[Any], Any] = schedule
    return lambda progress: float(function(torch.tensor(progress)))
