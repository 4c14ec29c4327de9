"""Folders that are written whole or not at all."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Give a hidden folder beside `folder` to write to; it takes its place if all goes well, and goes if not.

    What was there before stays until then; of a link, what it points to is replaced. Raises `OSError` where
    nothing can be written.
    """
    folder = folder.resolve()
    if folder == Path.cwd():
        raise OSError(errno.EBUSY, "it is the current folder", str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        work.chmod(0o755)
        yield work
        old = work.with_name(f"{work.name}.old")
        if folder.exists():
            folder.rename(old)
        try:
            work.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
