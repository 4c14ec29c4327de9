"""Words that a voice skips or adds, distinguished from words that are misrecognised.

A recogniser also omits and inserts words in flawless speech. So two criteria have to agree, and both are
measured against the teacher's speech of the same sentence:

- what was recognised is not what the text has between two words that were recognised right: fewer words, as
  many others, or more. Words that were misrecognised in the teacher's speech, too, do not count.
- time: from the first of these two words to the second, the voice takes less time than the teacher, or
  more, by at least half of what the missing words take the teacher, or those too many the voice; by a whole
  word where there are as many. The teacher's times are those of a forced alignment with the text, brought
  to the tempo of the voice: the median, over all sentences, of how long the voice takes for one over how
  long the teacher does.

A sentence that was recognised several times counts where most of the recognitions agree.

It prefers a miss to a false alarm. Tested on another flawless voice (slt of flite beside rms, 30 sentences, 2
recognitions): of 30 words that were cut out of the speech it found 22, of 30 that were doubled 18, mostly
missing short ones such as "a"; in the original sentences it found nothing. Its limits were chosen on those
sentences, too.

A mumbled word keeps its duration, and a slow one is not recognised twice: neither is counted.
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
    """What was recognised of a sentence, and its length in seconds."""

    words: tuple[Word, ...]
    seconds: float

    @property
    def text(self) -> str:
        """The words alone."""
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True)
class Slips:
    """Skipped words, as in the text, and added ones, as recognised."""

    skipped: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.skipped or self.added)


@dataclass(frozen=True)
class _Gap:
    """Expected words `first` up to `end` were recognised as the words `heard` up to `heard_end`."""

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
    """Return the slips of a sentence that was recognised several times: none, unless most agree."""
    found = [find_slips(spoken, *pair, tempo) for pair in zip(teacher, voice, strict=True)]
    slips = [each for each in found if each]
    return slips[0] if 2 * len(slips) > len(found) else Slips()


def find_slips(spoken: Sequence[Word], teacher: Hearing, voice: Hearing, tempo: float) -> Slips:
    """Compare what was recognised of the voice with what was recognised of the teacher.

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


def changed_places(expected: str, recognised: str) -> set[int]:
    """Return where words are missing or added, other than recognised as others.

    A missing word is its index in `expected`; words added before word `n` are `-1 - n`.
    """
    (chunks,) = jiwer.process_words(expected, recognised or " ").alignments
    places: set[int] = set()
    for chunk in chunks:
        if chunk.type == "delete":
            places.update(range(chunk.ref_start_idx, chunk.ref_end_idx))
        elif chunk.type == "insert":
            places.add(-1 - chunk.ref_start_idx)
    return places


def _mean_length(words: Sequence[Word]) -> float:
    return sum(word.end - word.start for word in words) / len(words)


def _stretch(words: Sequence[Word], first: int, end: int, seconds: float) -> float:
    """Seconds from the start of the word before `first` to the end of word `end`, both of them included.

    Where there is none, the ends of the speech bound it.
    """
    return (words[end].end if end < len(words) else seconds) - (words[first - 1].start if first else 0.0)


def _gaps(expected: str, heard: str) -> Iterator[_Gap]:
    """Merge what was not recognised as expected into gaps between words that were."""
    (chunks,) = jiwer.process_words(expected, heard).alignments
    first = heard_first = 0
    for chunk in (c for c in chunks if c.type == "equal"):
        if (first, heard_first) != (chunk.ref_start_idx, chunk.hyp_start_idx):
            yield _Gap(first, chunk.ref_start_idx, heard_first, chunk.hyp_start_idx)
        first, heard_first = chunk.ref_end_idx, chunk.hyp_end_idx
    end, heard_end = len(expected.split()), len(heard.split())
    if (first, heard_first) != (end, heard_end):
        yield _Gap(first, end, heard_first, heard_end)
