"""The progress of one text, for the metrics."""

from __future__ import annotations

import time

import numpy as np

from ..request_queue import Jobs
from .metrics import Metrics


class Progress:
    """Counts and times the audio of one text, from its arrival on."""

    def __init__(self, metrics: Metrics, jobs: Jobs, rate: int) -> None:
        self._metrics, self._jobs = metrics, jobs
        self.rate = rate  # samples a second
        self.arrived = time.perf_counter()
        self.started = self.first = 0.0  # when its computation began, and when its first audio was made
        self.samples = 0

    def begin(self) -> None:
        """Note that its computation begins."""
        self.started = time.perf_counter()
        self._metrics.queue_wait.observe(self.started - self.arrived)

    def add(self, audio: np.ndarray) -> None:
        """Count audio, float32 [samples], in the thread that has made it."""
        if not self.samples:
            self.first = time.perf_counter()
            self._metrics.first_audio.observe(self.first - self.arrived)
        self.samples += len(audio)
        self._jobs.add_audio(len(audio) / self.rate)
        self._metrics.audio.inc(len(audio) / self.rate)

    def end(self) -> None:
        """Note that all of it has been made."""
        now = time.perf_counter()
        self._metrics.duration.observe(now - self.arrived)
        self._metrics.rtf.observe((now - self.started) * self.rate / max(1, self.samples))
