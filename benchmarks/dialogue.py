"""Dialogues: do speakers keep their voices for five minutes, and are they understood as in single sentences?

    pip install 'soundstorm-edge[peers]'
    python -m benchmarks.dialogue build/voice --voices anna ben --minutes 5

A turn belongs to the speaker whose single sentences have the nearest Resemblyzer embedding, on average.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import click
import numpy as np

from soundstorm_runtime.support.command import run
from soundstorm_runtime.synthesis.dialogue.timeline import DialogueAudio
from soundstorm_runtime.voice import Voice

from .judges import Judges, said
from .recognition import WordErrors, count_errors
from .report import RESULTS, Circumstances, circumstances, manifest_digest, write_result
from .sentences import read_sentences

EAR = "base"
REFERENCES = 10  # single sentences of each speaker that identify it


@dataclass(frozen=True)
class Way:
    """A way of speaking the dialogue: turns of the right speaker and word errors, in percent; seconds."""

    identified: float
    words: WordErrors
    first_audio: float
    rtf: float


@dataclass(frozen=True)
class Result:
    """The result; `bundle` is the SHA-256 of its manifest.

    Attributes:
        seconds: length of the dialogue.
        single: the same turns as single sentences, with the first audio of their streams.
        whole: the dialogue in passes.
        streamed: the dialogue, streamed.
    """

    circumstances: Circumstances
    bundle: str
    voices: list[str]
    turns: int
    seconds: float
    single: Way
    whole: Way
    streamed: Way


def script(voice: Voice, voices: Sequence[str], seconds: float) -> list[tuple[str, str]]:
    """Return turns of the speakers that last about so long, of sentences that no one trained on."""
    turns, speakers, total = list[tuple[str, str]](), cycle(voices), 0.0
    for sentence in cycle(read_sentences()):
        if total >= seconds:
            return turns
        turns.append((next(speakers), sentence.text))
        total += voice.seconds(sentence.text)
    return turns


def pieces(spoken: DialogueAudio, rate: int) -> list[np.ndarray]:
    """Return the audio of each turn."""
    return [spoken.audio[round(turn.start * rate) : round(turn.end * rate)] for turn in spoken.turns]


def judged(
    judges: Judges,
    turns: Sequence[tuple[str, str]],
    audio: Sequence[np.ndarray],
    references: Mapping[str, np.ndarray],
    rate: int,
    first: float,
    took: float,
) -> Way:
    """Judge the audio of each turn."""
    nearest = []
    for one in audio:
        own = judges.embedding(one, rate)
        likeness = {name: float(own @ reference) for name, reference in references.items()}
        nearest.append(max(likeness, key=likeness.__getitem__))
    right = np.mean([found == speaker for found, (speaker, _) in zip(nearest, turns, strict=True)])
    heard = [judges.words(one, rate)[EAR] for one in audio]
    words = count_errors([said(text) for _, text in turns], heard)
    lasts = sum(map(len, audio)) / rate
    return Way(round(100 * float(right), 1), words, round(first, 3), round(took / lasts, 4))


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--voices", multiple=True, help="Named voices.  [default: the first two]")
@click.option("--minutes", type=click.FloatRange(min=0.1), default=5.0, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "dialogue.json", show_default=True)
def main(bundle: Path, voices: tuple[str, ...], minutes: float, threads: int, out: Path) -> None:
    """Speak a long dialogue with the voice in the folder BUNDLE."""
    voice, judges = Voice.load(bundle, threads=threads, provider="cpu"), Judges(threads)
    voice.warm_up()
    names, rate = voices or voice.voices[:2], voice.sample_rate
    references = {}
    for name in names:
        spoken = [voice.speak(s.text, voice=name, seed=1000) for s in read_sentences()[-REFERENCES:]]
        mean = np.mean([judges.embedding(audio, rate) for audio in spoken], axis=0)
        references[name] = mean / np.linalg.norm(mean)
    turns = script(voice, names, 60 * minutes)

    started = time.perf_counter()
    audio = [voice.speak(text, voice=name, seed=seed) for seed, (name, text) in enumerate(turns)]
    took = time.perf_counter() - started
    firsts = []
    for seed, (name, text) in enumerate(turns[:20]):
        started = time.perf_counter()
        next(iter(voice.stream(text, voice=name, seed=seed)))
        firsts.append(time.perf_counter() - started)
    single = judged(judges, turns, audio, references, rate, float(np.median(firsts)), took)

    started = time.perf_counter()
    dialogue = voice.dialogue(turns)
    took = time.perf_counter() - started
    whole = judged(judges, turns, pieces(dialogue, rate), references, rate, took, took)

    started, first, chunks = time.perf_counter(), 0.0, []
    for chunk in voice.stream_dialogue(turns):
        first = first or time.perf_counter() - started
        chunks.append(chunk)
    took = time.perf_counter() - started
    joined = DialogueAudio(
        np.concatenate([chunk.audio for chunk in chunks]), tuple(t for chunk in chunks for t in chunk.turns)
    )
    streamed = judged(judges, turns, pieces(joined, rate), references, rate, first, took)

    digest, seconds = manifest_digest(bundle), round(len(dialogue.audio) / rate, 1)
    result = Result(
        circumstances("dialogue"), digest, list(names), len(turns), seconds, single, whole, streamed
    )
    write_result(out, result)
    click.echo(f"{len(turns)} turns of {len(names)} speakers, {seconds:.0f} s")
    for label, way in (("single sentences", single), ("in passes", whole), ("streamed", streamed)):
        click.echo(
            f"{label}: right speaker {way.identified:g} %, word errors {way.words.rate:.2f} % "
            f"({way.words.rate - single.words.rate:+.2f}), first audio {1000 * way.first_audio:.0f} ms, "
            f"RTF {way.rtf:.3f}"
        )


if __name__ == "__main__":
    run(main)
