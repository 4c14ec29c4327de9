"""Checkpoints of spear-tts-pytorch (0.4.8): its `TextToSemantic`, saved by itself or by its trainers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..nn.transformer import Decoder, Encoder
from ..support.tensor_files import read_tensors, unwrap_weights
from ..text_to_semantic.autoregressive import TextToSemantic
from ..units.semantic_units import SemanticTokenizer

WHAT = "spear-tts-pytorch TextToSemantic"
SOURCE, TARGET, EXIT = "source_transformer.", "target_transformer.", "to_early_exit_semantic_logits."
TABLES = {"speech": "autoset_semantic_eos_id", "text": "autoset_text_eos_id"}
# Weights under a second name, and those of another model that the file may hold.
ELSEWHERE = ("semantic_token_emb.", "to_logits.", "wav2vec.")


def from_spear_tts_pytorch(
    source: str | Path | Mapping[str, Any],
    *,
    wav2vec: SemanticTokenizer | None = None,
    tokenizer_encode: Callable[[Sequence[str]], Tensor] | None = None,
    **config_fields: Any,
) -> TextToSemantic:
    """Load a TextToSemantic that spear-tts-pytorch trained.

    Args:
        source: A file with a state dict or of a trainer, or the content of one. Sizes are inferred from the
            weights.
        wav2vec: As in `TextToSemantic`; one in the file is not read.
        tokenizer_encode: As in `TextToSemantic`.
        **config_fields: Fields of `TextToSemanticConfig` that weights do not determine, by default those of
            the reference: whether sequences end in a token of their own (`num_text_token_ids` and
            `num_semantic_token_ids` also determine it), padding ids, `cond_drop_prob`,
            `use_openai_tokenizer`. A model with an early exit needs `target_early_exit_layer`.

    Returns:
        The model in evaluation mode.

    Raises:
        CheckpointError: The file cannot be read, or is of another model.
    """
    content = source if isinstance(source, Mapping) else read_tensors(Path(source), WHAT)
    where = "this checkpoint" if isinstance(source, Mapping) else str(source)
    state = unwrap_weights(content)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{where} holds no tensors by name, expected the weights of a {WHAT}")
    return text_to_semantic_from_state(
        state, wav2vec=wav2vec, tokenizer_encode=tokenizer_encode, **config_fields
    )


def text_to_semantic_from_state(
    state: Mapping[str, Tensor],
    *,
    wav2vec: SemanticTokenizer | None = None,
    tokenizer_encode: Callable[[Sequence[str]], Tensor] | None = None,
    **config_fields: Any,
) -> TextToSemantic:
    """Do what `from_spear_tts_pytorch` does, with weights that are already read."""
    weights = _Weights(state)
    inferred = _sizes(weights) | _alphabets(weights, config_fields)
    for name in inferred.keys() & config_fields.keys():
        if config_fields[name] != inferred[name]:
            raise CheckpointError(
                f"{name} was given as {config_fields[name]}, but the weights have {inferred[name]}"
            )
    given = {name: value for name, value in config_fields.items() if name not in inferred}
    model = TextToSemantic(**inferred, **given, wav2vec=wav2vec, tokenizer_encode=tokenizer_encode)
    new = {
        f"{ours}.{name}{suffix}": weights.take(f"{theirs}.{name}{suffix}")
        for ours, theirs, suffix in (("embedding", "token_emb", ".weight"), ("begin", "start_token", ""))
        for name in TABLES
    }
    new |= _stack(weights, SOURCE, "source", model.source) | _stack(weights, TARGET, "target", model.target)
    if model.early_exit is not None:
        new |= _feed_forward(weights, f"{EXIT}0.fn.", "early_exit.feed_forward.")
        new |= {"early_exit.norm.weight": weights.take(f"{EXIT}1.gamma")}
        new |= {"early_exit.to_logits.weight": weights.take(f"{EXIT}2.weight")}
    weights.check_all_taken()
    own = {name: value for name, value in model.state_dict().items() if name not in new}
    try:
        model.load_state_dict(own | new)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"the weights are of another model than a {WHAT} ({reason})") from error
    return model.eval()


class _Weights:
    """The reference's weights by name, of which none may be missing or left over."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.left = {name: t for name, t in state.items() if not name.startswith(ELSEWHERE)}

    def __contains__(self, name: str) -> bool:
        return name in self.left

    def look(self, name: str) -> Tensor:
        if name not in self.left:
            raise CheckpointError(f"the weights lack {name!r}, which a {WHAT} has; give those of one")
        return self.left[name]

    def take(self, name: str) -> Tensor:
        tensor = self.look(name)
        del self.left[name]
        return tensor.float()

    def depth(self, stack: str) -> int:
        first = f"{stack}layers."
        return 1 + max(
            (int(n[len(first) :].split(".")[0]) for n in self.left if n.startswith(first)), default=-1
        )

    def check_all_taken(self) -> None:
        left = [name for name in self.left if ".rotary_emb." not in name]
        if left:
            raise CheckpointError(f"the weights have {left[0]!r}, which cannot be represented here")


def _sizes(weights: _Weights) -> dict[str, Any]:
    """Return the sizes of the stacks, from the shapes of their first layers."""
    first = f"{TARGET}layers.0."
    dim = len(weights.look("start_token.speech"))
    _, heads, _, dim_head = weights.look(f"{first}1.null_kv").shape
    inner = weights.look(f"{first}2.4.weight").shape[1]
    mults = [mult for mult in range(1, 65) if dim * mult * 2 // 3 == inner]
    if not mults:
        raise CheckpointError(
            f"the feed-forward has {inner} inner dimensions for {dim}, which no whole ff_mult gives; "
            "a fractional ff_mult cannot be represented here"
        )
    return {
        "dim": dim,
        "source_depth": weights.depth(SOURCE),
        "target_depth": weights.depth(TARGET),
        "heads": heads,
        "dim_head": dim_head,
        "target_kv_heads": len(weights.look(f"{first}0.to_kv.0.weight")) // (2 * dim_head),
        "ff_mult": mults[0],
    }


def _alphabets(weights: _Weights, config_fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many tokens there are; the table's last row is the end, unless the options differ."""
    inferred = {}
    for table, has_end in TABLES.items():
        count = "num_semantic_token_ids" if table == "speech" else "num_text_token_ids"
        rows = len(weights.look(f"token_emb.{table}.weight"))
        inferred[count] = config_fields.get(count, rows - config_fields.get(has_end, True))
        if rows - inferred[count] not in (0, 1):
            raise CheckpointError(
                f"{count} was given as {inferred[count]}, but the weights have {rows} ids, with or "
                "without an end"
            )
        inferred[has_end] = rows > inferred[count]
    if f"{EXIT}2.weight" in weights and "target_early_exit_layer" not in config_fields:
        raise CheckpointError(
            "the weights have an early exit, but not after which layer; give target_early_exit_layer"
        )
    if f"{EXIT}2.weight" not in weights and config_fields.get("target_early_exit_layer") is not None:
        raise CheckpointError(
            "target_early_exit_layer was given, but the weights have no early exit; leave it out"
        )
    return inferred


def _stack(weights: _Weights, theirs: str, ours: str, stack: Encoder | Decoder) -> dict[str, Tensor]:
    """Rename the weights of a stack, and let `stack` turn by the frequencies that the file has."""
    _set_frequencies(weights.look(f"{theirs}layers.0.0.rotary_emb.freqs"), stack)
    dim_head = 2 * stack.get_buffer("rotary").shape[-1]
    new = {f"{ours}.norm.weight": weights.take(f"{theirs}final_norm.gamma")}
    for i in range(len(stack.blocks)):
        old, name = f"{theirs}layers.{i}.", f"{ours}.blocks.{i}."
        new |= _self_attention(weights, f"{old}0.", f"{name}self_attention.", dim_head)
        new |= _feed_forward(weights, f"{old}2.", f"{name}feed_forward.")
        if isinstance(stack, Decoder):
            new |= _cross_attention(weights, f"{old}1.", f"{name}cross_attention.")
    return new


def _set_frequencies(frequencies: Tensor, stack: Encoder | Decoder) -> None:
    """Take over frequencies that are not the usual ones; the weights of `stack` then include their table."""
    table = stack.get_buffer("rotary")
    angles = torch.arange(len(table))[:, None] * frequencies.float()
    own = torch.stack([angles.cos(), angles.sin()], dim=1)
    if not torch.allclose(own[: 2 * len(frequencies)], table[: 2 * len(frequencies)], atol=1e-4):
        stack.register_buffer("rotary", own)


def _self_attention(weights: _Weights, old: str, new: str, dim_head: int) -> dict[str, Tensor]:
    """The reference turns dimensions 2 i and 2 i + 1 together, ours i and i + dim_head / 2."""
    queries = weights.take(f"{old}to_q.0.weight")
    keys, values = weights.take(f"{old}to_kv.0.weight").chunk(2)
    halves = torch.arange(dim_head).view(-1, 2).T.flatten()
    turned = [part.unflatten(0, (-1, dim_head))[:, halves].flatten(0, 1) for part in (queries, keys)]
    return {
        f"{new}norm.weight": weights.take(f"{old}norm.gamma"),
        f"{new}to_queries_keys_values.weight": torch.cat([*turned, values]),
        f"{new}to_out.weight": weights.take(f"{old}to_out.weight"),
    }


def _cross_attention(weights: _Weights, old: str, new: str) -> dict[str, Tensor]:
    names = {
        "norm.weight": "norm.gamma",
        "to_queries.weight": "to_q.0.weight",
        "to_keys_values.weight": "to_kv.0.weight",
        "to_out.weight": "to_out.weight",
        "null": "null_kv",
    }
    return {new + ours: weights.take(old + theirs) for ours, theirs in names.items()}


def _feed_forward(weights: _Weights, old: str, new: str) -> dict[str, Tensor]:
    names = ("1.weight", "1.bias", "4.weight", "4.bias")
    return {f"{new}0.weight": weights.take(f"{old}0.gamma")} | {
        new + name: weights.take(old + name) for name in names
    }
