"""Commands that are killed (SIGKILL) at any moment: what was there stays, the next run completes.

Each command is run to its end once. Then it is killed in copies of the same workplace: first directly before
or after a file is renamed, from the last one on; then, run again in the same place, several times in a row,
before some operation on a file or at some time; at last it runs to its end. The command runs in a fork of
this process, which has imported everything already; a hook of Python's audit events (PEP 578) kills it.

`make kill` has 100 moments for each command; the suite has a few.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import soundstorm_edge.cli
import soundstorm_export.cli
import soundstorm_runtime.cli
from soundstorm_runtime.bundle.reader import read_bundle
from tests.test_end_to_end import FLITE, PARALLEL, SPECTRAL, recipe

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

GOLDEN = Path(__file__).parent / "golden"
MAIN = {
    "soundstorm": soundstorm_runtime.cli.main,
    "soundstorm-train": soundstorm_edge.cli.main,
    "soundstorm-export": soundstorm_export.cli.main,
}
STAGES = ("corpus", "codec", "units", "text", "distill-units", "acoustic", "assemble")
ROWS, IN_A_ROW = 10, 10  # of the sweep: 100 moments for each command
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "ctypes.dlsym"}

Line = tuple[str, ...]


@dataclass
class Run:
    """A command that ran to its end: its operations on files, where among them it renamed, and its time."""

    operations: int = 0
    renames: list[int] = field(default_factory=list)
    seconds: float = 0.0


def run(line: Line, folder: Path, *, until: int | None = None, seconds: float | None = None) -> Run | None:
    """Run a command in a folder.

    Args:
        line: The command and its arguments.
        folder: Its current folder.
        until: Kill it before this operation on a file, counted from 0.
        seconds: Kill it after this time.

    Returns:
        What it did; None if it was killed.
    """
    started = time.monotonic()
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        _child(line, folder, until, writer)
    os.close(writer)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
    with os.fdopen(reader) as pipe:
        told = pipe.read().split()
    status = os.waitpid(process, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    assert os.WEXITSTATUS(status) == 0, (folder.parent / "output").read_text()
    return Run(int(told[0]), [int(place) for place in told[1:]], time.monotonic() - started)


def _child(line: Line, folder: Path, until: int | None, writer: int) -> None:
    """Run the command in a forked process, and never return."""
    code = 70
    try:
        os.chdir(folder)
        output = os.open(folder.parent / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        random.seed(0)
        did = Run()
        sys.addaudithook(lambda event, arguments: _count(event, arguments, did, until))
        sys.argv = list(line)
        try:
            MAIN[line[0]]()
        except SystemExit as ended:
            code = int(ended.code or 0)
        sys.stderr.flush()
        os.write(writer, " ".join(map(str, (did.operations, *did.renames))).encode())
    finally:
        os._exit(code)


def _count(event: str, arguments: tuple[object, ...], did: Run, until: int | None) -> None:
    if event not in EVENTS or not _concerns(event, arguments):
        return
    if did.operations == until:
        os.kill(os.getpid(), signal.SIGKILL)
    if event in ("os.rename", "ctypes.dlsym"):
        did.renames.append(did.operations)
    did.operations += 1


def _concerns(event: str, arguments: tuple[object, ...]) -> bool:
    """Whether an operation changes the current folder, or opens a file of it."""
    if event == "ctypes.dlsym":
        return arguments[1] == "renameat2"
    path = arguments[0]
    return isinstance(path, str | os.PathLike) and os.path.realpath(path).startswith(os.getcwd())


def moments(did: Run, rows: int, in_a_row: int) -> Iterator[list[dict[str, float]]]:
    """Yield rows of moments to kill a command: the first of each is around a rename, the others are drawn."""
    lot = random.Random(0)
    around = [place + after for place in reversed(did.renames) for after in (0, 1)]
    for number in range(rows):
        drawn: list[dict[str, float]] = [
            {"until": lot.randrange(did.operations)}
            if lot.random() < 0.5
            else {"seconds": lot.uniform(0, did.seconds)}
            for _ in range(in_a_row - 1)
        ]
        yield [{"until": around[number % len(around)]}, *drawn]


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder, hidden ones too, and folders that are empty."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
        elif not any(path.iterdir()):
            found[str(path.relative_to(folder))] = b"an empty folder"
    return found


def is_same(one: object, other: object) -> bool:
    """Whether trees of tensors and plain data are equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    return one == other


def check_complete(folder: Path, whole: Path) -> None:
    """The files of `folder` are those of an undisturbed run; logs, which have times, have the same steps."""
    found, expected = contents(folder), contents(whole)
    assert sorted(found) == sorted(expected)
    for name in found:
        if name.endswith(".pt"):
            loaded = [torch.load(place / name, weights_only=True) for place in (folder, whole)]
            assert is_same(*loaded), name
        elif name.endswith("log.jsonl"):
            steps = [[row.split(b",")[0] for row in text.splitlines() if b"held-out" not in row]
                     for text in (found[name], expected[name])]  # fmt: skip
            assert steps[0] == steps[1]
        elif not name.endswith("utterances.jsonl"):  # whose rows are in the order in which threads ended
            assert found[name] == expected[name], name
        else:
            assert sorted(found[name].splitlines()) == sorted(expected[name].splitlines())


def try_to_kill(
    line: Line,
    start: Path,
    tmp_path: Path,
    stays: Callable[[Path, Path], None],
    rows: int,
    in_a_row: int,
) -> None:
    """Kill a command at `rows * in_a_row` moments.

    Args:
        line: The command.
        start: The folder that it begins with.
        tmp_path: For copies of that folder.
        stays: Checks the folder of a killed command against that of an undisturbed one.
        rows: How many copies of the folder.
        in_a_row: How often the command is killed in each before it runs to its end.
    """
    whole = tmp_path / "whole" / "here"
    shutil.copytree(start, whole)
    did = run(line, whole)
    assert did is not None
    killed = 0
    for number, row in enumerate(moments(did, rows, in_a_row)):
        folder = tmp_path / str(number) / "here"
        shutil.copytree(start, folder)
        for moment in row:
            if run(line, folder, **moment) is not None:  # type: ignore[arg-type]
                break  # it had less to do than at first
            killed += 1
            stays(folder, whole)
        else:
            assert run(line, folder) is not None
        check_complete(folder, whole)
        shutil.rmtree(folder.parent)
    assert killed >= rows * in_a_row // 3


def old_or_new(*names: str) -> Callable[[Path, Path], None]:
    """Each of these files is as it was before, or as the command makes it."""

    def check(folder: Path, whole: Path) -> None:
        for name in names:
            found = (folder / name).read_bytes()
            assert found in (b"what was there", (whole / name).read_bytes()), name

    return check


def whole_or_absent(pattern: str) -> Callable[[Path, Path], None]:
    """Each file of this pattern that is there is complete."""

    def check(folder: Path, whole: Path) -> None:
        for path in folder.glob(pattern):
            assert path.read_bytes() == (whole / path.relative_to(folder)).read_bytes()

    return check


@pytest.fixture
def workplace(tmp_path):
    """A folder with a bundle, a recording and lines to speak."""
    folder = tmp_path / "start"
    shutil.copytree(GOLDEN / "spectral", folder / "voice")
    tones = np.sin(np.arange(32_000) / 30) * np.abs(np.sin(np.arange(32_000) / 1000))
    soundfile.write(folder / "anna.wav", 0.3 * tones, 16_000)
    rows = [f'{{"id": "{name}", "text": "Hello there."}}' for name in "abcde"]
    (folder / "lines.jsonl").write_text("\n".join(rows))
    (folder / "out.wav").write_bytes(b"what was there")
    (folder / "new.npz").write_bytes(b"what was there")
    return folder


def check_bundle(folder: Path, _: Path) -> None:
    """The bundle is whole, whichever it is."""
    read_bundle(folder / "voice").check()


VOICE = ("--threads", "1", "--provider", "cpu")
COMMANDS: dict[str, tuple[Line, Callable[[Path, Path], None]]] = {
    "say": (("soundstorm", "say", "voice", "Hello.", "-o", "out.wav", *VOICE), old_or_new("out.wav")),
    "batch": (
        ("soundstorm", "batch", "voice", "lines.jsonl", "-o", "out", *VOICE),
        whole_or_absent("out/*.wav"),
    ),
    "prompt": (("soundstorm", "prompt", "voice", "anna.wav", "-o", "new.npz"), old_or_new("new.npz")),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_damages_nothing(name, workplace, tmp_path):
    line, stays = COMMANDS[name]
    try_to_kill(line, workplace, tmp_path, stays, rows=2, in_a_row=2)


@pytest.mark.sweep
@pytest.mark.parametrize("name", [*COMMANDS, "export"])
def test_a_command_killed_at_100_moments_damages_nothing(name, workplace, tmp_path):
    export = ("soundstorm-export", str(GOLDEN / "spectral.pt"), "-o", "voice", "--precision", "int8")
    line, stays = (export, check_bundle) if name == "export" else COMMANDS[name]
    try_to_kill(line, workplace, tmp_path, stays, ROWS, IN_A_ROW)


def try_stages(tmp_path: Path, rows: int, in_a_row: int) -> None:
    """Kill every stage of a training, each after the ones before it are complete."""
    start = tmp_path / "start"
    start.mkdir()
    (start / "mini.toml").write_text(
        recipe(FLITE, SPECTRAL, PARALLEL, distillation=True, steps=4, save_every=2)
    )
    for stage in STAGES:
        line = ("soundstorm-train", stage, "--recipe", "mini.toml")
        try_to_kill(line, start, tmp_path / stage, lambda *_: None, rows, in_a_row)
        start = tmp_path / stage / "whole" / "here"


@pytest.mark.flite
def test_a_killed_training_resumes(tmp_path):
    try_stages(tmp_path, 1, 1)


@pytest.mark.flite
@pytest.mark.sweep
def test_a_training_killed_at_100_moments_of_each_stage_resumes(tmp_path):
    try_stages(tmp_path, ROWS, IN_A_ROW)
