"""SoundStorm models that soundstorm-pytorch trained; that package need not be installed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from ..nn.conformer import ConformerConfig
from ..soundstorm.conformer_wrapper import ConformerWrapper, ConformerWrapperConfig
from ..soundstorm.model import SoundStorm, SoundStormOptions
from ..soundstorm.soundstorm_config import RATES
from ..support.config import from_fields
from ..support.tensor_files import read_tensors, unwrap_weights
from .audiolm_pytorch import soundstream_from_state
from .spear_tts_pytorch import text_to_semantic_from_state

KIND = "SoundStorm of soundstorm-pytorch"
BLOCK = r"^net\.conformer\.layers\.(\d+)\."
OURS = r"net.conformer.blocks.\1."

# What is in such a file without being SoundStorm's: models of its own, and weights that are there twice.
ELSEWHERE = ("soundstream.", "text_to_semantic.", "wav2vec.", "token_critic.net.")

# What a weight is called there, and here; first the residual streams, norms and branches of a block.
NAMES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        *(
            rule
            for place, (part, branch) in enumerate(
                {
                    "ff1": "feed_forward_in",
                    "attn": "attention",
                    "conv": "convolution",
                    "ff2": "feed_forward_out",
                }.items()
            )
            for rule in (
                (
                    rf"{BLOCK}{part}\.((static|dynamic)_\w+|norm\.gamma)$",
                    rf"{OURS}residuals.{place}.connection.\2",
                ),
                (rf"{BLOCK}{part}\.branch\.(fn\.norm|norm|net1\.0)\.", rf"{OURS}residuals.{place}.norm."),
                (rf"{BLOCK}{part}\.branch\.fn\.fn\.net\.0\.", rf"{OURS}{branch}.widen."),
                (rf"{BLOCK}{part}\.branch\.fn\.fn\.net\.3\.", rf"{OURS}{branch}.narrow."),
                (rf"{BLOCK}{part}\.branch\.fn\.to_value_residual_mix\.0\.", rf"{OURS}{branch}.to_mix."),
                (rf"{BLOCK}{part}\.branch\.fn\.", rf"{OURS}{branch}."),
                (rf"{BLOCK}{part}\.branch\.net1\.2\.", rf"{OURS}{branch}.widen."),
                (rf"{BLOCK}{part}\.branch\.ds_conv\.conv\.", rf"{OURS}{branch}.depthwise."),
                (rf"{BLOCK}{part}\.branch\.net2\.1\.gamma$", rf"{OURS}{branch}.norm.weight"),
                (rf"{BLOCK}{part}\.branch\.net2\.2\.", rf"{OURS}{branch}.narrow."),
            )
        ),
        (BLOCK + r"post_norm\.", OURS + "norm."),
        (
            r"^net\.conformer\.rel_pos_bias\.relative_attention_bias\.",
            "net.conformer.relative_bias.embedding.",
        ),
        (r"^net\.embedding_proj\.", "net.join_groups."),
        (r"^net\.code_embeds\.", "net.code_embedding."),
        (r"^net\.heads\.0\.weight$", "net.heads.projection"),
        (r"^net\.heads\.0\.bias$", "net.heads.projection_bias"),
        (r"^net\.to_logits\.0\.", "net.heads.norm."),
        (r"^net\.to_logits\.2\.weight$", "net.heads.classifier"),
        (r"^net\.to_logits\.2\.bias$", "net.heads.classifier_bias"),
        (r"^semantic_token_emb\.", "condition.embedding."),
        (r"^semantic_cond_to_model_dim\.", "condition.project."),
        (r"^null_embed$", "self_condition.nothing"),
        (r"^to_self_cond\.", "self_condition.project."),
    )
]


def from_soundstorm_pytorch(
    source: str | Path | Mapping[str, Tensor] | nn.Module,
    *,
    soundstream: Mapping[str, Any] | None = None,
    spear_tts_text_to_semantic: Mapping[str, Any] | None = None,
    wav2vec: nn.Module | None = None,
    **config_fields: Any,
) -> SoundStorm:
    """Load a SoundStorm that soundstorm-pytorch trained.

    Args:
        source: A file with its state dict or of its trainer, a state dict, or an instance. Sizes are inferred
            from the shapes of the weights.
        soundstream: Fields of the configuration of the codec inside the checkpoint.
        spear_tts_text_to_semantic: Fields of the configuration of the text stage inside the checkpoint.
        wav2vec: The model that makes semantic tokens; its weights are not read from the checkpoint.
        **config_fields: Fields of `ConformerConfig` and `SoundStormOptions` that weights do not determine;
            those with a default, such as `conv_causal`, `schedule` and `steps`, may be left out.

    Returns:
        The model in evaluation mode.

    Raises:
        CheckpointError: The file cannot be used; the message names the missing field or the feature that is
            not supported.
    """
    state = _state(source)
    net = ConformerWrapper(_net_config(state, config_fields))
    parts: dict[str, nn.Module] = {}
    if any(name.startswith("soundstream.") for name in state):
        parts["soundstream"] = soundstream_from_state(_part(state, "soundstream."), **(soundstream or {}))
    if "semantic_cond_to_model_dim.weight" in state:
        text = _part(state, "text_to_semantic.")
        parts["spear_tts_text_to_semantic"] = text_to_semantic_from_state(
            text, **(spear_tts_text_to_semantic or {})
        )
    if wav2vec is not None:
        parts["wav2vec"] = wav2vec
    options = _options(state, parts, config_fields)
    model = SoundStorm(net, options, **parts)  # type: ignore[arg-type]
    _load(model, state)
    return model.eval()


def _state(source: str | Path | Mapping[str, Tensor] | nn.Module) -> Mapping[str, Tensor]:
    if isinstance(source, nn.Module):
        return source.state_dict()
    content = source if isinstance(source, Mapping) else read_tensors(Path(source), KIND)
    state = unwrap_weights(content)
    where = "these weights" if isinstance(source, Mapping) else str(source)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{where} holds no tensors by name, expected a {KIND}")
    if "net.code_embeds.weight" not in state:
        raise CheckpointError(f"{where} lacks 'net.code_embeds.weight', expected a {KIND}")
    return state


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}


def _net_config(state: Mapping[str, Tensor], config_fields: dict[str, Any]) -> ConformerWrapperConfig:
    """Read the network's sizes from shapes, and take all other fields out of `config_fields`."""

    def shape(name: str) -> tuple[int, ...]:
        if name not in state:
            raise CheckpointError(f"the weights lack {name!r}, expected a {KIND}")
        return tuple(state[name].shape)

    first = "net.conformer.layers.0."
    levels, dim, codebook_size = shape("net.to_logits.2.weight")
    groups = shape("net.embedding_proj.0.weight")[1] // dim if "net.embedding_proj.0.weight" in state else 1
    inner, _, kernel = shape(f"{first}conv.branch.ds_conv.conv.weight")
    streams = f"{first}ff1.static_beta"
    inferred = {
        "dim": dim,
        "depth": 1 + max(int(found[1]) for name in state if (found := re.match(BLOCK, name))),
        "ff_mult": shape(f"{first}ff1.branch.fn.fn.net.0.weight")[0] // dim,
        "conv_expansion_factor": inner // dim,
        "conv_kernel_size": kernel,
        "t5_rel_pos_bias": "net.conformer.rel_pos_bias.relative_attention_bias.weight" in state,
        "num_residual_streams": len(state[streams]) if streams in state else 1,
        **_heads(state, shape(f"{first}attn.branch.fn.to_q.weight")[0], config_fields),
    }
    own = {field.name for field in dataclasses.fields(ConformerConfig)} & config_fields.keys()
    given = {name: config_fields.pop(name) for name in own}
    for name in inferred.keys() & given.keys():
        if inferred[name] != given[name]:
            raise CheckpointError(f"{name} was given as {given[name]}, but the weights have {inferred[name]}")
    conformer = from_fields(ConformerConfig, None, {**given, **inferred})
    return ConformerWrapperConfig(codebook_size, levels // groups, conformer, groups)


def _heads(state: Mapping[str, Tensor], inner: int, config_fields: Mapping[str, Any]) -> dict[str, int]:
    """Return how many heads share the `inner` dimensions of attention."""
    mix = state.get("net.conformer.layers.1.attn.branch.fn.to_value_residual_mix.0.weight")
    bias = state.get("net.conformer.rel_pos_bias.relative_attention_bias.weight")
    heads = None if mix is None else len(mix)
    if bias is not None:
        heads = bias.shape[1]
    if heads is None:
        heads = config_fields.get(
            "heads", inner // config_fields["dim_head"] if "dim_head" in config_fields else None
        )
    if heads is None:
        raise CheckpointError(
            f"the weights do not tell how many heads share the {inner} dimensions of attention; "
            "give heads=... or dim_head=..."
        )
    if inner % heads:
        raise CheckpointError(
            f"heads is {heads}, but the {inner} dimensions of attention do not divide by it"
        )
    return {"heads": heads, "dim_head": inner // heads}


def _options(
    state: Mapping[str, Tensor], parts: Mapping[str, nn.Module], config_fields: Mapping[str, Any]
) -> SoundStormOptions:
    table = state.get("semantic_token_emb.weight")
    inferred: dict[str, Any] = {
        "self_cond": "null_embed" in state,
        "self_token_critic": "token_critic.to_logits.weight" in state,
    }
    if table is not None and "spear_tts_text_to_semantic" not in parts:
        inferred["num_semantic_token_ids"] = len(table)
    known = set(config_fields)
    known |= set(RATES[:2]) if "wav2vec" in parts else set()
    known |= set(RATES[2:]) if "soundstream" in parts else set()
    if table is not None and (missing := [name for name in RATES if name not in known]):
        raise CheckpointError(
            f"the weights have a condition and do not tell {missing[0]}; give {missing[0]}=... "
            f"(all that is missing: {', '.join(missing)})"
        )
    for name in inferred.keys() & config_fields.keys():
        if inferred[name] != config_fields[name]:
            raise CheckpointError(
                f"{name} was given as {config_fields[name]}, but the weights have {inferred[name]}"
            )
    return from_fields(SoundStormOptions, None, {**config_fields, **inferred})


def _load(model: SoundStorm, state: Mapping[str, Tensor]) -> None:
    """Put the weights into `model`, renamed, joined and turned; none may be missing or left over."""
    own = {}
    wanted = {name: t for name, t in model.state_dict().items() if not name.startswith(ELSEWHERE)}
    for name, tensor in _joined(state).items():
        for pattern, replacement in NAMES:
            name = pattern.sub(replacement, name)
        if name not in wanted:
            raise CheckpointError(f"{name!r} fits nothing in SoundStorm; that feature cannot be represented")
        if wanted[name].numel() != tensor.numel():
            raise CheckpointError(
                f"{name!r} has shape {list(tensor.shape)}, by the other weights expected "
                f"{list(wanted[name].shape)}"
            )
        if name == "net.heads.projection":  # one matrix of all levels there, which is applied turned
            tensor = tensor.unflatten(0, (model.levels, -1)).transpose(1, 2)
        own[name] = tensor.reshape(wanted[name].shape)
    if missing := [name for name in wanted if name not in own]:
        raise CheckpointError(f"the weights lack what {missing[0]!r} is here, expected a {KIND}")
    model.load_state_dict(own, strict=False)  # what else it has came with its parts


def _joined(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what is not SoundStorm's own, and join the products of query, key and value."""
    own = {name: tensor for name, tensor in state.items() if not name.startswith(ELSEWHERE)}
    for name in [name for name in own if name.endswith(".to_q.weight")]:
        stem = name.removesuffix("to_q.weight")
        own[f"{stem}to_qkv.weight"] = torch.cat([own.pop(name), own.pop(f"{stem}to_kv.weight")])
    return own
