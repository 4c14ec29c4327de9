"""What is fuzzed: for each kind of input a strategy, and a check of one case.

A check returns "accepted" or "refused", and raises whatever is a fault: anything but a `SoundStormError`, and
speech that changed although nothing was reported.
"""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
import torch
from hypothesis import strategies as st

from soundstorm_edge.checkpoint import PARTS, load_voice
from soundstorm_edge.training.recipe import load_recipe
from soundstorm_runtime import Voice
from soundstorm_runtime.audio.recording import prepare, read_recording, read_samples
from soundstorm_runtime.bundle.manifest import FileRecord
from soundstorm_runtime.bundle.prompts import read_prompt
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.errors import SoundStormError
from soundstorm_runtime.support.files import parse_toml
from soundstorm_runtime.synthesis.dialogue.turns import read_script
from soundstorm_runtime.text.ssml import read_ssml
from soundstorm_runtime.tools.batch_jobs import read_lines
from soundstorm_runtime.tools.dubbing import read_cues
from soundstorm_runtime.tools.timing_files import read_times

from .damage import damaged_bytes, damaged_text, damaged_tree

ROOT = Path(__file__).parents[2]
BUNDLE, CHECKPOINT = ROOT / "tests/golden/spectral", ROOT / "tests/golden/spectral.pt"
RECIPE = ROOT / "soundstorm_edge/training/recipes/flite-multi.toml"
SENTENCE = "Hello there."
RATE = 16_000

Outcome = Literal["accepted", "refused"]
Check = Callable[[Any], Outcome]


@dataclass(frozen=True)
class Target:
    """An input: `strategy` makes cases of it, and `check` tries one; `valid` is one that is accepted."""

    strategy: st.SearchStrategy[Any]
    check: Check
    valid: Any


def _ignore(_: str) -> None:
    """Take the characters that are not spoken."""


def _try(work: Callable[[], object]) -> Outcome:
    try:
        work()
    except SoundStormError:
        return "refused"
    return "accepted"


class _Bundles:
    """A copy of a bundle, of which one file is exchanged and put back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "bundle"
        shutil.copytree(BUNDLE, self.folder)
        self.manifest: dict[str, Any] = json.loads((BUNDLE / "bundle.json").read_text())
        text = read_bundle(BUNDLE).manifest.to_json()  # with its digest, as bundles are written now
        (self.folder / "bundle.json").write_text(text)
        self.text = text.encode()
        self.speech = self.speak()

    def speak(self) -> np.ndarray:
        voice = Voice.load(self.folder, provider="cpu", precision="fp32", threads=1)
        return voice.speak(SENTENCE, seed=0)

    def edited(self, manifest: object) -> Outcome:
        """A manifest that a stranger wrote."""
        return self._with("bundle.json", json.dumps(manifest).encode(), self.speak)

    def damaged(self, content: bytes) -> Outcome:
        """A manifest that was damaged: whatever is accepted has to speak as before."""
        return self._with("bundle.json", content, self._unchanged)

    def file(self, case: tuple[str, bytes, bool]) -> Outcome:
        """A file, with or without its hash in the manifest."""
        name, content, listed = case
        if not listed:
            return self._with(name, content, self._unchanged)
        whole = (self.folder / name).read_bytes()
        try:
            (self.folder / name).write_bytes(content)
            record = FileRecord.of(self.folder / name)
            files = {**self.manifest["files"], name: {"sha256": record.sha256, "size": record.size}}
            return self.edited({**self.manifest, "files": files})
        finally:
            (self.folder / name).write_bytes(whole)

    def _unchanged(self) -> None:
        np.testing.assert_array_equal(self.speak(), self.speech, "speech changed, and nothing was reported")

    def _with(self, name: str, content: bytes, work: Callable[[], object]) -> Outcome:
        whole = self.text if name == "bundle.json" else (self.folder / name).read_bytes()
        try:
            (self.folder / name).write_bytes(content)
            return _try(work)
        finally:
            (self.folder / name).write_bytes(whole)


def _bundles(folder: Path) -> dict[str, Target]:
    kept = _Bundles(folder)
    names = ("step.cpu.onnx", "step.weights", "decoder.onnx", "text_encoder.onnx", "lexicon.txt.gz")
    files = st.one_of(
        *(
            st.tuples(st.just(name), damaged_bytes((BUNDLE / name).read_bytes()), st.booleans())
            for name in names
        )
    )
    return {
        "manifest, edited": Target(damaged_tree(kept.manifest), kept.edited, kept.manifest),
        "manifest, damaged": Target(damaged_bytes(kept.text), kept.damaged, kept.text),
        "files of a bundle": Target(files, kept.file, (names[0], (BUNDLE / names[0]).read_bytes(), True)),
    }


def _prompts(folder: Path) -> Target:
    manifest, path = read_bundle(BUNDLE).manifest, folder / "prompt.npz"
    whole = (BUNDLE / "prompts/anna.npz").read_bytes()
    arrays = dict(np.load(io.BytesIO(whole)))
    others = st.sampled_from(
        (np.zeros((0, 2), np.int64), np.zeros((4, 2)), np.int64(3), np.array("a"), np.array([None]),
         np.full((4, 2), 2**62), np.zeros((9, 9, 9), np.uint8), np.array([], "U"), arrays["codes"][::-1])
    )  # fmt: skip

    @st.composite
    def exchanged(draw: st.DrawFn) -> bytes:
        found = dict(arrays)
        found[draw(st.sampled_from((*arrays, "more")))] = draw(others)
        file = io.BytesIO()
        np.savez(file, **found)  # type: ignore[arg-type]
        return file.getvalue()

    def check(content: bytes) -> Outcome:
        path.write_bytes(content)
        return _try(lambda: read_prompt(path, manifest))

    return Target(damaged_bytes(whole) | exchanged(), check, whole)


def _recordings(folder: Path) -> Target:
    time = np.arange(2 * RATE) / RATE
    noise = np.random.default_rng(0).normal(size=len(time))
    speech = 0.1 * noise * (0.2 + np.abs(np.sin(5 * np.pi * time)))
    bases = []
    for form, subtype in (
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("MP3", None),
    ):
        file = io.BytesIO()
        soundfile.write(file, speech, RATE, subtype, format=form)
        bases.append(file.getvalue())
    level = 10 ** (np.array([-96, -48, -20, 0]) / 20)

    @st.composite
    def written(draw: st.DrawFn) -> bytes:
        rate = draw(st.sampled_from((1, 8, 4000, 8000, 44_100, 192_000, 2**31 - 1)))
        count = draw(st.sampled_from((0, 1, 9, 1000, 30_000)))
        channels = draw(st.sampled_from((1, 2, 64)))
        kind = draw(st.sampled_from(("zero", "noise", "one", "nan", "square")))
        values = {
            "zero": np.zeros(count), "noise": np.resize(noise, count), "one": np.ones(count),
            "nan": np.full(count, math.nan), "square": np.sign(np.sin(np.arange(count) / 20)),
        }[kind]  # fmt: skip
        file = io.BytesIO()
        audio = np.repeat((draw(st.sampled_from(level)) * values)[:, None], channels, 1)
        soundfile.write(file, audio, rate, "FLOAT", format="WAV")
        return file.getvalue()

    path = folder / "recording"

    def check(content: bytes) -> Outcome:
        path.write_bytes(content)

        def work() -> None:
            samples, _ = read_samples(path)
            assert np.isfinite(samples).all()
            audio = prepare(read_recording(path), RATE, -20.0)
            assert np.isfinite(audio).all()
            assert len(audio) <= 6 * RATE

        return _try(work)

    return Target(st.one_of(*(damaged_bytes(base) for base in bases), written()), check, bases[0])


def _checkpoints(folder: Path) -> dict[str, Target]:
    path, content = folder / "voice.pt", torch.load(CHECKPOINT, weights_only=True)
    config, whole = content["config"], load_voice(CHECKPOINT)

    def unchanged() -> None:
        voice = load_voice(path)
        assert voice.config == whole.config
        assert voice.lexicon.to_bytes() == whole.lexicon.to_bytes()
        for part in PARTS:
            weights = getattr(voice, part).state_dict()
            for name, expected in getattr(whole, part).state_dict().items():
                assert torch.equal(weights[name], expected), (
                    f"{part}.{name} changed, and nothing was reported"
                )

    def damaged(data: bytes) -> Outcome:
        path.write_bytes(data)
        return _try(unchanged)

    def edited(tree: object) -> Outcome:
        torch.save({**content, "config": tree}, path)
        return _try(lambda: load_voice(path))

    return {
        "checkpoint, damaged": Target(
            damaged_bytes(CHECKPOINT.read_bytes()), damaged, CHECKPOINT.read_bytes()
        ),
        "checkpoint, edited": Target(damaged_tree(config), edited, config),
    }


def _toml(table: dict[str, Any], above: str = "") -> str:
    """Write a table as TOML, values that TOML lacks as nothing."""
    own, inner = [], []
    for key, value in table.items():
        if isinstance(value, dict):
            inner.append(f"[{above}{json.dumps(key)}]\n" + _toml(value, f"{above}{json.dumps(key)}."))
        elif value is not None:
            own.append(
                f"{json.dumps(key)} = {json.dumps(value).replace('Infinity', 'inf').replace('NaN', 'nan')}\n"
            )
    return "".join([*own, *inner])


def _texts(folder: Path) -> dict[str, Target]:
    voice = Voice.load(BUNDLE, provider="cpu", precision="fp32", threads=1)
    plain = (
        "Hello there. How are you?",
        "Dr. Smith paid $3.50 (twice) on 4/5/2021 at 10:30pm for 3 1/2 kg.",
        "It is [pause 0.5s] late, [[hh eh l ah]] and [spell NASA] knows.\n\nA new paragraph: 1,000,000!",
        "Call +1 (555) 123-4567 or mail a.b@c.org, see https://a.b/c?d=e.",
        "e\u0301\u00e9 \u4f60\u597d \U0001f600 \u2014 ok",
    )
    marked = (
        "<speak>Hello <break time='300ms'/> there.</speak>",
        "<speak><p><s>One.</s><s>Two &amp; three.</s></p></speak>",
        "<speak><prosody rate='slow' volume='loud'>Four</prosody></speak>",
        "<speak><say-as interpret-as='characters'>NASA</say-as> <sub alias='a b'>x</sub></speak>",
        "<speak><phoneme alphabet='x-arpabet' ph='hh eh l ah'>hello</phoneme></speak>",
    )
    words = (
        'nginx = "engine ex"\n',
        'Xiaomi = "/hh ih m iy/"\n"C++" = "see plus"\n',
        "a = 1\n",
        "[a]\nb = 'c'\n",
    )
    lines = ('{"id": "a", "text": "Hello."}\n', '{"id": "b", "text": "x", "voice": "anna", "seed": 3}\n')
    scripts = (
        "anna: Good morning.\nben: [overlap 0.3s] Hi!\nanna: [gap 500ms] So:\n  on and on.\n",
        '{"voice": "anna", "text": "Hello.", "gap": -0.3}\n{"text": "Hi."}\n',
    )
    times = (
        '{"words": [{"word": "We", "start": 0.1, "end": 0.2}, {"word": "42", "start": 0.2, "end": 0.5}]}',
        '{"words": [{"word": "a", "start": 0, "end": 1, "span": [0, 1], "phones": '
        '[{"phone": "ax", "start": 0, "end": 1}]}]}',
    )
    subtitles = (
        "1\n00:00:00,500 --> 00:00:02,500\n<i>We</i> meet.\n\n2\n00:00:03,000 --> 00:00:04,500\nAll.\n",
        "WEBVTT\n\nNOTE none\n\n00:01.000 --> 00:02.000 align:start\nTea &amp; cake.\n",
    )
    recipes = (RECIPE.read_text(),)
    table = parse_toml(recipes[0])
    path = folder / "text.toml"

    def of_file(read: Callable[[Path], object]) -> Check:
        def check(text: str) -> Outcome:
            path.write_text(text, encoding="utf-8", errors="surrogatepass")
            return _try(lambda: read(path))

        return check

    bundle = read_bundle(BUNDLE)
    lexicon = of_file(bundle.spelling)
    recipe = of_file(lambda path: load_recipe(str(path)))

    return {
        "text": Target(
            damaged_text(plain) | st.text(max_size=200),
            lambda text: _try(lambda: voice.sentences(text, _ignore)),
            plain[2],
        ),
        "SSML": Target(
            damaged_text(marked),
            lambda text: _try(lambda: voice.sentences(read_ssml(text), _ignore)),
            marked[0],
        ),
        "lexicon of the user": Target(damaged_text(words), lexicon, words[1]),
        "lines of a batch": Target(
            damaged_text(lines), lambda text: _try(lambda: read_lines(text, "lines")), lines[1]
        ),
        "script of a dialogue": Target(
            damaged_text(scripts), lambda text: _try(lambda: read_script(text)), scripts[0]
        ),
        "times of words": Target(damaged_text(times), of_file(lambda path: read_times(path, 1.0)), times[0]),
        "subtitles": Target(damaged_text(subtitles), of_file(read_cues), subtitles[0]),
        "recipe, damaged": Target(damaged_text(recipes), recipe, recipes[0]),
        "recipe, edited": Target(damaged_tree(table).map(_toml), recipe, _toml(table)),
    }


def _requests(folder: Path) -> dict[str, Target]:
    from starlette.testclient import TestClient

    from soundstorm_runtime.server.app import create_app
    from soundstorm_runtime.server.settings import Settings

    client = TestClient(create_app(Settings(BUNDLE, threads=1)), "http://localhost").__enter__()
    common = {
        "voice": "anna", "response_format": "wav", "speed": 1.0, "sentence_pause": 0.1,
        "stream_format": "audio", "timestamp_granularities": [], "stream": True, "seed": 3, "model": "tts-1",
    }  # fmt: skip
    speech = {**common, "input": SENTENCE, "input_type": "text", "strict": False}
    turns = [{"voice": "anna", "input": "Hi."}, {"input": "[overlap 0.1s] So.", "gap": None}]

    def target(path: str, body: dict[str, Any]) -> Target:
        def check(content: bytes) -> Outcome:
            found = client.post(path, content=content, headers={"Content-Type": "application/json"})
            assert found.status_code < 500, f"{found.status_code} {found.text}"
            if found.status_code != 200:
                assert found.json()["error"]["message"]
            return "accepted" if found.status_code == 200 else "refused"

        edited = damaged_tree(body).map(lambda tree: json.dumps(tree).encode())
        whole = json.dumps(body).encode()
        return Target(edited | damaged_bytes(whole), check, whole)

    return {
        "request": target("/v1/audio/speech", speech),
        "request of a dialogue": target("/v1/audio/dialogue", {**common, "turns": turns}),
    }


NAMES = (
    "manifest, edited",
    "manifest, damaged",
    "files of a bundle",
    "prompt",
    "recording",
    "checkpoint, damaged",
    "checkpoint, edited",
    "text",
    "SSML",
    "lexicon of the user",
    "lines of a batch",
    "script of a dialogue",
    "times of words",
    "subtitles",
    "recipe, damaged",
    "recipe, edited",
    "request",
    "request of a dialogue",
)


def make_target(name: str, folder: Path) -> Target:
    """Return a target; its cases are written to `folder`."""
    if name in ("prompt", "recording"):
        return {"prompt": _prompts, "recording": _recordings}[name](folder)
    group = _checkpoints if name.startswith("checkpoint") else _texts
    if name.startswith("request"):
        group = _requests
    if name.startswith(("manifest", "files")):
        group = _bundles
    return group(folder)[name]
