"""Several speakers in one sequence: their turns are decoded together, so that rhythm and room fit.

SoundStorm decodes thirty seconds of dialogue at once (arXiv 2305.09636); its semantic tokens, made of a
transcript with turns, distinguish the speakers. Those of our text stages are the same for all speakers. Here
known codes do it: the end of a speaker's prompt precedes each of their turns in the sequence, and is cut out
of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...bundle.prompts import Prompt
from ...text.words import Sentence
from ..acoustic_stage import AcousticStage
from ..context import joined, last_tokens
from ..options import ResolvedOptions
from ..sentence_reader import Part, SentenceReader
from ..stream import PROMPT_SECONDS, Stream, chunks
from ..whole_sentences import Utterance, WholeSentences, sentence_audio
from ..word_times import WordTime
from .timeline import GAP_SECONDS, DialogueAudio, Timeline, TurnTime

PASS_SECONDS = 30.0  # that are decoded at once, with the prompts between
ANCHOR_SECONDS = 1.0  # of a prompt before a turn, where the whole of it came earlier in the same pass
TAIL_SECONDS = 2.0  # of the pass before that a pass continues, in a stream of the turn before


@dataclass(frozen=True)
class SpokenTurn:
    """A turn whose sentences were read.

    Attributes:
        voice: Name of its voice.
        text: What is said.
        gap: As that of `Turn`.
        sentences: The sentences of the text.
        options: How they are spoken.
    """

    voice: str | None
    text: str
    gap: float | None
    sentences: Sequence[Sentence]
    options: ResolvedOptions


class Dialogue:
    """Synthesises a dialogue.

    Args:
        reader: The text stage.
        acoustics: The acoustic stage.
        turns: The turns.
    """

    def __init__(self, reader: SentenceReader, acoustics: AcousticStage, turns: Sequence[SpokenTurn]) -> None:
        self._acoustics, self._turns = acoustics, turns
        self._sentences = WholeSentences(reader, acoustics)

    def whole(self) -> DialogueAudio:
        """Decode the dialogue in passes of many turns."""
        planned = [list(self._sentences.plan(turn.sentences, turn.options)) for turn in self._turns]
        audio: dict[Part, np.ndarray] = {}
        tail: Prompt | None = None
        for one_pass in self._passes(planned):
            codes, tail = self._decoded(one_pass, tail)
            for turn, part in one_pass:
                audio[part] = self._acoustics.audio(codes[part], self._prompt(turn))
        timeline, turns, start = Timeline(), list[TurnTime](), 0
        for place, (turn, utterances) in enumerate(zip(self._turns, planned, strict=True)):
            start = timeline.start_of(self._gap(place), start)
            samples, words = start, list[WordTime]()
            for utterance in utterances:
                own = sentence_audio(utterance, audio)
                words += self._sentences.word_times(utterance, samples)
                timeline.add(samples, own)
                samples += len(own)
            rate = self._acoustics.sample_rate
            turns.append(TurnTime(turn.voice, turn.text, start / rate, samples / rate, tuple(words)))
        return DialogueAudio(timeline.take(timeline.end), tuple(turns))

    def stream(self, begin: Callable[[ResolvedOptions, Prompt | None], Stream]) -> Iterator[DialogueAudio]:
        """Stream turn by turn; each is decoded block by block, after the prompt of its speaker.

        Args:
            begin: Begins the stream of a turn, with the end of the turn before, which precedes the prompt.
        """
        tail: Prompt | None = None
        rate, timeline, start = self._acoustics.sample_rate, Timeline(), 0
        for place, turn in enumerate(self._turns):
            start = end = timeline.start_of(self._gap(place), start)
            last = place + 1 == len(self._turns)
            overlap = 0 if last else max(0, -self._gap(place + 1))
            words, speech = list[WordTime](), begin(turn.options, tail)
            for chunk in chunks(speech.speak(turn.sentences)):
                timeline.add(end, chunk.audio)
                words += [word.moved(start / rate) for word in chunk.words]
                end += len(chunk.audio)
                # The next turn starts where this one does at the earliest.
                if len(ready := timeline.take(max(start, end - overlap))):
                    yield DialogueAudio(ready)
            following = timeline.end if last else timeline.start_of(self._gap(place + 1), start)
            time = TurnTime(turn.voice, turn.text, start / rate, end / rate, tuple(words))
            yield DialogueAudio(timeline.take(following), (time,))
            tail = speech.spoken and last_tokens(speech.spoken, self._acoustics.tokens(TAIL_SECONDS))

    def _gap(self, place: int) -> int:
        """Return the samples of silence before a turn, below 0 for an overlap."""
        gap = self._turns[place].gap
        return round((GAP_SECONDS if gap is None else gap) * self._acoustics.sample_rate) if place else 0

    def _prompt(self, turn: SpokenTurn, seconds: float = PROMPT_SECONDS) -> Prompt | None:
        """Return the end of the prompt of a turn's speaker."""
        prompt = turn.options.prompt
        return prompt and last_tokens(prompt, self._acoustics.tokens(seconds))

    def _passes(self, planned: Sequence[Sequence[Utterance]]) -> Iterator[list[tuple[SpokenTurn, Part]]]:
        """Divide the parts of all turns into passes of at most `PASS_SECONDS`, if not of one part."""
        prompt = self._acoustics.tokens(PROMPT_SECONDS)
        limit = min(self._acoustics.tokens(PASS_SECONDS), self._acoustics.room(None)) - prompt
        found: list[tuple[SpokenTurn, Part]] = []
        filled = 0
        for turn, utterances in zip(self._turns, planned, strict=True):
            for part in (part for utterance in utterances for part in utterance.parts):
                is_same = found and found[-1][0].options.prompt is turn.options.prompt
                count = len(part.tokens) + (0 if is_same else prompt)
                if found and filled + count > limit:
                    yield found
                    found, filled, count = [], 0, len(part.tokens) + prompt
                found.append((turn, part))
                filled += count
        yield found

    def _decoded(
        self, one_pass: Sequence[tuple[SpokenTurn, Part]], tail: Prompt | None
    ) -> tuple[dict[Part, np.ndarray], Prompt]:
        """Decode the parts of a pass together.

        Args:
            one_pass: The parts with their turns.
            tail: The end of the pass before.

        Returns:
            The codes of each part, and the end of this pass.
        """
        acoustics, (first, _) = self._acoustics, one_pass[0]
        pieces = list(self._pieces(one_pass))
        before = self._prompt(first)
        lengths = [len(p.tokens if isinstance(p, Part) else p.semantic_tokens) for p in pieces]
        if tail is not None and sum(lengths) + len(tail.semantic_tokens) <= acoustics.room(before):
            before = joined(tail, before) if before else tail
        parts = [part for _, part in one_pass]
        context = acoustics.context(before, first.options.decode)
        codes = acoustics.codes_between(pieces, first.options.decode, context)
        end = Prompt(codes[-1], parts[-1].tokens)
        return dict(zip(parts, codes, strict=True)), last_tokens(end, acoustics.tokens(TAIL_SECONDS))

    def _pieces(self, one_pass: Sequence[tuple[SpokenTurn, Part]]) -> Iterator[Part | Prompt]:
        """Yield the parts of a pass, and the prompt of a speaker where another one spoke before."""
        speaker = one_pass[0][0].options.prompt
        known = {id(speaker)}
        for turn, part in one_pass:
            if turn.options.prompt is not speaker:
                speaker = turn.options.prompt
                seconds = ANCHOR_SECONDS if id(speaker) in known else PROMPT_SECONDS
                known.add(id(speaker))
                if (anchor := self._prompt(turn, seconds)) is not None:
                    yield anchor
            yield part
