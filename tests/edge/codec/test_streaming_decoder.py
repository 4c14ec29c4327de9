"""SoundStream's decoder in pieces is what it is at once, in PyTorch and through ONNX."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstorm_edge.codec.soundstream import SoundStream, SoundStreamConfig
from soundstorm_edge.codec.streaming_decoder import StreamingDecoder
from soundstorm_edge.errors import ConfigError
from soundstorm_export.rewrite.simplify import simplify
from soundstorm_export.tracing.networks import Network
from soundstorm_export.tracing.trace import trace_graph
from soundstorm_export.verify.operators import check_operators
from soundstorm_runtime.bundle.manifest import AudioSchema
from soundstorm_runtime.engines.graphs import decoder_stream_graph
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine
from soundstorm_runtime.synthesis.codec_decoder import CausalStreamDecoder

LEVELS, CODES, HOP = 3, 16, 16
CONVOLUTIONAL = SoundStreamConfig(
    channels=4,
    strides=(2, 8),
    channel_mults=(2, 4),
    codebook_dim=16,
    rq_num_quantizers=LEVELS,
    codebook_size=CODES,
    use_local_attn=False,
    pad_mode="constant",
    discriminators=False,
)
ATTENTIVE = dataclasses.replace(
    CONVOLUTIONAL, use_local_attn=True, attn_depth=2, attn_window_size=5, attn_dim_head=8, attn_heads=2
)
CONFIGS = {
    "convolutional": CONVOLUTIONAL,
    "gated": dataclasses.replace(CONVOLUTIONAL, squeeze_excite=True),
    "reflecting": dataclasses.replace(CONVOLUTIONAL, pad_mode="reflect"),
    "repeating": dataclasses.replace(CONVOLUTIONAL, pad_mode="replicate"),
    "attentive": ATTENTIVE,
    "attentive with a bias": dataclasses.replace(ATTENTIVE, attn_dynamic_pos_bias=True),
    "as audiolm-pytorch": dataclasses.replace(ATTENTIVE, pad_mode="reflect"),
}


def made(config: SoundStreamConfig) -> SoundStream:
    """A codec whose codebooks have been started."""
    torch.manual_seed(0)
    codec = SoundStream(config).eval()
    codec.reconstruct(torch.randn(4, 64 * HOP))
    return codec


@pytest.fixture(scope="module")
def attentive() -> SoundStream:
    return made(ATTENTIVE)


def drawn(frames: int) -> torch.Tensor:
    return torch.randint(CODES, (2, frames, LEVELS), generator=torch.Generator().manual_seed(frames))


@torch.no_grad()
def in_pieces(codec: SoundStream, codes: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    decoder = StreamingDecoder(codec)
    state = [
        torch.zeros(len(codes), dtype=torch.int64),
        *(torch.zeros(len(codes), *s) for s in decoder.state),
    ]
    audio = []
    for piece in codes.split(lengths, dim=1):
        sound, *state = decoder.decode(piece, *state)
        audio.append(sound)
    return torch.cat(audio, dim=1)


@pytest.mark.parametrize("name", CONFIGS)
def test_pieces_are_the_whole(name):
    codec, codes = made(CONFIGS[name]), drawn(60)
    with torch.no_grad():
        whole = codec.decode_from_codebook_indices(codes)
    assert whole.std() > 1e-3
    pieces = in_pieces(codec, codes, [16, 1, 2, 7, 34])
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=0)


@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_any_pieces_will_do_where_silence_comes_first(attentive, lengths):
    codec, codes = attentive, drawn(sum(lengths))
    with torch.no_grad():
        whole = codec.decode_from_codebook_indices(codes)
    torch.testing.assert_close(in_pieces(codec, codes, lengths), whole, atol=1e-5, rtol=0)


def test_memory_is_that_of_the_convolutions_and_of_the_attention():
    keys = values = (2, 5, 8)
    first, upsampling, units = (16, 6), (16, 1), [(8, 6), (8, 18), (8, 54)]
    assert StreamingDecoder(made(ATTENTIVE)).state[:7] == (
        keys,
        values,
        keys,
        values,
        first,
        upsampling,
        units[0],
    )
    assert StreamingDecoder(made(CONVOLUTIONAL)).state[:5] == (first, upsampling, *units)


def test_padding_that_needs_the_end_of_the_audio_is_refused():
    with pytest.raises(
        ConfigError, match=r"pad_mode is 'circular', which pads the start of the audio with its end"
    ):
        StreamingDecoder(made(dataclasses.replace(CONVOLUTIONAL, pad_mode="circular")))


@pytest.mark.sweep
def test_pieces_are_the_whole_on_the_device(tmp_path):
    codec = made(dataclasses.replace(CONFIGS["as audiolm-pytorch"], attn_depth=1))
    decoder = StreamingDecoder(codec)
    graph = decoder_stream_graph(LEVELS, decoder.state)
    lengths = {"batch": 2, "frames": 37}
    feeds = {
        tensor.name: np.ones([lengths[a] if isinstance(a, str) else a for a in tensor.axes], tensor.dtype)
        for tensor in graph.inputs
    }
    model = simplify(trace_graph(Network(graph, codec, decoder.decode), feeds))
    check_operators("decoder_stream", model)
    ir.save(model, tmp_path / "decoder_stream.onnx")
    engine = OnnxEngine(graph, tmp_path / "decoder_stream.onnx", provider="cpu", threads=1)
    facts = AudioSchema("soundstream", 16_000, HOP, 0, LEVELS, CODES, state=decoder.state)
    codes = drawn(60)
    with torch.no_grad():
        whole = codec.decode_from_codebook_indices(codes)[1].clamp(-1, 1).numpy()
    sound = CausalStreamDecoder(
        facts, codes[1, :10].numpy(), engine
    )  # the context of a prompt, which is not heard
    cuts = [(10, 26), (26, 27), (27, 60)]
    pieces = [sound.push(codes[1, start:end].numpy(), last=end == 60) for start, end in cuts]
    assert [len(piece) for piece in pieces] == [(end - start) * HOP for start, end in cuts]
    np.testing.assert_allclose(np.concatenate(pieces), whole[10 * HOP :], atol=1e-5)
