"""Ctrl-C in a command line: not lost while a library is imported, and never a traceback."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType

AGAIN_SECONDS = 0.02  # how soon Ctrl-C that came during an import is seen to again

_IMPORT = "<frozen importlib._bootstrap>"  # whose frames are on the stack while a module is imported


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `KeyboardInterrupt` for Ctrl-C as Python does, but when no module is being imported.

    The start-up code of compiled modules swallows what is raised in it (Cython's does, which NumPy's random
    numbers have) or takes it for a failure of its own (pybind11's, which ONNX Runtime has): Ctrl-C would be
    lost, or told as a broken installation. After the block, Ctrl-C ends the process at once.

    Changes nothing where Ctrl-C is ignored, as in the background of a script, or somebody else's.
    """
    if not _is_ours():
        yield
        return
    signal.signal(signal.SIGALRM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def starting_processes() -> Iterator[None]:
    """Keep Ctrl-C from the processes that are started in the block, until `leave_ctrl_c_to_parent`.

    A terminal sends it to all of them, and one that is still importing would die with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows has none
        yield
        return
    resource_tracker.ensure_running()  # which lets Ctrl-C through again when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_ctrl_c_to_parent() -> None:
    """Ignore Ctrl-C from now on: the first process hears it, too, and tells this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _is_ours() -> bool:
    return (
        hasattr(signal, "setitimer")  # Windows has none
        and threading.current_thread() is threading.main_thread()  # no other may ask for signals
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        and not _is_importing(sys._getframe())  # which would never end while the command runs
    )


def _interrupt(_: int, frame: FrameType | None) -> None:
    if _is_importing(frame):
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
    else:
        raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != _IMPORT:
        frame = frame.f_back
    return frame is not None
