"""SoundStorm (arXiv 2305.09636): masked parallel modelling of codec codes with a Conformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundstorm_runtime.decoding.maskgit import COLDEST, DecodeOptions, decode
from soundstorm_runtime.engines.graphs import quantizer_graph, step_graph
from soundstorm_runtime.errors import OptionError

from ..codec.quantizer import Quantizer
from ..errors import ConfigError
from ..nn.block_cache import BlockCache
from ..nn.conformer import frame_mask
from ..nn.torch_engine import TorchEngine, evaluating
from ..support.config import from_fields
from ..text_to_semantic.autoregressive import TextToSemantic
from .attached_models import (
    CodecShape,
    audio_to_codes,
    audio_to_tokens,
    check_codec,
    codes_to_audio,
    make_condition,
    residual_quantizer,
    semantic_tokenizer,
)
from .conformer_wrapper import ConformerWrapper
from .critic import TokenCritic, critic_loss, draw_codes
from .guided_step import GuidedStep
from .masking import Masking, draw_blocks, hide, of_numbers
from .sampling import draw, expected_vectors
from .self_conditioning import SelfCondition
from .semantic_conditioning import SemanticCondition
from .soundstorm_config import SoundStormConfig, SoundStormOptions

__all__ = ["LossBreakdown", "SoundStorm", "SoundStormConfig", "SoundStormOptions"]


class LossBreakdown(NamedTuple):
    """The parts of a loss, scalars; None for a part that was not trained."""

    generator_loss: Tensor | None
    critic_loss: Tensor | None


class SoundStorm(nn.Module):
    """Predicts masked codes, level by level, from semantic tokens.

    Args:
        net: the network.
        options: or its fields by keyword: see `SoundStormOptions`.
        soundstream: the codec between audio and codes.
        spear_tts_text_to_semantic: turns texts into semantic tokens.
        wav2vec: turns audio into semantic tokens.
        token_critic: a network that scores sampled codes.

    Raises:
        ConfigError: an option is unknown or impossible, or a model does not fit the network.
    """

    def __init__(
        self,
        net: ConformerWrapper,
        options: SoundStormOptions | None = None,
        /,
        *,
        soundstream: nn.Module | None = None,
        spear_tts_text_to_semantic: TextToSemantic | None = None,
        wav2vec: nn.Module | None = None,
        token_critic: ConformerWrapper | None = None,
        **fields: Any,
    ) -> None:
        super().__init__()
        self.options = options = from_fields(SoundStormOptions, options, fields)
        self.net = net
        self.levels, self.codebook_size = net.levels, net.codebook_size
        self.soundstream = soundstream
        self.text_to_semantic = spear_tts_text_to_semantic
        self.wav2vec = semantic_tokenizer(spear_tts_text_to_semantic, wav2vec)
        self.masking = Masking(
            no_replace_prob=options.no_replace_prob,
            random_token_prob=options.random_token_prob,
            schedule=of_numbers(options.schedule),
        )
        self.self_condition = SelfCondition(net.dim) if options.self_cond else None
        if options.self_token_critic and token_critic is not None:
            raise ConfigError("self_token_critic and token_critic were both given, expected one; choose")
        self.token_critic: TokenCritic | None = None
        if options.self_token_critic or token_critic is not None:
            self.token_critic = TokenCritic(token_critic or net, shared=token_critic is None)
        self.condition = make_condition(
            options, net.dim, soundstream, self.wav2vec, spear_tts_text_to_semantic
        )
        if soundstream is not None:
            check_codec(soundstream, net.levels, net.codebook_size)

    @classmethod
    def from_config(cls, config: SoundStormConfig) -> SoundStorm:
        """Build an untrained model of a checkpoint's configuration: network, condition, critic, no codec."""
        net = ConformerWrapper(config.net(config.conformer))
        own = config.token_critic
        critic = None if own is None else ConformerWrapper(config.net(own))
        options = SoundStormOptions(self_cond=config.self_cond, self_token_critic=config.self_token_critic)
        model = cls(net, options, token_critic=critic)
        if config.vocabulary is not None:
            model.condition = SemanticCondition(
                config.vocabulary,
                net.dim,
                width=config.semantic_width,
                frames_per_token=config.frames_per_token,
            )
        return model

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.net.code_embedding.weight.device

    @property
    def config(self) -> SoundStormConfig:
        """The configuration that a checkpoint keeps of this model."""
        net, critic, condition = self.net.config, self.token_critic, self.condition
        return SoundStormConfig(
            levels=net.levels,
            codebook_size=net.codebook_size,
            vocabulary=None if condition is None else condition.vocabulary,
            conformer=net.conformer,
            groups=net.grouped_quantizers,
            level_embedding=net.level_embedding,
            semantic_width=None if condition is None else condition.width,
            frames_per_token=1.0 if condition is None else condition.frames_per_token,
            self_cond=self.self_condition is not None,
            self_token_critic=critic is not None and critic.own_net is None,
            token_critic=None
            if critic is None or critic.own_net is None
            else critic.own_net.config.conformer,
        )

    def standalone(self) -> SoundStorm:
        """Return a copy without the attached models: what a checkpoint holds and a device runs."""
        model = SoundStorm.from_config(self.config).to(self.device)
        own = {name: self.state_dict()[name] for name in model.state_dict()}
        if self.condition is not None:  # a shared table has one more row, for the end
            own["condition.embedding.weight"] = self.condition.embedding.weight[: self.condition.vocabulary]
        model.load_state_dict(own)
        return model.train(self.training)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        cond_semantic_token_ids: Tensor | None = None,
        only_train_generator: bool = False,
        only_train_critic: bool = False,
        generator_sample_temperature: float | None = None,
        masking: Masking | None = None,
        prompt_frames: Tensor | None = None,
        given_frames: Tensor | None = None,
        **inputs: Any,
    ) -> tuple[Tensor, LossBreakdown]:
        """Compute the loss of predicting masked codes (section 3.2), and that of the critic if there is one.

        Args:
            x: codes int64 `[batch, frames, levels]`, or audio float32 `[batch, samples]`.
            mask: bool `[batch, frames]`, true for real frames.
            cond_semantic_token_ids: int64 `[batch, tokens]`; made of the audio where they are not given.
            only_train_generator: leave out the critic's loss.
            only_train_critic: leave out the network's loss.
            generator_sample_temperature: of the codes that the critic scores; None draws one per call.
            masking: in place of the model's own.
            prompt_frames: of each sample, int64 `[batch]`, kept as its prompt (see `hide`).
            given_frames: bool `[batch, frames]`, which are not predicted (see `hide`).
            inputs: further inputs of `Conformer.forward`.

        Returns:
            The loss, a mean cross entropy in nats per code, and its parts.

        Raises:
            OptionError: the arguments do not fit this model or each other.
        """
        if only_train_critic and self.token_critic is None:
            raise OptionError(
                "only_train_critic was given to a model without a critic; set self_token_critic"
            )
        codes, mask, cond = self._codes_and_condition(x, mask, cond_semantic_token_ids)
        inputs = {**inputs, "mask": mask, "cond": cond}
        real = torch.ones_like(codes[..., 0], dtype=torch.bool) if mask is None else mask
        masking, groups = masking or self.masking, self.net.grouped_quantizers
        hidden = hide(codes, real, self.codebook_size, masking, groups, prompt_frames, given_frames)
        if self.net.config.conformer.block_causal:
            inputs["blocks"] = draw_blocks(hidden.known, codes.shape[1], prompt_frames)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not only_train_critic):
            previous = self._self_conditioning(hidden.codes, hidden.level, inputs)
            states = self.net.hidden(hidden.codes, level=hidden.level, sum_embeds=previous, **inputs)
            logits = self.net.heads(states, hidden.level)
        column = hidden.level[:, None, None].expand(-1, codes.shape[1], 1)
        targets = codes.gather(2, column)[..., 0]
        loss = F.cross_entropy(logits.transpose(1, 2), targets.masked_fill(~hidden.asked, -100))
        if self.token_critic is None or only_train_generator:
            return loss, LossBreakdown(loss, None)
        sampled = draw_codes(logits.detach(), generator_sample_temperature)
        shown = torch.where(hidden.asked, sampled, targets)
        guess = hidden.codes.scatter(2, column, shown[..., None])
        scores = self.token_critic.score(guess, hidden.level, **inputs)
        of_critic = critic_loss(scores, shown != targets, real)
        if only_train_critic:
            return of_critic, LossBreakdown(None, of_critic)
        return loss + self.options.critic_loss_weight * of_critic, LossBreakdown(loss, of_critic)

    def _codes_and_condition(
        self, x: Tensor, mask: Tensor | None, tokens: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return codes `[batch, frames, levels]`, mask and condition for the arguments of `forward`."""
        codes = x
        if x.is_floating_point():
            if self.soundstream is None:
                raise OptionError("audio was given to a model without soundstream; give codes")
            if tokens is None and self.condition is not None and self.wav2vec is not None:
                tokens = audio_to_tokens(self.wav2vec, x)
            codes = audio_to_codes(self.soundstream.eval(), x)
        codes = self.net.as_frames(codes)
        if self.options.pad_id is not None:
            padding = (codes == self.options.pad_id).any(dim=-1)
            mask = ~padding if mask is None else mask & ~padding
            codes = codes.masked_fill(padding[..., None], 0)
        if self.condition is None and tokens is None:
            return codes, mask, None
        if self.condition is None or tokens is None:
            has, given = ("no", "were") if self.condition is None else ("a", "were not")
            raise OptionError(
                f"the model has {has} condition and cond_semantic_token_ids {given} given; give them to a "
                "model with num_semantic_token_ids, and to no other"
            )
        condition, _ = self.condition(tokens, codes.shape[1])
        if self.options.cond_drop_prob:
            kept = torch.rand(len(condition), 1, 1, device=condition.device) >= self.options.cond_drop_prob
            condition = condition * kept
        return codes, mask, condition

    def _self_conditioning(self, codes: Tensor, level: Tensor, inputs: Mapping[str, Any]) -> Tensor | None:
        """Return the self-condition of a training step: of a first pass over the same codes, or of none."""
        if self.self_condition is None:
            return None
        if torch.rand(()) >= self.options.self_cond_train_prob:
            return self.self_condition(None)
        with torch.no_grad():
            first = self.net.hidden(codes, level=level, **inputs)
        return self.self_condition(self.net.heads.summed_embeddings(first).detach())

    def logits(self, codes: Tensor, level: Tensor, semantic_tokens: Tensor, lengths: Tensor) -> Tensor:
        """Predict the codes of one level: logits float32 `[batch, frames, codebook_size]`.

        Args:
            codes: int64 `[batch, frames, levels]`, masked ones `codebook_size`.
            level: int64 `[batch]` or `[1]`.
            semantic_tokens: int64 `[batch, frames]`.
            lengths: frames of each sample, int64 `[batch]`.
        """
        cond = self._embedded(semantic_tokens)
        mask = frame_mask(lengths, codes.shape[1])
        return self.net.heads(self.net.hidden(codes, level=level, mask=mask, cond=cond), level)

    def _embedded(self, semantic_tokens: Tensor) -> Tensor:
        if self.condition is None or self.config.only_in_pytorch:
            raise OptionError(
                f"the step graph cannot hold {', '.join(self.config.only_in_pytorch)}; decode with generate()"
            )
        return self.condition.embed(semantic_tokens)

    def step(
        self,
        codes: Tensor,
        level: Tensor,
        semantic_tokens: Tensor,
        lengths: Tensor,
        uniform: Tensor,
        temperature: Tensor,
        *past: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Sample the codes of one level: the graph `step` of `soundstorm_runtime.engines.graphs`.

        Args:
            codes: int64 `[batch, frames, levels]`, masked ones `codebook_size`.
            level: int64 `[1]`.
            semantic_tokens: int64 `[batch, frames]`.
            lengths: frames of each sample, int64 `[batch]`.
            uniform: float32 `[batch, frames]` in [0, 1).
            temperature: float32 `[1]`.
            past: of a block-causal network, the fields of a `BlockCache`.

        Returns:
            The codes int64 `[batch, frames]`, unmasked ones unchanged, and the confidence in each, float32
            `[batch, frames]`: its probability at temperature 1, or that of the critic.
        """
        ids, confidence, _ = self._step(codes, level, semantic_tokens, lengths, uniform, temperature, *past)
        return ids, confidence

    def expecting_step(
        self, codebooks: Tensor, codes: Tensor, level: Tensor, *others: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sample as `step` does, and return the vectors that are expected, too: the graph `step` with them.

        Args:
            codebooks: of the codec, float32 `[levels, codebook_size, latent]`.
            codes, level, others: the arguments of `step`, in order.

        Returns:
            The two results of `step`, and float32 `[batch, frames, latent]`: the mean of the level's vectors
            under the probabilities of a masked code, the vector of one that is not masked.
        """
        ids, confidence, logits = self._step(codes, level, *others)
        return ids, confidence, expected_vectors(logits, codes, level, codebooks)

    def _step(
        self,
        codes: Tensor,
        level: Tensor,
        semantic_tokens: Tensor,
        lengths: Tensor,
        uniform: Tensor,
        temperature: Tensor,
        *past: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the codes, the confidence in each, and the logits `[batch, frames, codebook_size]`."""
        cond, mask = self._embedded(semantic_tokens), frame_mask(lengths, codes.shape[1])
        if self.net.config.conformer.block_causal:
            hidden, _ = self.net.continued(codes, lengths, cond, BlockCache(*past), level)
        else:
            hidden = self.net.hidden(codes, level=level, mask=mask, cond=cond)
        given = codes.index_select(2, level)[..., 0]
        logits = self.net.heads(hidden, level)
        ids, confidence = draw(logits, given, uniform, temperature, self.codebook_size)
        if self.token_critic is not None:
            confidence = self.token_critic.confidence(ids, codes, level, mask=mask, cond=cond)
        return ids, confidence, logits

    def prefix(
        self, codes: Tensor, semantic_tokens: Tensor, lengths: Tensor, *past: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute what a step needs of a finished block: the graph `prefix`.

        Args:
            codes: int64 `[batch, frames, levels]`.
            semantic_tokens: int64 `[batch, frames]`.
            lengths: frames of each sample, int64 `[batch]`.
            past: the fields of a `BlockCache` of the blocks before.

        Returns:
            Keys, values and last inputs of the convolutions of this block, as in a `BlockCache`.
        """
        _, kept = self.net.continued(codes, lengths, self._embedded(semantic_tokens), BlockCache(*past))
        return kept.keys, kept.values, kept.convolved

    def generate(
        self,
        num_latents: int | None = None,
        *,
        mask: Tensor | None = None,
        texts: Sequence[str] | Tensor | None = None,
        cond_semantic_token_ids: Tensor | None = None,
        prompt_acoustic_token_ids: Tensor | None = None,
        seconds: float | None = None,
        batch_size: int | None = None,
        start_temperature: float = 1.0,
        filter_thres: float | None = 0.7,
        noise_level_scale: float = 1.0,
        num_full_sampling_levels: int = 1,
        text_to_semantic_generate_kwargs: Mapping[str, Any] | None = None,
        spec_decode: bool = False,
        spec_decode_gamma: int = 5,
        cond_scale: float = 1.0,
        steps: Sequence[int] | None = None,
        options: DecodeOptions | None = None,
        quantizer: Quantizer | None = None,
        seed: int | None = None,
        **inputs: Tensor,
    ) -> Tensor | list[Tensor]:
        """Generate codes or audio with the runtime's decode loop around PyTorch.

        The length is that of the semantic tokens where the model has a condition, and else `num_latents`
        or `seconds`.

        Args:
            num_latents: frames to generate.
            mask: bool `[batch, frames]`, true up to the length of each sample, which it shortens.
            texts: turned into semantic tokens by the attached text stage.
            cond_semantic_token_ids: semantic tokens int64 `[batch, tokens]`.
            prompt_acoustic_token_ids: codes of the first frames, int64 `[batch, prompt frames, levels]`;
                they are kept.
            seconds: duration to generate; needs an attached codec.
            batch_size: samples to generate where neither tokens nor a mask state it.
            start_temperature: falls to 0 over the steps of a level.
            filter_thres: share of the codes that is ruled out as unlikely.
            noise_level_scale: scale of the Gumbel noise on the ranking of sampled codes.
            num_full_sampling_levels: so many levels take `SoundStormOptions.steps` steps, the others one.
            text_to_semantic_generate_kwargs: further arguments of `TextToSemantic.generate`.
            spec_decode: as of `TextToSemantic.generate`.
            spec_decode_gamma: as of `TextToSemantic.generate`.
            cond_scale: above 1, guidance by the condition (classifier-free guidance).
            steps: the number of steps of each level.
            options: of the decode loop, as on a device, in place of all that says how to sample.
            quantizer: of the codec, for `options.expected`; None takes that of the attached codec.
            seed: of the decode loop; None draws one from PyTorch.
            inputs: further inputs of `Conformer.forward`.

        Returns:
            Audio float32 `[batch, samples]` where a codec is attached, and else codes int64
            `[batch, frames, levels]`, 0 after the end of each sample. A list of audio `[samples]` where
            lengths may differ: with semantic tokens or a mask. One sample without the batch dimension
            where none of `batch_size`, tokens and mask is given.

        Raises:
            OptionError: the arguments do not fit this model or each other.
        """
        tokens = cond_semantic_token_ids
        if texts is not None:
            speculation = {"spec_decode": spec_decode, "spec_decode_gamma": spec_decode_gamma}
            tokens = self._tokens_of_texts(texts, {**speculation, **(text_to_semantic_generate_kwargs or {})})
        if options is None:
            options = self.decode_options(
                start_temperature, noise_level_scale, num_full_sampling_levels, steps
            )
        else:
            filter_thres = None
        with evaluating(self), torch.no_grad():
            condition, lengths = self._condition_and_lengths(
                num_latents, seconds, mask, tokens, batch_size or 1
            )
            if not options.expected:
                quantizer = None
            elif quantizer is None:
                quantizer = residual_quantizer(self.soundstream)
            step = GuidedStep(
                self.net, self.self_condition, self.token_critic, condition, filter_thres, cond_scale, inputs,
                prompt_frames=0 if prompt_acoustic_token_ids is None else prompt_acoustic_token_ids.shape[-2],
                codebooks=None if quantizer is None else quantizer.residual.codebooks,
            )  # fmt: skip
            codes = self._decode(step, lengths, options, prompt_acoustic_token_ids, seed, quantizer)
            is_single = batch_size is None and tokens is None and mask is None
            if self.soundstream is None:
                return codes[0] if is_single else codes
            audio = codes_to_audio(self.soundstream, codes, lengths.tolist())
        if tokens is not None or mask is not None:
            return audio
        return audio[0] if is_single else torch.stack(audio)

    def decode_options(
        self,
        temperature: float = 1.0,
        noise: float = 1.0,
        full_levels: int = 1,
        steps: Sequence[int] | None = None,
    ) -> DecodeOptions:
        """Return the options of the decode loop that `generate` uses.

        Args:
            temperature: of the first step of a level; it falls to 0.
            noise: scale of the Gumbel noise on the ranking.
            full_levels: so many levels of each group take `SoundStormOptions.steps` steps, the others one.
            steps: the number of steps of each level, in place of that.
        """
        full = full_levels * self.net.grouped_quantizers
        if steps is None:
            steps = [self.options.steps if place < full else 1 for place in range(self.levels)]
        return DecodeOptions(
            steps=tuple(steps),
            schedule=self.masking.schedule,
            temperature=max(COLDEST, temperature),
            annealed=True,
            noise=noise,
            can_mask_prev_unmasked=self.options.can_mask_prev_unmasked,
        )

    def _tokens_of_texts(self, texts: Sequence[str] | Tensor, options: Mapping[str, Any]) -> Tensor:
        """Turn texts into semantic tokens int64 `[batch, tokens]` with the attached text stage."""
        if self.text_to_semantic is None:
            raise OptionError(
                "texts were given to a model that reads none; give spear_tts_text_to_semantic, or semantic "
                "tokens"
            )
        tokens = self.text_to_semantic.generate(texts, source_type="text", target_type="speech", **options)
        return tokens if isinstance(tokens, Tensor) else tokens[0]

    def _condition_and_lengths(
        self,
        num_latents: int | None,
        seconds: float | None,
        mask: Tensor | None,
        tokens: Tensor | None,
        batch: int,
    ) -> tuple[Tensor | None, Tensor]:
        """Return the condition `[batch, frames, dim]`, if any, and the frames of each sample, `[batch]`."""
        ways = {"num_latents": num_latents, "seconds": seconds, "semantic tokens": tokens, "mask": mask}
        given = [name for name, value in ways.items() if value is not None]
        if len(set(given) - {"mask"}) > 1 or not given or (tokens is None) != (self.condition is None):
            expected = (
                "texts or cond_semantic_token_ids" if self.condition else "num_latents, seconds or mask"
            )
            raise OptionError(
                f"the length follows from {' and '.join(given) or 'nothing'}; give {expected} alone"
            )
        condition, lengths = None, None
        if tokens is not None and self.condition is not None:
            condition, lengths = self.condition(tokens)
            lengths = lengths.clamp(min=1)
        elif seconds is not None:
            if self.soundstream is None:
                raise OptionError("seconds were given to a model without soundstream; give num_latents")
            codec = CodecShape(self.soundstream)
            num_latents = int(seconds * codec.sample_rate) // codec.hop
        if mask is not None:
            masked = _lengths_of_mask(mask)
            lengths = masked if lengths is None else torch.minimum(lengths, masked)
        return condition, torch.full((batch,), num_latents or 0) if lengths is None else lengths

    def _decode(
        self,
        step: GuidedStep,
        lengths: Tensor,
        options: DecodeOptions,
        prompt: Tensor | None,
        seed: int | None,
        quantizer: Quantizer | None,
    ) -> Tensor:
        """Run the decode loop: codes int64 `[batch, frames, levels]`. Without a seed PyTorch draws one."""
        frames = int(lengths.max()) if step.condition is None else step.condition.shape[1]
        graph, nearest = step_graph(self.levels), None
        if quantizer is not None:
            latent = quantizer.residual.codebooks.shape[-1]
            graph = step_graph(self.levels, latent=latent)
            nearest = TorchEngine(quantizer_graph(self.levels, latent), quantizer.encode, self.device)
        codes = decode(
            TorchEngine(graph, step, self.device),
            semantic_tokens=np.zeros((len(lengths), frames), np.int64),  # the step has its condition
            lengths=lengths.cpu().numpy(),
            levels=self.levels,
            codebook_size=self.codebook_size,
            options=options,
            rng=np.random.default_rng(int(torch.randint(2**62, ())) if seed is None else seed),
            prompt=None if prompt is None else prompt.cpu().numpy(),
            groups=self.net.grouped_quantizers,
            quantizer=nearest,
        )
        return torch.from_numpy(codes).to(self.device)


def _lengths_of_mask(mask: Tensor) -> Tensor:
    """Return the length of each sample, int64 `[batch]`, of a mask bool `[batch, frames]`."""
    lengths = mask.sum(dim=-1)
    if mask.ndim != 2 or (mask != frame_mask(lengths, mask.shape[1])).any():
        raise OptionError("the mask has gaps, expected [batch, frames], true up to the length of each sample")
    return lengths
