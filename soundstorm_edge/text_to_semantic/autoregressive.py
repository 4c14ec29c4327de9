"""The autoregressive model between text and semantic tokens (SPEAR-TTS, arXiv 2302.03540)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soundstorm_runtime.engines.graphs import Graph, autoregressive_text_graphs
from soundstorm_runtime.errors import OptionError

from ..errors import ConfigError, CorpusError
from ..nn.conformer import frame_mask
from ..nn.torch_engine import evaluating
from ..nn.transformer import BlockConfig, Decoded, Decoder, EarlyExit, Encoder, share_heads
from ..support.config import from_fields
from ..units.semantic_units import SemanticTokenizer
from .alphabet import LONGEST, MODALITIES, Alphabet, Modality
from .autoregressive_config import TextToSemanticConfig
from .compat.clip_tokenizer import clip_tokenize
from .representation_alignment import similarity_loss
from .sequence_search import Continuation, beam_search, sample, speculate, to_probabilities, top_k, top_p

__all__ = ["TextToSemantic", "TextToSemanticConfig", "top_k", "top_p"]

IGNORED = -100  # the target that cross entropy ignores


class TextToSemantic(nn.Module):
    """Encoder-decoder transformer that predicts the next token from a source and past tokens.

    Source and target are `'speech'` (semantic tokens) or `'text'`. `encode` and `step` are the two graphs of
    `engines.graphs.autoregressive_text_graphs`, argument by argument, from text to speech; they do not check
    ids, because an exported graph cannot depend on values.

    Args:
        config: or its fields by keyword: see `TextToSemanticConfig`.
        wav2vec: turns audio into semantic tokens; not trained.
        tokenizer_encode: turns a list of texts into ids `[batch, length]`.

    Raises:
        ConfigError: a field is unknown or impossible.
    """

    def __init__(
        self,
        config: TextToSemanticConfig | None = None,
        /,
        *,
        wav2vec: SemanticTokenizer | None = None,
        tokenizer_encode: Callable[[Sequence[str]], Tensor] | None = None,
        **fields: Any,
    ) -> None:
        super().__init__()
        if config is None and wav2vec is not None:
            fields = {"num_semantic_token_ids": wav2vec.vocabulary, **fields}
        self.config = config = from_fields(TextToSemanticConfig, config, fields)
        self.wav2vec = None if wav2vec is None else wav2vec.requires_grad_(False)
        self.tokenizer_encode = clip_tokenize if config.use_openai_tokenizer else tokenizer_encode
        self.alphabets = config.alphabets
        dim = config.dim
        # One table embeds tokens and scores them; a sequence starts with a vector of its own.
        self.embedding = nn.ModuleDict({n: nn.Embedding(self.alphabets[n].rows, dim) for n in MODALITIES})
        self.begin = nn.ParameterDict({n: nn.Parameter(torch.empty(dim)) for n in MODALITIES})
        for weight in (*self.embedding.parameters(), *self.begin.parameters()):
            nn.init.normal_(weight, std=dim**-0.5)  # initial logits have a deviation of 1
        sizes = (config.dim_head, config.ff_mult, config.attn_dropout, config.ff_dropout)
        source, target = (BlockConfig(dim, config.heads, n, *sizes) for n in (config.heads, config.kv_heads))
        self.source = Encoder(source, config.source_depth, LONGEST + 1)
        self.target = Decoder(target, config.target_depth, LONGEST + 2)
        layer, rows = config.target_early_exit_layer, self.alphabets["speech"].rows
        self.early_exit = None if layer is None else EarlyExit(dim, rows, layer)

    @property
    def graphs(self) -> tuple[Graph, Graph]:
        """The inputs and outputs of `encode` and `step`, for engines and export."""
        config = self.config
        if not config.autoset_semantic_eos_id:
            raise ConfigError(
                "autoset_semantic_eos_id is False, expected True: the device stops at the end of speech"
            )
        return autoregressive_text_graphs(
            config.target_depth, config.heads, config.dim_head, config.vocabulary
        )

    def forward(
        self,
        source: Tensor | Sequence[str],
        target: Tensor | Sequence[str],
        *,
        source_type: Modality,
        target_type: Modality,
        source_mask: Tensor | None = None,
        target_mask: Tensor | None = None,
        return_loss: bool = False,
        return_logits: bool = False,
        cond_drop_prob: float | None = None,
        should_sim_regularize: bool = True,
        return_early_exit_loss: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return the logits of every next token of `target`, or their loss.

        Args:
            source, target: ids `[batch, length]`, padded with the padding id of their type or where the masks
                are false; audio `[batch, samples]` and lists of texts are tokenized.
            source_type, target_type: `'speech'` or `'text'`.
            source_mask, target_mask: bool `[batch, length]`.
            return_loss: append the end to the target, and return the mean cross entropy of its tokens.
            return_logits: with the loss, also return the logits, `[batch, ids, target]`.
            cond_drop_prob: probability of withholding the source, drawn once per batch.
            should_sim_regularize: add the similarity loss where the source is withheld.
            return_early_exit_loss: add the loss of the early exit.

        Returns:
            Logits `[batch, 1 + target, ids]`, position i after the first i tokens, or the loss.

        Raises:
            CorpusError: ids are out of range, or the batches differ.
            OptionError: the model has no early exit.
        """
        source, source_mask, encoded = self._encode(source, source_type, source_mask)
        target, target_mask = self.ids_and_mask(target, target_type, target_mask, with_end=return_loss)
        if len(source) != len(target):
            raise CorpusError(f"{len(source)} sources and {len(target)} targets were given, expected as many")
        chance = self.config.cond_drop_prob if cond_drop_prob is None else cond_drop_prob
        withheld = bool(torch.rand(()) < chance)
        decoded = self._decode(encoded, source_mask & (not withheld), target, target_type, target_mask)
        logits = self.score(target_type, decoded.x)
        if not return_loss:
            return logits
        wanted = target.masked_fill(~target_mask, IGNORED)
        loss = _cross_entropy(logits, wanted)
        if return_early_exit_loss:
            loss = loss + self._early_exit_loss(decoded.hidden, wanted, target_type)
        weight = self.config.align_reg_loss_weight
        if withheld and should_sim_regularize and source_type != target_type and weight > 0:
            begun_mask, pooling = F.pad(target_mask, (1, 0), value=True), self.config.pooling_temperature
            loss = loss + weight * similarity_loss(encoded, source_mask, decoded.x, begun_mask, pooling)
        return (loss, logits[:, :-1].transpose(1, 2)) if return_logits else loss

    def _encode(
        self, source: Tensor | Sequence[str], source_type: Modality, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        ids, mask = self.ids_and_mask(source, source_type, mask)
        if not mask.any(dim=1).all():
            raise CorpusError(f"a source has no {source_type} tokens, expected one or more; leave it out")
        return ids, mask, self.source(self.embed(source_type, ids), mask)

    def _decode(
        self, encoded: Tensor, seen: Tensor, target: Tensor, target_type: Modality, target_mask: Tensor
    ) -> Decoded:
        return self.target(
            self.embed(target_type, target, begin=True),
            self.target.cross(encoded),
            F.pad(seen, (1, 0), value=True),
            mask=None if target_mask.all() else F.pad(target_mask, (1, 0), value=True),
        )

    def _early_exit_loss(self, hidden: list[Tensor], wanted: Tensor, target_type: Modality) -> Tensor:
        head = self._exit(target_type)
        x = hidden[head.layer - 1]
        return _cross_entropy(head(x.detach() if self.config.detach_early_exit_embed else x), wanted)

    def _exit(self, target_type: Modality) -> EarlyExit:
        if self.early_exit is None:
            raise OptionError("the model has no early exit; set target_early_exit_layer, and train with it")
        if target_type != "speech":
            raise OptionError(f"target_type is {target_type!r}, expected 'speech' with an early exit")
        return self.early_exit

    @torch.no_grad()
    def generate(
        self,
        source: Tensor | Sequence[str],
        *,
        source_type: Modality,
        target_type: Modality,
        temperature: float = 1.0,
        filter_logits_fn: Callable[..., Tensor] = top_k,
        filter_fn_kwargs: Mapping[str, Any] | None = None,
        source_mask: Tensor | None = None,
        max_length: int = 2048,
        beam_search_decode: bool = False,
        spec_decode: bool = False,
        spec_decode_gamma: int = 5,
        spec_decode_lenience: float = 1.0,
        beam_size: int = 4,
        return_source: bool = False,
        return_target_mask: bool = False,
        cond_scale: float = 1.0,
    ) -> Tensor | tuple[Tensor, ...]:
        """Generate the target of each source, int64 `[batch, length]`: tokens, their end, then padding.

        The model is in evaluation mode meanwhile.

        Args:
            source, source_type, target_type, source_mask: as of `forward`.
            temperature: of sampling; 0 takes the likeliest token.
            filter_logits_fn, filter_fn_kwargs: a function from logits to logits, such as `top_k` or `top_p`.
            max_length: tokens at which generation stops.
            beam_search_decode, beam_size: search for the likeliest sequence instead.
            spec_decode, spec_decode_gamma, spec_decode_lenience: speculative decoding with the early exit.
            return_source: also return the ids of the source, before the target.
            return_target_mask: also return the mask of the target, after it.
            cond_scale: above 1, classifier-free guidance by the source.

        Raises:
            OptionError: the arguments contradict each other or the model.
        """
        if beam_search_decode and spec_decode:
            raise OptionError("beam_search_decode and spec_decode were both given, expected one or neither")
        if cond_scale != 1 and not (cond_scale > 1 and self.config.cond_drop_prob > 0):
            raise OptionError(
                f"cond_scale is {cond_scale}, expected 1, or more with a cond_drop_prob above 0"
            )

        def probabilities(logits: Tensor) -> Tensor:
            return to_probabilities(filter_logits_fn(logits, **(filter_fn_kwargs or {})), temperature)

        choose: Callable[..., Tensor] = partial(sample, probabilities=probabilities)
        if beam_search_decode:
            choose = partial(beam_search, beam_size=beam_size, temperature=temperature)
        elif spec_decode:
            head, guesses = self._exit(target_type), (spec_decode_gamma, spec_decode_lenience)
            choose = partial(speculate, head=head, probabilities=probabilities, guesses=guesses)
        alphabet, copies = self._alphabet(target_type), beam_size if beam_search_decode else 1
        with evaluating(self):
            source, source_mask, encoded = self._encode(source, source_type, source_mask)
            state = Continuation(
                self.target,
                partial(self.embed, target_type),
                partial(self.score, target_type),
                alphabet,
                encoded,
                source_mask,
                cond_scale,
                copies,
            )
            ids = choose(state, max_length=min(max_length, LONGEST))
        target, mask = alphabet.cut(ids)
        found = (*((source,) if return_source else ()), target, *((mask,) if return_target_mask else ()))
        return found if len(found) > 1 else target

    def ids_and_mask(
        self,
        sequences: Tensor | Sequence[str],
        name: Modality,
        mask: Tensor | None = None,
        with_end: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Tokenize audio and texts; return ids int64 and mask bool `[batch, length]`, with their end."""
        device = self.begin["speech"].device
        if not isinstance(sequences, Tensor):
            if self.tokenizer_encode is None:
                raise OptionError("texts were given to a model without a tokenizer; set use_openai_tokenizer")
            sequences = self.tokenizer_encode(list(sequences)).to(device)
        elif sequences.is_floating_point() and name == "speech":
            if self.wav2vec is None:
                raise OptionError("audio was given to a model without wav2vec; give semantic tokens instead")
            sequences = self.wav2vec.eval().tokenize(sequences.to(device))
        return self._alphabet(name).with_mask(sequences, mask, with_end)

    def _alphabet(self, name: Modality) -> Alphabet:
        if name not in self.alphabets:
            raise OptionError(f"a modality is {name!r}, expected 'speech' or 'text'")
        return self.alphabets[name]

    def embed(self, name: Modality, ids: Tensor, begin: bool = False) -> Tensor:
        """Embed ids int64 `[batch, length]`, behind the begin vector of a sequence where asked."""
        x = self.embedding[name](ids)
        return torch.cat([self.begin[name].expand(len(ids), 1, -1), x], dim=1) if begin else x

    def score(self, name: Modality, x: Tensor) -> Tensor:
        """Map decoded vectors `[..., dim]` to logits `[..., ids]`."""
        return F.linear(x, cast(nn.Embedding, self.embedding[name]).weight)

    def encode(self, phones: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode phones for the decoder's cross-attention.

        Args:
            phones: int64 `[batch, phones]`.
            lengths: of the phones, int64 `[batch]`.

        Returns:
            cross_keys and cross_values, float32 `[target_depth, batch, heads, phones, dim_head]`.
        """
        encoded = self.source(self.embed("text", phones), frame_mask(lengths, phones.shape[1]))
        return self.target.cross(encoded)

    def step(
        self,
        token: Tensor,
        lengths: Tensor,
        cross_keys: Tensor,
        cross_values: Tensor,
        keys: Tensor,
        values: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode one token, whose position is the length of the cache.

        Args:
            token: int64 `[batch]`; `vocabulary` at the start of a sequence.
            lengths: of the phones, int64 `[batch]`.
            cross_keys, cross_values: of `encode`.
            keys, values: the cache, `[target_depth, batch, heads, past, dim_head]`, at first with past = 0.

        Returns:
            Logits `[batch, vocabulary + 1]` of the next token, and keys and values of length past + 1.
        """
        at_start = (token == self.config.vocabulary)[:, None, None]
        x = torch.where(at_start, self.begin["speech"], self.embed("speech", token[:, None]))
        # The learned key precedes the first phone, so every sample has one position more.
        cross_mask = frame_mask(lengths + 1, cross_keys.shape[3] + 1)
        # The cache has a key for each head; shared ones are repeated.
        own = self.config.kv_heads
        past = (keys[:, :, :own], values[:, :, :own])
        decoded = self.target(x, (cross_keys, cross_values), cross_mask, past)
        heads = self.config.heads
        next_keys, next_values = (share_heads(torch.stack(part), heads, dim=2) for part in decoded[2:])
        return self.score("speech", decoded.x[:, 0]), next_keys, next_values


def _cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the cross entropy of `wanted` `[batch, length]` for logits `[batch, length + 1, ids]`."""
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), wanted, ignore_index=IGNORED)
