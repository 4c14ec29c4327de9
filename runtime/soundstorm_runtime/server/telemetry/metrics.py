"""Metrics for Prometheus, of one process or of several together."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from ...support.version import package_version

_SECONDS = (0.05, 0.1, 0.15, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 600)
_RTF = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 4, 8)
_BATCH = (1, 2, 3, 4, 6, 8, 12, 16)


class Metrics:
    """All metrics of the server.

    Args:
        folder: Where several processes share their metrics; the library also needs it in the environment
            variable PROMETHEUS_MULTIPROC_DIR before it is imported. None for a process by itself.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "soundstorm_requests", "Answered requests.", ["path", "status"], registry=registry
        )
        self.first_audio = Histogram(
            "soundstorm_first_audio_seconds",
            "From a request to its first audio, including its wait.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.audio = Counter("soundstorm_audio_seconds", "Seconds of audio made.", registry=registry)
        self.abandoned = Counter(
            "soundstorm_abandoned",
            "Texts whose client closed the connection before the end.",
            registry=registry,
        )
        self.timeouts = Counter(
            "soundstorm_timeouts",
            "Responses that were cut off: 'speech' at the time limit, 'client' because it did not read.",
            ["kind"],
            registry=registry,
        )
        self.dropped = Counter(
            "soundstorm_dropped_connections",
            "Connections that were closed because there were too many.",
            registry=registry,
        )
        self.restarts = Counter(
            "soundstorm_worker_restarts", "Processes that replaced one that had ended.", registry=registry
        )
        self.queue_wait = Histogram(
            "soundstorm_queue_wait_seconds",
            "From a request to the start of its synthesis.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.duration = Histogram(
            "soundstorm_speech_duration_seconds",
            "From a request to the end of its synthesis.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.rtf = Histogram(
            "soundstorm_rtf",
            "Seconds of synthesis per second of audio, of one text.",
            buckets=_RTF,
            registry=registry,
        )
        Gauge(
            "soundstorm_build",
            "The version, always 1.",
            ["version"],
            multiprocess_mode="max",
            registry=registry,
        ).labels(package_version()).set(1)
        if folder is None:
            ProcessCollector(registry=registry)
        self.batch = Histogram(
            "soundstorm_step_batch",
            "Texts that share the batch of a step.",
            buckets=_BATCH,
            registry=registry,
        )
        self.texts = self._gauge("soundstorm_texts", "Texts that are spoken or wait.")
        self.speaking = self._gauge("soundstorm_speaking", "Texts that are being spoken.")

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, multiprocess_mode="livesum", registry=self._registry)

    def render(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        if self._folder is None:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        together.register(_Processes(self._folder))
        return generate_latest(together)


class _Processes(Collector):
    """The metrics of all processes that share a folder.

    The library's own collector fails while a process starts, whose files are empty for a moment.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Return the metrics, added up."""
        files = []
        for path in self._folder.glob("*.db"):
            with suppress(FileNotFoundError):  # its process has ended since
                if path.stat().st_size:
                    files.append(str(path))
        return MultiProcessCollector.merge(files)
