"""The whole road in miniature, by the commands that a user types: recordings in, a spoken sentence out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from soundstorm_edge.data.corpus import Corpus
from soundstorm_edge.support.tensor_files import load_tensors
from soundstorm_edge.training.loop import STATE
from soundstorm_runtime.bundle.reader import read_bundle

TRAINING = "steps = {steps}\nbatch = 2\nwarmup = 1\nsave_every = {save_every}"
CONFORMER = """
dim = 16
depth = 1
heads = 2
dim_head = 8
ff_mult = 2
conv_kernel_size = 3
num_residual_streams = 1
"""

SPECTRAL = """
kind = "spectral"
mels = 20
dim = 16
encoder_blocks = 1
decoder_blocks = 1
latent_dim = 8
levels = 2
codebook_size = 16
spectra = 2
transforms = 2
source = true
"""

SOUNDSTREAM = """
kind = "soundstream"
channels = 4
channel_mults = [1, 1, 2, 2]
codebook_dim = 8
rq_num_quantizers = 2
codebook_size = 16
use_local_attn = false
pad_mode = "constant"
strided_pad_mode = "constant"
[codec.discriminators]
scales = [1]
channels = 4
max_channels = 8
[codec.discriminators.stft]
channels = 2
strides = [[2, 2], [2, 2], [2, 2]]
chan_mults = [1, 1, 1]
n_fft = 256
win_length = 256
hop_length = 64
"""

PARALLEL = f"""
kind = "parallel"
[text.model.encoder]
{CONFORMER}
[text.model.decoder]
{CONFORMER}
"""

AUTOREGRESSIVE = """
kind = "autoregressive"
dim = 16
source_depth = 1
target_depth = 1
heads = 2
dim_head = 8
ff_mult = 2
"""

DISTILLATION = """
[unit_distillation]
frames = 30
[unit_distillation.model]
kind = "phonetic"
vocabulary = 12
mels = 20
dim = 16
depth = 1
width = 8
[unit_distillation.optimization]
"""

# Which sentences are held out depends on their text: of these, some are and some are not.
SENTENCES = (
    "The ship left the harbour at dawn.",
    "Nobody had seen the letter before.",
    "A cold wind came down from the hills.",
    "She closed the book and went to sleep.",
    "There were seven apples on the table.",
    "He never asked the same question twice.",
)


def recipe(
    source: str,
    codec: str,
    text: str,
    *,
    adversarial: float = 0,
    rate: int = 50,
    distillation: bool = False,
    **training: int,
) -> str:
    """Write a recipe with tiny sizes."""
    optimization = TRAINING.format(**({"steps": 3, "save_every": 2} | training))
    return f"""
name = "mini"
[corpus]
{source}
held_out_percent = 50
[codec]
frames = 16
adversarial = {adversarial:.1f}
[codec.optimization]
{optimization}
[codec.model]{codec}
[units.model]
kind = "spectral"
vocabulary = 12
rate = {rate}
[acoustic]
frames = 32
[acoustic.conformer]
{CONFORMER}
[acoustic.optimization]
{optimization}
[text.optimization]
{optimization}
[text.model]{text}
[decode]
steps = [2, 1]
{DISTILLATION + optimization if distillation else ""}
"""


FLITE = 'source = "flite"\nvoices = ["rms"]\nutterances = 12'
LJSPEECH = 'source = "ljspeech"\npath = "recordings"'
LIBRITTS = 'source = "libritts"\npath = "recordings"'

ROADS = [
    pytest.param(
        recipe(FLITE, SPECTRAL, PARALLEL, distillation=True),
        ("codec", "units", "text", "distill-units", "acoustic"),
        ("spectral", "parallel"),
        id="flite",
        marks=pytest.mark.flite,
    ),
    pytest.param(
        recipe(LJSPEECH, SOUNDSTREAM, AUTOREGRESSIVE, adversarial=1, rate=25),
        ("codec", "units", "acoustic", "text"),
        ("soundstream", "autoregressive"),
        id="ljspeech",
        marks=pytest.mark.sweep,  # more than a minute, nearly all of it in PyTorch's exporter
    ),
]


def write_recording(path: Path, rate: int, seconds: float) -> None:
    """Write noise, the same for the same name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).uniform(-0.5, 0.5, round(rate * seconds))
    soundfile.write(path, noise, rate)


def write_ljspeech(folder: Path) -> None:
    rows = [f"LJ{i}|raw {i}|{sentence}" for i, sentence in enumerate(SENTENCES)]
    for i in range(len(SENTENCES)):
        write_recording(folder / "wavs" / f"LJ{i}.wav", 22_050, 0.6 + 0.1 * i)
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_libritts(folder: Path) -> None:
    for i, sentence in enumerate(SENTENCES):
        chapter = folder / "train-clean" / f"{100 + i % 2}" / "7"
        write_recording(chapter / f"{i}.wav", 24_000, 0.5)
        (chapter / f"{i}.normalized.txt").write_text(sentence, encoding="utf-8")


@pytest.fixture
def workplace(tmp_path, monkeypatch, run_command):
    """A folder with recordings; gives a function that runs a command there and wants it to succeed."""
    write_ljspeech(tmp_path / "recordings")
    monkeypatch.chdir(tmp_path)

    def run(*line: object) -> subprocess.CompletedProcess[str]:
        done = run_command(*line, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.mark.parametrize(("text", "stages", "kinds"), ROADS)
def test_the_whole_road(workplace, text, stages, kinds):
    Path("mini.toml").write_text(text)
    for stage in ("corpus", *stages):
        workplace("soundstorm-train", stage, "--recipe", "mini.toml")
    run = Path("runs/mini")
    for stage in set(stages) - {"units"}:
        folder = run / ("unit_distillation" if stage == "distill-units" else stage)
        rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        assert np.isfinite([row["loss"] for row in rows if "loss" in row]).all()
        assert sum(any(key.startswith("held-out") for key in row) for row in rows) == 2
    done = workplace("soundstorm-train", "assemble", "--recipe", "mini.toml", "-o", "ckpt.pt")
    assert "ckpt.pt" in done.stderr

    workplace("soundstorm-export", "ckpt.pt", "-o", "voice")
    manifest = read_bundle("voice").manifest
    assert (manifest.audio.codec, manifest.text.kind) == kinds
    described = workplace("soundstorm", "info", "voice").stdout
    assert all(graph in described for graph in manifest.graphs)

    done = workplace("soundstorm", "say", "voice", "Hello there.", "-o", "hello.wav")
    assert "RTF" in done.stderr
    audio, rate = soundfile.read("hello.wav", dtype="float32")
    assert rate == 16_000
    assert len(audio) > 0.05 * rate
    assert np.isfinite(audio).all()
    workplace("soundstorm", "say", "voice", "Hello there.", "-o", "again.wav")
    assert Path("hello.wav").read_bytes() == Path("again.wav").read_bytes()


def test_libritts_is_read(workplace):
    write_libritts(Path("recordings"))
    Path("mini.toml").write_text(recipe(LIBRITTS, SPECTRAL, PARALLEL))
    done = workplace("soundstorm-train", "corpus", "--recipe", "mini.toml", "--run", "here")
    assert f"{len(SENTENCES)} utterances" in done.stderr
    corpus = Corpus(Path("here/corpus"))
    assert {u.speaker for u in corpus.utterances} == {"100", "101"}
    assert sorted(u.text for u in corpus.utterances) == sorted(SENTENCES)
    assert [len(corpus.audio(u)) for u in corpus.utterances] == [8000] * len(SENTENCES)


KILLED_AT_THE_THIRD_STATE = """
import os, signal, sys

states = 0

def watch(event, arguments):
    global states
    if event == "os.rename" and str(arguments[1]).endswith("state.pt"):
        states += 1
        if states == 3:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
"""


def test_training_killed_and_resumed_is_the_training_that_was_not(workplace, environment):
    """Killed without warning, it leaves a state that loads, and goes on to the very same weights."""
    Path("mini.toml").write_text(recipe(LJSPEECH, SPECTRAL, PARALLEL, steps=60, save_every=1))
    stage = ("codec", "--recipe", "mini.toml", "--run")
    for folder in ("whole", "killed"):
        workplace("soundstorm-train", "corpus", "--recipe", "mini.toml", "--run", folder)
    state = Path("killed/codec/state.pt")
    Path("hook").mkdir()
    Path("hook/sitecustomize.py").write_text(KILLED_AT_THE_THIRD_STATE)
    paths = os.pathsep.join([os.path.abspath("hook"), environment["PYTHONPATH"]])
    process = subprocess.run(
        [sys.executable, "-m", "soundstorm_edge.cli", *stage, "killed"],
        env=environment | {"PYTHONPATH": paths},
        capture_output=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    assert load_tensors(state, STATE, ("step",))["step"] == 2

    workplace("soundstorm-train", *stage, "killed")
    workplace("soundstorm-train", *stage, "whole")
    resumed, whole = (load_tensors(Path(f"{run}/codec/state.pt"), STATE, ()) for run in ("killed", "whole"))
    assert resumed["step"] == whole["step"] == 60
    assert resumed["model"].keys() == whole["model"].keys()
    assert [
        name for name, tensor in whole["model"].items() if not torch.equal(tensor, resumed["model"][name])
    ] == []

    before = state.stat().st_mtime_ns
    workplace("soundstorm-train", *stage, "killed")  # has nothing left to do
    assert state.stat().st_mtime_ns == before
