"""The server, in this process and as one of its own, with the tiny voice."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra serve is absent: pip install 'soundstorm-edge[serve]'")

from starlette.testclient import TestClient

from soundstorm_runtime.decoding.maskgit import DecodeOptions
from soundstorm_runtime.server.app import create_app
from soundstorm_runtime.server.settings import Settings
from tests.runtime.conftest import _make_bundle

SENTENCE = "Hello there."
SPEECH = "/v1/audio/speech"


@dataclass
class Served:
    """A server that runs as a process: where, and what it has said on standard error."""

    url: str
    process: subprocess.Popen[str]
    said: list[str]

    def stop(self) -> int:
        """Ask it to end, and give its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny voice, made by hand; what it draws is heard."""
    options = DecodeOptions((4, 2, 1), temperature=1.0)
    return _make_bundle(tmp_path_factory.mktemp("bundle") / "voice", options=options)


@pytest.fixture(scope="session")
def slow_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with so many steps that a long text takes longer than a test."""
    options = DecodeOptions((200, 200, 200), temperature=1.0)
    return _make_bundle(tmp_path_factory.mktemp("slow_bundle") / "voice", options=options)


@pytest.fixture(scope="session")
def start(environment: dict[str, str]) -> Callable[..., Any]:
    """`with start(path, "--queue", 3) as served:` runs `soundstorm serve` until the end of the block."""

    @contextmanager
    def started(path: Path, *options: object, **variables: str) -> Iterator[Served]:
        command = [sys.executable, "-m", "soundstorm_runtime.cli", "serve", path, "--port", 0, *options]
        process = subprocess.Popen(
            [str(part) for part in command], env=environment | variables, stderr=subprocess.PIPE, text=True
        )
        said: list[str] = []
        try:
            for line in process.stderr:  # type: ignore[union-attr]
                said.append(line)
                if found := re.search(r"serving .* on (http://\S+:\d+)", line):
                    break
            else:
                pytest.fail(f"the server did not start: {said}")
            reader = threading.Thread(target=lambda: said.extend(process.stderr), daemon=True)  # type: ignore[arg-type]
            reader.start()
            yield Served(found[1], process, said)
        finally:
            process.kill()
            process.wait()

    return started


@pytest.fixture(scope="session")
def served(start: Callable[..., Any], bundle: Path) -> Iterator[Served]:
    """A server that all tests may ask."""
    with start(bundle) as served:
        yield served


@pytest.fixture
def client(bundle: Path) -> Iterator[Callable[..., TestClient]]:
    """`client(token="...")` is a client of an application in this process, with these settings."""
    clients: list[TestClient] = []

    def make(path: Path = bundle, **settings: Any) -> TestClient:
        made = TestClient(
            create_app(Settings(path, **settings)), "http://localhost", raise_server_exceptions=False
        )
        clients.append(made.__enter__())
        return made

    yield make
    for made in clients:
        made.__exit__(None, None, None)
