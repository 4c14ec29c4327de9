"""`soundstorm serve` for a long time: flat memory, and right answers while workers are killed."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.errors import EngineError
from soundstorm_runtime.support.command import run

from .report import RESULTS, Circumstances, circumstances, write_result
from .server_load import Server, ask_once, serving, ten_word_sentences

WORKERS = 3  # one is never killed, so that its memory shows whether anything is kept
MOST_GROWTH = 0.05  # of its memory


@dataclass(frozen=True)
class Soak:
    """The result.

    outcomes: how many requests were 'spoken', 'refused' (429), 'cut off' (their worker was killed, and the
    client noticed), 'wrong' (complete, and of another length than the first answer to this text), or failed.
    memory: resident MiB of the worker that is never killed, each minute. growth: of it, from the end of the
    first tenth of the time to the end, as a share.
    """

    circumstances: Circumstances
    voice: str
    seconds: float
    clients: int
    kills: int
    outcomes: dict[str, int]
    memory: tuple[float, ...]
    growth: float


def children(pid: int) -> list[int]:
    """Return the worker processes of a server, the oldest first."""
    found = []
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        with suppress(OSError):  # it has ended since
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


def memory(pid: int) -> float:
    """Return the resident memory of a process in MiB. Raises `EngineError` where it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError as error:
        raise EngineError("a worker ended by itself, expected it to stay; the messages are above") from error
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def growth(memories: Sequence[float]) -> float:
    """Return by which share memory grew after the first tenth of the time, in which it fills its caches."""
    settled = memories[len(memories) // 10 :]
    return round(settled[-1] / settled[0] - 1, 4) if settled else 0.0


class Clients:
    """Clients that ask until they are told to stop."""

    def __init__(self, server: Server, count: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self._server, self._sizes, self._lock = server, dict[str, int](), threading.Lock()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(seed,)) for seed in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Wait for the last answers."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, seed: int) -> None:
        sentences = ten_word_sentences()
        random.Random(seed).shuffle(sentences)
        place = 0
        while not self._stopped.is_set():
            text = sentences[place % len(sentences)]
            place += 1
            outcome, size = ask_once(self._server, text)
            with self._lock:
                if outcome == "spoken" and self._sizes.setdefault(text, size) != size:
                    outcome = "wrong"
                self.outcomes[outcome] += 1


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--seconds", type=float, default=3600.0, show_default=True)
@click.option("--clients", type=click.IntRange(min=1), default=4, show_default=True)
@click.option(
    "--kill-every", type=float, default=60.0, show_default=True, help="Seconds between kills, on the average."
)
@click.option("--option", "options", multiple=True, help="A further argument of 'soundstorm serve'.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=RESULTS / "server_soak.json", show_default=True
)
def main(
    bundle: Path, seconds: float, clients: int, kill_every: float, options: tuple[str, ...], out: Path
) -> None:
    """Keep a server of the voice in the folder BUNDLE busy, and kill all workers but one at random times."""
    draw, kills, memories = random.Random(0), 0, list[float]()
    with serving(bundle, ["--workers", str(WORKERS), "--threads", "1", *options]) as server:
        asking = Clients(server, clients)
        begun = time.monotonic()
        next_kill, next_memory = begun + kill_every, begun + 30
        survivor = children(server.process)[0]
        while (now := time.monotonic()) < begun + seconds:
            time.sleep(0.2)
            workers = children(server.process)
            if now >= next_memory:
                memories.append(memory(survivor))
                next_memory = now + 60
            if now >= next_kill and len(workers) == WORKERS:
                os.kill(draw.choice([worker for worker in workers if worker != survivor]), signal.SIGKILL)
                kills += 1
                next_kill = now + draw.uniform(0.5, 1.5) * kill_every
        asking.stop()
    result = Soak(
        circumstances("server_soak"),
        read_bundle(bundle).manifest.name,
        seconds,
        clients,
        kills,
        dict(asking.outcomes),
        tuple(memories),
        growth(memories),
    )
    click.echo(f"{kills} kills; {dict(asking.outcomes)}; memory in MiB: {memories}, {result.growth:+.1%}")
    write_result(out, result)
    if bad := [name for name in asking.outcomes if name not in ("spoken", "refused", "cut off")]:
        raise EngineError(f"some requests were answered with {bad[0]}, expected none")
    if result.growth > MOST_GROWTH:
        raise EngineError(f"memory grew by {result.growth:.1%}, expected at most {MOST_GROWTH:.0%}")


if __name__ == "__main__":
    run(main)
