"""The masks of training (SoundStorm, arXiv 2305.09636, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from soundstorm_runtime.decoding.maskgit import Schedule, level_order, masked_share

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
        prompt: the frames of the prompt, int64 `[batch]`.
    """

    codes: Tensor
    asked: Tensor
    level: Tensor
    prompt: Tensor


def hide(
    codes: Tensor,
    mask: Tensor,
    codebook_size: int,
    masking: Masking,
    groups: int = 1,
    prompt: Tensor | None = None,
) -> Hidden:
    """Draw a level of each sample; mask a part of it and all finer levels, but no coarser one.

    Args:
        codes: int64 `[batch, frames, levels]`.
        mask: bool `[batch, frames]`, true for real frames.
        codebook_size: the id of the mask token.
        masking: what to mask.
        groups: of the codec; each column of codes is a level, in the order of decoding.
        prompt: the frames of the prompts, int64 `[batch]`; -1 draws one.

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
    after_prompt = _after_prompt(mask, masking, prompt)
    asked = _asked(after_prompt, masking)

    rank = order.argsort()  # rank of each column, coarse to fine
    at_level, finer = rank == drawn[:, None], rank > drawn[:, None]
    shown_as_mask, shown = _disguise(codes, asked, codebook_size, masking)
    hidden = (shown_as_mask[:, :, None] & at_level[:, None]) | (after_prompt[:, :, None] & finer[:, None])
    codes = torch.where(at_level[:, None], shown, codes)
    prompt = (after_prompt.cumsum(dim=1) == 0).sum(dim=1)
    return Hidden(codes.masked_fill(hidden, codebook_size), asked, order[drawn], prompt)


def draw_blocks(prompt: Tensor, frames: int) -> Tensor:
    """Draw the blocks of training samples, int64 `[batch, frames]`: those of the prompt, then the rest.

    Args:
        prompt: frames of each prompt, int64 `[batch]`; half of the prompts are one block, half of them two: a
            prompt and the speech after it.
        frames: of a sample.
    """
    border = torch.rand(len(prompt), device=prompt.device) * prompt
    border = torch.where(torch.rand(len(prompt), device=prompt.device) < 0.5, border.long(), 0)
    place = torch.arange(frames, device=prompt.device)
    return (place >= border[:, None]).long() + (place >= prompt[:, None]).long()


def _after_prompt(mask: Tensor, masking: Masking, given: Tensor | None) -> Tensor:
    """Mark the frames after the prompt; at least one is left where there are any."""
    batch, device = len(mask), mask.device
    length = torch.rand(batch, device=device) * mask.sum(dim=1)
    prompt = torch.where(torch.rand(batch, device=device) < masking.prompted, length.long(), 0)
    if given is not None:
        prompt = torch.where(given >= 0, torch.minimum(given, mask.sum(dim=1) - 1), prompt)
    return mask & (mask.cumsum(dim=1) > prompt[:, None])


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
