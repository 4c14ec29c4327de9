import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from soundstorm_edge.codec.soundstream import (
    AudioLMSoundStream,
    MusicLMSoundStream,
    SoundStream,
    SoundStreamConfig,
)
from soundstorm_edge.codec.spectral_loss import SpectralLoss
from soundstorm_edge.errors import CheckpointError, ConfigError
from soundstorm_edge.nn.causal_convolution import CausalConv1d, CausalConvTranspose1d
from soundstorm_edge.support.config import from_dict, to_dict
from soundstorm_export.verify.operators import check_operators
from soundstorm_runtime.errors import AudioError

# A codec that can stream: silence before the first sample, and no attention.
TINY = SoundStreamConfig(
    channels=4,
    strides=(2, 4),
    channel_mults=(2, 4),
    codebook_dim=16,
    rq_num_quantizers=3,
    codebook_size=16,
    use_local_attn=False,
    pad_mode="constant",
    strided_pad_mode="constant",
    discriminators=False,
)
ATTENTIVE = dataclasses.replace(
    TINY, use_local_attn=True, attn_depth=2, attn_window_size=5, attn_dim_head=8, attn_heads=2
)
HOP = 8


def sines(batch: int, samples: int) -> Tensor:
    pitch = torch.linspace(150, 600, batch)[:, None]
    time = torch.arange(samples) / 16_000
    return sum((0.3 / k * torch.sin(2 * math.pi * k * pitch * time + k) for k in (1, 2, 3)), torch.zeros(()))


@pytest.fixture(scope="module")
def codec() -> SoundStream:
    """A tiny codec whose codebooks have been started, all of them: no level is dropped in evaluation."""
    torch.manual_seed(0)
    model = SoundStream(TINY).eval()
    model.reconstruct(sines(4, 1024))
    return model


def test_defaults_are_those_of_the_paper_at_16_khz() -> None:
    assert SoundStreamConfig().hop == 320
    assert SoundStreamConfig().widths == (32, 64, 128, 256, 512)


def test_shapes_of_a_training_pass() -> None:
    torch.manual_seed(0)
    output = SoundStream(TINY).reconstruct(sines(2, 805))
    assert output.audio.shape == (2, 805)
    assert output.codes.shape == (2, 101, 3)
    assert output.codes.dtype == torch.int64
    assert output.commitment_loss.shape == ()


@settings(max_examples=25, deadline=None)
@given(batch=st.integers(1, 3), samples=st.integers(1, 200))
def test_codes_cover_every_sample(codec: SoundStream, batch: int, samples: int) -> None:
    codes = codec.tokenize(sines(batch, samples))
    frames = math.ceil(samples / HOP)
    assert codes.shape == (batch, frames, 3)
    assert codes.dtype == torch.int64
    assert codes.min() >= 0
    assert codes.max() < 16
    assert codec.decode_from_codebook_indices(codes).shape == (batch, frames * HOP)


def test_tokenize_is_deterministic_and_leaves_the_codec_as_it_was(codec: SoundStream) -> None:
    before = copy.deepcopy(codec.state_dict())
    audio = sines(2, 400)
    assert torch.equal(codec.tokenize(audio), codec.tokenize(audio))
    assert all(torch.equal(value, before[name]) for name, value in codec.state_dict().items())


def test_decoding_codes_gives_what_the_training_pass_heard(codec: SoundStream) -> None:
    audio = sines(2, 405)
    with torch.no_grad():
        decoded = codec.decode_from_codebook_indices(codec.tokenize(audio))
        torch.testing.assert_close(codec.reconstruct(audio).audio, decoded[:, :405], rtol=1e-4, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(sample=st.integers(0, 255))
def test_the_encoder_does_not_look_ahead(codec: SoundStream, sample: int) -> None:
    audio = sines(1, 256)
    changed = audio.clone()
    changed[:, sample:] = 1 - changed[:, sample:]
    frame = sample // HOP
    with torch.no_grad():
        before, after = codec.encoder(audio[:, None]), codec.encoder(changed[:, None])
    torch.testing.assert_close(before[..., :frame], after[..., :frame])
    assert not torch.allclose(before[..., frame], after[..., frame])
    assert torch.equal(codec.tokenize(audio)[:, :frame], codec.tokenize(changed)[:, :frame])


@settings(max_examples=25, deadline=None)
@given(frame=st.integers(1, 31))
def test_the_decoder_does_not_look_ahead(codec: SoundStream, frame: int) -> None:
    codes = torch.randint(0, 16, (1, 32, 3), generator=torch.Generator().manual_seed(frame))
    changed = codes.clone()
    changed[:, frame:] = (changed[:, frame:] + 1) % 16
    with torch.no_grad():
        whole = codec.decode_from_codebook_indices(codes)
        other = codec.decode_from_codebook_indices(changed)
        prefix = codec.decode_from_codebook_indices(codes[:, :frame])
    torch.testing.assert_close(whole[:, : frame * HOP], other[:, : frame * HOP])
    torch.testing.assert_close(whole[:, : frame * HOP], prefix)
    assert not torch.allclose(whole[:, frame * HOP :], other[:, frame * HOP :])


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "context"), [(7, 1, 9, 54), (10, 5, 1, 5), (3, 1, 1, 2), (1, 1, 1, 0)]
)
def test_a_convolution_continues_from_its_context(
    kernel: int, stride: int, dilation: int, context: int
) -> None:
    layer = CausalConv1d(2, 3, kernel, stride, dilation=dilation)
    assert layer.context == context
    x, start = torch.randn(1, 2, 120), 60
    continued = nn.functional.conv1d(
        x[..., start - context :], layer.weight, layer.bias, stride, dilation=dilation
    )
    torch.testing.assert_close(layer(x)[..., start // stride :], continued)


@pytest.mark.parametrize(("stride", "context"), [(1, 1), (2, 1), (5, 1)])
def test_a_transposed_convolution_continues_from_its_context(stride: int, context: int) -> None:
    layer = CausalConvTranspose1d(2, 3, 2 * stride, stride)
    assert layer.context == context
    x = torch.randn(1, 2, 20)
    assert layer(x).shape == (1, 3, 20 * stride)
    continued = layer(x[..., 8 - context :])[..., context * stride :]
    torch.testing.assert_close(layer(x)[..., 8 * stride :], continued)
    assert not torch.allclose(layer(x)[..., 8 * stride :], layer(x[..., 8:]))  # less is not enough


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    model = SoundStream(ATTENTIVE)
    audio = sines(4, 1024)
    output = model.reconstruct(audio)
    ((output.audio - audio).abs().mean() + output.commitment_loss).backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None and "film" not in n]
    assert missing == []


def test_thirty_steps_of_training_reduce_the_reconstruction_loss() -> None:
    torch.manual_seed(0)
    model, measure = SoundStream(TINY), SpectralLoss(16_000)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    audio, losses = sines(4, 1600), []
    for _ in range(30):
        output = model.reconstruct(audio)
        loss = measure(output.audio, audio) + output.commitment_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param(
            {"use_local_attn": True, "pad_mode": "reflect", "attn_window_size": 5}, marks=pytest.mark.sweep
        ),
        {"use_local_attn": True, "attn_dynamic_pos_bias": True, "squeeze_excite": True, "rq_groups": 2},
    ],
)
def test_the_decoder_exports_and_onnx_runtime_agrees(changes: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    codec = SoundStream(dataclasses.replace(TINY, attn_dim_head=8, attn_heads=2, **changes)).eval()
    codec.reconstruct(sines(4, 1024))

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codec = codec

        def forward(self, codes: Tensor) -> Tensor:
            return self.codec.decode_from_codebook_indices(codes)

    batch, frames = torch.export.Dim("batch", max=16), torch.export.Dim("frames", max=3000)
    example = torch.zeros(2, 50, codec.levels, dtype=torch.int64)
    program = torch.onnx.export(
        Decoder().eval(), (example,), dynamo=True, dynamic_shapes=({0: batch, 1: frames},), opset_version=20
    )
    assert program is not None
    check_operators("decoder", program.model)
    path = tmp_path / "decoder.onnx"
    program.save(path)
    session = onnxruntime.InferenceSession(path)
    for shape in ((1, 1), (1, 3), (3, 77), (16, 5)):
        codes = torch.randint(0, 16, (*shape, codec.levels), generator=torch.Generator().manual_seed(0))
        (audio,) = session.run(None, {session.get_inputs()[0].name: codes.numpy()})
        with torch.no_grad():
            expected = codec.decode_from_codebook_indices(codes)
        torch.testing.assert_close(torch.from_numpy(audio), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (torch.zeros(()), r"torch\.float32 \[\], expected float \[batch, samples\]"),
        (torch.zeros(1, 1, 100), r"\[1, 1, 100\], expected"),
        (torch.zeros(1, 100, dtype=torch.int16), r"torch\.int16 \[1, 100\], expected float"),
        (torch.zeros(1, 0), "not empty"),
        (torch.full((1, 100), math.nan), "not finite"),
    ],
)
def test_odd_audio_is_refused(codec: SoundStream, audio: Tensor, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        codec.tokenize(audio)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stride": [2, 4]}, "unknown key 'stride'; valid keys: kind, channels, strides, channel_mults"),
        ({"strides": [2, 4, 5]}, "strides has 3 entries and channel_mults 4"),
        ({"strides": [2, 4, 5, 0]}, "strides is .2, 4, 5, 0., expected one or more numbers of at least 1"),
        ({"enc_cycle_dilations": []}, "enc_cycle_dilations is ..,"),
        ({"rq_num_quantizers": 0}, "rq_num_quantizers is 0, expected 1 or more"),
        ({"codebook_dim": "512"}, "codebook_dim is '512', expected a whole number"),
        ({"rq_groups": 3}, "codebook_dim 512 does not divide into 3 groups"),
        ({"pad_mode": "zero"}, "pad_mode is 'zero', expected 'reflect' or 'constant'"),
        ({"input_channels": 2}, "input_channels is 2, but only 1 is supported"),
        ({"use_gate_loop_layers": True}, "gate-loop layers are not supported"),
        (
            {"rq_kwargs": {"implicit_neural_codebook": True}},
            "implicit_neural_codebook, which is not supported",
        ),
        ({"use_finite_scalar_quantizer": True}, "finite_scalar_quantizer_levels is ..; give both or neither"),
        ({"use_lookup_free_quantizer": True, "codebook_size": 12}, "codebook_size is 12, .* a power of two"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(SoundStreamConfig, change, "codec")


def test_configuration_survives_plain_data() -> None:
    assert from_dict(SoundStreamConfig, to_dict(TINY), "codec") == TINY


def test_fields_are_taken_in_place_of_a_configuration() -> None:
    assert SoundStream(**dataclasses.asdict(TINY)).config == TINY
    with pytest.raises(ConfigError, match="SoundStreamConfig has the unknown key 'stft_discriminator'"):
        SoundStream(stft_discriminator=nn.Identity())


def test_presets() -> None:
    small = {"channels": 4, "codebook_dim": 8, "codebook_size": 4, "attn_heads": 1, "discriminators": False}
    audio_lm, music_lm = AudioLMSoundStream(**small), MusicLMSoundStream(**small, rq_num_quantizers=2)
    assert (audio_lm.target_sample_hz, audio_lm.downsample_factor, audio_lm.num_quantizers) == (
        16_000,
        320,
        12,
    )
    assert (music_lm.target_sample_hz, music_lm.seq_len_multiple_of, music_lm.levels) == (24_000, 480, 2)


def test_a_saved_codec_comes_back(codec: SoundStream, tmp_path: Path) -> None:
    codec.save(tmp_path / "codec.pt")
    audio = sines(1, 80)
    again = SoundStream.init_and_load_from(tmp_path / "codec.pt")
    assert again.config == codec.config
    assert torch.equal(again.tokenize(audio), codec.tokenize(audio))
    torch.save({"model": {}}, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="not written by soundstorm-edge; expected a SoundStream"):
        SoundStream.init_and_load_from(tmp_path / "foreign.pt")
