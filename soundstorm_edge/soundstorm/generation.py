"""Decoding in PyTorch: steps that are guided, filtered, self-conditioned, and judged by a critic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from soundstorm_runtime.decoding.maskgit import COLDEST, DecodeOptions, decode
from soundstorm_runtime.engines.graphs import step_graph
from soundstorm_runtime.errors import OptionError

from ..nn.conformer import frame_mask
from ..nn.torch_engine import TorchEngine
from .companions import CodecShape

if TYPE_CHECKING:
    from .model import SoundStorm


def draw(
    logits: Tensor, given: Tensor, uniform: Tensor, temperature: Tensor, mask_token: int
) -> tuple[Tensor, Tensor]:
    """Sample the masked codes among `given` int64 `[batch, frames]` from logits `[batch, frames, classes]`.

    uniform: float32 `[batch, frames]` in [0, 1); temperature: float32 `[1]`. Sampling inverts the
    cumulative distribution, so equal numbers give equal codes on every engine. Returns the codes, those
    that were not masked as they were, and the probability of each at temperature 1, float32 alike.
    """
    log_probabilities = logits.float().log_softmax(dim=-1)
    probabilities = (log_probabilities / temperature).softmax(dim=-1)
    ids = torch.where(given == mask_token, invert(probabilities, uniform), given)
    return ids, log_probabilities.gather(2, ids[..., None])[..., 0].exp()


def invert(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Find where the cumulative sum of `[batch, frames, classes]` reaches `uniform` `[batch, frames]`.

    First the block, then the code in it: a sum over all classes is slow on every engine. The last sum is
    1 but for rounding, which must not count.
    """
    classes = probabilities.shape[-1]
    size = max(d for d in range(1, math.isqrt(classes) + 1) if classes % d == 0)
    blocks = probabilities.unflatten(-1, (-1, size))
    ends = blocks.sum(dim=-1).cumsum(dim=-1)[..., :-1]
    block = (ends < uniform[..., None]).sum(dim=-1, keepdim=True)
    start = F.pad(ends, (1, 0)).gather(2, block)
    inside = blocks.gather(2, block[..., None].expand(-1, -1, -1, size))[:, :, 0]
    place = (inside.cumsum(dim=-1)[..., :-1] < uniform[..., None] - start).sum(dim=-1)
    return block[..., 0] * size + place


def keep_likeliest(logits: Tensor, filter_thres: float | None) -> Tensor:
    """Rule out all but the likeliest codes; `filter_thres` is the share of codes that is ruled out."""
    if filter_thres is None:
        return logits
    count = max(1, math.ceil((1 - filter_thres) * logits.shape[-1]))
    values, ids = logits.topk(count, dim=-1)
    return torch.full_like(logits, -math.inf).scatter(-1, ids, values)


class GuidedStep:
    """What the decode loop calls in the place of the step graph: `SoundStorm.step` with all extras.

    cond: `[batch, frames, dim]`, added to the frames; cond_scale: how much more weight it has than in
    training (classifier-free guidance, arXiv 2207.12598), 1 for none; inputs: what else the network takes.
    """

    def __init__(
        self,
        model: SoundStorm,
        cond: Tensor | None,
        filter_thres: float | None,
        cond_scale: float,
        inputs: dict[str, Tensor],
    ) -> None:
        self.model, self.cond = model, cond
        self.filter_thres, self.cond_scale = filter_thres, cond_scale
        self.inputs = inputs
        self.said: Tensor | None = None  # in the step before

    def __call__(
        self,
        codes: Tensor,
        level: Tensor,
        semantic_tokens: Tensor,  # the condition is made of them already
        lengths: Tensor,
        uniform: Tensor,
        temperature: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Sample the codes of one level, as `SoundStorm.step` does."""
        model = self.model
        inputs: dict[str, Any] = {
            **self.inputs,
            "mask": frame_mask(lengths, codes.shape[1]),
            "cond": self.cond,
        }
        sum_embeds = model.self_condition(self.said) if model.self_condition is not None else None
        hidden = model.net.hidden(codes, level=level, sum_embeds=sum_embeds, **inputs)
        logits = model.net.heads(hidden, level)
        if model.self_condition is not None:
            self.said = model.net.heads.summed_embeddings(hidden)
        if self.cond_scale != 1:
            blind = model.net.hidden(codes, level=level, sum_embeds=sum_embeds, **{**inputs, "cond": None})
            without = model.net.heads(blind, level)
            logits = without + (logits - without) * self.cond_scale
        given = codes.index_select(2, level)[..., 0]
        logits = keep_likeliest(logits, self.filter_thres)
        ids, confidence = draw(logits, given, uniform, temperature, model.codebook_size)
        return ids, model.judge(confidence, codes, ids, level, inputs)


def plan(
    model: SoundStorm,
    num_latents: int | None,
    seconds: float | None,
    mask: Tensor | None,
    tokens: Tensor | None,
    batch: int,
) -> tuple[Tensor | None, Tensor]:
    """Give the condition `[batch, frames, dim]`, if there is one, and the frames of each sample, `[batch]`.

    Raises `OptionError` unless exactly one thing says how long the samples are.
    """
    ways = {"num_latents": num_latents, "seconds": seconds, "semantic tokens": tokens, "mask": mask}
    given = [name for name, value in ways.items() if value is not None]
    expected = "texts or cond_semantic_token_ids" if model.condition else "num_latents, seconds or mask"
    if len(set(given) - {"mask"}) > 1 or not given or (tokens is None) != (model.condition is None):
        raise OptionError(
            f"the length follows from {' and '.join(given) or 'nothing'}; give {expected} alone"
        )
    cond, lengths = None, None
    if tokens is not None and model.condition is not None:
        cond, lengths = model.condition(tokens)
        lengths = lengths.clamp(min=1)
    elif seconds is not None:
        if model.soundstream is None:
            raise OptionError("seconds were given to a model without soundstream; give num_latents")
        codec = CodecShape(model.soundstream)
        num_latents = int(seconds * codec.sample_rate) // codec.hop
    if mask is not None:
        masked = mask.sum(dim=1)
        if mask.ndim != 2 or (mask != frame_mask(masked, mask.shape[1])).any():
            raise OptionError(
                "the mask has gaps, expected [batch, frames], true up to the length of each sample"
            )
        lengths = masked if lengths is None else torch.minimum(lengths, masked)
    return cond, torch.full((batch,), num_latents or 0) if lengths is None else lengths


def decode_codes(
    model: SoundStorm,
    step: GuidedStep,
    lengths: Tensor,
    options: DecodeOptions,
    prompt: Tensor | None,
    seed: int | None,
) -> Tensor:
    """Run the decode loop: codes int64 `[batch, frames, levels]`. Without a seed PyTorch draws one."""
    frames = int(lengths.max()) if step.cond is None else step.cond.shape[1]
    codes = decode(
        TorchEngine(step_graph(model.levels), step, model.device),
        semantic_tokens=np.zeros((len(lengths), frames), np.int64),  # the step has its condition
        lengths=lengths.cpu().numpy(),
        levels=model.levels,
        codebook_size=model.codebook_size,
        options=options,
        rng=np.random.default_rng(int(torch.randint(2**62, ())) if seed is None else seed),
        prompt=None if prompt is None else prompt.cpu().numpy(),
        groups=model.net.grouped_quantizers,
    )
    return torch.from_numpy(codes).to(model.device)


def decode_options(
    model: SoundStorm, temperature: float, noise: float, full_levels: int, steps: Sequence[int] | None
) -> DecodeOptions:
    """Give the options of the loop: the model's number of steps for the first levels, one for the others."""
    full = full_levels * model.net.grouped_quantizers
    if steps is None:
        steps = [model.options.steps if place < full else 1 for place in range(model.levels)]
    return DecodeOptions(
        steps=tuple(steps),
        schedule=model.masking.schedule,
        temperature=max(COLDEST, temperature),
        annealed=True,
        noise=noise,
        can_mask_prev_unmasked=model.options.can_mask_prev_unmasked,
    )


def tokens_of(model: SoundStorm, texts: Sequence[str] | Tensor, extras: Mapping[str, Any]) -> Tensor:
    """Have the model's text stage turn texts into semantic tokens int64 `[batch, tokens]`."""
    if model.text_to_semantic is None:
        raise OptionError(
            "texts were given to a model that reads none; give spear_tts_text_to_semantic, or semantic tokens"
        )
    tokens = model.text_to_semantic.generate(texts, source_type="text", target_type="speech", **extras)
    return tokens if isinstance(tokens, Tensor) else tokens[0]
