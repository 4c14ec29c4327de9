"""`soundstorm serve` under load: many clients at once on this machine, none of whom may see an error."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import click
import numpy as np

from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.errors import EngineError
from soundstorm_runtime.support.command import run

from .report import RESULTS, Circumstances, circumstances, table, write_result
from .sentences import read_sentences


@dataclass(frozen=True)
class Server:
    """A server that runs: where, its process, and how it is asked for a text.

    path: of the request. body: a JSON object with the text in `field`. rate: bytes of audio in a second.
    """

    host: str
    process: int
    path: str = "/v1/audio/speech"
    field: str = "input"
    options: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"response_format": "pcm"})
    rate: int = 2 * 24_000

    def body(self, text: str) -> str:
        """Return the body of a request."""
        return json.dumps({self.field: text, **self.options})


@dataclass(frozen=True)
class Spread:
    """Seconds: the median, and the 95th and 99th percentile."""

    median: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Run:
    """Clients that ask one request after the other, for `seconds`.

    spoken: requests that were answered in full; refused: with 429; errors: anything else. throughput: seconds
    of audio per second, all clients together; cpu: processor time of the server for a second of audio, which
    other programs on the machine hardly change. batch: samples in a step, on the average.
    """

    clients: int
    seconds: float
    spoken: int
    refused: int
    errors: int
    throughput: float
    cpu: float
    batch: float
    first_audio: Spread
    whole: Spread


@dataclass(frozen=True)
class Load:
    """The result."""

    circumstances: Circumstances
    voice: str
    options: tuple[str, ...]
    runs: tuple[Run, ...]
    peer: tuple[Run, ...] = ()


@dataclass
class _Seen:
    """The results of one client."""

    outcomes: Counter[str] = field(default_factory=Counter)
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    audio: float = 0.0


def measure(server: Server, clients: int, seconds: float, sentences: list[str]) -> Run:
    """Send requests from several clients for some time; each starts at another sentence.

    Args:
        server: The server.
        clients: Clients at the same time.
        seconds: Duration.
        sentences: The texts.
    """
    worked = _processor_time(server.process)
    before, ends = _batches(server), time.perf_counter() + seconds
    seen = [_Seen() for _ in range(clients)]
    threads = [
        threading.Thread(target=_ask, args=(server, sentences[place:] + sentences[:place], ends, own))
        for place, own in enumerate(seen)
    ]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    worked = _processor_time(server.process) - worked
    audio = max(sum(own.audio for own in seen), 1e-9)
    steps, samples = (after - was for after, was in zip(_batches(server), before, strict=True))
    outcomes = sum((own.outcomes for own in seen), Counter())
    for problem, count in outcomes.items():
        if problem not in ("spoken", "refused"):
            click.echo(f"{count} times: {problem}", err=True)
    return Run(
        clients=clients,
        seconds=round(took, 2),
        spoken=outcomes["spoken"],
        refused=outcomes["refused"],
        errors=outcomes.total() - outcomes["spoken"] - outcomes["refused"],
        throughput=round(audio / took, 3),
        cpu=round(worked / audio, 4),
        batch=round(samples / max(steps, 1), 2),
        first_audio=_spread([value for own in seen for value in own.first]),
        whole=_spread([value for own in seen for value in own.whole]),
    )


def ask_once(server: Server, text: str) -> tuple[str, int]:
    """Send one request that may be cut off; return its outcome, and the bytes of audio."""
    seen = _Seen()
    try:
        outcome = _listen(server, text, seen)
    except (OSError, http.client.HTTPException):
        return "cut off", 0
    return outcome, round(seen.audio * server.rate)


def _ask(server: Server, sentences: Sequence[str], ends: float, seen: _Seen) -> None:
    """Run one client: request, read to the end, request again; after a refusal, when the server says."""
    asked = 0
    while time.perf_counter() < ends:
        text = sentences[asked % len(sentences)]
        asked += 1
        try:
            seen.outcomes[_listen(server, text, seen)] += 1
        except (OSError, http.client.HTTPException) as error:
            seen.outcomes[repr(error)] += 1


def _listen(server: Server, text: str, seen: _Seen) -> str:
    """Send one request and return its outcome."""
    connection = http.client.HTTPConnection(server.host, timeout=120)
    begun = time.perf_counter()
    try:
        connection.request("POST", server.path, server.body(text), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status == 429:
            time.sleep(float(answer.headers["Retry-After"]))
            return "refused"
        if answer.status != 200:
            return f"{answer.status}: {answer.read(200)!r}"
        size = len(answer.read1())
        first = time.perf_counter() - begun
        size += len(answer.read())
        seen.first.append(first)
        seen.whole.append(time.perf_counter() - begun)
        seen.audio += size / server.rate
        return "spoken"
    finally:
        connection.close()


def _processor_time(pid: int) -> float:
    """Return the seconds that a process, and its children that have not ended, have computed."""
    folder = Path(f"/proc/{pid}")
    if not folder.exists():  # not Linux
        return 0.0
    children = (folder / "task" / str(pid) / "children").read_text().split()
    user, system = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
    own = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return own + sum(_processor_time(int(child)) for child in children)


def _batches(server: Server) -> tuple[float, float]:
    """Return how many steps the server has computed, and for how many samples; zeros for a peer."""
    if server.path != Server.path:
        return 0.0, 0.0
    connection = http.client.HTTPConnection(server.host, timeout=120)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = dict(re.findall(r"^soundstorm_step_batch_(count|sum) (\S+)$", text, re.MULTILINE))
    return float(found["count"]), float(found["sum"])


def _spread(values: Sequence[float]) -> Spread:
    if not values:
        raise EngineError("no request was answered; the server's messages are above")
    return Spread(*(round(float(value), 4) for value in np.percentile(values, (50, 95, 99))))


@contextmanager
def serving(bundle: Path, options: Sequence[str]) -> Iterator[Server]:
    """Run `soundstorm serve` on a free port.

    Raises:
        EngineError: It fails.
    """
    command = [sys.executable, "-m", "soundstorm_runtime.cli", "serve", str(bundle), "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        messages = cast(IO[str], process.stderr)
        for line in messages:
            click.echo(line, err=True, nl=False)
            if found := re.search(r" on http://(\S+?) ", line):
                threading.Thread(target=messages.read, daemon=True).start()  # or else the pipe fills up
                yield Server(found[1], process.pid)
                break
        else:
            raise EngineError("soundstorm serve ended before it served; its message is above")
    finally:
        process.terminate()
        process.wait()


@contextmanager
def serving_piper(model: Path) -> Iterator[Server]:
    """Run the HTTP server of Piper, which sends whole files.

    Args:
        model: Its model, with the configuration beside it.

    Raises:
        EngineError: It fails.
    """
    try:
        rate = json.loads(Path(f"{model}.json").read_text(encoding="utf-8"))["audio"]["sample_rate"]
    except (OSError, ValueError, LookupError) as error:
        raise EngineError(f"{model}.json is no configuration of Piper; give a model with its own") from error
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "piper.http_server", "--model", str(model)]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            time.sleep(0.1)
            if process.poll() is not None:
                raise EngineError(
                    "Piper's server ended before it served; pip install 'soundstorm-edge[peers]'"
                )
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
        else:
            raise EngineError("Piper's server did not start within a minute; is the machine busy?")
        yield Server(f"127.0.0.1:{port}", process.pid, "/synthesize", "text", {}, 2 * rate)
    finally:
        process.terminate()
        process.wait()


def show(runs: Sequence[Run]) -> str:
    """Format the figures as text."""
    rows = [["clients", "spoken", "429", "errors", "audio s/s", "CPU s/audio s", "batch"]]
    rows[0] += [f"{what}, {which}" for what in ("first audio", "whole") for which in ("50 %", "95 %", "99 %")]
    for each in runs:
        counts = [each.clients, each.spoken, each.refused, each.errors, each.throughput, each.cpu, each.batch]
        spreads = [f"{s:.2f} s" for of in (each.first_audio, each.whole) for s in (of.median, of.p95, of.p99)]
        rows.append([*map(str, counts), *spreads])
    return table(rows)


def ten_word_sentences() -> list[str]:
    """Return the held-out sentences of nine to eleven words."""
    return [each.text for each in read_sentences() if 9 <= len(each.text.split()) <= 11]


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--clients",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1, 2, 8, 32),
    show_default=True,
    help="Clients at the same time; may be given several times.",
)
@click.option("--seconds", type=float, default=30.0, show_default=True, help="Duration of each run.")
@click.option("--option", "options", multiple=True, help="A further argument of 'soundstorm serve'.")
@click.option(
    "--peer",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Also load Piper's server with this model, .onnx with its .onnx.json (extra peers).",
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=RESULTS / "server_load.json", show_default=True
)
def main(
    bundle: Path,
    clients: tuple[int, ...],
    seconds: float,
    options: tuple[str, ...],
    peer: Path | None,
    out: Path,
) -> None:
    """Load a server of the voice in the folder BUNDLE with sentences of ten words from several clients."""
    sentences = ten_word_sentences()
    with serving(bundle, options) as server:
        measure(server, 1, 1.0, sentences)  # which is not counted
        runs = [measure(server, count, seconds, sentences) for count in clients]
    others: list[Run] = []
    if peer is not None:
        with serving_piper(peer) as server:
            measure(server, 1, 1.0, sentences)
            others = [measure(server, count, seconds, sentences) for count in clients]
    name = read_bundle(bundle).manifest.name
    result = Load(circumstances("server_load"), name, options, tuple(runs), tuple(others))
    click.echo(show(result.runs))
    if others:
        click.echo(f"Piper:\n{show(others)}")
    write_result(out, result)
    if errors := sum(each.errors for each in runs):
        raise EngineError(f"{errors} requests failed, expected none; the reasons are above")


if __name__ == "__main__":
    run(main)
