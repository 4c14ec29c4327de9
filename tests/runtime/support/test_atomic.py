"""Files and folders that are written whole or not at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from soundstorm_runtime.support import atomic
from soundstorm_runtime.support.atomic import atomic_file, atomic_folder, write_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_file(path, "before")
    with atomic_file(path) as work:
        work.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert names(path.parent) == ["file.txt"]


def test_a_failed_write_changes_nothing(tmp_path):
    path, folder = tmp_path / "file.txt", tmp_path / "folder"
    path.write_text("before")
    folder.mkdir()
    (folder / "kept").touch()
    with pytest.raises(TypeError), atomic_file(path) as work:
        work.write_text("half") and work.write_text(None)
    with pytest.raises(TypeError), atomic_folder(folder) as work:
        (work / "half").write_text("half") and (work / "other").write_text(None)
    assert path.read_text() == "before"
    assert names(folder) == ["kept"]
    assert names(tmp_path) == ["file.txt", "folder"]


def test_what_a_link_points_to_is_replaced(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "voice").symlink_to("old")
    with atomic_folder(tmp_path / "voice") as work:
        (work / "new").touch()
    (tmp_path / "link.txt").symlink_to("file.txt")
    write_file(tmp_path / "link.txt", "new")
    assert (tmp_path / "voice").is_symlink()
    assert names(tmp_path / "old") == ["new"]
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "file.txt").read_text() == "new"
    assert names(tmp_path) == ["file.txt", "link.txt", "old", "voice"]


def test_the_current_folder_and_a_folder_for_a_file_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="it is the current folder"), atomic_folder(Path()):
        pass
    with pytest.raises(IsADirectoryError):
        write_file(tmp_path, "")


def test_two_writers_of_one_target_do_not_mix(tmp_path):
    with atomic_file(tmp_path / "file") as work:
        with pytest.raises(BlockingIOError, match="another process is writing it"):
            write_file(tmp_path / "file", "second")
        work.write_text("first")
    assert (tmp_path / "file").read_text() == "first"
    with atomic_folder(tmp_path / "folder") as work:
        (work / "first").touch()
        with pytest.raises(BlockingIOError), atomic_folder(tmp_path / "folder"):
            pass
    assert names(tmp_path / "folder") == ["first"]


def test_a_folder_is_replaced_where_the_system_cannot_exchange_two(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
    for name in ("first", "second"):
        with atomic_folder(tmp_path / "folder") as work:
            (work / name).touch()
    assert names(tmp_path / "folder") == ["second"]
    (tmp_path / "folder").rename(tmp_path / f".folder{atomic.OLD}")  # killed between the two renames
    (tmp_path / f".folder{atomic.PART}").mkdir()
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "folder"):
        raise RuntimeError
    assert names(tmp_path / "folder") == ["second"]
    assert names(tmp_path) == ["folder"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("kind", ["atomic_file", "atomic_folder"])
def test_what_a_killed_process_left_is_overwritten(tmp_path, kind):
    target = tmp_path / "target"
    script = (
        f"import os, sys; from pathlib import Path; from soundstorm_runtime.support.atomic import {kind}\n"
        f"with {kind}(Path(sys.argv[1])) as work:\n"
        "    (work / 'half' if work.is_dir() else work).write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert names(tmp_path) == [f".target{atomic.PART}"]
    with getattr(atomic, kind)(target) as work:
        if work.is_dir():
            assert names(work) == []
        else:
            assert work.read_bytes() == b""
    assert names(tmp_path) == ["target"]


@pytest.mark.skipif(sys.platform == "win32", reason="no locks")
def test_what_killed_processes_left_is_removed_and_what_is_being_written_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_swept", set())
    (tmp_path / f".a.wav{atomic.PART}").write_text("half")
    (tmp_path / f".b{atomic.PART}").mkdir()
    (tmp_path / f".b{atomic.PART}" / "half").touch()
    (tmp_path / f".c{atomic.OLD}").mkdir()
    (tmp_path / "c").mkdir()
    (tmp_path / ".mine.part").touch()
    with atomic_file(tmp_path / "d") as work:
        monkeypatch.setattr(atomic, "_swept", set())
        write_file(tmp_path / "e", "")
        assert work.exists()
        assert not [name for name in names(tmp_path) if name.startswith((".a", ".b", ".c"))]
    assert {".mine.part", "c", "d"} <= set(names(tmp_path))


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_folder_is_there_at_every_moment_of_its_replacement(tmp_path):
    """Kill a process that replaces a folder again and again, at a random moment: a whole one is left."""
    target = tmp_path / "target"
    script = (
        "import sys; from pathlib import Path; from soundstorm_runtime.support.atomic import atomic_folder\n"
        "while True:\n"
        "    with atomic_folder(Path(sys.argv[1])) as work:\n"
        "        for name in 'abc': (work / name).write_text(name)\n"
        "    print(flush=True)\n"
    )
    for rounds in range(1, 6):
        with subprocess.Popen([sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE) as process:
            os.read(process.stdout.fileno(), rounds)
            process.kill()
        if atomic.sys.platform == "linux":
            assert names(target) == ["a", "b", "c"]


def test_permissions_are_those_of_the_user(tmp_path):
    write_file(tmp_path / "file", "")
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "file").stat().st_mode == plain.stat().st_mode
