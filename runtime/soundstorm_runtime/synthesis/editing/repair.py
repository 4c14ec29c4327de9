"""Repair of a span: the frames of some words are masked with their borders, and decoded between the others.

SoundStorm decodes in parallel (arXiv 2305.09636), so that masked frames see what comes after them as well.
The codes of the surroundings come from the prompt encoder: our own speech and recordings are edited alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ...bundle.prompts import Prompt
from ...errors import OptionError, TextError
from ...text.spelling import Unit
from ...text.words import Sentence, Word
from ..acoustic_stage import AcousticStage
from ..context import joined
from ..options import ResolvedOptions
from ..sentence_reader import Part, SentenceReader
from ..text_stage import token_counts
from ..word_times import TimedAudio, WordTime, word_times
from .splice import splice

AROUND_SECONDS = 4.0  # of speech on either side that is taken into account
BORDER_SECONDS = 0.04  # on either side of the words that are decoded anew: sounds depend on their neighbours
LEAST_SECONDS = 1.0  # of speech before a span that identify the voice; else what comes after it does, too
_SPOKEN = re.compile("[a-z]+(?:'[a-z]+)*'?")
RATES = 0.5, 2.0  # between which the rate of the speech is matched

Tokenize = Callable[[np.ndarray], Prompt]


@dataclass(frozen=True)
class Span:
    """What is replaced.

    Attributes:
        first: Index of the first word that is replaced.
        last: Index after the last one.
        start: Seconds where the stretch starts.
        end: Seconds where it ends.
        keeps_length: Whether the new words last as long as what they replace.
    """

    first: int
    last: int
    start: float
    end: float
    keeps_length: bool


Replacement = tuple[Span, Sequence[Word]]  # a span, and the words that are spoken instead


def span_of_words(words: Sequence[WordTime], wanted: Sequence[str], keeps_length: bool) -> Span:
    """Find words in speech.

    Args:
        words: The words of the speech.
        wanted: Words as they are spoken, in lower case.
        keeps_length: As in `Span`.

    Raises:
        OptionError: They do not occur in this order, or more than once.
    """
    spoken = [word.word for word in words]
    count, text = len(wanted), " ".join(wanted)
    places = [place for place in range(len(spoken)) if spoken[place : place + count] == list(wanted)]
    if not places:
        raise OptionError(f"the speech does not have the words {text!r}; it has: {_short(' '.join(spoken))}")
    if len(places) > 1:
        times = ", ".join(f"{words[place].start:.2f} s" for place in places)
        raise OptionError(f"the speech has the words {text!r} at {times}; give words beside them, too")
    first, last = places[0], places[0] + count
    return Span(first, last, words[first].start, words[last - 1].end, keeps_length)


def combined(replacements: Iterable[Replacement], words: Sequence[WordTime]) -> list[Replacement]:
    """Return replacements of which no two are neighbours, and each has words.

    Neighbours become one. What removes words replaces them and a word beside them by that word.

    Args:
        replacements: The replacements, which remove words where they have none.
        words: The words of the speech.

    Raises:
        OptionError: Two replacements overlap, or no word would be left.
    """
    said: dict[int, Sequence[Word]] = {}  # for each word that is replaced, what is said there
    ranges: list[tuple[int, int]] = []  # of words that are decoded together
    for span, new in sorted(replacements, key=lambda own: own[0].first):
        if ranges and span.first < ranges[-1][1]:
            raise OptionError(f"two replacements overlap at {words[span.first].start:.2f} s; make them one")
        said |= {index: () for index in range(span.first, span.last)} | {span.first: new}
        _extend(ranges, span.first, span.last)
    wider: list[tuple[int, int]] = []
    for first, last in ranges:
        if not any(said[index] for index in range(first, last)):
            kept = _nearest(words, first, last)
            first, last = min(first, kept), max(last, kept + 1)
        _extend(wider, first, last)
    found: list[Replacement] = []
    for first, last in wider:
        new = [
            word
            for index in range(first, last)
            for word in said.get(index, [Word(words[index].word, *words[index].span)])
        ]
        found.append((Span(first, last, words[first].start, words[last - 1].end, keeps_length=False), new))
    return found


def _extend(ranges: list[tuple[int, int]], first: int, last: int) -> None:
    """Add a range to ranges in order, as part of the last one where the two touch."""
    if ranges and first <= ranges[-1][1]:
        ranges[-1] = ranges[-1][0], max(last, ranges[-1][1])
    else:
        ranges.append((first, last))


def _nearest(words: Sequence[WordTime], first: int, last: int) -> int:
    """Return the index of the word beside a range of words, on the side where the pause is shorter."""
    beside = [(words[first].start - words[first - 1].end, first - 1)] if first else []
    if last < len(words):
        beside.append((words[last].start - words[last - 1].end, last))
    if not beside:
        raise OptionError("the speech would have no words any more; leave some, or delete the recording")
    return min(beside)[1]


def span_of_gap(words: Sequence[WordTime], start: float, end: float, seconds: float) -> Span:
    """Return a stretch of time, with the words whose middle it has.

    Args:
        words: The words of the speech.
        start: Seconds where it starts.
        end: Seconds where it ends.
        seconds: Length of the speech.

    Raises:
        OptionError: The stretch is not in the speech.
    """
    if not 0 <= start < end <= seconds + 1e-3:
        raise OptionError(f"the gap is from {start:g} to {end:g} s, expected a part of 0 to {seconds:.2f} s")
    middles = [(word.start + word.end) / 2 for word in words]
    first = sum(middle < start for middle in middles)
    last = sum(middle <= end for middle in middles)
    return Span(first, last, start, min(end, seconds), keeps_length=True)


@dataclass(frozen=True)
class _Place:
    """Where a span and its surroundings lie in audio, in samples; a token is the unit of all of it.

    Attributes:
        window: Start and end of the audio that is taken into account.
        start: Start of what is decoded anew; whole tokens after the start of the window.
        end: Its end, whole tokens later, or the end of the audio.
        borders: Tokens before and after the words that are decoded anew.
        tokens: Those between the borders, rounded up.
    """

    window: tuple[int, int]
    start: int
    end: int
    borders: tuple[int, int]
    tokens: int

    @classmethod
    def of(cls, span: Span, samples: int, acoustics: AcousticStage) -> _Place:
        """Return the place of a span in audio of so many samples."""
        token, rate = acoustics.samples(1), acoustics.sample_rate
        border, around = acoustics.tokens(BORDER_SECONDS), acoustics.tokens(AROUND_SECONDS)
        left = min(border, round(span.start * rate) // token)
        start = round(span.start * rate) - left * token
        tokens = max(round((span.end - span.start) * rate / token), 0 if span.first == span.last else 1)
        end, right = start + (left + tokens + border) * token, border
        if end + token > samples:  # too little would remain to continue with
            end, right = samples, 0
            tokens = max(0, -(-(end - start) // token) - left)
        window = start - min(start // token, around) * token, min(samples, end + around * token)
        return cls(window, start, end, (left, right), tokens)

    def narrowed(self, left: int, right: int, token: int) -> _Place:
        """Return the place with other borders, of at most as many tokens."""
        start = self.start + (self.borders[0] - left) * token
        end = self.end - (self.borders[1] - right) * token
        return replace(self, start=start, end=end, borders=(left, right))


def as_spoken(words: Sequence[WordTime], read: Callable[[str], Iterable[Word]]) -> list[WordTime]:
    """Return words that an aligner wrote, such as "42", as they are spoken; they share its time.

    Args:
        words: The words.
        read: Returns the words of a text as they are spoken; raises `TextError` where there are none.
    """
    found: list[WordTime] = []
    for word in words:
        if _SPOKEN.fullmatch(word.word):
            found.append(word)
            continue
        try:
            spoken = [own.text for own in read(word.word)]
        except TextError:  # a sign that has no reading
            continue
        edges = np.linspace(word.start, word.end, len(spoken) + 1).tolist()
        found += [
            WordTime(text, start, end, word.span, ())
            for text, start, end in zip(spoken, edges, edges[1:], strict=False)
        ]
    return found


class Repair:
    """Replaces words of speech.

    Args:
        reader: The text stage, which has durations.
        acoustics: The acoustic stage.
        tokenize: Turns audio into codes and semantic tokens.
    """

    def __init__(self, reader: SentenceReader, acoustics: AcousticStage, tokenize: Tokenize) -> None:
        self._reader, self._acoustics, self._tokenize = reader, acoustics, tokenize
        self._token = acoustics.samples(1)
        self._seconds = self._token / acoustics.sample_rate

    def replace_all(
        self,
        speech: TimedAudio,
        replacements: Sequence[Replacement],
        options: ResolvedOptions,
        voice: Prompt | None = None,
    ) -> TimedAudio:
        """Return speech with other words in several spans, in order; else as `replace`."""
        for span, new in reversed(replacements):  # so that those before keep their places
            speech = self.replace(speech, span, new, options, voice)
        return speech

    def replace(
        self,
        speech: TimedAudio,
        span: Span,
        new: Sequence[Word],
        options: ResolvedOptions,
        voice: Prompt | None = None,
    ) -> TimedAudio:
        """Return speech with other words in a span.

        Args:
            speech: The speech.
            span: What is replaced.
            new: The words that are spoken instead.
            options: How they are spoken.
            voice: A prompt of the voice; None where the speech around the span identifies it.

        Returns:
            The speech, whose audio outside the span with its borders is bit for bit that of before. New words
            have the place in the text of those that they replace.

        Raises:
            OptionError: There is no time for the new words, or the span is too long.
        """
        place = _Place.of(span, len(speech.audio), self._acoustics)
        rate, (window_start, window_end) = self._acoustics.sample_rate, place.window
        before = [word for word in speech.words[: span.first] if word.start * rate >= window_start]
        after = [word for word in speech.words[span.last :] if word.end * rate <= window_end]
        sentence = self._sentence(before, new, after, span)
        own = range(len(before), len(before) + len(new))
        lasting = [(word.end - word.start) / self._seconds for word in (*before, *after)]
        length = place.tokens if span.keeps_length else None
        rng = np.random.default_rng(np.random.SeedSequence(options.seed))
        plan = partial(_planned, lasting=lasting, own=own, length=length, stretch=options.stretch)
        part, counts = self._reader.read_planned(sentence, rng, plan)
        edges = np.concatenate([[0], np.cumsum(counts)])
        units = _units_of(part.units, own)
        first, last = int(edges[units.start]), int(edges[units.stop])
        left, right = min(place.borders[0], first), min(place.borders[1], len(part.tokens) - last)
        place = place.narrowed(left, right, self._token)
        tokens = part.tokens[first - left : last + right]
        audio = self._spliced(speech.audio, place, Part(tokens, rng), options, voice)
        if span.keeps_length:  # of the last token, the end of the audio may have a part alone
            audio = audio[: len(speech.audio)]
        begin = place.start / rate + (left - first) * self._seconds
        found = list(word_times(sentence.words, part.units, counts, begin, self._seconds))
        replaced = speech.words[span.first : span.last]
        text = (replaced[0].span[0], replaced[-1].span[1]) if replaced else (0, 0)
        moved = (len(audio) - len(speech.audio)) / rate
        words = (
            *(_within(word, 0.0, span.start) for word in speech.words[: span.first]),
            *(replace(found[index], span=text) for index in own),
            *(_within(word, span.end, np.inf).moved(moved) for word in speech.words[span.last :]),
        )
        return TimedAudio(audio, words)

    def _spliced(
        self, audio: np.ndarray, place: _Place, part: Part, options: ResolvedOptions, voice: Prompt | None
    ) -> np.ndarray:
        """Decode a part between its surroundings, and put it into the audio."""
        acoustics, (start, end) = self._acoustics, place.window
        known = self._tokenize(audio[start:end])
        left = self._part(known, 0, (place.start - start) // self._token)
        right = self._part(known, -(-(place.end - start) // self._token), (end - start) // self._token)
        has_voice = len(left.semantic_tokens) >= acoustics.tokens(LEAST_SECONDS)
        context = left if has_voice else joined(right, left)
        if voice is not None:
            context = joined(voice, left)
        pieces: list[Part | Prompt] = [part, right] if len(right.codes) else [part]
        begun = acoustics.context(context if len(context.codes) else options.prompt, options.decode)
        (codes,) = acoustics.codes_between(pieces, options.decode, begun)
        fresh = acoustics.audio(np.concatenate([left.codes, codes, right.codes]))
        around = len(left.semantic_tokens) * self._token, len(right.semantic_tokens) * self._token
        return splice(audio, place.start, place.end, fresh, *around, acoustics.sample_rate)

    def _part(self, known: Prompt, start: int, end: int) -> Prompt:
        """Return some of the tokens of a stretch, with their codes."""
        per_token = self._acoustics.per_token
        return Prompt(known.codes[start * per_token : end * per_token], known.semantic_tokens[start:end])

    def _sentence(
        self, before: Sequence[WordTime], new: Sequence[Word], after: Sequence[WordTime], span: Span
    ) -> Sentence:
        """Return the new words between those around them, with a pause where there is time for one."""
        pause = "," if not after or after[0].start - span.end >= self._seconds else ""
        spoken = [
            *self._read(before, span.start),
            *new[:-1],
            new[-1]._replace(pause=pause),
            *self._read(after, np.inf),
        ]
        return Sentence(" ".join(word.text for word in spoken), spoken)

    def _read(self, words: Sequence[WordTime], end: float) -> Iterator[Word]:
        """Yield timed words as words to read; the one after them starts at `end`, in seconds."""
        starts = [*(word.start for word in words), end][1:]
        for word, following in zip(words, starts, strict=True):
            yield Word(word.word, *word.span, "," if following - word.end >= self._seconds else "")


def _units_of(units: Sequence[Unit], own: range) -> slice:
    """Return the units of some words, with the pauses between them."""
    places = [place for place, unit in enumerate(units) if unit.word in own]
    return slice(places[0], places[-1] + 1)


def _planned(
    units: Sequence[Unit],
    predicted: np.ndarray,
    *,
    lasting: Sequence[float],
    own: range,
    length: int | None,
    stretch: float,
) -> np.ndarray:
    """Return the tokens of each unit: words around the new ones last as long as they do in the speech.

    Args:
        units: Phones and pauses.
        predicted: Durations of the text stage, float32 [units] in tokens.
        lasting: Tokens that each word lasts, but the new ones.
        own: The new words.
        length: Tokens of all new words; None matches the rate of the speech.
        stretch: Factor of the durations of new words.

    Raises:
        OptionError: The length leaves no time for every phone.
    """
    durations = predicted.astype(np.float64)
    others = [index for index in range(len(lasting) + len(own)) if index not in own]
    known = dict(zip(others, lasting, strict=True))
    sums = {index: sum(durations[p] for p, unit in enumerate(units) if unit.word == index) for index in known}
    spoken = sum(known[index] for index in known if sums[index])
    rate = float(np.clip(spoken / max(sum(sums.values()), 1e-9), *RATES)) if spoken else 1.0
    for place, unit in enumerate(units):
        index = unit.word
        durations[place] *= rate if index is None or index in own else known[index] / sums[index]
    new = _units_of(units, own)
    durations[new] *= stretch if length is None else length / durations[new].sum()
    parts = [durations[: new.start], durations[new], durations[new.stop :]]
    left, counts, right = (token_counts(np.maximum(part, 1e-3)) for part in parts)
    if length is not None and counts.sum() != length:
        raise OptionError(
            f"the stretch has time for {length} semantic tokens, but the words have {len(counts)} phones, "
            "which last one each at least; give fewer words, or a longer stretch"
        )
    return np.concatenate([left, counts, right])


def _within(word: WordTime, earliest: float, latest: float) -> WordTime:
    """Return a word without what of it lies outside a stretch of time: a gap may begin or end in a word."""
    if earliest <= word.start and word.end <= latest:
        return word
    start, end = (min(max(edge, earliest), latest) for edge in (word.start, word.end))
    return replace(word, start=start, end=end)


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:197]}..."
