"""What a user can get wrong in training and export: one clear line, exit code 1, and nothing lost.

The commands run inside this process, except where the process itself matters: importing PyTorch for each
of them would take minutes. What the runtime is given wrongly is tested beside it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import soundstorm_edge.cli
import soundstorm_export.cli
import soundstorm_export.verify.checked_write
from soundstorm_edge.checkpoint import load_voice, save_voice
from soundstorm_edge.errors import CheckpointError
from soundstorm_edge.training.pipeline import TrainingRun
from soundstorm_edge.training.recipe import load_recipe
from soundstorm_runtime.bundle.reader import read_bundle

MAIN = {"soundstorm-train": soundstorm_edge.cli.main, "soundstorm-export": soundstorm_export.cli.main}

RECIPE = """
name = "mini"
[corpus]
source = "ljspeech"
path = "recordings"
held_out_percent = 50
[codec]
frames = 16
"""

# The text decides what is held out: the first is, the second is not.
ROWS = ["a|The ship left the harbour at dawn.", "b|Nobody had seen the letter before."]


@pytest.fixture
def fails(monkeypatch, capsys):
    """Give a function that runs a command, and wants exit code 1 and one line that says why."""

    def check(message: str, command: str, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [command, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            MAIN[command]()
        output = capsys.readouterr()
        assert ended.value.code == 1
        last = output.err.splitlines()[-1]
        assert re.search(f"^error: .*{message}", last), last
        assert output.err.count("error: ") == 1
        assert output.out == ""

    return check


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with a recipe and two recordings; the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini.toml").write_text(RECIPE)
    wavs = tmp_path / "recordings" / "wavs"
    wavs.mkdir(parents=True)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000)
    for name in "ab":
        soundfile.write(wavs / f"{name}.wav", noise, 16_000)
    (tmp_path / "recordings" / "metadata.csv").write_text("\n".join(ROWS) + "\n")
    return tmp_path


@pytest.fixture
def corpus(workplace):
    """The corpus of those recordings, made."""
    return TrainingRun(load_recipe("mini.toml"), Path("runs/mini")).make_corpus().folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


RECIPES = {
    "unknown key": (
        "[codec]\nframe = 1",
        r"mini\.toml\.codec has the unknown key 'frame'; valid keys: model, frames",
    ),
    "wrong type": ("[codec]\nframes = 'a few'", r"codec\.frames is 'a few', expected a whole number"),
    "not TOML": ("[codec", "recipe mini.toml is not TOML"),
    "not a text": (b"\xff\xfe", "no recipe 'mini.toml'.*decode"),
    "impossible sizes": (
        "[codec.model]\nkind = 'spectral'\nwindow = 1",
        "window 1 must be a multiple of hop",
    ),
    "a size of 0": ("[codec.model]\nkind = 'spectral'\nhop = 0", "hop is 0, expected 1 or more"),
    "a negative size": ("[acoustic.conformer]\ndim = -1\ndepth = 1", "dim is -1, expected 1 or more"),
    "a batch of 0": ("[text.optimization]\nbatch = 0", "batch is 0, expected 1 or more"),
    "no rate": ("[codec.optimization]\nlearning_rate = -1.0", r"learning_rate is -1\.0, expected above 0"),
    "another level count": ("[decode]\nsteps = [1]", "steps has 1 numbers .* but the voice has 6 levels"),
}


@pytest.mark.parametrize("case", RECIPES)
def test_a_broken_recipe_is_named(case, fails, tmp_path, monkeypatch):
    text, message = RECIPES[case]
    monkeypatch.chdir(tmp_path)
    Path("mini.toml").write_bytes(text if isinstance(text, bytes) else f"name = 'mini'\n{text}\n".encode())
    fails(message, "soundstorm-train", "corpus", "--recipe", "mini.toml")
    assert os.listdir() == ["mini.toml"]


def test_a_missing_recipe_is_named_with_those_there_are(fails):
    fails(
        "no recipe 'none.toml'.*give a TOML file or one of: finetune, flite-multi, flite-rms",
        "soundstorm-train",
        "corpus",
        "--recipe",
        "none.toml",
    )


def _cut(name: str, size: int) -> None:
    path = Path("recordings") / name
    path.write_bytes(path.read_bytes()[:size])


def _rows(*rows: str) -> None:
    Path("recordings/metadata.csv").write_text("\n".join(rows) + "\n")


RECORDINGS = {
    "no listing": (lambda: Path("recordings/metadata.csv").unlink(), "no metadata.csv in recordings"),
    "no rows": (lambda: Path("recordings/metadata.csv").write_text(""), "no utterance found in recordings"),
    "a row without text": (
        lambda: _rows(*ROWS, "c|"),
        r"1 of 3 recordings cannot be used \(c: the transcript is empty\)",
    ),
    "a row outside": (
        lambda: _rows(*ROWS, "../c|Text."),
        r"metadata\.csv:3 is '\.\./c\|Text\.', expected 'id\|text",
    ),
    "a row without audio": (lambda: _rows(*ROWS, "c|Text."), r"cannot read recordings/wavs/c\.wav"),
    "a FIFO for audio": (
        lambda: (Path("recordings/wavs/b.wav").unlink(), os.mkfifo("recordings/wavs/b.wav")),
        r"cannot read recordings/wavs/b\.wav \(.*it is a FIFO, expected a file",
    ),
    "a FIFO for the listing": (
        lambda: (Path("recordings/metadata.csv").unlink(), os.mkfifo("recordings/metadata.csv")),
        r"(no metadata\.csv|metadata\.csv: it is a FIFO)",
    ),
    "another encoding": (
        lambda: Path("recordings/metadata.csv").write_bytes(b"a|\xff"),
        "metadata.csv is not UTF-8",
    ),
    "audio cut short": (
        lambda: _cut("wavs/b.wav", 20),
        r"recordings/wavs/b\.wav is truncated: 20 bytes, expected 32044",
    ),
    "audio without samples": (
        lambda: soundfile.write("recordings/wavs/b.wav", [], 16_000),
        r"wavs/b\.wav has no sample",
    ),
    "audio not finite": (
        lambda: soundfile.write("recordings/wavs/b.wav", [np.nan] * 9, 16_000, subtype="FLOAT"),
        r"wavs/b\.wav has samples that are not finite",
    ),
}


@pytest.mark.parametrize("case", RECORDINGS)
def test_broken_recordings_are_named(case, fails, workplace):
    change, message = RECORDINGS[case]
    change()
    fails(message, "soundstorm-train", "corpus", "--recipe", "mini.toml")
    assert not Path("runs/mini/corpus/utterances.jsonl").exists()


def _halve_audio() -> None:
    for file in Path("runs/mini/corpus/audio").iterdir():
        file.write_bytes(file.read_bytes()[:9000])


def _edit_rows(old: str, new: str) -> None:
    listing = Path("runs/mini/corpus/utterances.jsonl")
    listing.write_text(listing.read_text().replace(old, new))


CORPORA = {
    "a row cut short": (lambda: _edit_rows("}\n", ""), r"utterances\.jsonl:1 is not an utterance"),
    "a row edited": (
        lambda: _edit_rows('"text"', '"words"'),
        "unknown key 'words'; valid keys: id, audio, seconds, text",
    ),
    "audio missing": (
        lambda: shutil.rmtree("runs/mini/corpus/audio"),
        r"cannot read .*\.flac.*make the corpus again",
    ),
    "audio cut short": (_halve_audio, r"cannot read .*\.flac.*make the corpus again"),
}


@pytest.mark.parametrize("stage", ["codec", "units"])
@pytest.mark.parametrize("case", CORPORA)
def test_a_broken_corpus_is_named(case, stage, fails, corpus):
    change, message = CORPORA[case]
    change()
    fails(message, "soundstorm-train", stage, "--recipe", "mini.toml")
    assert not list(Path("runs/mini").glob("*/*.pt"))


@pytest.mark.parametrize("stage", ["codec", "units", "acoustic", "text"])
def test_stages_want_a_corpus_first(stage, fails, workplace):
    fails(
        "no corpus at .*; make one with 'soundstorm-train corpus'",
        "soundstorm-train",
        stage,
        "--recipe",
        "mini.toml",
    )


@pytest.mark.parametrize(
    ("stage", "missing"), [("acoustic", "codec"), ("text", "units"), ("assemble", "codec")]
)
def test_stages_out_of_order_are_told_the_order(stage, missing, fails, corpus):
    fails(f"run 'soundstorm-train {missing}' first", "soundstorm-train", stage, "--recipe", "mini.toml")
    assert not Path("runs/mini/ckpt.pt").exists()


def test_a_folder_that_cannot_be_written_is_named(fails, workplace):
    Path("file").write_text("kept")
    fails(
        "file/run.*Not a directory",
        "soundstorm-train",
        "corpus",
        "--recipe",
        "mini.toml",
        "--run",
        "file/run",
    )
    assert Path("file").read_text() == "kept"


def _save(path: Path, content: object) -> None:
    torch.save(content, path)


def _edit(path: Path, *keys: str, value: object) -> None:
    content = torch.load(path, weights_only=True)
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    torch.save(content, path)


class Malicious:
    """Unpickling this makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("hacked",)


CHECKPOINTS = {
    "missing": (lambda p: p.unlink(), "no file at .*ckpt.pt, expected a voice"),
    "a folder": (lambda p: (p.unlink(), p.mkdir()), "no file at .*ckpt.pt, expected a voice"),
    "empty": (lambda p: p.write_bytes(b""), "cannot read .*ckpt.pt as a voice.*truncated"),
    "truncated": (
        lambda p: p.write_bytes(p.read_bytes()[:-2000]),
        "cannot read .*ckpt.pt as a voice.*truncated",
    ),
    "a text": (lambda p: p.write_text("weights"), "cannot read .*ckpt.pt as a voice"),
    "a state dict": (lambda p: _save(p, {"w": torch.zeros(2)}), "was not written by soundstorm-edge"),
    "a pickle with code": (lambda p: _save(p, {"model": Malicious()}), "cannot read .*ckpt.pt as a voice"),
    "another version": (lambda p: _edit(p, "version", value=2), "has version 2, expected 1"),
    "another kind": (
        lambda p: _edit(p, "kind", value="training state"),
        "is a training state, expected a voice",
    ),
    "an unknown key": (
        lambda p: _edit(p, "config", "codec", "colour", value=1),
        "unknown key 'colour'; valid keys: kind",
    ),
    "a wrong type": (
        lambda p: _edit(p, "config", "codec", "dim", value="16"),
        r"codec\.dim is '16', expected a whole",
    ),
    "another width": (
        lambda p: _edit(p, "config", "codec", "dim", value=24),
        "weights of 'codec' do not fit",
    ),
    "a negative size": (
        lambda p: _edit(p, "config", "codec", "dim", value=-1),
        "dim is -1, expected 1 or more",
    ),
    "more steps": (
        lambda p: _edit(p, "config", "decode", "steps", value=[1, 1, 1]),
        "steps has 3 numbers .* has 2 levels",
    ),
    "another rate": (lambda p: _edit(p, "config", "units", "rate", value=30), "30 semantic tokens a second"),
    "other phones": (lambda p: _edit(p, "config", "text", "symbols", value=["a", "b"]), "symbols"),
    "weights not finite": (
        lambda p: _edit(p, "text", "phone_embedding.weight", value=torch.full((41, 16), torch.nan)),
        "weights of 'text' are not finite in 'phone_embedding.weight'",
    ),
    "a lexicon of text": (lambda p: _edit(p, "lexicon", value="words"), "lexicon"),
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_a_checkpoint_that_is_none_is_named(case, fails, tiny_checkpoint, tmp_path, monkeypatch):
    change, message = CHECKPOINTS[case]
    monkeypatch.chdir(tmp_path)
    path = Path(shutil.copy(tiny_checkpoint, "ckpt.pt"))
    change(path)
    before = contents(tmp_path)
    fails(message, "soundstorm-export", "ckpt.pt")
    assert contents(tmp_path) == before
    assert not Path("hacked").exists()


def test_an_export_that_cannot_be_written_is_named(fails, tiny_checkpoint, tmp_path):
    (tmp_path / "file").write_text("kept")
    fails(
        "cannot write .*file/voice.*give another folder",
        "soundstorm-export",
        tiny_checkpoint,
        "-o",
        tmp_path / "file/voice",
    )
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("kept")
    fails("thesis exists and is no bundle", "soundstorm-export", tiny_checkpoint, "-o", tmp_path / "thesis")
    assert contents(tmp_path) == {"file": b"kept", "thesis/chapter.txt": b"kept"}


def test_a_voice_that_cannot_be_written_is_named(tiny_checkpoint, tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(CheckpointError, match=r"cannot write .*file/ckpt\.pt .*choose another folder"):
        save_voice(tmp_path / "file" / "ckpt.pt", load_voice(tiny_checkpoint))
    assert contents(tmp_path) == {"file": b"kept"}


def test_an_interrupted_export_leaves_nothing(tiny_checkpoint, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(soundstorm_export.verify.checked_write, "check_parity", interrupt)
    monkeypatch.setattr(
        sys, "argv", ["soundstorm-export", str(tiny_checkpoint), "-o", str(tmp_path / "voice")]
    )
    with pytest.raises(SystemExit) as ended:
        soundstorm_export.cli.main()
    assert ended.value.code == 130
    assert os.listdir(tmp_path) == []


def test_a_killed_export_leaves_the_old_bundle(tiny_checkpoint, tiny_bundle, tmp_path, environment):
    """Killed without warning, at work; the old bundle still passes every check."""
    shutil.copytree(tiny_bundle, tmp_path / "voice")
    before = contents(tmp_path / "voice")
    command = [
        sys.executable,
        "-m",
        "soundstorm_export.cli",
        str(tiny_checkpoint),
        "-o",
        str(tmp_path / "voice"),
    ]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "exporting step\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert contents(tmp_path / "voice") == before
    read_bundle(tmp_path / "voice")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("soundstorm-train", "codec", "--recipe", "none.toml"), "error: no recipe 'none.toml'"),
        (("soundstorm-export", "none.pt"), "error: no file at none.pt, expected a voice"),
    ],
)
def test_a_process_says_it_in_one_line(command, message, run_command, tmp_path):
    done = run_command(*command, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(message)
    assert done.stdout == ""
    assert os.listdir(tmp_path) == []
