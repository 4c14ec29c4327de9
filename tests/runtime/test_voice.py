"""A voice that is tiny, but real: text in, samples out, through ONNX Runtime."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from soundstorm_runtime import DecodeOptions, SoundStormError, Voice
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.engines.graphs import Axis
from soundstorm_runtime.errors import BundleError, EngineError, OptionError, TextError
from soundstorm_runtime.synthesis.options import PAUSE_SECONDS
from soundstorm_runtime.synthesis.word_times import joined
from soundstorm_runtime.text.sentences import MAX_CHARACTERS
from soundstorm_runtime.text.words import Sentence

TEXT = "This is the first sentence. This is a second one, and it is longer."


@pytest.fixture
def voice(make_bundle):
    return Voice.load(make_bundle(), threads=1, provider="cpu")


@pytest.mark.parametrize("kind", ["parallel", "autoregressive"])
def test_speaks(make_bundle, kind):
    voice = Voice.load(make_bundle(kind), threads=1)
    audio = voice.speak(TEXT)
    assert voice.sample_rate == 800
    assert audio.dtype == np.float32
    assert audio.ndim == 1
    assert len(audio) > 800
    assert np.abs(audio).max() <= 1
    assert len(np.unique(audio)) > 10


def test_same_seed_same_audio(voice):
    np.testing.assert_array_equal(voice.speak(TEXT, seed=5), voice.speak(TEXT, seed=5))
    assert (voice.speak(TEXT, seed=5) != voice.speak(TEXT, seed=6)).any()


def test_sentences_are_joined_with_a_pause(voice):
    first, second = voice.speak_sentences(TEXT)
    np.testing.assert_array_equal(voice.speak(TEXT), np.concatenate([first, second]))
    pause = round(PAUSE_SECONDS * voice.sample_rate)
    assert not second[:pause].any()
    assert second[pause:].any()
    assert first[:pause].any()


def test_a_sentence_sounds_the_same_whatever_was_said_before_it(voice):
    def second(before):
        return list(voice.speak_sentences(f"{before}. Good morning.", seed=1))[1]

    np.testing.assert_array_equal(second("Yes"), second("A much longer sentence stands here"))


def test_options_reach_the_decode_loop(make_bundle):
    voice = Voice.load(make_bundle(options=DecodeOptions((1, 1, 1))), threads=1)
    usual = voice.speak("Good morning.")
    assert voice.options.steps == (1, 1, 1)
    np.testing.assert_array_equal(voice.speak("Good morning.", options=voice.options), usual)
    assert (voice.speak("Good morning.", steps=[8, 4, 2]) != usual).any()
    steady = voice.speak("Good morning.", temperature=0.01)
    np.testing.assert_array_equal(steady, voice.speak("Good morning.", temperature=0.01, seed=9))
    options = replace(voice.options, temperature=0.01)
    np.testing.assert_array_equal(steady, voice.speak("Good morning.", options=options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": [16, 1]}, r"steps has 2 numbers \[16, 1\], but the voice has 3 levels"),
        ({"temperature": -1.0}, "temperature is -1.0, expected 0.01 to 100"),
        ({"seed": -1}, "seed is -1, expected a whole number of 0 or more"),
        ({"seed": 0.5}, "seed is 0.5"),
    ],
)
def test_bad_options_are_refused_before_any_work(voice, options, message):
    with pytest.raises(OptionError, match=message):
        voice.speak_sentences(TEXT, **options)


@pytest.mark.parametrize("text", ["", " \n\t ", "...", "!?"])
def test_text_without_a_speakable_character_is_refused(voice, text):
    with pytest.raises(TextError):
        voice.speak_sentences(text)


def limit_axes(voice, **axes):
    """Give the voice's graphs shorter axes, and its text stage the limit that follows."""
    stage, acoustics = voice._reader._stage, voice._acoustics
    for engine in (acoustics._step, acoustics._decoder, stage._encoder):
        engine.axes = {**engine.axes, **axes}
    acoustics._axes = {**acoustics._axes, **axes}


LONG = "one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve."


@pytest.mark.parametrize("axes", [{"phones": Axis(1, 9, 20)}, {"frames": Axis(1, 50, 100)}], ids=str)
def test_a_sentence_beyond_the_axes_is_split_at_its_breaks(voice, axes):
    whole = voice.speak(LONG)
    limit_axes(voice, **axes)
    parts = voice.speak(LONG)
    assert len(parts) >= len(whole)  # each part has a pause at both of its ends
    assert len(parts) < 1.5 * len(whole)


def test_a_long_sentence_without_a_break_is_refused_with_advice(voice):
    limit_axes(voice, phones=Axis(1, 9, 20))
    with pytest.raises(TextError, match=r"expected at most 20; shorten it or put commas into it: 'this is"):
        voice.speak("this is one sentence that goes on and on and on without any break at all")


def test_an_unknown_phone_names_the_voice_and_the_phone(make_bundle):
    folder = make_bundle()
    file = folder / "bundle.json"
    data = json.loads(file.read_text())
    del data["digest"]
    data["text"]["symbols"][data["text"]["symbols"].index("eh")] = "xx"
    file.write_text(json.dumps(data))
    with pytest.raises(
        BundleError, match="the lexicon of voice 'tiny' has the phone 'eh', expected one of pau"
    ):
        Voice.load(folder)


class Decoder(Engine):
    """Gives every sample the same value."""

    def __init__(self, voice, value):
        super().__init__(voice._acoustics._decoder.graph)
        self.value = value

    def _run(self, feeds):
        return {"audio": np.full((1, feeds["codes"].shape[1] * 16), self.value, np.float32)}


def test_audio_is_clipped_and_finite(voice):
    voice._acoustics._decoder = Decoder(voice, 3.0)
    assert voice.speak("Yes.").max() == 1
    voice._acoustics._decoder = Decoder(voice, np.nan)
    with pytest.raises(EngineError, match="samples that are not finite numbers"):
        voice.speak("Yes.")


def test_a_hundred_thousand_characters_are_spoken_sentence_by_sentence(voice):
    text = ("All work and no play makes a dull day. " * 3000)[:100_000]
    first, second = itertools.islice(voice.speak_sentences(text), 2)
    assert len(first)
    assert len(second)
    with pytest.raises(TextError, match=f"the limit is {MAX_CHARACTERS}"):
        voice.speak_sentences("a" * (MAX_CHARACTERS + 1))


def test_a_broken_graph_is_named_at_loading(make_bundle):
    folder = make_bundle()
    (folder / "step.onnx").write_bytes(b"garbage")
    with pytest.raises(BundleError, match=r"step.onnx has 7 bytes"):
        Voice.load(folder)
    with pytest.raises(SoundStormError, match="not a bundle"):
        Voice.load(folder / "none")


@pytest.mark.parametrize("kind", ["parallel", "autoregressive"])
def test_eight_threads_may_share_a_voice(make_bundle, kind):
    voice = Voice.load(make_bundle(kind, voices={"slt": 6, "rms": 9}), threads=1)
    tasks = [(f"This is sentence {i}, and it is long. Yes.", ("slt", "rms")[i % 2], i) for i in range(24)]

    def speak(task):
        text, name, seed = task
        return voice.speak(text, voice=name, seed=seed)

    alone = [speak(task) for task in tasks]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(speak, tasks))
    for expected, found in zip(alone, together, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "module", ["soundstorm_runtime", "soundstorm_runtime.voice", "soundstorm_runtime.cli"]
)
def test_importing_loads_neither_torch_nor_an_engine(module):
    script = f"import sys, {module}; print([m for m in ('torch', 'onnxruntime', 'onnx') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_public_names():
    import soundstorm_runtime

    assert all(hasattr(soundstorm_runtime, name) for name in soundstorm_runtime.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Speaker'"):
        _ = soundstorm_runtime.Speaker


def test_a_voice_that_reads_tokens_speaks_any_letters(make_bundle):
    voice = Voice.load(make_bundle("autoregressive", tokenizer=True), threads=1)
    assert len(voice.speak("Guten Morgen.")) > 800
    assert len(list(voice.stream("Guten Morgen. Gute Nacht."))) >= 2


def test_silence_that_a_text_asks_for_takes_the_place_of_the_pause(make_bundle):
    voice = Voice.load(make_bundle(codec="spectral", streams=True), threads=1, provider="cpu")
    first, second = voice._reader.sentences("Yes. No.")
    usual = [len(audio) for audio in voice.speak_sentences("Yes. No.", pause=0.2)]
    asked = [Sentence(first, first.words, silence=0.5), Sentence(second, second.words, silence=1.0)]
    voice.warm_up()
    voice._reader.sentences = lambda *_: asked
    one, other = voice.speak_sentences("Yes. No.", pause=0.2)
    rate = voice.sample_rate
    assert len(one) == usual[0] + round(0.5 * rate)
    assert len(other) == usual[1] + round((1.0 - 0.2) * rate)
    assert not one[-round(0.5 * rate) :].any()
    streamed = voice.stream_timed("Yes. No.", pause=0.2)
    assert joined(streamed).words == voice.speak_timed("Yes. No.", pause=0.2).words
    assert sum(map(len, voice.stream("Yes. No.", pause=0.2))) == len(one) + len(other)
    fitted = voice.speak("Yes. No.", duration=3.0)
    assert len(fitted) == 3 * rate
