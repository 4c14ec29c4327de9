"""Speech in blocks: each continues the codes of the last, and its audio is returned at once.

SoundStorm (arXiv 2305.09636) decodes in parallel, but its paper synthesises whole sentences. Here a block of
frames is decoded with the codes before it as a prompt, or with a cache of them (`decoding.prefix_cache`), and
with some of the semantic tokens after it; the codes of the latter are discarded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator

import numpy as np

from ..bundle.prompts import Prompt
from ..text.words import Sentence
from .acoustic_stage import BEFORE_SECONDS, AcousticStage
from .block_scheduler import BlockScheduler
from .calibration import Costs
from .context import joined, last_tokens
from .options import ResolvedOptions
from .sentence_reader import Part, PartInProgress, SentenceReader
from .whole_sentences import adjusted
from .word_times import TimedAudio, WordTime

AHEAD_SECONDS = 0.2  # of semantic tokens after a block that it is decoded with
PROMPT_SECONDS = 3.0  # of the end of a voice's prompt, which precedes every block

# Audio; None after each step of the computation in between, where it can be stopped.
Work = Generator["TimedAudio | None", None, None]


class Stream:
    """Synthesis of one text. One thread at a time; a voice makes any number of streams.

    Args:
        reader: The text stage.
        acoustics: The acoustic stage.
        costs: What synthesis costs on this machine.
        options: How the text is spoken.
        times: Whether to return the times of the words.
        before: What others spoke before the prompt; left out where it does not fit beside a block.
        load: Returns how many streams share the machine.

    Attributes:
        spoken: The end of what was spoken, at most `MOST_SPOKEN_SECONDS`; None before the first sentence.
    """

    def __init__(
        self,
        reader: SentenceReader,
        acoustics: AcousticStage,
        costs: Costs,
        options: ResolvedOptions,
        *,
        times: bool = False,
        before: Prompt | None = None,
        load: Callable[[], int] = lambda: 1,
    ) -> None:
        self._reader, self._acoustics, self._options = reader, acoustics, options
        self._before = before
        self.spoken: Prompt | None = None
        self._prompt, self._volume = self._prompt_of(options), options.volume
        self._times = times
        self._pause = 0  # samples before the next sentence
        self._sentences = 0
        self._samples = 0  # that were returned
        self._words: deque[WordTime] = deque()  # that have not begun yet
        self._scheduler = self._make_scheduler(costs, load)

    def speak(self, sentences: Iterable[Sentence]) -> Work:
        """Synthesise sentences as they come."""
        for sentence in sentences:
            yield from self.sentence(sentence)

    def sentence(self, sentence: Sentence) -> Work:
        """Synthesise one sentence, with the silence between it and the one before, and what it ends with."""
        place, self._sentences = self._sentences, self._sentences + 1
        yield from self._silence(self._pause)
        self._scheduler.start_sentence()
        # Each sentence has a random stream of its own, as where a voice speaks whole sentences.
        seed = np.random.SeedSequence(self._options.seed, spawn_key=(place,))
        own = self._options.styled(sentence.style)
        self._prompt, self._volume = self._prompt_of(own), own.volume
        pauses = self._options.mark_pauses
        parts = self._reader.read_as_made(
            sentence, seed, stretch=own.stretch, pauses=pauses, times=self._times
        )
        for part in parts:
            if self._times:
                self._words.extend(self._acoustics.word_times(sentence, part, self._samples))
            yield None
            yield from self._part(part)
        self._pause = self._options.pause_after(sentence)
        yield from self._silence(self._acoustics.silence(sentence))

    def _prompt_of(self, options: ResolvedOptions) -> Prompt | None:
        """Return what the speech continues: the end of the prompt, after what others spoke."""
        prompt = options.prompt and last_tokens(options.prompt, self._acoustics.tokens(PROMPT_SECONDS))
        if self._before is None:
            return prompt
        whole = joined(self._before, prompt) if prompt else self._before
        return whole if self._acoustics.room(whole) > self._around() else prompt

    def _silence(self, samples: int) -> Work:
        if samples:
            yield self._returned(np.zeros(samples, np.float32))

    def _part(self, part: PartInProgress) -> Work:
        """Synthesise block by block; `tokens` are those of the next block, and further ones."""
        acoustics, options = self._acoustics, self._options.decode
        ahead = acoustics.tokens(AHEAD_SECONDS)
        decoder = acoustics.codec_decoder(self._prompt)
        context, tokens = acoustics.context(self._prompt, options), np.zeros(0, np.int64)
        while True:
            end = self._block()
            while len(tokens) <= end + ahead and (more := next(part.tokens, None)) is not None:
                tokens = np.concatenate([tokens, more])
                yield None
            last = len(tokens) <= end + ahead  # the few tokens that would remain belong to this block
            end = len(tokens) if last else end
            block = Part(tokens[: end + ahead], part.rng)
            made = yield from acoustics.codes_in_steps(block, options, context)
            made = made[: end * acoustics.per_token]
            audio = decoder.push(made, last)
            if len(audio):
                yield self._returned(adjusted(audio, self._volume))
            if last:
                self.spoken = joined(context.spoken, Prompt(made, tokens))
                return
            context = acoustics.continued(context, Prompt(made, tokens[:end]), options)
            tokens = tokens[end:]

    def _make_scheduler(self, costs: Costs, load: Callable[[], int]) -> BlockScheduler:
        acoustics, per_token = self._acoustics, self._acoustics.per_token
        around = acoustics.tokens(AHEAD_SECONDS) * per_token
        steps = sum(self._options.decode.steps)
        if acoustics.has_cache:
            steps += 1  # a finished block passes once more through the network
        else:
            around += acoustics.tokens(BEFORE_SECONDS) * per_token
            around += len(self._prompt.codes) if self._prompt else 0

        def block(frames: int) -> float:
            decoding = steps * costs.one_step(frames + around)
            return decoding + costs.codec(frames) + costs.token * frames / per_token

        frame = acoustics.samples(1) / per_token / acoustics.sample_rate
        latency, budget = acoustics.latency or 0, self._options.budget
        return BlockScheduler(block, costs.sentence, frame, latency, budget, load)

    def _block(self) -> int:
        """Return the tokens of the next block."""
        room = self._acoustics.room(self._prompt) - self._around()
        if self._acoustics.latency is None:  # there is no audio before the end of a sentence
            return room
        return max(1, min(room, self._scheduler.next_block() // self._acoustics.per_token))

    def _around(self) -> int:
        """Return the tokens of the speech around a block that it is decoded with."""
        return self._acoustics.tokens(BEFORE_SECONDS + AHEAD_SECONDS) + 1

    def _returned(self, audio: np.ndarray) -> TimedAudio:
        """Count audio that is returned, and add the words that begin in it."""
        rate = self._acoustics.sample_rate
        self._samples += len(audio)
        self._scheduler.add_audio(len(audio) / rate)
        words = []
        while self._words and round(self._words[0].start * rate) < self._samples:
            words.append(self._words.popleft())
        return TimedAudio(audio, tuple(words))


def chunks(work: Work) -> Iterator[TimedAudio]:
    """Compute as audio is asked for; closing the iterator stops the computation."""
    for audio in work:
        if audio is not None:
            yield audio


async def chunks_in_thread(work: Work) -> AsyncIterator[TimedAudio]:
    """Compute step by step in a thread of the event loop's pool.

    Cancellation takes effect at once; the computation stops after the current step.
    """
    loop = asyncio.get_running_loop()
    step: asyncio.Future[tuple[bool, TimedAudio | None]] | None = None
    try:
        while True:
            step = loop.run_in_executor(None, _next_step, work)
            going, audio = await asyncio.shield(step)
            if audio is not None:
                yield audio
            elif not going:
                return
    finally:
        if step is not None:
            step.add_done_callback(lambda _: work.close())


def _next_step(work: Work) -> tuple[bool, TimedAudio | None]:
    """Compute the next step; return whether there was one, since no `StopIteration` passes a future."""
    try:
        return True, next(work)
    except StopIteration:
        return False, None
