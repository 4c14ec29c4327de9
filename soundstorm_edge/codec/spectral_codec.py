"""A codec that works at the frame rate: log-mel input, inverse STFT output (Vocos, arXiv 2306.00814).

Its convolutions process 50 frames a second instead of 16,000 samples, so that a bare CPU can train it and
speak with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from ..nn.mel import LogMel
from ..support.config import LONGEST_WINDOW, MOST_LAYERS, check_positive
from .interface import Codec, CodecOutput, Pitch
from .quantizer import Quantizer
from .source_filter import excite, filters_from


@dataclass(frozen=True)
class SpectralCodecConfig:
    """Sizes of the spectral codec.

    Args:
        sample_rate: in Hz.
        hop: samples of a frame.
        window: samples of the analysis and synthesis windows, a multiple of the hop.
        mels: bands of a log-mel spectrum.
        dim: width of encoder and decoder.
        encoder_blocks, decoder_blocks: their depth.
        latent_dim: width of the latents that are quantized.
        levels, codebook_size: of the residual quantizer.
        spectra: log-mel spectra of a frame in the encoder's input; each has this fraction of window and hop.
        transforms: inverse STFTs of a frame at the decoder's output, likewise.
        decoder_ff_mult: width of the decoder's feed-forward layers in multiples of `dim`; the encoder has 3.
        source: whether the decoder predicts pitch and noise in place of phases, which are those of pulses at
            that pitch: `soundstorm_runtime.audio.harmonic_source`.

    Raises:
        ConfigError: a value is impossible.
    """

    kind: Literal["spectral"] = "spectral"
    sample_rate: int = 16_000
    hop: int = 320
    window: int = 1280
    spectra: int = 1
    transforms: int = 1
    mels: int = 80
    dim: int = 256
    encoder_blocks: int = 4
    decoder_blocks: int = 6
    decoder_ff_mult: int = 3
    latent_dim: int = 128
    levels: int = 6
    codebook_size: int = 512
    source: bool = False

    def __post_init__(self) -> None:
        check_positive(self, "sample_rate", "hop", "dim", "decoder_ff_mult", "latent_dim", "codebook_size")
        check_positive(self, "window", "mels", most=LONGEST_WINDOW)
        check_positive(self, "spectra", "transforms", "levels", most=MOST_LAYERS)
        check_positive(self, "encoder_blocks", "decoder_blocks", most=MOST_LAYERS)
        if self.window % self.hop or self.window < 2 * self.hop:
            raise ConfigError(f"window {self.window} must be a multiple of hop {self.hop}, at least twice it")
        for name in ("spectra", "transforms"):
            if self.hop % getattr(self, name):
                raise ConfigError(f"{name} is {getattr(self, name)}, expected a divisor of hop {self.hop}")


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over 7 frames, layer norm, and a feed-forward `ff_mult` times as wide.

    `lookahead` of the 7 frames are in the future: few of them keep the latency of a streaming decoder low.
    """

    def __init__(self, dim: int, ff_mult: int, lookahead: int, scale: float) -> None:
        super().__init__()
        self.padding = (6 - lookahead, lookahead)
        self.depthwise = nn.Conv1d(dim, dim, 7, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, ff_mult * dim)
        self.narrow = nn.Linear(ff_mult * dim, dim)
        self.scale = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, frames, dim]` to the same shape."""
        y = self.depthwise(F.pad(x.transpose(1, 2), self.padding)).transpose(1, 2)
        y = self.narrow(F.gelu(self.widen(self.norm(y))))
        return x + self.scale * y


def _backbone(inputs: int, dim: int, blocks: int, ff_mult: int, lookahead: int) -> nn.Sequential:
    stack = [ConvNeXtBlock(dim, ff_mult, lookahead, 1 / blocks) for _ in range(blocks)]
    return nn.Sequential(nn.Linear(inputs, dim), nn.LayerNorm(dim), *stack, nn.LayerNorm(dim))


class SpectralCodec(Codec):
    """Log-mel encoder, residual VQ, and a decoder that predicts magnitude and phase of every frame."""

    def __init__(self, config: SpectralCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate, self.hop = config.sample_rate, config.hop
        self.levels, self.codebook_size = config.levels, config.codebook_size
        self.window = config.window // config.transforms  # of the inverse STFT
        self.bins = self.window // 2 + 1
        self.mel = LogMel(
            config.sample_rate, config.hop // config.spectra, config.window // config.spectra, config.mels
        )
        self.encoder = _backbone(
            config.spectra * config.mels, config.dim, config.encoder_blocks, 3, lookahead=3
        )
        self.to_latent = nn.Linear(config.dim, config.latent_dim)
        self.quantizer = Quantizer(config.latent_dim, config.levels, config.codebook_size)
        self.decoder = _backbone(
            config.latent_dim, config.dim, config.decoder_blocks, config.decoder_ff_mult, lookahead=1
        )
        self.head = nn.Linear(config.dim, config.transforms * (2 * self.bins + 2 * config.source))
        self.register_buffer("hann", torch.hann_window(self.window), persistent=False)

    def reconstruct(self, audio: Tensor, pitch: Pitch | None = None) -> CodecOutput:
        """Encode and decode audio float32 `[batch, samples]`, whole frames.

        With a source, the pulses have the audio's `pitch` where it is given, to which the predicted one is
        compared.
        """
        quantized, codes, loss = self.quantizer(self.latents(audio))
        return self._reconstruct(quantized, codes, loss, pitch)

    def reconstruct_codes(self, codes: Tensor, pitch: Pitch | None = None) -> CodecOutput:
        """Decode codes as `reconstruct` does."""
        nothing = torch.zeros((), device=codes.device)
        return self._reconstruct(self.quantizer.decode(codes), codes, nothing, pitch)

    def _reconstruct(
        self, quantized: Tensor, codes: Tensor, loss: Tensor, pitch: Pitch | None
    ) -> CodecOutput:
        predicted = self._spectrum(quantized)
        pitch_loss = None if pitch is None else self._pitch_loss(predicted, pitch)
        return CodecOutput(self._synthesize(predicted, pitch), codes, loss, pitch_loss)

    def _encode(self, audio: Tensor) -> Tensor:
        return self.quantizer.encode(self.latents(audio))

    def latents(self, audio: Tensor) -> Tensor:
        """Encode audio float32 `[batch, samples]`, whole frames, to latents `[batch, frames, latent_dim]`."""
        heard = self.mel(audio).unflatten(1, (-1, self.config.spectra)).flatten(2)
        return self.to_latent(self.encoder(heard))

    def decode_from_codebook_indices(self, codes: Tensor) -> Tensor:
        """Decode codes int64 `[batch, frames, levels]` to audio float32 `[batch, frames * hop]`."""
        return self._synthesize(self.spectrum(codes))

    def spectrum(self, codes: Tensor) -> Tensor:
        """Return the STFT, float32 `[batch, frames, transforms * 2 * bins]`: real parts, then imaginary ones.

        Several transforms follow one another, each with both of its parts. This is the exported graph: the
        host computes the inverse transform as an FFT, four times faster than a matrix product inside the
        graph (`benchmarks/inverse_stft.py`). With a source, filters of pulses and noise take the place of
        spectra.
        """
        return self._spectrum(self.quantizer.decode(codes))

    def _spectrum(self, quantized: Tensor) -> Tensor:
        spectra = self.head(self.decoder(quantized)).unflatten(-1, (self.config.transforms, -1))
        if self.config.source:
            return filters_from(spectra, self.bins).flatten(2)
        magnitude, phase = spectra.chunk(2, dim=-1)
        magnitude = magnitude.exp().clamp(max=1e2)  # so that a single frame cannot dominate the loss
        return torch.cat((magnitude * phase.cos(), magnitude * phase.sin()), dim=-1).flatten(2)

    def _synthesize(self, predicted: Tensor, pitch: Pitch | None = None) -> Tensor:
        """Overlap-add the frames; each transform is centred on its hop, so no sample is lost."""
        window, hop = self.window, self.hop // self.config.transforms
        predicted = predicted.unflatten(-1, (self.config.transforms, -1)).flatten(1, 2).float()
        batch, frames, _ = predicted.shape
        hann: Tensor = self.hann  # type: ignore[assignment]
        if self.config.source:
            spectrum = excite(predicted, hann, hop, self.sample_rate, pitch)
        else:
            spectrum = torch.complex(*predicted.chunk(2, dim=-1))
        pieces = torch.fft.irfft(spectrum, n=window) * hann
        weights = (hann**2).expand(1, frames, window)
        length, edge = (frames - 1) * hop + window, (window - hop) // 2

        def overlap_add(x: Tensor) -> Tensor:
            summed = F.fold(x.transpose(1, 2), (1, length), (1, window), stride=(1, hop))
            return summed[:, 0, 0, edge : edge + frames * hop]

        return overlap_add(pieces).view(batch, -1) / overlap_add(weights)

    def _pitch_loss(self, predicted: Tensor, pitch: Pitch) -> Tensor:
        """Return the distance of the predicted pitch, in nepers where there is one, and of the voicing."""
        filters = predicted.unflatten(-1, (self.config.transforms, -1)).flatten(1, 2)
        distance = (filters[..., -2].log() - pitch.hertz.log()).abs()
        voicing = F.binary_cross_entropy(filters[..., -1].clamp(1e-6, 1 - 1e-6), pitch.voiced)
        return (distance * pitch.voiced).sum() / pitch.voiced.sum().clamp(min=1) + 0.4 * voicing
