"""Ctrl-C in a command line: it is never lost, never a traceback, and never a damaged import."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import connection, parent_process, resource_tracker


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C to the end of the block, which then raises `KeyboardInterrupt`.

    For imports of compiled modules: their start-up code swallows an exception that is raised in it (Cython's,
    which NumPy's random numbers use) or reports it as a broken installation (pybind11's, which ONNX Runtime
    uses). Does nothing where Ctrl-C is ignored or handled by other code.
    """
    if (
        threading.current_thread() is not threading.main_thread()  # no other thread may set handlers
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    pressed = False

    def note(*_: object) -> None:
        nonlocal pressed
        pressed = True

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if pressed:
            raise KeyboardInterrupt


@contextmanager
def raised_after_finalizers() -> Iterator[None]:
    """Raise Ctrl-C again where Python has dropped it.

    What is raised in a finalizer or in a callback of C code, such as `SoundFile.__del__`, is printed and
    forgotten (`sys.unraisablehook`); the work would go on as if nobody had pressed a key.
    """
    report = sys.unraisablehook

    def raise_again(dropped: sys.UnraisableHookArgs) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            threading.Timer(0.01, _press_ctrl_c).start()  # once the finalizer has returned
        else:
            report(dropped)

    sys.unraisablehook = raise_again
    try:
        yield
    finally:
        sys.unraisablehook = report


def _press_ctrl_c() -> None:
    if hasattr(signal, "pthread_kill"):
        # ends a wait in the system, too
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:  # Windows
        _thread.interrupt_main()


@contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C end the process at once after the block, without a traceback of Python's own shutdown."""
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def starting_processes() -> Iterator[None]:
    """Block Ctrl-C in the processes that are started in the block, until they call `follow_parent`.

    A terminal sends Ctrl-C to all processes, and one that is still importing would end with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # it unblocks Ctrl-C when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def follow_parent(orphaned: Callable[[], object] | None = None) -> None:
    """Leave Ctrl-C to the parent process, and end when the parent has ended, however it ended.

    Args:
        orphaned: called in a thread when the parent has ended; by default this process exits at once.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])  # a pipe, which the system closes at the parent's end
        if orphaned is None:
            os._exit(1)
        orphaned()

    threading.Thread(target=watch, name="parent", daemon=True).start()
