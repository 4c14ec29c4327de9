"""Stage `codec`: learn to turn audio into codes and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ...checkpoint import build_codec
from ...codec.adversarial import adversarial_loss, discriminator_loss, feature_matching_loss, frozen
from ...codec.discriminators import DiscriminatorConfig, Discriminators
from ...codec.interface import Codec, CodecOutput
from ...codec.soundstream import SoundStreamConfig
from ...codec.spectral_codec import SpectralCodecConfig
from ...codec.spectral_loss import SpectralLoss
from ...data.corpus import Corpus
from ..optimization import Optimization
from ..stage import Stage

CODING = ("encoder", "to_latent", "quantizer")  # what the weights that make codes begin with, in both codecs


@dataclass(frozen=True)
class CodecRecipe:
    """Which codec, and how it is trained.

    frames: length of a training crop; commitment, adversarial, features: weights of those losses, beside
    the spectral loss. An `adversarial` of 0 trains without discriminators. fixed_codes: the encoder and its
    codebooks stay, and the decoder alone learns: what SoundStorm knows of the codes stays true.
    """

    model: SpectralCodecConfig | SoundStreamConfig = field(default_factory=SpectralCodecConfig)
    frames: int = 64
    commitment: float = 0.25
    adversarial: float = 0.0
    features: float = 5.0
    fixed_codes: bool = False
    discriminators: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    optimization: Optimization = field(default_factory=Optimization)


class CodecStage(Stage):
    """Random crops; spectral loss over several resolutions, commitment, and optionally discriminators."""

    name = "codec"

    def __init__(self, recipe: CodecRecipe, corpus: Corpus) -> None:
        self.config, self.recipe = recipe.model, recipe
        torch.manual_seed(recipe.optimization.seed)
        self.codec = build_codec(recipe.model)
        if recipe.fixed_codes:
            for name, weight in self.codec.named_parameters():
                weight.requires_grad_(not name.startswith(CODING))
        self.model = with_adversaries(self.codec, recipe)
        self.spectral_loss = SpectralLoss(self.codec.sample_rate)
        self.corpus = corpus
        self.samples = recipe.frames * self.codec.hop
        seconds = self.samples / self.codec.sample_rate
        self.utterances = corpus.at_least(seconds, held_out=False)
        self.held_out = corpus.at_least(seconds, held_out=True)[:32]
        self.lengths = np.ones(len(self.utterances))  # all crops are alike

    def sample(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Read a crop `[samples]` of an utterance."""
        utterance = self.utterances[number]
        last = int(utterance.seconds * self.codec.sample_rate) - self.samples
        return (self.corpus.audio(utterance, int(rng.integers(last + 1)), self.samples),)

    def collate(self, samples: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
        """Make a batch `[batch, samples]`."""
        return (torch.from_numpy(np.stack([crop for (crop,) in samples])),)

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Add up the losses of the codec and, where there are any, of its adversaries."""
        (real,) = batch
        audio, commitment, adversarial = model(real)
        spectral = self.spectral_loss.to(real.device)(audio, real)
        parts = {"spectral": spectral, "commitment": commitment, **adversarial}
        weights = {
            "commitment": self.recipe.commitment,
            "adversarial": self.recipe.adversarial,
            "features": self.recipe.adversarial * self.recipe.features,
        }
        loss = torch.stack([weights.get(name, 1.0) * part for name, part in parts.items()]).sum()
        return loss, {name: part.detach() for name, part in parts.items()}

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Give the spectral loss of held-out crops."""
        crops = [self.corpus.audio(u, 0, self.samples) for u in self.held_out]
        real = torch.from_numpy(np.stack(crops)).to(device)
        codes = self.codec.tokenize(real)
        audio = self.codec.decode_from_codebook_indices(codes)
        return {"spectral": self.spectral_loss(audio, real).item()}

    def listen(self, device: torch.device) -> dict[str, tuple[np.ndarray, int]]:
        """Give a held-out crop as the codec repeats it."""
        real = torch.from_numpy(self.corpus.audio(self.held_out[0], 0, self.samples))[None].to(device)
        audio = self.codec.decode_from_codebook_indices(self.codec.tokenize(real))
        return {"reconstruction": (audio[0].cpu().numpy(), self.codec.sample_rate)}


def with_adversaries(codec: Codec, recipe: CodecRecipe) -> nn.Module:
    """Put what a recipe trains beside the codec together with it; the names of its weights begin `codec.`."""
    discriminators = Discriminators(recipe.discriminators) if recipe.adversarial else None
    return _Adversaries(codec, discriminators, fixed_codes=recipe.fixed_codes)


class _Adversaries(nn.Module):
    """A codec and its discriminators as one module, so that one backward pass trains both.

    The codec is judged by frozen discriminators, and they are taught with audio that carries no
    gradient to the codec: neither loss reaches the other's weights.
    """

    def __init__(self, codec: Codec, discriminators: Discriminators | None, *, fixed_codes: bool) -> None:
        super().__init__()
        self.codec = codec
        self.discriminators = discriminators
        self.fixed_codes = fixed_codes

    def forward(self, real: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        output = _decode(self.codec, real) if self.fixed_codes else self.codec.reconstruct(real)
        if self.discriminators is None:
            return output.audio, output.commitment_loss, {}
        truth = self.discriminators(real)
        judged = self.discriminators(output.audio.detach())
        with frozen(self.discriminators):
            seen = self.discriminators(output.audio)
        return (
            output.audio,
            output.commitment_loss,
            {
                "discriminator": discriminator_loss(truth, judged),
                "adversarial": adversarial_loss(seen),
                "features": feature_matching_loss(truth, seen),
            },
        )


def _decode(codec: Codec, real: Tensor) -> CodecOutput:
    """Decode the codes of audio, which are as they will be: no level is dropped, and no codebook moves."""
    with torch.autocast(real.device.type, enabled=False):
        codes = codec.tokenize(real)
    return CodecOutput(codec.decode_from_codebook_indices(codes), codes, real.new_zeros(()))
