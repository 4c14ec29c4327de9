"""Ctrl-C at any moment of a command: during imports, at work, and at Python's own end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

PRESS = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
SWALLOWS = f"""
try:
    {PRESS.replace(chr(10), chr(10) + "    ")}
    for _ in range(1000):
        pass
except:
    pass  # as the start-up code of Cython's modules does
"""
REPORTS_A_FAILURE = SWALLOWS.replace("pass  # as", "raise ImportError('initialization failed')  #")
COMMAND = """
    import click, soundstorm_runtime.support.command
    from soundstorm_runtime.support.interrupt import uninterrupted
    def load():
        {imports}
        @click.command()
        def command():
            {body}
        return command
    {before}
    soundstorm_runtime.support.command.run(load)
"""


@pytest.fixture
def run(environment, tmp_path):
    """Run a command of these lines as a process."""

    def run(body, before="", imports="", **options):
        script = textwrap.dedent(COMMAND).format(
            body=body.replace("\n", "\n        "), before=before, imports=imports
        )
        return subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            **options,
        )

    return run


@pytest.mark.parametrize("library", [SWALLOWS, REPORTS_A_FAILURE])
@pytest.mark.parametrize("place", ["before the command", "in the command"])
def test_ctrl_c_during_an_import_is_not_lost(run, tmp_path, library, place):
    (tmp_path / "library.py").write_text(library)
    wait = "import time\ntime.sleep(60)\nprint('never')"
    if place == "in the command":
        found = run(f"with uninterrupted():\n    import library\n{wait}")
    else:
        found = run(wait, imports="import library")
    assert (found.returncode, found.stdout, found.stderr.split()) == (130, "", ["interrupted"])


def test_ctrl_c_at_work_raises_at_once(run):
    found = run(f"{PRESS}print('never')")
    assert (found.returncode, found.stdout, found.stderr.split()) == (130, "", ["interrupted"])


def test_ctrl_c_in_a_finalizer_is_raised_after_it(run):
    """Python prints and drops what a finalizer raises."""
    found = run(
        "import os, signal, time\n"
        "class Closed:\n    def __del__(self):\n        os.kill(os.getpid(), signal.SIGINT)\n"
        "Closed()\ntime.sleep(60)\nprint('never')"
    )
    assert (found.returncode, found.stdout, found.stderr.split()) == (130, "", ["interrupted"])


def test_another_error_of_a_finalizer_is_reported(run):
    found = run(
        "class Closed:\n    def __del__(self):\n        raise ValueError('broken')\nClosed()\nprint('done')"
    )
    assert (found.returncode, found.stdout) == (0, "done\n")
    assert "ValueError: broken" in found.stderr


def test_ctrl_c_at_the_end_of_python_ends_without_a_traceback(run):
    found = run("import atexit, os, signal\natexit.register(os.kill, os.getpid(), signal.SIGINT)")
    assert (found.returncode, found.stderr) == (-signal.SIGINT, "")  # a shell reports it as 130


def test_ctrl_c_that_is_ignored_stays_so(run):
    """A shell has its background jobs ignore it."""
    found = run(f"{PRESS}print('done')", before="import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)")
    assert (found.returncode, found.stdout, found.stderr) == (0, "done\n", "")


PARENT = """
import multiprocessing, os, sys, time
from soundstorm_runtime.support.interrupt import follow_parent

def work():
    follow_parent()
    print(os.getpid(), flush=True)
    time.sleep(60)

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=work)
    process.start()
    process.join()
"""


def test_a_process_ends_with_its_parent_however_that_ends(environment, tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, tmp_path / "parent.py"], env=environment, stdout=subprocess.PIPE, text=True
    ) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        assert parent.stdout.read() == ""  # the child's end of the pipe is closed
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and _is_running(child):
        time.sleep(0.02)
    assert not _is_running(child)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        with open(f"/proc/{pid}/stat") as file:
            return (
                file.read().rpartition(")")[2].split()[0] != "Z"
            )  # nobody waits for an orphan in a container
    except OSError:
        return False
