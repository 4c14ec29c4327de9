"""Prompts of speakers that no training knew, from a studio and from elsewhere: their voice, and as high?

    pip install 'soundstorm-edge[peers]'
    python -m benchmarks.recorded_prompts build/voice

The speakers are random blends of the teacher's styles that its corpus does not contain. The teacher records a
prompt of each, which is used as it is, with noise 15 dB below the speech, and through a telephone's band.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from soundstorm_edge.data.degradation import band_passed, with_noise
from soundstorm_edge.data.kokoro_teacher import SAMPLE_RATE, Kokoro, Speaker
from soundstorm_edge.data.sources.kokoro import SPEAKERS, levelled, random_speaker, trimmed
from soundstorm_runtime.audio.pitch import median_pitch
from soundstorm_runtime.bundle.prompts import Prompt
from soundstorm_runtime.support.command import run
from soundstorm_runtime.voice import Voice

from .judges import Judges, said
from .recognition import count_errors
from .report import RESULTS, Circumstances, circumstances, manifest_digest, table, write_result
from .sentences import read_sentences, take_evenly

PROMPT = "The prompt of a voice is a few seconds long, and ends with a short pause."
HELD_OUT = 11  # the first number of the seed; the corpus draws its speakers with another one
TELEPHONE = (300.0, 3400.0)  # Hz
NOISE = 15.0  # dB of the speech above the noise
TOLERANCE = 2.0  # semitones
EAR = "base"

Recorded = Callable[[np.ndarray], np.ndarray]
"""A recording float32 `[samples]` in a studio to the same one made elsewhere."""


@dataclass(frozen=True)
class Spoken:
    """What the voice spoke after prompts of one kind.

    Attributes:
        similarity: mean cosine of the sentences' speaker embeddings and the mean one of the speaker's own
            speech of the same sentences.
        relative: `similarity` as a share of the mean one of the speakers whom training knew.
        pitch_errors: semitones between the median pitch of a sentence and that of the speaker's own speech of
            it, without sign: the median, and the largest.
        off_pitch: sentences in which it is more than 2 semitones.
        word_errors: in percent.
    """

    similarity: float
    relative: float
    pitch_errors: tuple[float, float]
    off_pitch: int
    word_errors: float


@dataclass(frozen=True)
class Result:
    """The result; `bundle` is the SHA-256 of its manifest. trained: similarity of the trained speakers."""

    circumstances: Circumstances
    bundle: str
    precision: str
    blends: int
    sentences: int
    trained: dict[str, float]
    spoken: dict[str, Spoken]


@dataclass(frozen=True)
class Own:
    """The teacher's speech of all sentences by one speaker: mean embedding, and the pitch of each in Hz."""

    embedding: np.ndarray
    pitches: tuple[float | None, ...]


@dataclass(frozen=True)
class Sentence:
    """A sentence of the voice beside the speaker's own.

    Attributes:
        text: what was to be said.
        words: what was recognised.
        similarity: cosine of its speaker embedding and the mean one of the speaker's own speech.
        semitones: from the pitch of the speaker's own speech of it, None where too little is voiced.
    """

    text: str
    words: str
    similarity: float
    semitones: float | None


class Comparison:
    """Speaks the same sentences with the teacher and with a voice, and compares the two.

    Args:
        voice: which speaks.
        teacher: which does, too.
        judges: of the speech.
        texts: the sentences.
    """

    def __init__(self, voice: Voice, teacher: Kokoro, judges: Judges, texts: Sequence[str]) -> None:
        self._voice, self._teacher, self._judges, self._texts = voice, teacher, judges, texts

    def own(self, speaker: Speaker) -> Own:
        """Have the teacher speak as `speaker`."""
        speech = [self._teacher.say(text, speaker).audio for text in self._texts]
        embeddings = [self._judges.embedding(audio, SAMPLE_RATE) for audio in speech]
        mean = np.mean(embeddings, axis=0)
        return Own(mean / np.linalg.norm(mean), tuple(median_pitch(audio, SAMPLE_RATE) for audio in speech))

    def ours(self, prompt: str | Prompt, own: Own) -> list[Sentence]:
        """Have the voice speak after a prompt."""
        rate, found = self._voice.sample_rate, []
        for seed, (text, theirs) in enumerate(zip(self._texts, own.pitches, strict=True)):
            audio = self._voice.speak(text, voice=prompt, seed=seed)
            pitch = median_pitch(audio, rate)
            semitones = 12 * float(np.log2(pitch / theirs)) if pitch and theirs else None
            similarity = float(self._judges.embedding(audio, rate) @ own.embedding)
            found.append(Sentence(text, self._judges.words(audio, rate)[EAR], similarity, semitones))
        return found


def recordings(rng: np.random.Generator) -> dict[str, Recorded]:
    """Return where a prompt may be recorded, by name."""
    return {
        "studio": lambda audio: audio,
        "noise": lambda audio: with_noise(audio.astype(np.float64), NOISE, rng).astype(np.float32),
        "telephone": lambda audio: band_passed(audio, SAMPLE_RATE, *TELEPHONE).astype(np.float32),
    }


def sum_up(rows: Sequence[Sentence], trained: Mapping[str, float]) -> Spoken:
    """Sum up what was spoken after prompts of one kind; `trained` is as in `Result`."""
    similarity = float(np.mean([row.similarity for row in rows]))
    errors = np.abs([row.semitones for row in rows if row.semitones is not None])
    return Spoken(
        round(similarity, 3), round(similarity / float(np.mean(list(trained.values()))), 3),
        (round(float(np.median(errors)), 2), round(float(errors.max()), 2)),
        int((errors > TOLERANCE).sum()),
        count_errors([said(row.text) for row in rows], [row.words for row in rows]).rate,
    )  # fmt: skip


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--blends", "count", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--sentences", type=click.IntRange(min=2), default=8, show_default=True)
@click.option("--precision", type=click.Choice(["int8", "fp32"]), default="int8", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path), default=RESULTS / "recorded_prompts.json")
def main(bundle: Path, count: int, sentences: int, precision: str, threads: int, path: Path) -> None:
    """Make prompts of speakers whom training did not know, for the voice in the folder BUNDLE."""
    voice = Voice.load(bundle, threads=threads, precision=precision, provider="cpu")  # type: ignore[arg-type]
    texts = [sentence.text for sentence in take_evenly(read_sentences(), sentences)]
    teacher = Kokoro(threads)
    comparison = Comparison(voice, teacher, Judges(threads), texts)
    trained = {}
    for name in (name for name in voice.voices if name in SPEAKERS):
        rows = comparison.ours(name, comparison.own(SPEAKERS[name]))
        trained[name] = round(float(np.mean([row.similarity for row in rows])), 3)
    if not trained:
        raise click.ClickException(
            f"the voices of {bundle} are {', '.join(voice.voices)}; expected one of the teacher's: "
            f"{', '.join(SPEAKERS)}"
        )
    found: dict[str, list[Sentence]] = {}
    for number in tqdm(range(count), desc="blends"):
        speaker = random_speaker(np.random.default_rng([HELD_OUT, number]))
        own = comparison.own(speaker)
        studio = levelled(trimmed(teacher.say(PROMPT, speaker)).audio)
        for name, recorded in recordings(np.random.default_rng(number)).items():
            prompt = voice.prompt(recorded(studio), SAMPLE_RATE)
            found.setdefault(name, []).extend(comparison.ours(prompt, own))
    spoken = {name: sum_up(rows, trained) for name, rows in found.items()}
    digest = manifest_digest(bundle)
    result = Result(circumstances("recorded_prompts"), digest, precision, count, len(texts), trained, spoken)
    write_result(path, result)
    click.echo(show(result))


def show(result: Result) -> str:
    """Lay out the result as a table."""
    rows = [["prompt", "similarity", "of the trained", "pitch, median", "largest", "over 2", "WER"]]
    for name, one in result.spoken.items():
        rows.append([name, f"{one.similarity:.2f}", f"{one.relative:.2f}"])
        rows[-1] += [f"{error:.2f} st" for error in one.pitch_errors]
        rows[-1] += [f"{one.off_pitch}", f"{one.word_errors:.1f} %"]
    trained = ", ".join(f"{name} {similarity:.2f}" for name, similarity in result.trained.items())
    return f"{table(rows)}\ntrained speakers: {trained}"


if __name__ == "__main__":
    run(main)
