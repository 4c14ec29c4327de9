"""Reading what a stranger sent: files alone, of a limited size, as plain data."""

from __future__ import annotations

import gzip
import os
import socket

import pytest

from soundstorm_runtime.support.files import (
    gunzip,
    open_file,
    parse_json,
    parse_toml,
    read_file,
    read_text,
    reason,
)


def make_link(path):
    path.with_name("target").touch()
    path.symlink_to("target")


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(os.path.relpath(path))


KINDS = {"a FIFO": os.mkfifo, "a folder": os.mkdir, "a link": make_link, "a socket": make_socket}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused_without_waiting(tmp_path, kind):
    KINDS[kind](tmp_path / "x")
    with pytest.raises(OSError, match=f"it is {kind}, expected a file"):
        read_file(tmp_path / "x", 10, links=False)


def test_a_link_and_a_device_where_links_are_allowed(tmp_path):
    make_link(tmp_path / "x")
    (tmp_path / "target").write_text("abc")
    assert read_file(tmp_path / "x", 10) == b"abc"
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(OSError, match="it is a device, expected a file"):
        open_file(tmp_path / "zero")


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="it has 1099511627776 bytes, expected at most 4"):
        read_file(tmp_path / "sparse", 4)
    (tmp_path / "four").write_bytes(b"four")
    assert read_file(tmp_path / "four", 4) == b"four"


def test_texts_and_reasons(tmp_path):
    (tmp_path / "text").write_bytes(b"\xef\xbb\xbfabc")
    assert read_text(tmp_path / "text") == "abc"
    with pytest.raises(FileNotFoundError) as caught:
        read_text(tmp_path / "none")
    assert reason(caught.value) == "No such file or directory"
    assert reason(ValueError("two\nlines")) == "two lines"
    assert reason(KeyError()) == "KeyError"


@pytest.mark.parametrize("parse", [parse_json, parse_toml])
def test_what_is_nested_too_deeply_is_no_traceback(parse):
    assert parse('{"a": 1}' if parse is parse_json else "a = 1") == {"a": 1}
    for text in ("[" * 100_000, "a = " + "[" * 100_000, "a = " + "9" * 5000, "{"):
        with pytest.raises(ValueError, match=r"\S"):
            parse(text)


def test_a_key_that_comes_twice_is_refused():
    with pytest.raises(ValueError, match="it has the key 'b' twice"):
        parse_json('[{"a": {"b": 1, "c": 1, "b": 2}}]')


def test_gzip_is_unpacked_to_a_limit():
    bomb = gzip.compress(bytes(1 << 20))
    assert len(gunzip(bomb, 1 << 20)) == 1 << 20
    with pytest.raises(ValueError, match="it unpacks to more than 1048575 bytes"):
        gunzip(bomb, (1 << 20) - 1)
    for content, message in (
        (b"", "truncated"),
        (bomb[:-9], "truncated"),
        (bomb + b"x", "other data follow"),
        (bomb[:10] + b"\xff" + bomb[11:], "Error -3"),
        (bomb[:-1] + b"\x01", "Error -3"),
    ):
        with pytest.raises(ValueError, match=message):
            gunzip(content, 1 << 20)
