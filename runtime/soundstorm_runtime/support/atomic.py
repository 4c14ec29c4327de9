"""Files and folders that are written whole or not at all, even if the process is killed or the power fails.

They are written under a hidden name in the same folder (`.NAME.soundstorm-part`), flushed to disk and
renamed. The hidden name is locked while it is in use, so that two processes cannot write the same target at
once. What is not locked was left by a killed process: the next one that writes to the folder removes it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

PART, OLD = ".soundstorm-part", ".soundstorm-old"  # how hidden names end

_PATIENCE = 0.1  # seconds to wait for a lock
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
    if path.parent not in _swept:
        _sweep(path.parent)
    work = path.with_name(f".{path.name}{PART}")
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
    _sweep(folder.parent)
    work, old = folder.with_name(f".{folder.name}{PART}"), folder.with_name(f".{folder.name}{OLD}")
    try:
        work.mkdir(exist_ok=True)
        with _locked(work, os.O_RDONLY):
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


_swept: set[Path] = set()  # where this process need not look again before it writes a file


def _sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder, and nothing that a process is writing."""
    if sys.platform == "win32" or not folder.is_dir():
        return
    _swept.add(folder)
    with suppress(OSError):  # a folder that cannot be listed
        for name in sorted(
            os.listdir(folder)
        ):  # the old folder, which may be needed, before its half-written successor
            if name.startswith(".") and name.endswith((PART, OLD)):
                with suppress(OSError):  # another process writes it, or has just removed it
                    _sweep_one(folder / name)


def _sweep_one(path: Path) -> None:
    """Remove one of them, or put it back in its place."""
    if path.name.endswith(OLD) and not (whole := path.with_name(path.name[1 : -len(OLD)])).exists():
        with _locked(path.with_name(f".{whole.name}{PART}"), os.O_RDONLY | os.O_NOFOLLOW):
            path.rename(whole)  # killed between the two renames of `_replace_folder`
        return
    with _locked(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


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
    patience = time.monotonic() + _PATIENCE
    while True:
        handle = os.open(path, flags | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        except BlockingIOError:
            os.close(handle)
            if time.monotonic() > patience:
                raise BlockingIOError(errno.EAGAIN, "another process is writing it", str(path)) from None
            time.sleep(_PATIENCE / 10)  # or looking whether it may be removed
            continue
        except FileNotFoundError:
            pass
        except OSError:  # a network file system without locks
            return handle
        os.close(handle)  # another process has just renamed it: open the next
