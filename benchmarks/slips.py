"""Words that a voice skips or adds, told apart from words that the recogniser mishears.

A recogniser leaves out words of flawless speech, too, and makes up others. So two witnesses have to agree,
and the teacher's speech of the same sentence is the measure of both:

- what was recognised is not what the text has between two words that were recognised right: fewer words, as
  many others, or more. What was not understood of the teacher either says nothing.
- the clock: from the first of these two words to the second, the voice takes less time than the teacher, or
  more, by at least half of what the missing words take the teacher, or those too many the voice; by a whole
  word where there are as many. The teacher's times are those of a forced alignment with the text, brought
  to the tempo of the voice: the median, over all sentences, of how long the voice takes for one over how
  long the teacher does.

A sentence that was heard several times slips where most of the hearings say so.

It errs on the side of silence. Tried on another flawless voice (flite's slt beside rms, 30 sentences, two
hearings): of 30 words that were cut out of the speech it found 22, of 30 that were doubled 18, mostly missing
short ones such as "a"; in the sentences as they were it found nothing. Its limits were chosen on those
sentences, too.

A word that is mumbled keeps its time, and a slow one is not written down twice: neither is a slip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jiwer

from .recognition import Word

SHARE = 0.5  # of the time of a word, that has to be missing or too much
LEAST_ADDED = 0.1  # seconds: less may be a slow word


@dataclass(frozen=True)
class Hearing:
    """What was heard of a sentence, and its length in seconds."""

    words: tuple[Word, ...]
    seconds: float

    @property
    def text(self) -> str:
        """The words alone."""
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True)
class Slips:
    """Where words were skipped, as the text has them, and where there are too many, as they were heard."""

    skipped: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.skipped or self.added)


@dataclass(frozen=True)
class _Gap:
    """Expected words `first` up to `end` were heard as the words `heard` up to `heard_end`."""

    first: int
    end: int
    heard: int
    heard_end: int

    @property
    def places(self) -> set[int]:
        """The expected words; where there are none, the place between two of them."""
        return set(range(self.first, self.end)) or {-1 - self.first}


def agreed_slips(
    spoken: Sequence[Word], teacher: Sequence[Hearing], voice: Sequence[Hearing], tempo: float
) -> Slips:
    """Give the slips of a sentence that was heard several times: none, unless most hearings find some."""
    found = [find_slips(spoken, *pair, tempo) for pair in zip(teacher, voice, strict=True)]
    slips = [each for each in found if each]
    return slips[0] if 2 * len(slips) > len(found) else Slips()


def find_slips(spoken: Sequence[Word], teacher: Hearing, voice: Hearing, tempo: float) -> Slips:
    """Compare what was heard of the voice with what was heard of the teacher.

    spoken: the words of the text, and when the teacher says them; tempo: seconds of the voice over seconds
    of the teacher, over all sentences.
    """
    expected = " ".join(word.text for word in spoken)
    misheard = {place for gap in _gaps(expected, teacher.text) for place in gap.places}
    skipped, added = [], []
    for gap in _gaps(expected, voice.text):
        if misheard.issuperset(gap.places):
            continue
        texts, heard = spoken[gap.first : gap.end], voice.words[gap.heard : gap.heard_end]
        taught = tempo * _stretch(spoken, gap.first, gap.end, teacher.seconds)
        gained = _stretch(voice.words, gap.heard, gap.heard_end, voice.seconds) - taught
        missing = len(texts) - len(heard)
        if missing >= 0:
            if -gained >= (SHARE * missing or 1) * tempo * _mean_length(texts):
                skipped.append(" ".join(word.text for word in texts))
        elif gained >= max(LEAST_ADDED, SHARE * -missing * _mean_length(heard)):
            added.append(" ".join(word.text for word in heard))
    return Slips(tuple(skipped), tuple(added))


def _mean_length(words: Sequence[Word]) -> float:
    return sum(word.end - word.start for word in words) / len(words)


def _stretch(words: Sequence[Word], first: int, end: int, seconds: float) -> float:
    """Seconds from the start of the word before `first` to the end of word `end`, both of them included.

    Where there is none, the ends of the speech bound it.
    """
    return (words[end].end if end < len(words) else seconds) - (words[first - 1].start if first else 0.0)


def _gaps(expected: str, heard: str) -> Iterator[_Gap]:
    """Join all that was not heard as it was expected to gaps between words that were."""
    (chunks,) = jiwer.process_words(expected, heard).alignments
    first = heard_first = 0
    for chunk in (c for c in chunks if c.type == "equal"):
        if (first, heard_first) != (chunk.ref_start_idx, chunk.hyp_start_idx):
            yield _Gap(first, chunk.ref_start_idx, heard_first, chunk.hyp_start_idx)
        first, heard_first = chunk.ref_end_idx, chunk.hyp_end_idx
    end, heard_end = len(expected.split()), len(heard.split())
    if (first, heard_first) != (end, heard_end):
        yield _Gap(first, end, heard_first, heard_end)
