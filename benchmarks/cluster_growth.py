"""How serving grows with machines: a simulation of replicas behind a router, fed by measured service times.

Texts arrive at random (a Poisson process). The router takes the less busy of two random replicas, as that of
Ray Serve does (power of two choices). A replica computes first audio before all other audio, in the order of
arrival, as `server.dispatcher` does; what it computes at an arrival is finished to the end of the step.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from soundstorm_runtime import Voice
from soundstorm_runtime.support.command import run

from .report import RESULTS, Circumstances, circumstances, table, write_result
from .server_load import ten_word_sentences

REPLICAS = (1, 2, 5, 10, 20, 50, 100)
LOADS = (0.5, 0.7, 0.9)
SENTENCES = 16  # that are measured
STEPS = 10  # of the first block: the grain in which a replica turns to something more urgent


@dataclass(frozen=True)
class Service:
    """Seconds of computation of one text: until its first audio, and for the rest."""

    first: float
    rest: float


@dataclass(frozen=True)
class Point:
    """First audio of all texts, in seconds, with so many replicas that are busy for the share `load`."""

    replicas: int
    load: float
    median: float
    p95: float


@dataclass(frozen=True)
class Growth:
    """The result: the measured services (their means), and the simulated points."""

    circumstances: Circumstances
    voice: str
    threads: int
    first: float
    whole: float
    audio: float
    points: tuple[Point, ...]


class Replica:
    """One machine's state: first audio that waits, and seconds of other work."""

    def __init__(self) -> None:
        self._clock = 0.0
        self._firsts: deque[list[float]] = deque()  # arrival, seconds left, the rest after it
        self._rests: deque[float] = deque()
        self.waited: list[float] = []

    @property
    def ongoing(self) -> int:
        """The number of texts that it works on."""
        return len(self._firsts) + len(self._rests)

    def advance(self, now: float) -> None:
        """Work until a moment."""
        while self._clock < now and self.ongoing:
            queue: deque = self._firsts or self._rests
            left = queue[0][1] if queue is self._firsts else queue[0]
            worked = min(left, now - self._clock)
            self._clock += worked
            if queue is self._rests:
                self._rests[0] -= worked
                if self._rests[0] <= 1e-12:
                    self._rests.popleft()
                continue
            queue[0][1] -= worked
            if queue[0][1] <= 1e-12:
                arrived, _, rest = self._firsts.popleft()
                self.waited.append(self._clock - arrived)
                self._rests.append(rest)
        self._clock = max(self._clock, now)

    def add(self, now: float, service: Service) -> None:
        """Take on a text."""
        grain = service.first / STEPS / 2 if self._rests and not self._firsts else 0.0
        self._firsts.append([now, service.first + grain, service.rest])


def simulate(services: list[Service], replicas: int, load: float, texts: int, seed: int = 0) -> Point:
    """Let texts arrive at `replicas` machines that are busy for the share `load` of the time."""
    rng = np.random.default_rng(seed)
    mean = float(np.mean([each.first + each.rest for each in services]))
    arrivals = np.cumsum(rng.exponential(mean / (load * replicas), texts))
    machines = [Replica() for _ in range(replicas)]
    for now, which in zip(arrivals, rng.integers(len(services), size=texts), strict=True):
        chosen = [machines[place] for place in rng.choice(replicas, min(2, replicas), replace=False)]
        for machine in chosen:
            machine.advance(now)
        min(chosen, key=lambda machine: machine.ongoing).add(now, services[which])
    for machine in machines:
        machine.advance(np.inf)
    waited = np.concatenate([machine.waited for machine in machines])
    median, p95 = np.percentile(waited, (50, 95))
    return Point(replicas, load, round(float(median), 4), round(float(p95), 4))


def measure(voice: Voice, texts: list[str]) -> tuple[list[Service], float]:
    """Stream texts one after the other; return their services, and the mean seconds of audio."""
    services, samples = [], 0
    for text in texts:
        started = time.perf_counter()
        stream = voice.stream(text)
        samples += len(next(stream))
        first = time.perf_counter() - started
        samples += sum(len(chunk) for chunk in stream)
        services.append(Service(first, time.perf_counter() - started - first))
    return services, samples / voice.sample_rate / len(texts)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--texts", type=click.IntRange(min=100), default=5_000, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Of a replica.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=RESULTS / "cluster_growth.json", show_default=True
)
def main(bundle: Path, texts: int, threads: int, out: Path) -> None:
    """Measure the voice in the folder BUNDLE, and simulate machines that serve it."""
    voice = Voice.load(bundle, threads=threads)
    voice.warm_up()
    services, audio = measure(voice, ten_word_sentences()[:SENTENCES])
    points = tuple(simulate(services, count, load, texts) for load in LOADS for count in REPLICAS)
    first = float(np.mean([each.first for each in services]))
    whole = first + float(np.mean([each.rest for each in services]))
    means = round(first, 4), round(whole, 4), round(audio, 3)
    result = Growth(circumstances("cluster_growth"), bundle.resolve().name, threads, *means, points)
    click.echo(f"first audio {1000 * first:.0f} ms, whole {1000 * whole:.0f} ms, {audio:.2f} s of audio")
    rows = [["replicas", *(f"{load:.0%} busy, {what}" for load in LOADS for what in ("50 %", "95 %"))]]
    for count in REPLICAS:
        own = [point for point in points if point.replicas == count]
        rows.append([str(count), *(f"{1000 * s:.0f} ms" for each in own for s in (each.median, each.p95))])
    click.echo(table(rows))
    write_result(out, result)


if __name__ == "__main__":
    run(main)
