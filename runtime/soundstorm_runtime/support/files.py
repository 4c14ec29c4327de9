"""Read files that may come from a stranger: regular files alone, no larger than expected, as plain data.

A FIFO or a device would block or never end, a sparse file would fill the memory, and a hostile text is nested
more deeply than its parser can follow. Callers turn `OSError` and `ValueError` into errors with advice.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
import zlib
from pathlib import Path
from typing import Any, BinaryIO

TEXT = 4 << 20  # bytes of a manifest, a recipe or a user's lexicon, at most

_KINDS = {
    stat.S_IFIFO: "a FIFO", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder",
}  # fmt: skip


def open_file(path: Path, *, links: bool = True) -> BinaryIO:
    """Open a regular file to read bytes.

    Args:
        path: Its path.
        links: Whether `path` may be a link to the file.

    Raises:
        OSError: It is missing, cannot be read, or is anything else than a regular file.
    """
    check_file(path, links=links)  # before it is opened, which a device may notice
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no file any more, expected a file", str(path))
    return file


def check_file(path: Path, *, links: bool = True) -> os.stat_result:
    """Return the status of a regular file. Raises `OSError` as `open_file`."""
    found = os.stat(path) if links else os.lstat(path)
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, expected a file", str(path))
    return found


def read_file(path: Path, most: int, *, links: bool = True) -> bytes:
    """Read a regular file of at most `most` bytes. Raises `OSError` as `open_file`, and for a larger one."""
    with open_file(path, links=links) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(most + 1) if size <= most else b""
        if max(size, len(content)) > most:
            raise OSError(
                errno.EFBIG, f"it has {max(size, len(content))} bytes, expected at most {most}", str(path)
            )
        return content


def read_text(path: Path, most: int = TEXT) -> str:
    """Read a UTF-8 text, with or without a byte-order mark.

    Raises:
        OSError: As `read_file`.
        ValueError: It is not UTF-8.
    """
    return read_file(path, most).decode("utf-8-sig")


def reason(error: Exception) -> str:
    """Return what a message says of an error: of an `OSError` without its number and path."""
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__


def parse_json(text: str | bytes) -> Any:
    """Parse JSON. Raises `ValueError` for anything else, for deep nesting, and for a key that comes twice."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has the key {twice!r} twice")
    return found


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML. Raises `ValueError` for anything else, and for what is nested too deeply."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def gunzip(content: bytes, most: int) -> bytes:
    """Unpack gzip data to at most `most` bytes.

    Raises:
        ValueError: It unpacks to more, is damaged or truncated, or other data follow it.
    """
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacker.decompress(content, most + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(unpacked) > most:
        raise ValueError(f"it unpacks to more than {most} bytes")
    if not unpacker.eof:
        raise ValueError("it is truncated")
    if unpacker.unused_data:
        raise ValueError("other data follow it")
    return unpacked
