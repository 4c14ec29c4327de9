"""SoundStream codecs that audiolm-pytorch trained; that package need not be installed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..codec.soundstream import SoundStream
from ..errors import CheckpointError, ConfigError
from ..support.tensor_files import read_tensors, unwrap_weights
from .unpickling import read_plain_pickle

FIRST = "encoder.0.conv.weight"  # a weight that every SoundStream of audiolm-pytorch has

# What a weight is called there, and here.
STFT = "losses.discriminators.stft."
NAMES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^(encoder|decoder)\.(\d+)\.(\d+)\.fn\.0\.conv\.", r"\1.\2.\3.dilated."),
        (r"^(encoder|decoder)\.(\d+)\.(\d+)\.fn\.2\.conv\.", r"\1.\2.\3.pointwise."),
        (r"^(encoder|decoder)\.(\d+)\.(\d+)\.fn\.4\.net\.0\.", r"\1.\2.\3.gate.squeeze."),
        (r"^(encoder|decoder)\.(\d+)\.(\d+)\.fn\.4\.net\.2\.", r"\1.\2.\3.gate.excite."),
        (r"^(encoder|decoder)\.(\d+)\.(\d+\.)?conv\.", r"\1.\2.\3"),
        (r"^(encoder|decoder)_film\.to_cond\.", r"\1_film.to_scale_and_shift."),
        (r"^(encoder|decoder)_attn\.pos_bias\.mlp\.", r"\1_attention.bias.network."),
        (r"^(encoder|decoder)_attn\.layers\.(\d+)\.0\.", r"\1_attention.layers.\2.attention."),
        (r"\.attention\.q_scale$", r".attention.query_scale"),
        (r"\.attention\.k_scale$", r".attention.key_scale"),
        (r"\.attention\.to_v_gate\.0\.", r".attention.to_gates."),
        (r"\.attention\.attn_fn\.rel_pos\.inv_freq$", r".attention.frequencies"),
        (r"^(encoder|decoder)_attn\.layers\.(\d+)\.1\.0\.", r"\1_attention.layers.\2.feed_forward.norm."),
        (r"^(encoder|decoder)_attn\.layers\.(\d+)\.1\.1\.", r"\1_attention.layers.\2.feed_forward.widen."),
        (r"^(encoder|decoder)_attn\.layers\.(\d+)\.1\.4\.", r"\1_attention.layers.\2.feed_forward.narrow."),
        (r"^rq\.", r"quantizer.grouped."),
        (r"^discriminators\.(\d+)\.init_conv\.", r"losses.discriminators.waveform.\1.first."),
        (r"^discriminators\.(\d+)\.conv_layers\.(\d+)\.0\.", r"losses.discriminators.waveform.\1.layers.\2."),
        (r"^discriminators\.(\d+)\.final_conv\.0\.", r"losses.discriminators.waveform.\1.last."),
        (r"^discriminators\.(\d+)\.final_conv\.2\.", r"losses.discriminators.waveform.\1.head."),
        (r"^stft_discriminator\.init_conv\.", STFT + r"first."),
        (r"^stft_discriminator\.layers\.(\d+)\.0\.fn\.0\.", STFT + r"layers.\1.before."),
        (r"^stft_discriminator\.layers\.(\d+)\.0\.fn\.1\.b$", STFT + r"layers.\1.rectify.bias"),
        (r"^stft_discriminator\.layers\.(\d+)\.0\.fn\.2\.", STFT + r"layers.\1.after."),
        (r"^stft_discriminator\.layers\.(\d+)\.1\.", STFT + r"layers.\1.strided."),
        (r"^stft_discriminator\.final_conv\.", STFT + r"head."),
    )
]  # fmt: skip


def from_audiolm_pytorch(
    source: str | Path | Mapping[str, Any] | nn.Module, **config_fields: Any
) -> SoundStream:
    """Load a SoundStream that audiolm-pytorch trained.

    Args:
        source: A file of its SoundStream or of its trainer (whose averaged weights are taken), a file with a
            bare state dict, the content of such a file, or an instance.
        **config_fields: Fields of `SoundStreamConfig` that the source lacks, or that replace its own;
            `discriminators=False` leaves the discriminators out.

    Returns:
        The codec in evaluation mode.

    Raises:
        CheckpointError: The file cannot be used; the message names the missing field or the feature that is
            not supported.
    """
    state: Mapping[str, Tensor]
    if isinstance(source, nn.Module):
        pickled, state = getattr(source, "_configs", None), source.state_dict()
        where = f"this {type(source).__name__}"
    elif isinstance(source, Mapping):
        where = "this checkpoint"
        pickled, state = _parts(source, where)
    else:
        where = str(source)
        pickled, state = _parts(read_tensors(Path(source), "SoundStream of audiolm-pytorch"), where)
    if pickled is None:
        return soundstream_from_state(state, **config_fields)
    config = read_plain_pickle(pickled, f"{where}: its configuration")
    if not isinstance(config, dict):
        raise CheckpointError(f"{where}: its configuration is a {type(config).__name__}, expected a dict")
    return _loaded(state, {**config, **config_fields})


def soundstream_from_state(state: Mapping[str, Tensor], **config_fields: Any) -> SoundStream:
    """Load a SoundStream from a state dict in audiolm-pytorch's layout.

    Args:
        state: The weights, from which all sizes are inferred.
        **config_fields: Fields of `SoundStreamConfig` that weights do not determine: always
            `target_sample_hz`, and `attn_window_size` where there is attention. All others default to those
            of audiolm-pytorch.

    Returns:
        The codec in evaluation mode.

    Raises:
        CheckpointError: As in `from_audiolm_pytorch`.
    """
    if FIRST not in state:
        raise CheckpointError(f"the weights lack {FIRST!r}, expected a SoundStream of audiolm-pytorch")
    fields = {**_inferred(state), **config_fields}
    needed = ["target_sample_hz"]
    if fields["use_local_attn"]:
        needed.append("attn_window_size")
    if fields.get("use_finite_scalar_quantizer"):
        needed += ["finite_scalar_quantizer_levels", "rq_num_quantizers"]
    if missing := [name for name in needed if name not in fields]:
        raise CheckpointError(
            f"the weights do not tell {missing[0]}, and there is no configuration; give {missing[0]}=..."
        )
    return _loaded(state, fields)


def _parts(content: Any, where: str) -> tuple[bytes | None, Mapping[str, Tensor]]:
    """Find configuration and weights in what a file holds."""
    state = unwrap_weights(content)
    if not isinstance(state, Mapping) or FIRST not in state:
        raise CheckpointError(f"{where} holds no weights of a SoundStream, expected one of audiolm-pytorch")
    if "ema_model" in content:
        state = unwrap_weights(content["ema_model"])
    config = content.get("config")
    if config is not None and not isinstance(config, bytes):
        raise CheckpointError(f"{where}: its configuration is a {type(config).__name__}, expected a pickle")
    return config, state


def _loaded(state: Mapping[str, Tensor], fields: Mapping[str, Any]) -> SoundStream:
    if any(re.match(r"(encoder|decoder)\.\d+\.fn\.fn\.", name) for name in state):
        fields = {**fields, "use_gate_loop_layers": True}
    fields = {name: value for name, value in fields.items() if value is not None}
    try:
        codec = SoundStream(**fields)
    except ConfigError as error:
        raise CheckpointError(f"this SoundStream cannot be represented ({error})") from error
    own = {}
    for name, tensor in state.items():
        for pattern, replacement in NAMES:
            name = pattern.sub(replacement, name)
        if not name.startswith("mel_spec_transforms.") and (codec.losses or not name.startswith("losses.")):
            own[name] = tensor
    try:
        codec.load_state_dict(own)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"the weights do not fit their configuration ({reason})") from error
    return codec.eval()


def _inferred(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read from the weights what their shapes tell."""
    channels = state[FIRST].shape[0]
    strided = _found(state, r"encoder\.\d+\.3\.conv\.weight")
    layers = _count(state, r"encoder\.(\d+)\.")
    return {
        "channels": channels,
        "strides": [weight.shape[-1] // 2 for weight in strided],
        "channel_mults": [weight.shape[0] // channels for weight in strided],
        "codebook_dim": state[f"encoder.{layers - 1}.conv.weight"].shape[0],
        "squeeze_excite": any(".fn.4.net." in name for name in state),
        "discriminators": any(name.startswith("stft_discriminator.") for name in state),
        **_inferred_attention(state),
        **_inferred_quantizer(state),
        **_inferred_discriminators(state),
    }


def _inferred_attention(state: Mapping[str, Tensor]) -> dict[str, Any]:
    depth = _count(state, r"encoder_attn\.layers\.(\d+)\.")
    if not depth:
        return {"use_local_attn": False}
    return {
        "use_local_attn": True,
        "attn_depth": depth,
        "attn_heads": state["encoder_attn.layers.0.0.to_v_gate.0.weight"].shape[0],
        "attn_dim_head": state["encoder_attn.layers.0.0.q_scale"].shape[0],
        "attn_dynamic_pos_bias": "encoder_attn.pos_bias.mlp.0.weight" in state,
    }


def _inferred_quantizer(state: Mapping[str, Tensor]) -> dict[str, Any]:
    first = "rq.rvqs.0.layers.0."
    levels = _count(state, r"rq\.rvqs\.0\.layers\.(\d+)\.")
    groups = _count(state, r"rq\.rvqs\.(\d+)\.")
    if f"{first}_codebook.embed" in state:
        _, size, dim = state[f"{first}_codebook.embed"].shape
        kwargs = {"codebook_dim": dim} if "rq.rvqs.0.project_in.weight" in state else {}
        return {"rq_groups": groups, "rq_num_quantizers": levels, "codebook_size": size, "rq_kwargs": kwargs}
    if f"{first}mask" in state:
        return {
            "rq_groups": groups,
            "rq_num_quantizers": levels,
            "codebook_size": 2 ** len(state[f"{first}mask"]),
            "use_lookup_free_quantizer": True,
        }
    return {"use_finite_scalar_quantizer": True, "rq_groups": groups or 1}


def _inferred_discriminators(state: Mapping[str, Tensor]) -> dict[str, Any]:
    scales = _count(state, r"discriminators\.(\d+)\.")
    found: dict[str, Any] = {"discr_multi_scales": [0.5**scale for scale in range(scales)]}
    if "stft_discriminator.init_conv.weight" in state:
        channels = state["stft_discriminator.init_conv.weight"].shape[0]
        strided = _found(state, r"stft_discriminator\.layers\.\d+\.1\.weight")
        found["complex_stft_discr_kwargs"] = {
            "channels": channels,
            "chan_mults": [weight.shape[0] // channels for weight in strided],
            "strides": [(weight.shape[2] - 2, weight.shape[3] - 2) for weight in strided],
        }
    return found


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """Count the modules of a list by the highest index in their names."""
    matches = (re.match(pattern, name) for name in state)
    return max((int(match[1]) + 1 for match in matches if match), default=0)


def _found(state: Mapping[str, Tensor], pattern: str) -> list[Tensor]:
    """Return the weights with such names, in the order of their numbers."""
    names = [name for name in state if re.fullmatch(pattern, name)]
    return [
        state[name] for name in sorted(names, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])
    ]
