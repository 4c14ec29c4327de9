"""A step of decoding in PyTorch, with what the exported step graph leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..nn.conformer import frame_mask
from .conformer_wrapper import ConformerWrapper
from .critic import TokenCritic
from .sampling import draw, expected_vectors, keep_likeliest
from .self_conditioning import SelfCondition


class GuidedStep:
    """Stands in for the step graph in the decode loop: guidance, filtering, self-conditioning, a critic.

    Args:
        net: the network.
        self_condition: feeds the embeddings of one step into the next (arXiv 2208.04202).
        critic: ranks the sampled codes in place of their probabilities.
        condition: float32 `[batch, frames, dim]`, added to the frames.
        filter_thres: share of the codes that is ruled out before sampling; None rules out none.
        cond_scale: weight of the condition (classifier-free guidance, arXiv 2207.12598); 1 adds none.
        inputs: further inputs of `Conformer.forward`.
        prompt_frames: of the prompt, which is a block of its own where the network is block-causal and
            `inputs` has no blocks.
        codebooks: of the codec, float32 `[levels, codebook_size, latent]`, for `DecodeOptions.expected`.
    """

    def __init__(
        self,
        net: ConformerWrapper,
        self_condition: SelfCondition | None,
        critic: TokenCritic | None,
        condition: Tensor | None,
        filter_thres: float | None,
        cond_scale: float,
        inputs: Mapping[str, Tensor],
        prompt_frames: int = 0,
        codebooks: Tensor | None = None,
    ) -> None:
        self.net, self.self_condition, self.critic = net, self_condition, critic
        self.condition, self.inputs = condition, inputs
        self.filter_thres, self.cond_scale = filter_thres, cond_scale
        self.prompt_frames, self.codebooks = prompt_frames, codebooks
        self.previous: Tensor | None = None  # the summed embeddings of the step before

    def __call__(
        self,
        codes: Tensor,
        level: Tensor,
        semantic_tokens: Tensor,  # unused: they are embedded in the condition
        lengths: Tensor,
        uniform: Tensor,
        temperature: Tensor,
    ) -> tuple[Tensor, ...]:
        """Sample the codes of one level.

        Arguments and results are those of `SoundStorm.step`, with codebooks those of `expecting_step`.
        """
        net = self.net
        inputs: dict[str, Any] = {
            **self.inputs,
            "mask": frame_mask(lengths, codes.shape[1]),
            "cond": self.condition,
        }
        if net.config.conformer.block_causal and "blocks" not in inputs:
            after_prompt = torch.arange(codes.shape[1], device=codes.device) >= self.prompt_frames
            inputs["blocks"] = after_prompt.long().expand(len(codes), -1)
        sum_embeds = None if self.self_condition is None else self.self_condition(self.previous)
        hidden = net.hidden(codes, level=level, sum_embeds=sum_embeds, **inputs)
        logits = net.heads(hidden, level)
        if self.self_condition is not None:
            self.previous = net.heads.summed_embeddings(hidden)
        if self.cond_scale != 1:
            blind = net.hidden(codes, level=level, sum_embeds=sum_embeds, **{**inputs, "cond": None})
            unconditioned = net.heads(blind, level)
            logits = unconditioned + (logits - unconditioned) * self.cond_scale
        given = codes.index_select(2, level)[..., 0]
        logits = keep_likeliest(logits, self.filter_thres)
        ids, confidence = draw(logits, given, uniform, temperature, net.codebook_size)
        if self.critic is not None:
            confidence = self.critic.confidence(ids, codes, level, **inputs)
        if self.codebooks is None:
            return ids, confidence
        return ids, confidence, expected_vectors(logits, codes, level, self.codebooks)
