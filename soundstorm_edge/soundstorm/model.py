"""SoundStorm (arXiv 2305.09636): masked parallel modelling of codec codes with a Conformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundstorm_runtime.decoding.maskgit import DecodeOptions
from soundstorm_runtime.errors import OptionError

from ..nn.conformer import frame_mask
from ..nn.torch_engine import evaluating
from ..support.config import from_fields
from ..text_to_semantic.autoregressive import TextToSemantic
from .companions import check_codec, codes_to_audio, make_condition, one_wav2vec, read
from .conformer_wrapper import ConformerWrapper
from .critic import TokenCritic, critic_loss, draw_codes
from .generation import GuidedStep, decode_codes, decode_options, draw, plan, tokens_of
from .masking import Masking, hide, of_numbers
from .self_conditioning import SelfCondition
from .semantic_conditioning import SemanticCondition
from .soundstorm_config import SoundStormConfig, SoundStormOptions

__all__ = ["LossBreakdown", "SoundStorm", "SoundStormConfig", "SoundStormOptions"]


class LossBreakdown(NamedTuple):
    """The parts of a loss, scalars; None for what was not trained."""

    generator_loss: Tensor | None
    critic_loss: Tensor | None


class SoundStorm(nn.Module):
    """Fills masked codes, level by level, given semantic tokens.

    net: the network; soundstream: the codec that makes codes of audio and audio of codes;
    spear_tts_text_to_semantic: makes semantic tokens of texts; wav2vec: makes them of audio; token_critic:
    a network that judges codes. What else there is are the fields of `SoundStormOptions`, by keyword.
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
        self.wav2vec = one_wav2vec(spear_tts_text_to_semantic, wav2vec)
        self.masking = Masking(
            no_replace_prob=options.no_replace_prob,
            random_token_prob=options.random_token_prob,
            schedule=of_numbers(options.schedule),
        )
        self.self_condition = SelfCondition(net.dim) if options.self_cond else None
        if options.self_token_critic and token_critic is not None:
            raise OptionError("self_token_critic and token_critic were both given, expected one; choose")
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
        """Make an untrained model of what a checkpoint says: network, condition and critic, no codec."""
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
        """Where the parameters are."""
        return self.net.code_embedding.weight.device

    @property
    def config(self) -> SoundStormConfig:
        """What a checkpoint says of this model."""
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

    def alone(self) -> SoundStorm:
        """Copy this model without the models beside it: what a checkpoint holds of it, and a device runs."""
        model = SoundStorm.from_config(self.config).to(self.device)
        own = {name: self.state_dict()[name] for name in model.state_dict()}
        if self.condition is not None:  # a shared table has a row for the end of a sequence, too
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
        **inputs: Any,
    ) -> tuple[Tensor, LossBreakdown]:
        """Compute the loss of filling in hidden codes (section 3.2), and of the critic where there is one.

        x: codes int64 `[batch, frames, levels]`, or audio float32 `[batch, samples]`; mask: bool `[batch,
        frames]`, true where frames are; cond_semantic_token_ids: int64 `[batch, tokens]`, made of the
        audio where they are not given; masking: in the place of the model's own; inputs: what else
        `Conformer.forward` takes. The loss is the mean cross entropy in nats a code.
        """
        if only_train_critic and self.token_critic is None:
            raise OptionError(
                "only_train_critic was given to a model without a critic; set self_token_critic"
            )
        codes, mask, cond = read(self, x, mask, cond_semantic_token_ids)
        inputs = {**inputs, "mask": mask, "cond": cond}
        real = torch.ones_like(codes[..., 0], dtype=torch.bool) if mask is None else mask
        hidden = hide(codes, real, self.codebook_size, masking or self.masking, self.net.grouped_quantizers)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not only_train_critic):
            said = self._said_before(hidden.codes, hidden.level, inputs)
            seen = self.net.hidden(hidden.codes, level=hidden.level, sum_embeds=said, **inputs)
            logits = self.net.heads(seen, hidden.level)
        column = hidden.level[:, None, None].expand(-1, codes.shape[1], 1)
        targets = codes.gather(2, column)[..., 0]
        loss = F.cross_entropy(logits.transpose(1, 2), targets.masked_fill(~hidden.asked, -100))
        if self.token_critic is None or only_train_generator:
            return loss, LossBreakdown(loss, None)
        sampled = draw_codes(logits.detach(), generator_sample_temperature)
        shown = torch.where(hidden.asked, sampled, targets)
        guess = hidden.codes.scatter(2, column, shown[..., None])
        scores = self.token_critic.score(guess, hidden.level, **inputs)
        judged = critic_loss(scores, shown != targets, real)
        if only_train_critic:
            return judged, LossBreakdown(None, judged)
        return loss + self.options.critic_loss_weight * judged, LossBreakdown(loss, judged)

    def logits(self, codes: Tensor, level: Tensor, semantic_tokens: Tensor, lengths: Tensor) -> Tensor:
        """Predict the codes of one level.

        codes: int64 `[batch, frames, levels]`, masked ones `codebook_size`; level: int64 `[batch]` or
        `[1]`; semantic_tokens: int64 `[batch, frames]`; lengths: int64 `[batch]`. Returns float32
        `[batch, frames, codebook_size]`.
        """
        inputs = self._inputs(codes, semantic_tokens, lengths)
        return self.net.heads(self.net.hidden(codes, level=level, **inputs), level)

    def _inputs(self, codes: Tensor, semantic_tokens: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        if self.condition is None or self.config.only_in_pytorch:
            raise OptionError(
                f"the step graph cannot hold {', '.join(self.config.only_in_pytorch)}; decode with generate()"
            )
        return {"mask": frame_mask(lengths, codes.shape[1]), "cond": self.condition.embed(semantic_tokens)}

    def step(
        self,
        codes: Tensor,
        level: Tensor,
        semantic_tokens: Tensor,
        lengths: Tensor,
        uniform: Tensor,
        temperature: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Sample the codes of one level: the graph `step` of `soundstorm_runtime.engines.graphs`.

        uniform: float32 `[batch, frames]` in [0, 1); temperature: float32 `[1]`. Returns ids int64
        `[batch, frames]`, as they were where they are not masked, and what speaks for each, float32
        alike: its probability at temperature 1, or the critic's word.
        """
        inputs = self._inputs(codes, semantic_tokens, lengths)
        logits = self.net.heads(self.net.hidden(codes, level=level, **inputs), level)
        given = codes.index_select(2, level)[..., 0]
        ids, confidence = draw(logits, given, uniform, temperature, self.codebook_size)
        return ids, self.judge(confidence, codes, ids, level, inputs)

    def judge(
        self, confidence: Tensor, codes: Tensor, ids: Tensor, level: Tensor, inputs: Mapping[str, Any]
    ) -> Tensor:
        """Give what the critic makes of sampled `ids` `[batch, frames]`, or `confidence` without a critic."""
        if self.token_critic is None:
            return confidence
        column = torch.arange(self.levels, device=codes.device) == level
        return (
            -self.token_critic.score(torch.where(column, ids[..., None], codes), level, **inputs)
        ).sigmoid()

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
        seed: int | None = None,
        **inputs: Tensor,
    ) -> Tensor | list[Tensor]:
        """Speak, or fill in codes, with the runtime's decode loop around PyTorch.

        How long: `num_latents` frames or `seconds`; with a condition, as long as the semantic tokens,
        which `texts` become. `mask` bool `[batch, frames]` shortens samples. `prompt_acoustic_token_ids`:
        codes of the first frames, `[batch, prompt frames, levels]`, which stay.

        How: `start_temperature` falls to 0 over the steps of a level; `filter_thres` is the share of codes
        ruled out as unlikely; `noise_level_scale` times Gumbel noise joins the ranking; the first
        `num_full_sampling_levels` levels take `steps` of the options, the others one, or `steps` has a
        number for each; `cond_scale` above 1 follows the condition more closely. `options` are what a
        device decodes with, and take the place of all these. `inputs`: what else `Conformer.forward` takes.

        Returns audio float32 `[batch, samples]` where there is a codec, or else codes int64 `[batch, frames,
        levels]`, 0 after the end of each; a list of audio `[samples]` where lengths may differ: with a
        condition or a mask. Without any of `batch_size`, condition and mask it is one sample, not a batch.
        """
        tokens = cond_semantic_token_ids
        if texts is not None:
            extras = {"spec_decode": spec_decode, "spec_decode_gamma": spec_decode_gamma}
            tokens = tokens_of(self, texts, {**extras, **(text_to_semantic_generate_kwargs or {})})
        if options is None:
            options = decode_options(
                self, start_temperature, noise_level_scale, num_full_sampling_levels, steps
            )
        else:
            filter_thres = None
        with evaluating(self), torch.no_grad():
            cond, lengths = plan(self, num_latents, seconds, mask, tokens, batch_size or 1)
            step = GuidedStep(self, cond, filter_thres, cond_scale, inputs)
            codes = decode_codes(self, step, lengths, options, prompt_acoustic_token_ids, seed)
            alone = batch_size is None and tokens is None and mask is None
            if self.soundstream is None:
                return codes[0] if alone else codes
            audio = codes_to_audio(self.soundstream, codes, lengths.tolist())
        if tokens is not None or mask is not None:
            return audio
        return audio[0] if alone else torch.stack(audio)

    def _said_before(self, codes: Tensor, level: Tensor, inputs: Mapping[str, Any]) -> Tensor | None:
        """Give the self-condition of a training step: what the network says of the same codes, or nothing."""
        if self.self_condition is None:
            return None
        if torch.rand(()) >= self.options.self_cond_train_prob:
            return self.self_condition(None)
        with torch.no_grad():
            first = self.net.hidden(codes, level=level, **inputs)
        return self.self_condition(self.net.heads.summed_embeddings(first).detach())
