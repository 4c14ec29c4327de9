"""The log of a training: JSON lines, trackers of Accelerate, and audio examples."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import soundfile
from accelerate import Accelerator

from soundstorm_runtime.support.atomic import write_file

from ..support.config import to_dict
from .optimization import Optimization


class Log:
    """Writes a JSON line every few steps, and one with the held-out scores at every save.

    The trackers of the accelerator get the same numbers. Only the first process writes.

    Args:
        folder: of the stage; gets `log.jsonl` and `samples/`.
        options: shown by the trackers.
        accelerator: with its trackers.
        step: where training starts or resumes; lines of later steps, which a killed run left, are removed.
    """

    def __init__(self, folder: Path, options: Optimization, accelerator: Accelerator, step: int = 0) -> None:
        self.path, self.samples = folder / "log.jsonl", folder / "samples"
        self.accelerator = accelerator
        self.start = time.monotonic()
        settings = {name: v for name, v in to_dict(options).items() if isinstance(v, int | float | str)}
        if accelerator.is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
            _keep_lines_before(self.path, step)
        accelerator.init_trackers("soundstorm", config=settings)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Log the values of a step."""
        if not self.accelerator.is_main_process:
            return
        row = {"step": step, "seconds": round(time.monotonic() - self.start, 1)}
        row |= {name: round(value, 4) for name, value in values.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.accelerator.log(values, step=step)

    def write_audio(self, step: int, sounds: dict[str, tuple[np.ndarray, int]]) -> None:
        """Write audio examples of a step to `samples/`, and to TensorBoard where it is a tracker."""
        for name, (audio, rate) in sounds.items():
            self.samples.mkdir(exist_ok=True)
            soundfile.write(self.samples / f"{name}-{step}.wav", audio, rate)
            for tracker in self.accelerator.trackers:
                if tracker.name == "tensorboard":
                    tracker.writer.add_audio(name, audio[None], step, sample_rate=rate)

    def close(self) -> None:
        """Close the trackers; `end_training` of Accelerate would also end the process group."""
        for tracker in self.accelerator.trackers:
            tracker.finish()


def _keep_lines_before(path: Path, step: int) -> None:
    """Remove the lines of a step and of those after it, and a line that was cut."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if _step(line) < step]
    if kept != lines:
        write_file(path, "".join(kept))


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return math.inf
