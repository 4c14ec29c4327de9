"""Speech in blocks: each is continued from the codes of the last, and its sound is given at once.

SoundStorm (arXiv 2305.09636) decodes in parallel, but its paper speaks whole sentences. Here a block of
frames is decoded with the codes before it as a prompt, and with the semantic tokens after it in sight; what
it decodes of those is thrown away. Both are bounded, so that a block costs the same however long the text.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Generator, Iterable, Iterator

import numpy as np

from ..bundle.prompts import Prompt
from ..decoding.maskgit import DecodeOptions, finish
from ..engines.timing import quickest
from ..errors import OptionError
from .acoustic_stage import AcousticStage
from .block_scheduler import LENGTHS, BlockScheduler, Costs
from .options import Manner
from .sentence_reader import Beginning, Part, SentenceReader

BEFORE_SECONDS = 1.0  # of codes that a block is continued from
AHEAD_SECONDS = 0.2  # of semantic tokens after a block that it is decoded with
PROMPT_SECONDS = 3.0  # of a voice's prompt, its end, that every block has before it

_SENTENCE = "The old clock in the hall strikes ten every morning."
_RUNS = 3  # of what is timed; the best counts

_log = logging.getLogger(__name__)

# Audio, float32 [samples], and None after each step of the work on it: a place to stop at.
Work = Generator["np.ndarray | None", None, None]


class Stream:
    """One text on its way to speech. Not for several threads at once; a voice makes any number of them.

    costs: of the work on this machine. budget: seconds until the first audio, 0 for as few as can be.
    """

    def __init__(
        self, reader: SentenceReader, acoustics: AcousticStage, costs: Costs, manner: Manner, budget: float
    ) -> None:
        self._reader, self._acoustics, self._manner = reader, acoustics, manner
        self._prompt = manner.prompt and ending(manner.prompt, acoustics.tokens(PROMPT_SECONDS))
        self._gap = np.zeros(manner.gap, np.float32)
        self._sentences = 0
        self._pace = self._make_pace(costs, budget)

    def speak(self, sentences: Iterable[str]) -> Work:
        """Speak sentences as they come."""
        for sentence in sentences:
            yield from self.sentence(sentence)

    def sentence(self, text: str) -> Work:
        """Speak one sentence: float32 [samples], and None after each step between them."""
        place, self._sentences = self._sentences, self._sentences + 1
        if place and len(self._gap):
            yield self._given(self._gap)
        self._pace.read()
        # A stream of its own for each sentence, as where a voice speaks it at once.
        seed = np.random.SeedSequence(self._manner.seed, spawn_key=(place,))
        for part in self._reader.read_as_made(text, seed, stretch=self._manner.stretch):
            yield None
            yield from self._part(part)

    def _part(self, part: Beginning) -> Work:
        """Speak block by block; `codes` and `tokens` begin where the next block's prompt does."""
        acoustics, per_token = self._acoustics, self._acoustics.per_token
        past, ahead = (acoustics.tokens(seconds) for seconds in (BEFORE_SECONDS, AHEAD_SECONDS))
        sound = acoustics.sound(self._prompt)
        tokens, codes = np.zeros(0, np.int64), acoustics.no_codes()
        last = False
        while not last:
            start = len(codes) // per_token
            end = start + self._block()
            while len(tokens) <= end + ahead and (more := next(part.tokens, None)) is not None:
                tokens = np.concatenate([tokens, more])
                yield None
            last = len(tokens) <= end + ahead  # what little would be left is spoken with the rest
            end = len(tokens) if last else end
            block = Part(tokens[start : end + ahead], part.rng)
            before = continued(self._prompt, Prompt(codes, tokens[:start]))
            made = yield from acoustics.codes_in_steps(block, self._manner.options, before)
            made = made[: (end - start) * per_token]
            audio = sound.push(made, last)
            if len(audio):
                yield self._given(audio)
            codes = np.concatenate([codes, made])[-past * per_token :]
            tokens = tokens[end - len(codes) // per_token :]

    def _make_pace(self, costs: Costs, budget: float) -> BlockScheduler:
        acoustics, per_token = self._acoustics, self._acoustics.per_token
        around = acoustics.tokens(BEFORE_SECONDS + AHEAD_SECONDS) * per_token
        if self._prompt:
            around += len(self._prompt.codes)
        steps = sum(self._manner.options.steps)

        def block(frames: int) -> float:
            stepping = steps * (costs.step + costs.step_frame * (frames + around))
            return stepping + frames * (costs.codec_frame + costs.token / per_token)

        frame = acoustics.samples(1) / per_token / acoustics.sample_rate
        return BlockScheduler(block, costs.sentence, frame, acoustics.late or 0, budget)

    def _block(self) -> int:
        """Return the tokens of the next block."""
        around = self._acoustics.tokens(BEFORE_SECONDS + AHEAD_SECONDS) + 1
        room = self._acoustics.room(self._prompt) - around
        if self._acoustics.late is None:  # nothing can be heard before the end of a sentence
            return room
        return max(1, min(room, self._pace.next() // self._acoustics.per_token))

    def _given(self, audio: np.ndarray) -> np.ndarray:
        self._pace.give(len(audio) / self._acoustics.sample_rate)
        return audio


class Streams:
    """Begins the streams of a voice, and measures once how long the work on them takes."""

    def __init__(self, acoustics: AcousticStage, levels: int) -> None:
        self._acoustics, self._levels = acoustics, levels
        self._costs: Costs | None = None
        self._measuring = threading.Lock()

    def costs(self, reader: SentenceReader, given: Costs | None = None) -> Costs:
        """Return what the work takes here, or what is given from now on."""
        with self._measuring:
            if self._costs is None and self._acoustics.late is None:
                _log.warning(
                    "this codec cannot be decoded in pieces: each sentence is heard when it is finished; "
                    "a bundle that was exported before streaming was there may be exported again"
                )
            if given is not None or self._costs is None:
                self._costs = given or measure(reader, self._acoustics, self._levels).rounded()
            return self._costs

    def begin(self, reader: SentenceReader, manner: Manner, budget_ms: float | None) -> Stream:
        """Begin one; budget_ms: until the first audio, None for as little as can be."""
        if budget_ms is not None and not budget_ms > 0:
            raise OptionError(f"the budget is {budget_ms:g} ms, expected more than 0")
        return Stream(reader, self._acoustics, self.costs(reader), manner, (budget_ms or 0.0) / 1000)


def ending(prompt: Prompt, tokens: int) -> Prompt:
    """Return the last of a prompt, so many semantic tokens at most."""
    per_token = len(prompt.codes) // len(prompt.semantic_tokens)
    return Prompt(prompt.codes[-tokens * per_token :], prompt.semantic_tokens[-tokens:])


def continued(prompt: Prompt | None, spoken: Prompt) -> Prompt | None:
    """Return what a block comes after: the prompt, and what was spoken since."""
    if prompt is None:
        return spoken if len(spoken.codes) else None
    return Prompt(
        np.concatenate([prompt.codes, spoken.codes]),
        np.concatenate([prompt.semantic_tokens, spoken.semantic_tokens]),
    )


def measure(reader: SentenceReader, acoustics: AcousticStage, levels: int) -> Costs:
    """See how long the work on a sentence takes here: a fraction of a second, once for each voice."""
    seed = np.random.SeedSequence(0)
    arrays, reading = quickest(lambda: list(next(reader.read_as_made(_SENTENCE, seed)).tokens), _RUNS)
    one_by_one = len(arrays) > 1
    options = DecodeOptions((1,) * levels)

    def decoding(frames: int) -> tuple[np.ndarray, float]:
        tokens = np.zeros(frames // acoustics.per_token, np.int64)
        return quickest(
            lambda: finish(acoustics.codes_in_steps(Part(tokens, np.random.default_rng(0)), options)), _RUNS
        )

    few, many = LENGTHS[0], LENGTHS[-1]
    (_, short), (codes, long) = decoding(few), decoding(many)
    _, sounding = quickest(lambda: acoustics.audio(codes), _RUNS)
    frame = max(0.0, long - short) / (many - few) / levels
    return Costs(
        sentence=0.0 if one_by_one else reading,
        token=reading / len(arrays) if one_by_one else 0.0,
        step=max(0.0, short / levels - few * frame),
        step_frame=frame,
        codec_frame=sounding / many,
    )


def chunks(work: Work) -> Iterator[np.ndarray]:
    """Do the work as audio is asked for; closing this stops it where it is."""
    for audio in work:
        if audio is not None:
            yield audio


async def chunks_in_thread(work: Work) -> AsyncIterator[np.ndarray]:
    """Do the same step by step in a thread of the event loop's pool.

    Whoever is cancelled here goes on at once; the work stops after the step that it is in.
    """
    loop = asyncio.get_running_loop()
    step: asyncio.Future[tuple[bool, np.ndarray | None]] | None = None
    try:
        while True:
            step = loop.run_in_executor(None, _go_on, work)
            going, audio = await asyncio.shield(step)
            if audio is not None:
                yield audio
            elif not going:
                return
    finally:
        if step is not None:
            step.add_done_callback(lambda _: work.close())


def _go_on(work: Work) -> tuple[bool, np.ndarray | None]:
    """Do the next step; gives whether there was one, since no `StopIteration` passes a future."""
    try:
        return True, next(work)
    except StopIteration:
        return False, None
