"""The spectral codec, its quantizer and its spectra."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from soundstorm_edge.codec.quantizer import Quantizer
from soundstorm_edge.codec.spectral_codec import SpectralCodec, SpectralCodecConfig
from soundstorm_edge.codec.spectral_loss import SpectralLoss
from soundstorm_edge.errors import ConfigError
from soundstorm_edge.nn.mel import LogMel, mel_filters
from soundstorm_runtime.audio.harmonic_source import HarmonicSource
from soundstorm_runtime.audio.inverse_stft import inverse_stft
from soundstorm_runtime.errors import AudioError

TINY = SpectralCodecConfig(
    mels=20, dim=32, encoder_blocks=1, decoder_blocks=2, latent_dim=16, levels=3, codebook_size=16
)


def speech_like(batch: int, samples: int) -> torch.Tensor:
    time = torch.arange(samples) / 16_000
    pitch = 100 + 80 * torch.rand(batch, 1, generator=torch.Generator().manual_seed(0))
    harmonics = [torch.sin(2 * torch.pi * pitch * n * time) / n for n in range(1, 6)]
    return 0.2 * torch.stack(harmonics).sum(0)


@pytest.fixture(scope="module", params=[(1, False), (2, False), (2, True)], ids=["one", "two", "source"])
def codec(request: pytest.FixtureRequest) -> SpectralCodec:
    torch.manual_seed(0)
    count, source = request.param
    codec = SpectralCodec(replace(TINY, spectra=count, transforms=count, source=source))
    codec.reconstruct(speech_like(8, 12_800))  # the first training pass starts the codebooks
    return codec.eval()


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (320, 1), (321, 2), (9_999, 32)])
def test_frames_of_any_length(codec: SpectralCodec, samples: int, frames: int) -> None:
    codes = codec.tokenize(speech_like(2, samples))
    assert codes.shape == (2, frames, 3)
    assert codec.decode_from_codebook_indices(codes).shape == (2, frames * 320)


def test_the_device_computes_the_same_audio(codec: SpectralCodec) -> None:
    codes = torch.randint(16, (2, 33, 3))
    with torch.no_grad():
        expected = codec.decode_from_codebook_indices(codes).numpy()
        spectrum = codec.spectrum(codes).numpy()
    transforms = codec.config.transforms
    shape = 1280 // transforms, 320 // transforms
    if codec.config.source:
        filters = spectrum.reshape(2, 33 * transforms, -1)
        spectrum = np.stack([HarmonicSource(*shape, 16_000).push(each) for each in filters])
    found = inverse_stft(spectrum, *shape)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == np.float32


def test_inverse_stft_undoes_the_stft() -> None:
    audio = speech_like(1, 6_400)
    frames = torch.nn.functional.pad(audio, (480, 480)).unfold(1, 1280, 320) * torch.hann_window(1280)
    spectrum = torch.fft.rfft(frames)
    parts = torch.cat((spectrum.real, spectrum.imag), dim=-1).numpy()
    np.testing.assert_allclose(inverse_stft(parts, 1280, 320), audio, atol=1e-5)


def test_tokenize_moves_nothing_even_while_training(codec: SpectralCodec) -> None:
    audio = speech_like(2, 3_200)
    codec.train()
    before = codec.quantizer.residual.codebooks.clone()
    codes = codec.tokenize(audio)
    codec.eval()
    assert codes.min() >= 0, "no level is dropped"
    assert (codec.quantizer.residual.codebooks == before).all()
    assert (codec.tokenize(audio) == codes).all()


def test_encode_finds_what_the_library_finds(codec: SpectralCodec) -> None:
    latents = torch.randn(2, 9, 16)
    with torch.no_grad():
        quantized, codes, _ = codec.quantizer(latents)
    assert (codec.quantizer.encode(latents) == codes).all()
    torch.testing.assert_close(codec.quantizer.decode(codes), quantized, atol=1e-5, rtol=1e-5)


def test_a_coarse_prefix_can_be_decoded(codec: SpectralCodec) -> None:
    codes = torch.randint(16, (1, 4, 3))
    books = codec.quantizer.residual.codebooks
    expected = books[0][codes[0, :, 0]] + books[1][codes[0, :, 1]]
    torch.testing.assert_close(codec.quantizer.decode(codes[..., :2])[0], expected)


def test_little_lookahead(codec: SpectralCodec) -> None:
    """Each decoder block sees one frame ahead, and the window of the inverse STFT less than two more."""
    codes = torch.randint(16, (1, 40, 3))
    changed = codes.clone()
    changed[:, 30:] = (changed[:, 30:] + 1) % 16
    with torch.no_grad():
        a, b = codec.decode_from_codebook_indices(codes), codec.decode_from_codebook_indices(changed)
    reach = TINY.decoder_blocks + 2
    assert torch.equal(a[:, : (30 - reach) * 320], b[:, : (30 - reach) * 320])
    assert not torch.equal(a, b)


def test_the_decoder_alone_is_widened() -> None:
    narrow, wide = SpectralCodec(TINY), SpectralCodec(replace(TINY, decoder_ff_mult=5))
    assert wide.decoder[2].widen.out_features == 5 * TINY.dim
    assert wide.encoder[2].widen.out_features == narrow.encoder[2].widen.out_features == 3 * TINY.dim
    with pytest.raises(ConfigError, match="decoder_ff_mult"):
        replace(TINY, decoder_ff_mult=0)


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    codec, loss = SpectralCodec(TINY), SpectralLoss(16_000)
    optimizer = torch.optim.Adam(codec.parameters(), 3e-3)
    audio = speech_like(4, 9_600)
    losses = []
    for _ in range(60):
        output = codec.reconstruct(audio)
        total = loss(output.audio, audio) + 0.25 * output.commitment_loss
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert losses[-1] < 0.6 * losses[0]
    assert all(p.grad is not None for p in codec.parameters())


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (torch.zeros(320), r"audio is torch.float32 \[320\], expected float \[batch, samples\]"),
        (torch.zeros(1, 320, dtype=torch.int16), "audio is torch.int16"),
        (torch.zeros(1, 0), "not empty"),
        (torch.full((1, 320), torch.nan), "samples that are not finite"),
    ],
)
def test_odd_audio_is_refused(codec: SpectralCodec, audio: torch.Tensor, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        codec.tokenize(audio)


def test_a_window_must_hold_whole_hops() -> None:
    with pytest.raises(ConfigError, match="window 1000 must be a multiple of hop 320"):
        SpectralCodecConfig(window=1000)
    with pytest.raises(ConfigError, match="transforms is 3, expected a divisor of hop 320"):
        SpectralCodecConfig(transforms=3)
    with pytest.raises(ConfigError, match="spectra is 6, expected a divisor of hop 320"):
        SpectralCodecConfig(spectra=6)


def test_short_spectra_hear_when_in_a_frame() -> None:
    """A click early in a frame and one late in it sound alike to a long window, and not to short ones."""
    early, late = torch.zeros(2, 1, 3200)
    early[0, 1650], late[0, 1870] = 1.0, 1.0  # 110 samples from the middle of frame 5, on either side
    apart = {}
    for spectra in (1, 2):
        codec = SpectralCodec(replace(TINY, spectra=spectra))
        differ = (codec.mel(early) - codec.mel(late)).unflatten(1, (-1, spectra))
        apart[spectra] = float(differ[0, 5].abs().max())
    assert apart[1] < 0.01 < 0.5 < apart[2]


def test_short_transforms_sound_in_less_time() -> None:
    """Of a frame's sound, what reaches into its neighbours ends with the window of its own transforms."""
    reaches = {}
    for transforms in (1, 2, 4):
        codec = SpectralCodec(replace(TINY, transforms=transforms))
        spectrum = torch.zeros(1, 9, codec.head.out_features)
        spectrum[:, 4] = 1
        heard = codec._synthesize(spectrum)[0].abs() > 1e-6
        assert heard[4 * 320 : 5 * 320].any()
        reaches[transforms] = int(heard.nonzero().max()) - 5 * 320
    assert reaches[1] > reaches[2] > reaches[4]


def test_a_tone_lights_its_mel_band() -> None:
    mel = LogMel(16_000, 320, 1280, 40)
    spectrum = mel(torch.sin(2 * torch.pi * 1_000 * torch.arange(16_000) / 16_000)[None])
    assert spectrum.shape == (1, 50, 40)
    filters = mel_filters(16_000, 1280, 40)
    assert spectrum[0, 25].argmax() == filters[80].argmax(), "bin 80 of 1280 at 16 kHz is 1000 Hz"


def test_quantizer_dropout_leaves_out_fine_levels() -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(8, 6, 16).train()
    dropped = [(quantizer(torch.randn(2, 40, 8))[1] == -1).any() for _ in range(12)]
    assert any(dropped)
    assert not all(dropped)
