"""Counts for Prometheus, of one process or of several together."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

_FIRST_AUDIO = (0.05, 0.1, 0.15, 0.25, 0.5, 1, 2, 4, 8, 16, 32)
_BATCH = (1, 2, 3, 4, 6, 8, 12, 16)


class Metrics:
    """All counts of the server. folder: where processes share theirs; None for one by itself.

    For that the library wants the folder in its own environment variable before it is imported.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "soundstorm_requests", "Answered requests.", ["path", "status"], registry=registry
        )
        self.first_audio = Histogram(
            "soundstorm_first_audio_seconds",
            "From a request to its first audio, the wait included.",
            buckets=_FIRST_AUDIO,
            registry=registry,
        )
        self.audio = Counter("soundstorm_audio_seconds", "Seconds of audio made.", registry=registry)
        self.abandoned = Counter(
            "soundstorm_abandoned", "Texts whose client went away before the end.", registry=registry
        )
        self.batch = Histogram(
            "soundstorm_step_batch", "Texts that share a step.", buckets=_BATCH, registry=registry
        )
        self.texts = self._gauge("soundstorm_texts", "Texts in hand, those in the queue included.")
        self.speaking = self._gauge("soundstorm_speaking", "Texts that are being spoken.")

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, multiprocess_mode="livesum", registry=self._registry)

    def render(self) -> bytes:
        """Lay out all counts in Prometheus' text format."""
        if self._folder is None:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, str(self._folder))
        return generate_latest(together)
