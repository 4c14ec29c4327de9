"""Stage `codec`: train the autoencoder between audio and codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from soundstorm_runtime.audio.pitch import pitch_track

from ...checkpoint import build_codec
from ...codec.adversarial import adversarial_loss, discriminator_loss, feature_matching_loss, frozen
from ...codec.discriminators import DiscriminatorConfig, Discriminators
from ...codec.interface import CODING, Codec, CodecOutput, Pitch
from ...codec.soundstream import SoundStreamConfig
from ...codec.source_filter import USUAL_PITCH
from ...codec.spectral_codec import SpectralCodecConfig
from ...codec.spectral_loss import SpectralLoss
from ...codec.spectrogram_discriminators import (
    SpectrogramDiscriminatorConfig,
    SpectrogramDiscriminators,
)
from ...data.corpus import Corpus
from ..optimization import Optimization
from ..stage import Stage


@dataclass(frozen=True)
class CodecRecipe:
    """The settings of the stage.

    Args:
        model: the codec.
        frames: length of a training crop.
        commitment: weight of the commitment loss, beside the spectral loss.
        pitch: weight of the loss of pitch and voicing, of a codec with a source.
        adversarial: weight of the adversarial loss; 0 trains without discriminators.
        features: weight of the feature matching loss, relative to the adversarial one.
        fixed_codes: train the decoder only, so that the codes keep their meaning for SoundStorm; on a random
            number of levels, since fewer than all of them may be decoded.
        discriminators: their sizes.
        spectrogram_discriminators: discriminators that a CPU can train, in place of those.
        optimization: how all of it is trained.
    """

    model: SpectralCodecConfig | SoundStreamConfig = field(default_factory=SpectralCodecConfig)
    frames: int = 64
    commitment: float = 0.25
    pitch: float = 0.5
    adversarial: float = 0.0
    features: float = 5.0
    fixed_codes: bool = False
    discriminators: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    spectrogram_discriminators: SpectrogramDiscriminatorConfig | None = None
    optimization: Optimization = field(default_factory=Optimization)


class CodecStage(Stage):
    """Random crops; multi-resolution spectral loss, commitment, and optionally discriminators."""

    name = "codec"

    def __init__(self, recipe: CodecRecipe, corpus: Corpus) -> None:
        self.config, self.recipe = recipe.model, recipe
        torch.manual_seed(recipe.optimization.seed)
        self.codec = build_codec(recipe.model)
        if recipe.fixed_codes:
            for name, weight in self.codec.named_parameters():
                weight.requires_grad_(not name.startswith(CODING))
        self.model = with_discriminators(self.codec, recipe)
        self.spectral_loss = SpectralLoss(self.codec.sample_rate)
        self.corpus = corpus
        self.samples = recipe.frames * self.codec.hop
        seconds = self.samples / self.codec.sample_rate
        self.utterances = corpus.at_least(seconds, held_out=False)
        self.held_out = corpus.at_least(seconds, held_out=True)[:32]
        self.lengths = np.ones(len(self.utterances))  # all crops have one length

    def sample(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Read a crop `[samples]` of an utterance, and measure its pitch where the codec has a source."""
        utterance = self.utterances[number]
        last = int(utterance.seconds * self.codec.sample_rate) - self.samples
        crop = self.corpus.audio(utterance, int(rng.integers(last + 1)), self.samples)
        if not isinstance(self.config, SpectralCodecConfig) or not self.config.source:
            return (crop,)
        hop = self.codec.hop // self.config.transforms
        return crop, pitch_track(crop, self.codec.sample_rate, hop).astype(np.float32)

    def collate(self, samples: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
        """Stack crops, float32 `[batch, samples]`, and pitch in Hz, `[batch, transforms]`, if measured."""
        return tuple(torch.from_numpy(np.stack(column)) for column in zip(*samples, strict=True))

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Add up the weighted losses of the codec and, where there are any, of its discriminators."""
        real = batch[0]
        audio, parts = model(*batch)
        parts = {"spectral": self.spectral_loss.to(real.device)(audio, real), **parts}
        weights = {
            "commitment": self.recipe.commitment,
            "pitch": self.recipe.pitch,
            "adversarial": self.recipe.adversarial,
            "features": self.recipe.adversarial * self.recipe.features,
        }
        loss = torch.stack([weights.get(name, 1.0) * part for name, part in parts.items()]).sum()
        return loss, {name: part.detach() for name, part in parts.items()}

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Return the spectral loss of held-out crops."""
        crops = [self.corpus.audio(u, 0, self.samples) for u in self.held_out]
        real = torch.from_numpy(np.stack(crops)).to(device)
        codes = self.codec.tokenize(real)
        audio = self.codec.decode_from_codebook_indices(codes)
        return {"spectral": self.spectral_loss(audio, real).item()}

    def audio_examples(self, device: torch.device) -> dict[str, tuple[np.ndarray, int]]:
        """Return the reconstruction of a held-out crop."""
        real = torch.from_numpy(self.corpus.audio(self.held_out[0], 0, self.samples))[None].to(device)
        audio = self.codec.decode_from_codebook_indices(self.codec.tokenize(real))
        return {"reconstruction": (audio[0].cpu().numpy(), self.codec.sample_rate)}


def with_discriminators(codec: Codec, recipe: CodecRecipe) -> nn.Module:
    """Join a codec with the discriminators of a recipe; the names of its weights gain the prefix `codec.`."""
    discriminators = build_discriminators(recipe) if recipe.adversarial else None
    return _AdversarialCodec(codec, discriminators, fixed_codes=recipe.fixed_codes)


def build_discriminators(recipe: CodecRecipe) -> nn.Module:
    """Create the discriminators of a recipe."""
    if recipe.spectrogram_discriminators is not None:
        return SpectrogramDiscriminators(recipe.spectrogram_discriminators)
    return Discriminators(recipe.discriminators)


class _AdversarialCodec(nn.Module):
    """A codec and its discriminators as one module, so that one backward pass trains both.

    The adversarial loss of the codec passes through frozen discriminators, and the discriminators are trained
    on detached audio: neither loss has a gradient for the other's weights.
    """

    def __init__(self, codec: Codec, discriminators: nn.Module | None, *, fixed_codes: bool) -> None:
        super().__init__()
        self.codec = codec
        self.discriminators = discriminators
        self.fixed_codes = fixed_codes

    def forward(self, real: Tensor, hertz: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        pitch = None if hertz is None else Pitch(_without_gaps(hertz), (hertz > 0).to(hertz.dtype))
        output = (
            self._with_fixed_codes(real, pitch) if self.fixed_codes else self.codec.reconstruct(real, pitch)
        )
        parts = {"commitment": output.commitment_loss}
        if output.pitch_loss is not None:
            parts["pitch"] = output.pitch_loss
        if self.discriminators is None:
            return output.audio, parts
        of_real = self.discriminators(real)
        of_detached = self.discriminators(output.audio.detach())
        with frozen(self.discriminators):
            of_decoded = self.discriminators(output.audio)
        return output.audio, {
            **parts,
            "discriminator": discriminator_loss(of_real, of_detached),
            "adversarial": adversarial_loss(of_decoded),
            "features": feature_matching_loss(of_real, of_decoded),
        }

    def _with_fixed_codes(self, real: Tensor, pitch: Pitch | None) -> CodecOutput:
        """Encode as in inference, and decode a random number of levels; no codebook is updated."""
        with torch.autocast(real.device.type, enabled=False):
            codes = self.codec.tokenize(real)
        levels = int(torch.randint(min(3, codes.shape[-1]), codes.shape[-1] + 1, ()))
        return self.codec.reconstruct_codes(codes[..., :levels], pitch)


def _without_gaps(hertz: Tensor) -> Tensor:
    """Give frames without pitch, which is 0 there, that of a usual voice."""
    return torch.where(hertz > 0, hertz, USUAL_PITCH)
