"""Mixed voices: does the speaker move steadily from one to the other, and stay as intelligible?

    pip install 'soundstorm-edge[peers]'
    python -m benchmarks.mixtures build/voice --voices anna ben

The place of a mixture is that of its Resemblyzer embedding along the line from the first speaker (0) to the
second (1); `beside` is its distance from that line, as a share of the line's length.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from soundstorm_runtime.support.command import run
from soundstorm_runtime.voice import Voice

from .judges import Judges, said
from .recognition import count_errors
from .report import RESULTS, Circumstances, circumstances, manifest_digest, table, write_result
from .sentences import read_sentences, take_evenly

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the second voice
EAR = "base"


@dataclass(frozen=True)
class Mixture:
    """A mixture: weight of the second voice, its place between the two, and word errors in percent."""

    weight: float
    place: float
    beside: float
    word_errors: float


@dataclass(frozen=True)
class Result:
    """The result; `bundle` is the SHA-256 of its manifest. monotone: whether places grow with the weight."""

    circumstances: Circumstances
    bundle: str
    voices: tuple[str, str]
    sentences: int
    mixtures: list[Mixture]
    monotone: bool


def name_of(voices: tuple[str, str], weight: float) -> str:
    """Return the name of a mixture; that of one voice where it has all the weight."""
    first, second = voices
    return first if not weight else second if weight == 1 else f"{first}:{1 - weight:g},{second}:{weight:g}"


def place_between(own: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Return where a point is along the line between two others, and how far beside it."""
    line = second - first
    place = float((own - first) @ line / (line @ line))
    return place, float(np.linalg.norm(own - first - place * line) / np.linalg.norm(line))


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--voices", nargs=2, required=True, help="Two named voices.")
@click.option("--sentences", type=click.IntRange(min=1), default=30, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "mixtures.json", show_default=True)
def main(bundle: Path, voices: tuple[str, str], sentences: int, threads: int, out: Path) -> None:
    """Mix two voices of the bundle in the folder BUNDLE."""
    voice, judges = Voice.load(bundle, threads=threads, provider="cpu"), Judges(threads)
    texts = [sentence.text for sentence in take_evenly(read_sentences(), sentences)]
    references = [said(text) for text in texts]
    embeddings, errors = [], []
    for weight in WEIGHTS:
        spoken = [
            voice.speak(text, voice=name_of(voices, weight), seed=seed) for seed, text in enumerate(texts)
        ]
        heard = [judges.words(audio, voice.sample_rate)[EAR] for audio in spoken]
        errors.append(count_errors(references, heard).rate)
        embeddings.append(np.mean([judges.embedding(audio, voice.sample_rate) for audio in spoken], axis=0))
    found = []
    for weight, own, rate in zip(WEIGHTS, embeddings, errors, strict=True):
        place, beside = place_between(own, embeddings[0], embeddings[-1])
        found.append(Mixture(weight, round(place, 3), round(beside, 3), rate))
    places = [mixture.place for mixture in found]
    digest = manifest_digest(bundle)
    monotone = places == sorted(places)
    write_result(out, Result(circumstances("mixtures"), digest, voices, sentences, found, monotone))
    rows = [["weight of the second", "place", "beside", "WER"]]
    rows += [[f"{m.weight:g}", f"{m.place:.2f}", f"{m.beside:.2f}", f"{m.word_errors:.2f} %"] for m in found]
    click.echo(table(rows))
    click.echo("the place grows with the weight" if monotone else "the place does NOT grow with the weight")


if __name__ == "__main__":
    run(main)
