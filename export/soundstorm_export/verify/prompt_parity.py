"""Compare the prompt encoder of a bundle with PyTorch, on speech of the voice itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from soundstorm_edge.codec.interface import Codec
from soundstorm_edge.codec.soundstream import SoundStream
from soundstorm_edge.codec.spectral_codec import SpectralCodec
from soundstorm_edge.units.semantic_units import SemanticTokenizer
from soundstorm_runtime.audio.recording import speech_level
from soundstorm_runtime.bundle.manifest import PromptEncoderReport
from soundstorm_runtime.bundle.reader import Bundle
from soundstorm_runtime.synthesis.prompt_encoder import PromptEncoder

from ..errors import ExportError
from ..voice_parts import Parts

# What a manifest says of a prompt encoder that has not been compared yet.
UNMEASURED = PromptEncoderReport(level=0.0, seconds=0.0, equal_codes=0.0, equal_tokens=0.0, excess=0.0)

# Rounding may change a code whose nearest rival is as near, and with it the finer codes of its frame.
LEAST_EQUAL = 0.98
LARGEST_EXCESS = 0.01


@torch.no_grad()
def compare_prompt_encoder(bundle: Bundle, parts: Parts, audio: Sequence[np.ndarray]) -> PromptEncoderReport:
    """Encode the voice's own speech with the graphs of a bundle and with PyTorch, and compare.

    Args:
        bundle: has the graphs `encoder` and `units`.
        parts: the PyTorch networks that the graphs were traced from.
        audio: the speech, float32 `[samples]` each; cut where it is longer than any prompt may be.

    Returns:
        The loudness and length of the speech, the share of equal codes and tokens, and the largest excess:
        by how much further a different code or token lies from what it stands for than PyTorch's does.

    Raises:
        ExportError: more differs than rounding can explain.
    """
    units = parts.units
    if units is None:
        raise ExportError("the voice has no semantic units, so that it encodes no prompts")
    encoder = PromptEncoder(bundle)
    sample_rate = bundle.manifest.audio.sample_rate
    speech = [_within_limits(samples, bundle) for samples in audio]
    codes, tokens, excess = [], [], [torch.zeros(1)]
    for samples in speech:
        prompt = encoder.tokenize(samples)
        padded = np.pad(samples, (0, len(prompt.codes) * parts.codec.hop - len(samples)))
        batch = torch.from_numpy(padded)[None]
        found_codes = torch.from_numpy(prompt.codes)
        found_tokens = torch.from_numpy(prompt.semantic_tokens)
        expected_codes, expected_tokens = parts.codec.tokenize(batch)[0], units.tokenize(batch)[0]
        excess.append(_code_excess(parts.codec, batch, found_codes, expected_codes))
        excess.append(_token_excess(units, batch, found_tokens, expected_tokens))
        codes.append((found_codes == expected_codes).flatten())
        tokens.append(found_tokens == expected_tokens)
    result = PromptEncoderReport(
        level=round(speech_level(np.concatenate(speech), sample_rate), 1),
        seconds=round(sum(map(len, speech)) / sample_rate, 1),
        equal_codes=float(torch.cat(codes).float().mean()),
        equal_tokens=float(torch.cat(tokens).float().mean()),
        excess=float(torch.cat(excess).max()),
    )
    if min(result.equal_codes, result.equal_tokens) < LEAST_EQUAL or result.excess > LARGEST_EXCESS:
        raise ExportError(
            f"the prompt encoder differs from PyTorch on the voice's own speech: {result.equal_codes:.2%} of "
            f"the codes and {result.equal_tokens:.2%} of the semantic tokens are equal, expected at least "
            f"{LEAST_EQUAL:.0%}; the others are up to {result.excess:.1%} further from what they stand for, "
            f"expected at most {LARGEST_EXCESS:.0%}; nothing was written"
        )
    return result


def _within_limits(audio: np.ndarray, bundle: Bundle) -> np.ndarray:
    """Cut or pad audio, float32 `[samples]`, to a length that the prompt encoder accepts.

    An untrained or slow text stage may speak a sentence for longer than any recording that makes a prompt.
    """
    manifest = bundle.manifest
    frames, tokens = manifest.axes["prompt_frames"], manifest.axes["prompt_tokens"]
    per_token = manifest.audio.hop * manifest.frames_per_token
    longest = min(frames.max * manifest.audio.hop, tokens.max * per_token) // per_token * per_token
    shortest = max(frames.min * manifest.audio.hop, tokens.min * per_token)
    return np.pad(audio[:longest], (0, max(0, shortest - len(audio))))


def _code_excess(codec: Codec, audio: Tensor, found: Tensor, expected: Tensor) -> Tensor:
    """Measure how much further from its latent each frame with different codes lies, relative to PyTorch's.

    Args:
        codec: quantises latents with residual codebooks.
        audio: float32 `[1, samples]`.
        found: codes int64 `[frames, levels]` of the graph.
        expected: those of PyTorch.

    Returns:
        float32 `[frames that differ]`, measured at the first level that differs: the codes after it quantise
        another residual. `[1]` of 0 where all are equal.
    """
    differs = found != expected
    frames = differs.any(dim=-1)
    if not frames.any():
        return torch.zeros(1)
    if not isinstance(codec, SpectralCodec | SoundStream):
        raise ExportError(f"the codec is a {type(codec).__name__}, expected a SpectralCodec or a SoundStream")
    latents = codec.latents(audio)[0]
    later = differs.int().cumsum(dim=-1) - differs.int() > 0

    def distances(codes: Tensor) -> Tensor:
        quantized = codec.quantizer.decode(codes.masked_fill(later, -1)[None])[0]
        return (latents - quantized).norm(dim=-1)[frames]

    return distances(found) / distances(expected) - 1


def _token_excess(units: SemanticTokenizer, audio: Tensor, found: Tensor, expected: Tensor) -> Tensor:
    """Measure how much further from its features each different token lies, relative to PyTorch's."""
    differs = found != expected
    if not differs.any():
        return torch.zeros(1)
    features, centroids = units.features(audio)[0], units.centroids
    distances = [(features - centroids[tokens]).norm(dim=-1)[differs] for tokens in (found, expected)]
    return distances[0] / distances[1] - 1
