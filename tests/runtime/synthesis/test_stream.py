"""Speech in blocks, with a voice that is tiny, but real."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from soundstorm_runtime import Voice
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.errors import OptionError, TextError
from soundstorm_runtime.synthesis.calibration import Costs
from soundstorm_runtime.synthesis.options import PAUSE_SECONDS
from soundstorm_runtime.synthesis.stream import AHEAD_SECONDS, BEFORE_SECONDS
from soundstorm_runtime.text.sentences import split_sentences

SENTENCE = "A long sentence is spoken in several blocks, and each is continued from the codes of the last."
TEXT = f"This is the first sentence. {SENTENCE} Yes."
QUICK = Costs(0.001, 0.0, 0.0005, 0.00001, 0.00001)  # of a machine on which blocks grow fast
SLOW = Costs(0.02, 0.0, 0.04, 0.0001, 0.0001)


def with_facts(folder, **audio):
    """Change what the bundle says of its codec."""
    file = folder / "bundle.json"
    data = json.loads(file.read_text())
    del data["digest"]
    data["audio"] |= audio
    file.write_text(json.dumps(data))
    return folder


def loaded(folder, costs=QUICK):
    voice = Voice.load(folder, threads=1, provider="cpu")
    voice.warm_up(costs)
    return voice


@pytest.fixture
def voice(make_bundle):
    """Its text stage gives a token at a time, and its spectral codec sees no other frame."""
    return loaded(with_facts(make_bundle("autoregressive"), context=0, lookahead=0))


class Recorder(Engine):
    """Runs another engine and keeps what it was given, and how many frames that had."""

    def __init__(self, engine):
        super().__init__(engine.graph, engine.axes)
        self.engine, self.feeds, self.frames = engine, [], []

    def _run(self, feeds):
        self.feeds.append({name: array.copy() for name, array in feeds.items()})
        self.frames.append(feeds["codes"].shape[1])
        return self.engine.run(feeds)


def test_a_stream_is_the_whole_utterance(voice):
    chunks = list(voice.stream(TEXT))
    assert len(chunks) > 6
    assert {chunk.dtype for chunk in chunks} == {np.dtype(np.float32)}
    whole, streamed = voice.speak(TEXT), np.concatenate(chunks)
    assert streamed.shape == whole.shape
    # What is drawn differs with the blocks; of the loudness, nothing but that.
    assert streamed.std() == pytest.approx(whole.std(), rel=0.1)


def test_the_first_chunk_is_a_small_part_of_a_sentence_and_blocks_grow(voice):
    counter = voice._acoustics._decoder = Recorder(voice._acoustics._decoder)
    first, *others = voice.stream(SENTENCE)
    assert len(first) / voice.sample_rate < 0.5
    assert max(map(len, others)) > 2 * len(first)
    assert counter.frames[0] < counter.frames[1]


def test_on_a_slower_machine_blocks_are_longer(make_bundle):
    folder = with_facts(make_bundle("autoregressive"), context=0, lookahead=0)
    quick, slow = (next(loaded(folder, costs).stream(SENTENCE)) for costs in (QUICK, SLOW))
    assert len(slow) > len(quick)


def test_a_budget_makes_the_first_block_longer_and_never_shorter_than_playback_needs(voice, caplog):
    least = len(next(voice.stream(SENTENCE)))
    assert len(next(voice.stream(SENTENCE, budget_ms=400))) > least
    with caplog.at_level("WARNING"):
        assert len(next(voice.stream(SENTENCE, budget_ms=0.1))) == least
    assert "budget: 0 ms are too few on this machine; the first audio comes after about" in caplog.text
    with pytest.raises(OptionError, match="the budget is 0 ms, expected a number above 0"):
        voice.stream(SENTENCE, budget_ms=0)


def test_cost_of_a_step_stays_flat_however_long_the_text_is(voice):
    counter = voice._acoustics._step = Recorder(voice._acoustics._step)
    text = " and ".join(["one more word"] * 20) + "."
    list(voice.stream(text))
    short = max(counter.frames)
    counter.frames.clear()
    list(voice.stream(f"{text} " * 5))
    assert max(counter.frames) <= short + 1


def test_same_seed_same_audio_and_another_seed_another(voice):
    once, again, other = (np.concatenate(list(voice.stream(TEXT, seed=seed))) for seed in (3, 3, 4))
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()


def test_a_block_continues_the_codes_and_tokens_before_it(voice):
    step = voice._acoustics._step = Recorder(voice._acoustics._step)
    (part,) = voice._reader.read(voice.sentences(SENTENCE)[0], np.random.SeedSequence(0))
    list(voice.stream(SENTENCE, steps=(1, 1, 1)))
    begun = [feeds for feeds in step.feeds if feeds["level"][0] == 0]  # one step for each block
    assert len(begun) > 2
    per_token = voice._acoustics.per_token
    aligned, masked = np.repeat(part.tokens, per_token), voice._manifest.audio.codebook_size
    at = 0
    before, ahead = (voice._acoustics.tokens(s) * per_token for s in (BEFORE_SECONDS, AHEAD_SECONDS))
    for feeds in begun:
        prefix = int((feeds["codes"][0, :, 0] != masked).sum())
        assert prefix == min(at, before)
        start, frames = at - prefix, feeds["codes"].shape[1]
        np.testing.assert_array_equal(feeds["semantic_tokens"][0], aligned[start : start + frames])
        at = start + frames - ahead
    assert at + ahead == len(aligned)


def test_two_streams_at_once_do_not_mix(voice):
    alone = [list(voice.stream(TEXT, seed=seed)) for seed in (1, 2)]
    both = list(zip(*(voice.stream(TEXT, seed=seed) for seed in (1, 2)), strict=True))
    for expected, found in zip(alone, zip(*both, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(expected), np.concatenate(found))


def test_threads_share_a_voice(voice):
    def spoken(seed):
        return np.concatenate(list(voice.stream(TEXT, seed=seed)))

    expected = [spoken(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(spoken, range(4)), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_closing_stops_the_work(voice):
    counter = voice._acoustics._step = Recorder(voice._acoustics._step)
    stream = voice.stream(TEXT)
    next(stream)
    done = len(counter.frames)
    stream.close()
    assert list(stream) == []
    assert len(counter.frames) == done


def test_text_and_options_are_checked_before_any_work(voice):
    with pytest.raises(TextError, match="text is empty"):
        voice.stream("")
    with pytest.raises(OptionError, match="seed is -1"):
        voice.stream(TEXT, seed=-1)
    with pytest.raises(OptionError, match=r"speed is 5, expected 0\.25 to 4"):
        voice.stream(TEXT, speed=5)


def test_a_codec_that_cannot_be_decoded_in_pieces_speaks_sentence_by_sentence(make_bundle):
    voice = loaded(make_bundle("autoregressive"))
    chunks = [chunk for chunk in voice.stream(TEXT) if chunk.any()]
    assert len(chunks) == 3
    for chunk, sentence in zip(chunks, voice.speak_sentences(TEXT), strict=True):
        assert len(chunk) in (len(sentence), len(sentence) - round(PAUSE_SECONDS * voice.sample_rate))


def test_a_prompt_gives_the_voice_of_every_block(make_bundle):
    folder = with_facts(make_bundle("autoregressive", voices={"anna": 6, "otto": 9}), context=0, lookahead=0)
    voice = loaded(folder)
    anna, otto = (np.concatenate(list(voice.stream(SENTENCE, voice=name))) for name in ("anna", "otto"))
    assert anna.shape == otto.shape
    assert (anna != otto).any()


def test_memory_does_not_grow_with_the_text(voice):
    def held(sentences):
        """Bytes that a stream of so many sentences holds at its end, beyond what it did at its second."""
        stream = voice.stream(f"{SENTENCE} " for _ in range(sentences))
        list(itertools.islice(stream, 6))
        gc.collect()
        tracemalloc.start()
        longest = max(len(chunk) for chunk in stream)
        gc.collect()
        found = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return found, longest

    list(voice.stream(SENTENCE))
    # Places in the text beyond 256 are objects of their own. What else the process allocates meanwhile is not
    # the stream's: what grows with the text does so in both runs.
    (short, _), (long, longest) = held(10), min(held(30), held(30))
    assert long < short + longest


def test_words_of_a_language_model_are_spoken_as_they_come(voice):
    taken = []

    def fragments():
        for word in TEXT.split():
            taken.append(word)
            yield f"{word} "

    stream = voice.stream(fragments())
    assert not taken
    first = next(stream)
    assert taken == ["This", "is", "the", "first", "sentence.", "A"]
    np.testing.assert_array_equal(np.concatenate([first, *stream]), np.concatenate(list(voice.stream(TEXT))))
    assert len(split_sentences(TEXT)) == 3


async def collected(chunks):
    return np.concatenate([chunk async for chunk in chunks])


def test_an_event_loop_hears_the_same(voice):
    async def fragments():
        for word in TEXT.split():
            await asyncio.sleep(0)
            yield f"{word} "

    expected = np.concatenate(list(voice.stream(TEXT, seed=2)))
    for text in (TEXT, [TEXT[:40], TEXT[40:]], fragments()):
        np.testing.assert_array_equal(asyncio.run(collected(voice.astream(text, seed=2))), expected)


def test_an_event_loop_goes_on_while_a_stream_is_made(voice):
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        await collected(voice.astream(TEXT))
        ticking.cancel()
        return ticks

    assert asyncio.run(main()) > 100


def test_cancelling_stops_the_work_within_one_step(voice):
    counter = voice._acoustics._step = Recorder(voice._acoustics._step)

    async def main():
        async for _ in voice.astream(TEXT * 10):
            break
        task = asyncio.create_task(collected(voice.astream(TEXT * 10)))
        while len(counter.frames) < 30:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        done = len(counter.frames)
        await asyncio.sleep(0.2)
        return len(counter.frames) - done

    assert asyncio.run(main()) <= 1
