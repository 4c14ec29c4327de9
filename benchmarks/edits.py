"""Repair of speech: are the new words understood, do the borders click, and does the rest stay?

    pip install 'soundstorm-edge[peers]'
    python -m benchmarks.edits build/voice --edits 100

In each of many sentences, one word is replaced by another. Whisper base writes down the edited speech and, as
a control, the new sentence spoken as a whole: a word that it does not hear there either is no fault of the
edit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from soundstorm_runtime.support.command import run
from soundstorm_runtime.synthesis.editing.repair import BORDER_SECONDS
from soundstorm_runtime.synthesis.word_times import TimedAudio, WordTime
from soundstorm_runtime.voice import Voice

from .judges import Judges
from .report import RESULTS, Circumstances, circumstances, manifest_digest, write_result
from .seams import Seams, seams
from .sentences import read_sentences

EAR = "base"
NEW = (
    "garden window river morning yellow seven kitchen doctor winter purple station market mountain silver "
    "children coffee summer teacher bridge letter"
).split()
SHORTEST = 4  # letters of a word that is replaced


@dataclass(frozen=True)
class Edits:
    """The result; `bundle` is the SHA-256 of its manifest.

    Attributes:
        edits: words that were replaced.
        understood: percent of the edits whose new word Whisper heard.
        control: the same of sentences spoken as a whole.
        kept: percent of the edits whose other words were heard as in the speech before.
        untouched: percent of the edits whose audio outside the border is the same to the bit.
        borders: how smooth the speech is where edits begin and end; 0.5 is usual.
    """

    circumstances: Circumstances
    bundle: str
    voice: str
    edits: int
    understood: float
    control: float
    kept: float
    untouched: float
    borders: Seams


def replaceable(words: Sequence[WordTime]) -> WordTime | None:
    """Return the word nearest to the middle that is long enough, occurs once, and is a whole of the text."""
    spoken, spans = [word.word for word in words], [word.span for word in words]
    found = [
        place
        for place in range(1, len(words) - 1)
        if len(spoken[place]) >= SHORTEST
        and spoken.count(spoken[place]) == 1
        and spans.count(spans[place]) == 1
    ]
    middle = (len(words) - 1) / 2
    return words[min(found, key=lambda place: abs(place - middle))] if found else None


def is_untouched(before: TimedAudio, after: TimedAudio, word: WordTime, rate: int) -> bool:
    """Return whether everything but a word with its border is the same to the bit."""
    border = round(1.5 * BORDER_SECONDS * rate)
    first, last = round(word.start * rate) - border, len(before.audio) - round(word.end * rate) - border
    same_start = np.array_equal(before.audio[: max(0, first)], after.audio[: max(0, first)])
    return same_start and (last <= 0 or np.array_equal(before.audio[-last:], after.audio[-last:]))


def edits(voice: Voice, count: int) -> Iterator[tuple[str, TimedAudio, TimedAudio, WordTime, str]]:
    """Yield the text, the speech before and after an edit, and the old and the new word."""
    done = 0
    for number, sentence in enumerate(read_sentences()):
        speech = voice.speak_timed(sentence.text, seed=number)
        old, new = replaceable(speech.words), NEW[number % len(NEW)]
        if old is None or new in sentence.text.lower():
            continue
        yield sentence.text, speech, voice.edit(speech, old.word, new, seed=number), old, new
        done += 1
        if done == count:
            return


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--edits", "count", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "edits.json", show_default=True)
def main(bundle: Path, count: int, threads: int, out: Path) -> None:
    """Replace a word in each of many sentences of the voice in the folder BUNDLE."""
    voice, judges = Voice.load(bundle, threads=threads, provider="cpu"), Judges(threads)
    rate = voice.sample_rate
    understood, control, kept, untouched = [], [], [], []
    borders: list[tuple[np.ndarray, list[int]]] = []
    for number, (text, before, after, old, new) in enumerate(edits(voice, count)):
        heard, first = (judges.words(speech.audio, rate)[EAR].split() for speech in (after, before))
        start, end = old.span
        whole = voice.speak(f"{text[:start]}{new}{text[end:]}", seed=number)
        understood.append(new in heard)
        control.append(new in judges.words(whole, rate)[EAR].split())
        kept.append([w for w in heard if w != new] == [w for w in first if w != old.word])
        untouched.append(is_untouched(before, after, old, rate))
        word = next(word for word in after.words if word.span == old.span)
        edges = word.start - BORDER_SECONDS, word.end + BORDER_SECONDS
        borders.append((after.audio, [round(edge * rate) for edge in edges]))

    def percent(found: Sequence[bool]) -> float:
        return round(100 * float(np.mean(found)), 1)

    result = Edits(
        circumstances=circumstances("edits"),
        bundle=manifest_digest(bundle),
        voice=bundle.name,
        edits=len(understood),
        understood=percent(understood),
        control=percent(control),
        kept=percent(kept),
        untouched=percent(untouched),
        borders=seams(borders, rate),
    )
    write_result(out, result)
    click.echo(
        f"{result.edits} edits: {result.understood:g} % understood (control: {result.control:g} %), "
        f"other words as before in {result.kept:g} %, other samples as before in {result.untouched:g} %"
    )
    found = result.borders
    click.echo(f"{found.borders} borders: jump {found.jump:.2f}, flux {found.flux:.2f} (usual: 0.5)")


if __name__ == "__main__":
    run(main)
