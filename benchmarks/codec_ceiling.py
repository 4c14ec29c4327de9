"""What the codec alone loses: held-out speech beside the same speech through the codec and back.

    pip install 'soundstorm-edge[peers]' pesq
    python -m benchmarks.codec_ceiling runs/kokoro-multi --recipe kokoro-multi

No SoundStorm that learns these codes can sound better, so this is measured before one is trained. PESQ (wide
band) and STOI compare at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import soxr
import torch
from tqdm import tqdm

from soundstorm_edge.codec.interface import Codec
from soundstorm_edge.data.corpus import Corpus
from soundstorm_edge.data.utterances import Utterance
from soundstorm_edge.training.batches import spread_evenly
from soundstorm_edge.training.pipeline import TrainingRun
from soundstorm_edge.training.recipe import load_recipe
from soundstorm_runtime.support.command import run

from .bootstrap import central, redraw
from .distance import pesq, stoi
from .judges import SAMPLE_RATE, Judges, said
from .recognition import count_errors
from .report import RESULTS, Circumstances, circumstances, markdown, write_result


@dataclass(frozen=True)
class Row:
    """One utterance: word errors by ear and opinion scores, of the recording and of the codec's; likeness."""

    words: int
    errors: dict[str, tuple[int, int]]
    overall: tuple[float, float]
    p808: tuple[float, float]
    stoi: float
    pesq: float | None


@dataclass(frozen=True)
class Ceiling:
    """Means over the utterances, each pair the recording's and the codec's; `lost` with its 95 % interval."""

    circumstances: Circumstances
    steps: int
    utterances: int
    word_errors: dict[str, tuple[float, float]]
    overall: tuple[float, float]
    overall_lost: tuple[float, ...]
    p808: tuple[float, float]
    p808_lost: tuple[float, ...]
    stoi: float
    pesq: float | None


def measure(codec: Codec, corpus: Corpus, utterances: Sequence[Utterance], judges: Judges) -> Iterator[Row]:
    """Send utterances through the codec, and judge both sides."""
    rate = codec.sample_rate
    for utterance in tqdm(utterances, desc="ceiling", unit="utterance"):
        real = corpus.audio(utterance)
        real = real[: len(real) // codec.hop * codec.hop]
        with torch.inference_mode():
            codes = codec.tokenize(torch.from_numpy(real)[None])
            copy = codec.decode_from_codebook_indices(codes)[0].numpy()
        clean, other = (soxr.resample(audio, rate, SAMPLE_RATE) for audio in (real, copy))
        heard = [judges.words(audio, rate) for audio in (real, copy)]
        natural = [judges.naturalness(audio, rate) for audio in (real, copy)]
        words = said(utterance.text)
        wrong = {ear: tuple(_errors(words, side[ear]) for side in heard) for ear in heard[0]}
        yield Row(
            len(words.split()),
            {ear: (found[0], found[1]) for ear, found in wrong.items()},
            (natural[0].overall, natural[1].overall),
            (natural[0].p808, natural[1].p808),
            stoi(clean, other, SAMPLE_RATE),
            pesq(clean, other, SAMPLE_RATE),
        )


def _errors(reference: str, heard: str) -> int:
    found = count_errors([reference], [heard])
    return found.substitutions + found.deletions + found.insertions


def sum_up(rows: Sequence[Row], steps: int, benchmark: str) -> Ceiling:
    """Average the rows; word errors are over all words."""
    words = sum(row.words for row in rows)
    errors = {
        ear: tuple(round(100 * sum(row.errors[ear][side] for row in rows) / words, 2) for side in (0, 1))
        for ear in rows[0].errors
    }
    overall, p808 = (np.array([getattr(row, name) for row in rows]) for name in ("overall", "p808"))
    quality = [row.pesq for row in rows if row.pesq is not None]
    return Ceiling(
        circumstances(benchmark), steps, len(rows),
        {ear: (found[0], found[1]) for ear, found in errors.items()},
        _pair(overall), _lost(overall), _pair(p808), _lost(p808),
        round(float(np.mean([row.stoi for row in rows])), 3),
        round(float(np.mean(quality)), 2) if quality else None,
    )  # fmt: skip


def _pair(scores: np.ndarray) -> tuple[float, float]:
    real, copy = scores.mean(axis=0)
    return round(float(real), 3), round(float(copy), 3)


def _lost(scores: np.ndarray) -> tuple[float, ...]:
    return central(redraw(scores[:, 0] - scores[:, 1]).mean(axis=1), 3)


def show(ceiling: Ceiling) -> str:
    """Lay out the result as a table of Markdown."""
    rows = [[f"{ceiling.utterances} utterances, {ceiling.steps} steps", "recording", "through the codec"]]
    for ear, (real, copy) in ceiling.word_errors.items():
        rows.append([f"WER, Whisper {ear}, %", f"{real:.1f}", f"{copy:.1f}"])
    rows.append(["DNSMOS overall", f"{ceiling.overall[0]:.2f}", f"{ceiling.overall[1]:.2f}"])
    rows.append(["DNSMOS P.808", f"{ceiling.p808[0]:.2f}", f"{ceiling.p808[1]:.2f}"])
    rows.append(["STOI", "", f"{ceiling.stoi:.3f}"])
    rows.append(["PESQ", "", "not measured" if ceiling.pesq is None else f"{ceiling.pesq:.2f}"])
    return markdown(rows)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--recipe", default="kokoro-multi", show_default=True, help="Of the run in FOLDER.")
@click.option("--utterances", "count", type=click.IntRange(min=2), default=30, show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path), default=RESULTS / "codec_ceiling.json")
def main(folder: Path, recipe: str, count: int, path: Path) -> None:
    """Measure what the codec that is trained in FOLDER loses on held-out speech."""
    training = TrainingRun(load_recipe(recipe), folder)
    held_out = training.corpus.select(held_out=True)
    chosen = [held_out[number] for number in spread_evenly(range(len(held_out)), count)]
    rows = list(measure(training.trained_codec(), training.corpus, chosen, Judges()))
    state = torch.load(training.stage_folder("codec") / "state.pt", weights_only=True, map_location="cpu")
    ceiling = sum_up(rows, int(state["step"]), "codec_ceiling")
    write_result(path, ceiling)
    click.echo(show(ceiling))


if __name__ == "__main__":
    run(main)
