"""`SoundStormTrainer`: trains a SoundStorm on a data set, with the interface of soundstorm-pytorch."""

from __future__ import annotations

import math
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, Subset, random_split

from ...errors import CheckpointError, CorpusError
from ...soundstorm.model import SoundStorm
from ...support.progress import progress_bar
from ..log import Log
from ..loop import Loop, interrupt_between_steps, log_evaluation, make_accelerator
from ..optimization import Optimization
from ..stage import Stage

NONE = torch.empty(0)  # stands for the mask or the semantic tokens that a batch lacks


@dataclass(frozen=True)
class Curve(Optimization):
    """The learning rate of soundstorm-pytorch: linear from `initial_rate`, then a cosine down to 0."""

    initial_rate: float = 0.0

    def rate(self, step: int) -> float:
        """Return the learning rate at `step`, relative to `learning_rate`."""
        if step < self.warmup:
            start = self.initial_rate / self.learning_rate
            return start + (1 - start) * step / self.warmup
        return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (step + 1 - self.warmup) / self.steps))


class DatasetStage(Stage):
    """A SoundStorm, and a data set of codes, of semantic tokens and codes, or of audio.

    An item is `(semantic tokens int64 [tokens], codes int64 [frames, levels])`, codes only, or audio float32
    `[samples]`. Items may differ in length.
    """

    name = "soundstorm"

    def __init__(
        self, model: SoundStorm, training: Dataset[Any], held_out: Sequence[Any], only: Mapping[str, bool]
    ) -> None:
        self.model, self.config = model, model.config
        self.training, self.held_out, self.only = training, held_out, only
        self.lengths = np.ones(len(training))  # type: ignore[arg-type]  # unknown before all are read
        self.semantic_pad = -1 if model.condition is None else model.condition.pad

    def sample(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Read a training item: codes or audio, then its semantic tokens if it has any."""
        return _arrays(self.training[number])

    def collate(self, samples: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
        """Stack codes or audio, its frame mask, and the semantic tokens."""
        columns = [[torch.from_numpy(part) for part in column] for column in zip(*samples, strict=True)]
        x = pad_sequence(columns[0], batch_first=True)
        lengths = torch.tensor([len(part) for part in columns[0]])
        mask, tokens = NONE, NONE
        if x.ndim == 3 and (lengths < x.shape[1]).any():  # audio is padded with silence
            mask = torch.arange(x.shape[1]) < lengths[:, None]
        if len(columns) == 2:
            tokens = pad_sequence(columns[1], batch_first=True, padding_value=self.semantic_pad)
        return x, mask, tokens

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of the network, and that of its critic if it has one."""
        x, mask, tokens = (None if not tensor.numel() else tensor for tensor in batch)
        loss, breakdown = model(x, mask=mask, cond_semantic_token_ids=tokens, **self.only)
        parts = {name: part for name, part in breakdown._asdict().items() if part is not None}
        return loss, {name: part.detach() for name, part in parts.items()}

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Return the losses of held-out items."""
        batch = self.collate([_arrays(item) for item in self.held_out])
        loss, parts = self.loss(self.model, tuple(tensor.to(device) for tensor in batch))
        return {name: value.item() for name, value in {"loss": loss, **parts}.items()}

    def parameter_groups(self) -> Iterable[Any]:
        """Return the parameters in two groups: matrices decay, biases and norms do not."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        spared = {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0}
        return [{"params": [p for p in trained if p.ndim >= 2]}, spared]


def _arrays(item: Any) -> tuple[np.ndarray, ...]:
    *tokens, x = item if isinstance(item, tuple | list) else (item,)
    return tuple(torch.as_tensor(part).cpu().numpy() for part in (x, *tokens))


class SoundStormTrainer:
    """Trains a SoundStorm; `load` resumes at the exact step, with optimizer and random numbers.

    Args:
        model: to train.
        dataset: see `DatasetStage`.
        num_train_steps: length of the training.
        num_warmup_steps: steps in which the rate rises from `initial_lr` to `lr`; it then falls as a cosine.
        batch_size: items of a batch; a step takes `grad_accum_every` batches on every process, or, with
            `split_batches`, on all processes together.
        valid_frac: share of the items that is held out, split by `random_split_seed`; with 0 all of them are
            both trained on and scored.
        drop_last: whether an epoch leaves out an incomplete last batch.
        save_results_every: steps between held-out losses, in `results_folder/log.jsonl` and the trackers of
            `accelerate_kwargs`.
        save_model_every: steps between files `soundstorm.<step>.pt`.
        force_clear_prev_results: True deletes the results folder; False overwrites the models of earlier
            runs; None raises an error before it would.
    """

    def __init__(
        self,
        model: SoundStorm,
        *,
        dataset: Dataset[Any],
        num_train_steps: int,
        num_warmup_steps: int,
        batch_size: int,
        only_train_generator: bool = False,
        only_train_critic: bool = False,
        lr: float = 3e-4,
        initial_lr: float = 1e-5,
        grad_accum_every: int = 1,
        wd: float = 0.0,
        max_grad_norm: float | None = 0.5,
        valid_frac: float = 0.05,
        random_split_seed: int = 42,
        save_results_every: int = 100,
        save_model_every: int = 1000,
        results_folder: str | Path = "./results",
        accelerate_kwargs: Mapping[str, Any] | None = None,
        split_batches: bool = False,
        drop_last: bool = False,
        force_clear_prev_results: bool | None = None,
    ) -> None:
        options = Curve(
            steps=num_train_steps, warmup=num_warmup_steps, batch=batch_size, accumulate=grad_accum_every,
            learning_rate=lr, initial_rate=initial_lr, weight_decay=wd, save_every=save_model_every,
            gradient_norm=math.inf if max_grad_norm is None else max_grad_norm, seed=random_split_seed,
        )  # fmt: skip
        self.results_folder, self.may_overwrite = Path(results_folder), force_clear_prev_results is not None
        self.accelerator = make_accelerator(options, self.results_folder, **(accelerate_kwargs or {}))
        processes = 1 if split_batches else self.accelerator.num_processes
        options = replace(options, batch=batch_size * grad_accum_every * processes)
        only = {"only_train_generator": only_train_generator, "only_train_critic": only_train_critic}
        training, held_out = split(dataset, valid_frac, random_split_seed, batch_size)
        stage = DatasetStage(model, training, held_out, only)
        stage.drop_last = drop_last
        self.save_results_every = save_results_every
        self.loop = Loop(stage, options, self.accelerator)
        self._log: Log | None = None
        if force_clear_prev_results and self.is_main and self.results_folder.exists():
            shutil.rmtree(self.results_folder)
        self.accelerator.wait_for_everyone()

    @property
    def model(self) -> SoundStorm:
        """The model that is trained."""
        return self.loop.stage.model  # type: ignore[return-value]

    @property
    def steps(self) -> int:
        """The number of steps taken."""
        return self.loop.step

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.accelerator.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return bool(self.accelerator.is_main_process)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """Call `SoundStorm.generate` with the current weights."""
        with self.loop.evaluating():
            return self.model.generate(*args, **kwargs)

    def save(self, path: str | Path) -> None:
        """Write all that `load` needs to resume at this step."""
        self.loop.save(Path(path))

    def load(self, path: str | Path, restore_optimizer: bool = True) -> None:
        """Restore what `save` wrote; without its optimizer, start at step 0 from its weights."""
        self.loop.load(Path(path), restore_optimizer=restore_optimizer)

    def train_step(self) -> dict[str, float]:
        """Take a step; return `loss`, `generator_loss` and `critic_loss`, 0 for what is not trained."""
        log = self._opened_log()
        values = {"generator_loss": 0.0, "critic_loss": 0.0, **self.loop.update()}
        log.write(self.steps, values)
        is_last = self.steps >= self.loop.options.steps
        if is_last or self.steps % self.save_results_every == 0:
            log_evaluation(self.loop, log, self.steps)
        if is_last or self.steps % self.loop.options.save_every == 0:
            self.save(self._numbered())
        return values

    def train(self, log_fn: Callable[[dict[str, float]], Any] = lambda logs: None) -> None:
        """Train to the last step; `log_fn` is called with the result of each step. Ctrl-C saves and stops."""
        last = self.loop.options.steps
        bar = progress_bar(
            range(self.steps, last), initial=self.steps, total=last, desc="soundstorm", unit="step",
            shown=self.is_main,
        )  # fmt: skip
        with interrupt_between_steps(self.accelerator) as interrupted, bar:
            for _ in bar:
                values = self.train_step()
                bar.set_postfix(loss=f"{values['loss']:.3f}")
                log_fn(values)
                if interrupted():
                    self.save(self._numbered())
                    bar.close()
                    print(f"stopped; load({str(self._numbered())!r}) goes on from here", file=sys.stderr)
                    raise KeyboardInterrupt
        self._opened_log().close()

    def _numbered(self) -> Path:
        return self.results_folder / f"soundstorm.{self.steps}.pt"

    def _opened_log(self) -> Log:
        """Return the log; check once that no earlier results would be overwritten."""
        if self._log is None:
            later = [p for p in self.results_folder.glob("soundstorm.*.pt") if _number(p) > self.steps]
            if later and not self.may_overwrite:
                raise CheckpointError(
                    f"{max(later, key=_number)} is of another run, and training from step {self.steps} on "
                    "would write over it; load it, choose another results_folder, or set "
                    "force_clear_prev_results"
                )
            self._log = Log(self.results_folder, self.loop.options, self.accelerator, self.steps)
        return self._log


def _number(path: Path) -> int:
    found = re.fullmatch(r"soundstorm\.(\d+)\.pt", path.name)
    return int(found.group(1)) if found else 0


def split(
    dataset: Dataset[Any], valid_frac: float, seed: int, batch_size: int
) -> tuple[Dataset[Any], Sequence[Any]]:
    """Return the training items and a batch of held-out ones, split as soundstorm-pytorch does."""
    size = len(dataset)  # type: ignore[arg-type]
    training: Dataset[Any] = dataset
    held_out: Dataset[Any] = dataset
    if valid_frac > 0:
        count = int((1 - valid_frac) * size)
        generator = torch.Generator().manual_seed(seed)
        training, held_out = random_split(dataset, [count, size - count], generator=generator)
    sizes = len(training), len(held_out)  # type: ignore[arg-type]
    if sizes[0] < batch_size or not sizes[1]:
        raise CorpusError(
            f"dataset has {sizes[0]} items to train on and {sizes[1]} held out, expected at least a batch "
            f"({batch_size}) and 1; give more items, or change batch_size or valid_frac"
        )
    return training, Subset(held_out, range(min(batch_size, sizes[1])))  # type: ignore[return-value]
