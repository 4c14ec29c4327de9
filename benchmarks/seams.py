"""The cost of streaming: word errors beside the same speech unstreamed, and the boundaries of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch

from soundstorm_edge.nn.mel import LogMel
from soundstorm_runtime.audio.inverse_stft import InverseStft
from soundstorm_runtime.bundle.manifest import AudioSchema
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.support.command import run
from soundstorm_runtime.synthesis.calibration import Costs
from soundstorm_runtime.voice import Voice

from .recognition import Recogniser, WordErrors, count_errors, reference_words
from .report import RESULTS, Circumstances, circumstances, manifest_digest, write_result
from .sentences import read_sentences, take_evenly

# Of a quiet machine with two cores: the same blocks, whatever else this one does.
COSTS = Costs(0.022, 0.0, 0.0014, 0.00009, 0.00009)
FLUX_SECONDS = 0.02  # between the two spectra that are compared
NEAR_SECONDS = 0.01  # around a sample that a jump to it is measured by


@dataclass(frozen=True)
class Seams:
    """How smooth a signal is at some places: the share of all its places that are smoother.

    0.5 is the value of places picked at random; 1 is a click at every boundary.
    jump: from one sample to the next, by what is usual around it. flux: change of the log-mel spectrum.
    """

    borders: int
    jump: float
    flux: float


@dataclass(frozen=True)
class Streamed:
    """The result; `bundle` is the SHA-256 of its manifest. chunks: where one ends; blocks: where codes do."""

    circumstances: Circumstances
    bundle: str
    voice: str
    sentences: int
    words_streamed: WordErrors
    words_unstreamed: WordErrors
    chunks: Seams
    blocks: Seams

    @property
    def points(self) -> float:
        """By how much the word error rate of the stream is higher, in points of percent."""
        return round(self.words_streamed.rate - self.words_unstreamed.rate, 2)


def jumps(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the step to each sample of float32 `[samples]` over the root mean square of those around it."""
    steps = np.abs(np.diff(audio, prepend=audio[:1]).astype(np.float64))
    width = round(NEAR_SECONDS * sample_rate)
    around = np.convolve(steps**2, np.ones(2 * width + 1) / (2 * width + 1), mode="same")
    return steps / np.sqrt(around + 1e-10)


def fluxes(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the change of the log-mel spectrum around each sample, float32 `[samples]`."""
    hop = round(FLUX_SECONDS * sample_rate / 4)
    mel = LogMel(sample_rate, hop, 4 * hop, 40)
    spectra = mel(torch.from_numpy(audio)[None])[0].numpy()
    change = np.zeros(len(spectra), np.float32)
    change[2:-2] = np.abs(spectra[4:] - spectra[:-4]).mean(axis=1)  # two windows with nothing in common
    return np.repeat(change, hop)


def seams(pairs: Sequence[tuple[np.ndarray, Sequence[int]]], sample_rate: int) -> Seams:
    """Rank signals at their boundaries, in samples, among all other places that are not silent."""
    found: dict[str, list[float]] = {"jump": [], "flux": []}
    for audio, borders in pairs:
        for name, values in (("jump", jumps(audio, sample_rate)), ("flux", fluxes(audio, sample_rate))):
            loud = np.abs(audio[: len(values)]) > 1e-3
            usual = np.sort(values[loud])
            for border in borders:
                if len(usual) and border < len(values) and loud[max(0, border - 80) : border + 80].any():
                    found[name].append(float(np.searchsorted(usual, values[border]) / len(usual)))
    count = len(found["jump"])
    return Seams(count, *(round(float(np.mean(found[n])), 3) if count else 0.5 for n in ("jump", "flux")))


def delay(audio: AudioSchema) -> int:
    """Return the latency of the audio of a stream after its codes, in samples."""
    if audio.lookahead is None:
        return 0
    return audio.lookahead * audio.hop + InverseStft(audio.window, audio.stft_hop).delay


def measure(
    voice: Voice, schema: AudioSchema, texts: Sequence[str]
) -> tuple[WordErrors, WordErrors, Seams, Seams]:
    """Speak each text twice, with the same seed; return both word errors and the seams of the stream."""
    recogniser, references = Recogniser(), [reference_words(text) for text in texts]
    streamed: list[str] = []
    whole: list[str] = []
    chunk_ends: list[tuple[np.ndarray, list[int]]] = []
    block_ends: list[tuple[np.ndarray, list[int]]] = []
    for seed, text in enumerate(texts):
        chunks = list(voice.stream(text, seed=seed))
        audio = np.concatenate(chunks)
        ends = np.cumsum([len(chunk) for chunk in chunks])[:-1].tolist()
        chunk_ends.append((audio, ends))
        block_ends.append((audio, [end + delay(schema) for end in ends]))
        for heard, sound in ((streamed, audio), (whole, voice.speak(text, seed=seed))):
            heard.append(" ".join(word.text for word in recogniser.hear(sound, voice.sample_rate)))
    rate = voice.sample_rate
    return (
        count_errors(references, streamed),
        count_errors(references, whole),
        seams(chunk_ends, rate),
        seams(block_ends, rate),
    )


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--sentences", type=click.IntRange(min=1), default=30, show_default=True)
@click.option(
    "--threads", type=click.IntRange(min=1), help="Threads within one operator.  [default: processors]"
)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "seams.json", show_default=True)
def main(bundle: Path, sentences: int, threads: int | None, out: Path) -> None:
    """Compare streamed and unstreamed speech of the voice in the folder BUNDLE."""
    voice = Voice.load(bundle, threads=threads, provider="cpu")
    voice.warm_up(COSTS)
    manifest = read_bundle(bundle).manifest
    texts = [sentence.text for sentence in take_evenly(read_sentences(), sentences)]
    streamed, whole, chunks, blocks = measure(voice, manifest.audio, texts)
    result = Streamed(
        circumstances=circumstances("seams"),
        bundle=manifest_digest(bundle),
        voice=manifest.name,
        sentences=sentences,
        words_streamed=streamed,
        words_unstreamed=whole,
        chunks=chunks,
        blocks=blocks,
    )
    write_result(out, result)
    click.echo(f"word errors: streamed {streamed.rate:.2f} %, whole {whole.rate:.2f} %, {result.points:+.2f}")
    for name, found in (("chunks", chunks), ("blocks", blocks)):
        click.echo(
            f"{found.borders} ends of {name}: jump {found.jump:.2f}, flux {found.flux:.2f} (usual: 0.5)"
        )


if __name__ == "__main__":
    run(main)
