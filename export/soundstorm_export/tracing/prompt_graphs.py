"""How a voice hears: the graphs that make prompts of recordings, proven on the voice's own speech."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnxscript.rewriter import RewriteRule
from torch import Tensor

from soundstorm_edge.codec.interface import Codec
from soundstorm_edge.codec.soundstream import SoundStream
from soundstorm_edge.codec.spectral_codec import SpectralCodec
from soundstorm_edge.errors import CheckpointError
from soundstorm_edge.units.semantic_units import SemanticTokenizer
from soundstorm_runtime.audio.recording import speech_level
from soundstorm_runtime.bundle.manifest import AudioSchema, PromptEncoderReport, SemanticSchema, prompt_graphs
from soundstorm_runtime.bundle.prompts import Prompt
from soundstorm_runtime.bundle.reader import Bundle
from soundstorm_runtime.synthesis.prompt_encoder import PromptEncoder
from soundstorm_runtime.voice import Voice

from ..errors import ExportError
from ..rewrite.simplify import apply
from ..verify.speech_comparison import SENTENCES
from ..voice_parts import Parts
from .networks import Network

UNMEASURED = PromptEncoderReport(level=0.0, seconds=0.0, equal_codes=0.0, equal_tokens=0.0, excess=0.0)

# Rounding may turn a code whose rival is as near, and with it the finer ones of its frame.
LEAST_EQUAL = 0.98
LARGEST_EXCESS = 0.01


def hearing_networks(
    parts: Parts, audio: AudioSchema, semantic: SemanticSchema, report: Callable[[str], None]
) -> dict[str, Network]:
    """Pair the graphs that make prompts with their networks; none for a voice that cannot be exported so.

    That is a voice without units or text stage, or one whose units are HuBERT's, where that is not at hand.
    """
    units = parts.units
    if units is None or parts.text is None:
        return {}
    try:
        units.features(torch.zeros(1, units.sample_rate))  # which loads HuBERT
    except CheckpointError as error:
        report(f"the bundle will make no prompts of recordings: {error}")
        return {}
    codec, graphs = _traceable(parts.codec), prompt_graphs(audio, semantic)
    return {
        "encoder": Network(graphs["encoder"], codec, lambda frames: codec._encode(frames.flatten(1))),
        "units": Network(graphs["units"], units, lambda frames: units.tokenize(frames.flatten(1))),
    }


def _traceable(codec: Codec) -> Codec:
    """Copy a codec so that the fact that its codebooks have begun is no tensor, which a trace cannot ask."""
    codec = deepcopy(codec)
    for module in codec.modules():
        if "initted" in module._buffers:
            del module._buffers["initted"]
            module.initted = True  # type: ignore[assignment]
    return codec


# TensorRT has no Fourier transform: products with cosines and sines, which the graph makes when it is loaded.


def _transform(op: Any, x: Any, last: Any, length: Any, axis: Any) -> Any:
    return op.DFT(op.Unsqueeze(x, last), length, axis, onesided=1, inverse=0)


def _products(op: Any, x: ir.Value, **_: Any) -> ir.Value | None:
    size = x.shape[-1] if x.shape is not None else None
    if not isinstance(size, int):
        return None
    place, bin_ = np.arange(size)[:, None], np.arange(size // 2 + 1)[None]
    turned = op.Mod(
        op.Mul(op.Constant(value=ir.tensor(place)), op.Constant(value=ir.tensor(bin_))),
        op.Constant(value_int=size),
    )
    angle = op.Mul(op.Cast(turned, to=ir.DataType.FLOAT), op.Constant(value_float=-2 * np.pi / size))
    last = op.Constant(value_ints=[-1])
    parts = [op.Unsqueeze(op.MatMul(x, wave), last) for wave in (op.Cos(angle), op.Sin(angle))]
    return op.Concat(*parts, axis=-1)


FOURIER = RewriteRule(_transform, _products)


def without_fourier(model: ir.Model) -> ir.Model:
    """Rewrite a simplified model so that TensorRT takes it."""
    return apply(model, [FOURIER])


@torch.no_grad()
def measure_hearing(bundle: Bundle, parts: Parts) -> PromptEncoderReport:
    """Let the voice hear its own speech, from samples to tokens, beside PyTorch.

    Raises `ExportError` where more differs than rounding can explain.
    """
    maker, voice = PromptEncoder(bundle), Voice.load(bundle.path, provider="cpu", precision="fp32")
    speech = [voice.speak(text) for text in SENTENCES]
    codes, tokens, excess = [], [], [torch.zeros(1)]
    for audio in speech:
        prompt = maker.tokenize(audio)
        padded = np.pad(audio, (0, len(prompt.codes) * parts.codec.hop - len(audio)))
        heard, found = torch.from_numpy(padded)[None], _tensors(prompt)
        expected = parts.codec.tokenize(heard)[0], _units(parts).tokenize(heard)[0]
        excess.append(_code_excess(parts.codec, heard, found[0], expected[0]))
        excess.append(_token_excess(_units(parts), heard, found[1], expected[1]))
        codes.append((found[0] == expected[0]).flatten())
        tokens.append(found[1] == expected[1])
    facts = PromptEncoderReport(
        level=round(speech_level(np.concatenate(speech), voice.sample_rate), 1),
        seconds=round(sum(map(len, speech)) / voice.sample_rate, 1),
        equal_codes=float(torch.cat(codes).float().mean()),
        equal_tokens=float(torch.cat(tokens).float().mean()),
        excess=float(torch.cat(excess).max()),
    )
    if min(facts.equal_codes, facts.equal_tokens) < LEAST_EQUAL or facts.excess > LARGEST_EXCESS:
        raise ExportError(
            f"of the voice's own speech, {facts.equal_codes:.2%} of the codes and {facts.equal_tokens:.2%} "
            f"of the tokens are those of PyTorch, the others up to {facts.excess:.1%} further off, expected "
            f"{LEAST_EQUAL:.0%} or more and {LARGEST_EXCESS:.0%} or less; nothing was written"
        )
    return facts


def _units(parts: Parts) -> SemanticTokenizer:
    if parts.units is None:
        raise ExportError("a voice without units makes no prompts")
    return parts.units


def _tensors(prompt: Prompt) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(prompt.codes), torch.from_numpy(prompt.semantic_tokens)


def _code_excess(codec: Codec, audio: Tensor, found: Tensor, expected: Tensor) -> Tensor:
    """Tell by how much further from its latents each frame with other codes lies, at the first that differs.

    audio: `[1, samples]`; codes `[frames, levels]`. Those after the first are chosen for what it left over.
    """
    differs = found != expected
    frames = differs.any(dim=-1)
    if not frames.any():
        return torch.zeros(1)
    if not isinstance(codec, SpectralCodec | SoundStream):
        raise ExportError(f"the codec is a {type(codec).__name__}, expected a SpectralCodec or a SoundStream")
    latents = codec.latents(audio)[0]
    later = differs.int().cumsum(dim=-1) - differs.int() > 0

    def misses(codes: Tensor) -> Tensor:
        return (latents - codec.quantizer.decode(codes.masked_fill(later, -1)[None])[0]).norm(dim=-1)[frames]

    return misses(found) / misses(expected) - 1


def _token_excess(units: SemanticTokenizer, audio: Tensor, found: Tensor, expected: Tensor) -> Tensor:
    """Tell by how much further from its features each other token lies."""
    features, centroids = units.features(audio)[0], units.centroids
    differs = found != expected
    if not differs.any():
        return torch.zeros(1)
    misses = [(features - centroids[tokens]).norm(dim=-1)[differs] for tokens in (found, expected)]
    return misses[0] / misses[1] - 1
