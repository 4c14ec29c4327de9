"""Ctrl-C at any moment of a command: during imports, at work, and at Python's own end."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

PRESS = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
SWALLOWS = f"""
try:
    {PRESS.replace(chr(10), chr(10) + "    ")}
    for _ in range(1000):
        pass
except:
    pass  # as the start-up code of Cython's modules has it
"""
TAKES_FOR_ITS_OWN = SWALLOWS.replace("pass  # as", "raise ImportError('initialization failed')  #")
COMMAND = """
    import click, soundstorm_runtime.support.command
    @click.command()
    def command():
        {body}
    {before}
    soundstorm_runtime.support.command.run(command)
"""


@pytest.fixture
def run(environment, tmp_path):
    """Run a command of these lines as a process."""

    def run(body, before="", **options):
        script = textwrap.dedent(COMMAND).format(body=body.replace("\n", "\n    "), before=before)
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


@pytest.mark.parametrize("library", [SWALLOWS, TAKES_FOR_ITS_OWN])
def test_ctrl_c_outlives_a_library_that_is_being_imported(run, tmp_path, library):
    (tmp_path / "library.py").write_text(library)
    found = run("import library, time\ntime.sleep(60)\nprint('never')")
    assert (found.returncode, found.stdout, found.stderr.split()) == (130, "", ["interrupted"])


def test_ctrl_c_at_work_raises_at_once(run):
    found = run(f"{PRESS}print('never')")
    assert (found.returncode, found.stdout, found.stderr.split()) == (130, "", ["interrupted"])


def test_ctrl_c_at_the_end_of_python_ends_without_a_traceback(run):
    found = run("import atexit, os, signal\natexit.register(os.kill, os.getpid(), signal.SIGINT)")
    assert (found.returncode, found.stderr) == (-signal.SIGINT, "")  # a shell tells it as 130


def test_ctrl_c_that_is_ignored_stays_so(run):
    """A shell has its background jobs ignore it."""
    found = run(f"{PRESS}print('done')", before="import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)")
    assert (found.returncode, found.stdout, found.stderr) == (0, "done\n", "")
