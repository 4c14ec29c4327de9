"""Trainers of the three stages of SPEAR-TTS, with the interface of spear-tts-pytorch."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset

from ...errors import CorpusError
from ...nn.conformer import frame_mask
from ...support.config import from_fields
from ...text_to_semantic.autoregressive import TextToSemantic
from ...units.semantic_units import SemanticTokenizer
from ..batches import pad
from ..loop import train
from ..stage import Stage
from .soundstorm_trainer import Curve, split
from .spear_tts import (
    SPEECH_TO_SPEECH,
    SPEECH_TO_TEXT,
    TEXT_TO_SPEECH,
    Deletion,
    GeneratedAudioTextDataset,
    train_for_back_translation,
    train_for_fine_tuning,
    train_for_pretraining,
)


class SpearStage(Stage):
    """A text-to-semantic model, and items of id sequences: semantic tokens, alone or with text.

    An item is a tensor int64 `[length]` or a tuple of them, of different lengths. Frozen weights are not
    trained.
    """

    def __init__(self, model: TextToSemantic, training: Dataset[Any], held_out: Sequence[Any]) -> None:
        self.model, self.config = model, model.config
        self.training, self.held_out = training, held_out
        self.lengths = np.ones(len(training))  # type: ignore[arg-type]  # unknown before all are read

    def sample(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Read the sequences of a training item."""
        return self.arrays(self.training[number])

    def arrays(self, item: Any) -> tuple[np.ndarray, ...]:
        """Return the sequences of an item, int64 `[length]` each."""
        parts = item if isinstance(item, tuple | list) else (item,)
        return tuple(torch.as_tensor(part).cpu().numpy() for part in parts)

    def collate(self, samples: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
        """Stack each sequence of the items, followed by its mask."""
        columns = [pad(column) for column in zip(*samples, strict=True)]
        return tuple(part for ids, lengths in columns for part in (ids, frame_mask(lengths, ids.shape[1])))

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Return the loss of held-out items."""
        batch = self.collate([self.arrays(item) for item in self.held_out])
        return {"loss": self.loss(self.model, tuple(part.to(device) for part in batch))[0].item()}

    def parameter_groups(self) -> Iterable[Any]:
        """Return the parameters that are not frozen."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]


class PretrainingStage(SpearStage):
    """Semantic tokens, or audio that is turned into them, to be restored after deletion."""

    name = "pretraining"
    wav2vec: SemanticTokenizer | None = None
    delete = Deletion()

    def arrays(self, item: Any) -> tuple[np.ndarray, ...]:
        """Return the semantic tokens of an item."""
        (x,) = super().arrays(item)
        if x.dtype.kind != "f":
            return (x,)
        if self.wav2vec is None:
            raise CorpusError("dataset has audio, which nothing turns into semantic tokens; give wav2vec")
        audio = torch.from_numpy(x)[None].to(self.wav2vec.centroids.device)
        return (self.wav2vec.tokenize(audio)[0].cpu().numpy(),)

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the cross entropy of the reconstruction."""
        return model(**self.delete(*batch), **SPEECH_TO_SPEECH, return_loss=True), {}


class PairStage(SpearStage):
    """Pairs of semantic tokens and their text, to be predicted in one direction."""

    def __init__(self, name: str, direction: Mapping[str, Any], *rest: Any) -> None:
        super().__init__(*rest)
        self.name, self.direction = name, direction

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the cross entropy of the target, and that of the early exit if there is one."""
        speech, text = batch[:2], batch[2:]
        to_speech = self.direction["target_type"] == "speech"
        (source, source_mask), (target, target_mask) = (text, speech) if to_speech else (speech, text)
        masks = {"source_mask": source_mask, "target_mask": target_mask}
        early = to_speech and self.model.early_exit is not None
        options = {**self.direction, **masks, "return_early_exit_loss": early}
        return model(source, target, return_loss=True, **options), {}


@dataclass(frozen=True)
class TrainerOptions:
    """The options of all three trainers.

    A step takes `grad_accum_every` batches on every process. The rate rises from `initial_lr` to `lr` over
    `num_warmup_steps` and falls as a cosine. `valid_frac` of the items, split by `random_split_seed`, is held
    out. Training resumes from `results_folder`, unless `force_clear_prev_results` is set.
    """

    num_train_steps: int
    num_warmup_steps: int
    batch_size: int
    lr: float = 3e-4
    initial_lr: float = 1e-5
    grad_accum_every: int = 1
    wd: float = 0.0
    max_grad_norm: float | None = 0.5
    valid_frac: float = 0.05
    random_split_seed: int = 42
    save_model_every: int = 1000
    results_folder: str = "./results"
    drop_last: bool = False
    force_clear_prev_results: bool = False

    def curve(self, processes: int) -> Curve:
        """Return the options of the training loop for this number of processes."""
        return Curve(
            steps=self.num_train_steps, warmup=self.num_warmup_steps, accumulate=self.grad_accum_every,
            batch=self.batch_size * self.grad_accum_every * processes, learning_rate=self.lr,
            initial_rate=self.initial_lr, weight_decay=self.wd, save_every=self.save_model_every,
            gradient_norm=math.inf if self.max_grad_norm is None else self.max_grad_norm,
            seed=self.random_split_seed,
        )  # fmt: skip

    def split(self, dataset: Dataset[Any]) -> tuple[Dataset[Any], Sequence[Any]]:
        """Return the training items and a batch of held-out ones."""
        return split(dataset, self.valid_frac, self.random_split_seed, self.batch_size)


class _Trainer:
    """Trains a stage with the training loop; `state.pt` and `log.jsonl` are in the folder."""

    stage: SpearStage

    def __init__(self, options: TrainerOptions) -> None:
        self.options, self.folder = options, Path(options.results_folder)

    def train(self) -> None:
        """Train to the last step, resuming where an earlier call stopped."""
        state = PartialState()
        if self.options.force_clear_prev_results and state.is_main_process and self.folder.exists():
            shutil.rmtree(self.folder)
        state.wait_for_everyone()
        self.stage.drop_last = self.options.drop_last
        train(self.stage, self.options.curve(state.num_processes), self.folder)


class SpeechSpeechPretrainer(_Trainer):
    """Pretrains a model to restore deleted tokens, of semantic tokens or of audio for `wav2vec`."""

    def __init__(
        self,
        model: TextToSemantic,
        wav2vec: SemanticTokenizer | None = None,
        *,
        dataset: Dataset[Any],
        deletion_prob: float = 0.6,
        reconstruct_seq: bool = False,
        mask_id: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(from_fields(TrainerOptions, None, options))
        train_for_pretraining(model)
        self.stage = stage = PretrainingStage(model, *self.options.split(dataset))
        stage.wav2vec = model.wav2vec if wav2vec is None else wav2vec
        stage.delete = Deletion(deletion_prob, reconstruct_seq, mask_id)


class SemanticToTextTrainer(_Trainer):
    """Trains a pretrained model to predict text; `dataset` has pairs of semantic tokens and text."""

    def __init__(self, model: TextToSemantic, *, dataset: Dataset[Any], **options: Any) -> None:
        super().__init__(from_fields(TrainerOptions, None, options))
        train_for_back_translation(model)
        self.stage = PairStage("back-translation", SPEECH_TO_TEXT, model, *self.options.split(dataset))


class TextToSemanticTrainer(_Trainer):
    """Trains a model to predict semantic tokens from text: of `dataset`, a generator's folder, or both."""

    def __init__(
        self,
        model: TextToSemantic,
        *,
        dataset: Dataset[Any] | None = None,
        generated_audio_text_dataset_folder: str | Path | None = None,
        dataset_delimiter_id: int = -1,
        freeze_encoder_layers_below: int = 2,
        **options: Any,
    ) -> None:
        super().__init__(from_fields(TrainerOptions, None, options))
        pairs: list[Dataset[Any]] = [] if dataset is None else [dataset]
        if generated_audio_text_dataset_folder is not None:
            pairs.append(GeneratedAudioTextDataset(generated_audio_text_dataset_folder, dataset_delimiter_id))
        if not pairs:
            raise CorpusError(
                "no pairs were given, expected dataset, generated_audio_text_dataset_folder, or both"
            )
        train_for_fine_tuning(model, freeze_encoder_layers_below)
        rest = (model, *self.options.split(ConcatDataset(pairs)))
        self.stage = PairStage("fine-tuning", TEXT_TO_SPEECH, *rest)
