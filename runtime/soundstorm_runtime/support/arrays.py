"""NumPy archives (`.npz`) from strangers: without pickle, and of a bounded size."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from .files import read_file

DAMAGES = (  # what reading a damaged archive raises
    OSError, ValueError, EOFError, MemoryError, RuntimeError, KeyError,
    zlib.error, zipfile.BadZipFile, zipfile.LargeZipFile,
)  # fmt: skip


def read_arrays(
    path: Path, most: int, names: Collection[str], optional: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Read the arrays of an archive.

    Args:
        path: The file.
        most: Bytes that it may have, unpacked.
        names: Arrays that it has to have.
        optional: Arrays that it may have; there are no others.

    Raises:
        ValueError: It is larger, or has other arrays. A damaged one raises any of `DAMAGES`.
    """
    content = io.BytesIO(read_file(path, most))
    with zipfile.ZipFile(content) as archive:
        size = sum(info.file_size for info in archive.infolist())
    if size > most:
        raise ValueError(f"it unpacks to {size} bytes, expected {most} at most")
    with np.load(content, allow_pickle=False) as file:
        if set(file.files) - set(optional) != set(names):
            raise ValueError(f"it has the arrays {sorted(file.files)}, expected {sorted(names)}")
        return {name: file[name] for name in file.files}
