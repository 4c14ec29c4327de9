"""Files and folders that are written whole or not at all, even if the process is killed or the power fails.

They are written under a hidden name in the same folder (`.NAME.part`), flushed to disk and renamed. The
hidden name is locked while it is in use: what a killed process left under it is overwritten by the next one,
and two processes cannot write the same target at once.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux's renameat2(2)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield the path of an empty file to write to; it replaces `path` where the block succeeds.

    After an error, `path` is as it was. Where `path` is a link, the file that it points to is replaced.

    Raises:
        OSError: the file cannot be written, or another process is writing it.
    """
    path = path.resolve()
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    work = path.with_name(f".{path.name}.part")
    try:
        with _locked(work, os.O_RDWR | os.O_CREAT):
            os.truncate(work, 0)
            yield work
            _flush(work)
            os.replace(work, path)
            _flush(path.parent)
    finally:
        with suppress(OSError), _locked(work, os.O_RDWR):  # it has been renamed, or another process writes it
            work.unlink()


def write_file(path: Path, content: str | bytes) -> None:
    """Write a whole file, text as UTF-8, and create its folder. Raises what `atomic_file` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as work:
        work.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to write to; it replaces `folder` where the block succeeds.

    After an error, `folder` is as it was. Where `folder` is a link, the folder that it points to is replaced.

    Raises:
        OSError: the folder cannot be written, is the current one, or another process is writing it.
    """
    folder = folder.resolve()
    if folder == Path.cwd():
        raise OSError(errno.EBUSY, "it is the current folder", str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    work, old = folder.with_name(f".{folder.name}.part"), folder.with_name(f".{folder.name}.old")
    try:
        work.mkdir(exist_ok=True)
        with _locked(work, os.O_RDONLY):
            if old.exists() and not folder.exists():  # a process was killed between the two renames below
                old.rename(folder)
            _empty(work)
            yield work
            for path in work.rglob("*"):
                _flush(path)
            _replace_folder(work, folder, old)
            _flush(folder.parent)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        with suppress(OSError), _locked(work, os.O_RDONLY):
            shutil.rmtree(work, ignore_errors=True)


def _replace_folder(work: Path, folder: Path, old: Path) -> None:
    """Put `work` in the place of `folder`, in one step where the system can exchange two folders."""
    if not folder.exists():
        work.rename(folder)
    elif not _exchange(work, folder):
        folder.rename(old)
        try:
            work.rename(folder)
        except OSError:
            old.rename(folder)
            raise


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if rename is None:
        return False
    return rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _flush(path: Path) -> None:
    """Wait until a file or the entries of a folder are on disk, not only in the system's memory."""
    if sys.platform == "win32":  # which flushes no folder, and no file that is open for reading
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _locked(path: Path, flags: int) -> Iterator[None]:
    """Open a file or folder and lock it against other processes until the end of the block."""
    if sys.platform == "win32":
        if flags & os.O_CREAT:
            path.touch()
        yield
        return
    handle = _open_locked(path, flags)
    try:
        yield
    finally:
        os.close(handle)


def _open_locked(path: Path, flags: int) -> int:
    while True:
        handle = os.open(path, flags | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        except BlockingIOError:
            os.close(handle)
            raise BlockingIOError(errno.EAGAIN, "another process is writing it", str(path)) from None
        except FileNotFoundError:
            pass
        except OSError:  # a network file system without locks
            return handle
        os.close(handle)  # another process has just renamed it: open the next
