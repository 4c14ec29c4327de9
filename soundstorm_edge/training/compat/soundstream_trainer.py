"""`SoundStreamTrainer`: trains a SoundStream with discriminators, like the trainer of audiolm-pytorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
import soxr
import torch
from accelerate import PartialState
from torch import Tensor, nn

from ...codec.soundstream import SoundStream
from ...codec.soundstream_losses import SoundStreamLosses, total_discriminator_loss
from ...errors import ConfigError, CorpusError
from ...support.tensor_files import load_tensors
from ..loop import STATE, Optimization, Stage, train
from ..stage import Share
from ..state import trained_weights

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
PREFIX = "codec."  # prefix of the weights of the codec in a training state


class Waves(Protocol):
    """A data set of audio: float32 `[samples]` tensors or arrays, by number."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


class AudioFolder:
    """The audio files below a folder, mixed to mono and resampled when they are read."""

    def __init__(self, folder: str | Path, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES)
        if not self.paths:
            raise CorpusError(f"no audio in {folder}, expected files that end in {', '.join(SUFFIXES)}")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> np.ndarray:
        """Read a file: float32 `[samples]`. Raises `CorpusError` where it is empty or not audio."""
        try:
            audio, rate = soundfile.read(self.paths[index], dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise CorpusError(f"cannot read {self.paths[index]} ({error}); remove it") from error
        if not len(audio):
            raise CorpusError(f"{self.paths[index]} is empty; remove it")
        return np.asarray(soxr.resample(audio.mean(axis=1), rate, self.sample_rate))


class SoundStreamTraining(nn.Module):
    """A codec and its discriminators under one loss, so that one backward pass trains both.

    The adversarial loss passes through frozen discriminators, which are trained on detached audio.
    """

    def __init__(self, codec: SoundStream) -> None:
        super().__init__()
        if codec.losses is None:
            raise ConfigError("this SoundStream has no discriminators; make it with discriminators=True")
        self.codec = codec

    @property
    def losses(self) -> SoundStreamLosses:
        """The losses of the codec."""
        return self.codec.losses  # type: ignore[return-value]

    def forward(self, real: Tensor, penalize: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of audio `[batch, samples]`, and its parts."""
        losses = self.losses
        output = self.codec.reconstruct(real)
        loss, parts = losses.codec(real, output.audio, output.commitment_loss)
        of_discriminators = losses.discriminator(real, output.audio, penalize=penalize)
        return loss + total_discriminator_loss(of_discriminators), {
            **parts._asdict(),
            **of_discriminators,
        }


class SoundStreamStage(Stage):
    """Crops of audio, and the losses that the configuration of the codec weights."""

    name = "soundstream"
    drop_last = True

    def __init__(self, codec: SoundStream, waves: Waves, held_out: Waves, samples: int, penalty: int) -> None:
        self.config, self.codec = codec.config, codec
        self.model: SoundStreamTraining = SoundStreamTraining(codec)
        self.waves, self.held_out = waves, held_out
        self.samples, self.penalty = samples, penalty
        self.lengths = np.full(len(waves), samples)

    def sample(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Read a random crop of a recording, padded with silence where it is too short."""
        return (self._crop(self.waves[number], rng),)

    def collate(self, samples: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
        """Stack crops, float32 `[batch, samples]`."""
        return (torch.from_numpy(np.stack([audio for (audio,) in samples])),)

    def share(self, share: Share) -> tuple[Tensor, ...]:
        """Append to the crops whether this step has a gradient penalty."""
        penalize = self.penalty > 0 and share.step % self.penalty == 0
        return (*super().share(share), torch.tensor(penalize))

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of codec and discriminators."""
        real, penalize = batch
        loss, parts = model(real, bool(penalize))
        return loss, {name: part.detach() for name, part in parts.items()}

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Return the spectral loss of up to 16 held-out crops."""
        rng = np.random.default_rng(0)
        crops = [self._crop(self.held_out[i], rng) for i in range(min(16, len(self.held_out)))]
        real = torch.from_numpy(np.stack(crops)).to(device)
        spectral = self.model.losses.spectral
        return {"multi_spectral_recon": spectral(self.codec.reconstruct(real).audio, real).item()}

    def audio_examples(self, device: torch.device) -> dict[str, tuple[np.ndarray, int]]:
        """Return the reconstruction of the first held-out recording."""
        real = torch.from_numpy(self._crop(self.held_out[0], np.random.default_rng(0)))[None].to(device)
        return {
            "reconstruction": (self.codec.reconstruct(real).audio[0].cpu().numpy(), self.codec.sample_rate)
        }

    def _crop(self, wave: Any, rng: np.random.Generator) -> np.ndarray:
        audio = np.asarray(wave, dtype=np.float32).reshape(-1)
        start = int(rng.integers(max(1, len(audio) - self.samples + 1)))
        crop = audio[start : start + self.samples]
        return np.pad(crop, (0, self.samples - len(crop)))


class SoundStreamTrainer:
    """Trains a SoundStream, with the essential keywords of the trainer of audiolm-pytorch.

    Args:
        soundstream: the codec, made with its discriminators.
        num_train_steps: length of the training.
        batch_size: crops of one process and one of `grad_accum_every` parts of a step.
        data_max_length, data_max_length_seconds: length of a crop, in samples or in seconds.
        folder, dataset: the recordings: a folder of audio files, or waves at the sample rate of the codec.
        results_folder: gets the state, from which the next call resumes, a log, reconstructions, and at the
            end `soundstream.pt`.

    Raises:
        ConfigError: the arguments contradict each other.
    """

    def __init__(
        self,
        soundstream: SoundStream,
        *,
        num_train_steps: int,
        batch_size: int,
        data_max_length: int | None = None,
        data_max_length_seconds: float | None = None,
        folder: str | Path | None = None,
        dataset: Waves | None = None,
        val_dataset: Waves | None = None,
        lr: float = 2e-4,
        grad_accum_every: int = 4,
        wd: float = 0.0,
        warmup_steps: int = 1000,
        max_grad_norm: float = 0.5,
        save_model_every: int = 1000,
        results_folder: str | Path = "./results",
        valid_frac: float = 0.05,
        random_split_seed: int = 42,
        use_ema: bool = True,
        ema_beta: float = 0.995,
        apply_grad_penalty_every: int = 4,
    ) -> None:
        rate, hop = soundstream.sample_rate, soundstream.hop
        if folder is not None and dataset is None:
            dataset = AudioFolder(folder, rate)
        elif folder is not None or dataset is None:
            raise ConfigError("folder and dataset are both given or both missing, expected one of them")
        if (data_max_length is None) == (data_max_length_seconds is None):
            raise ConfigError("give one of data_max_length and data_max_length_seconds, the length of a crop")
        samples = data_max_length or int((data_max_length_seconds or 0) * rate)
        if samples < hop:
            raise ConfigError(f"a crop has {samples} samples, expected at least those of a frame, {hop}")
        taught, held_out = _split(dataset, val_dataset, valid_frac, random_split_seed)
        self.folder, self.soundstream = Path(results_folder), soundstream
        self.stage = SoundStreamStage(
            soundstream, taught, held_out, samples // hop * hop, apply_grad_penalty_every
        )
        self.options = Optimization(
            steps=num_train_steps,
            batch=batch_size * grad_accum_every * PartialState().num_processes,
            learning_rate=lr,
            warmup=warmup_steps,
            weight_decay=wd,
            gradient_norm=max_grad_norm,
            save_every=save_model_every,
            accumulate=grad_accum_every,
            ema=ema_beta if use_ema else 0.0,
        )

    def train(self) -> None:
        """Train to the last step, resuming where an earlier call stopped."""
        train(self.stage, self.options, self.folder)
        if PartialState().is_main_process:
            self.ema_tokenizer.save(self.folder / "soundstream.pt")

    @property
    def ema_tokenizer(self) -> SoundStream:
        """The codec with the averaged weights that were saved last, in evaluation mode."""
        state = load_tensors(self.folder / "state.pt", STATE, ("model",))
        weights = trained_weights(state)
        codec = SoundStream(self.soundstream.config)
        codec.load_state_dict({name.removeprefix(PREFIX): tensor for name, tensor in weights.items()})
        return codec.eval()


def _split(waves: Waves, held_out: Waves | None, share: float, seed: int) -> tuple[Waves, Waves]:
    """Hold out a random share of the recordings; with a share of 0, score the training ones."""
    if held_out is not None or not share:
        return waves, held_out or waves
    order = np.random.default_rng(seed).permutation(len(waves))
    first = max(1, round(len(waves) * share))
    if first >= len(waves):
        raise CorpusError(f"{len(waves)} recordings cannot be split; give more, or valid_frac=0")
    return _Chosen(waves, order[first:]), _Chosen(waves, order[:first])


class _Chosen:
    def __init__(self, waves: Waves, numbers: np.ndarray) -> None:
        self.waves, self.numbers = waves, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int, /) -> Any:
        return self.waves[int(self.numbers[index])]
