"""The benchmark of recorded prompts: how sentences are summed up, and where prompts are recorded."""

import numpy as np

from benchmarks.recorded_prompts import NOISE, Sentence, recordings, sum_up


def test_sentences_are_summed_up() -> None:
    rows = [
        Sentence("A big dog.", "a big dog", 0.9, -2.5),
        Sentence("It ran.", "it can", 0.7, 0.5),
        Sentence("Hush.", "hush", 0.8, None),
    ]
    spoken = sum_up(rows, {"tom": 0.8, "ada": 1.0})
    assert (spoken.similarity, spoken.relative) == (0.8, 0.889)
    assert (spoken.pitch_errors, spoken.off_pitch) == ((1.5, 2.5), 1)
    assert round(spoken.word_errors, 1) == 16.7


def test_prompts_are_recorded_with_noise_and_through_a_telephone() -> None:
    rate, time = 24_000, np.arange(24_000) / 24_000
    studio = (np.sin(2 * np.pi * 100 * time) + np.sin(2 * np.pi * 1000 * time)).astype(np.float32)
    made = {name: record(studio) for name, record in recordings(np.random.default_rng(0)).items()}
    np.testing.assert_array_equal(made["studio"], studio)
    noise = made["noise"] - studio
    assert abs(10 * np.log10((studio**2).mean() / (noise**2).mean()) - NOISE) < 0.1
    low, high = np.abs(np.fft.rfft(made["telephone"]))[[100, 1000]] * 2 / rate
    assert low < 0.05
    assert high > 0.9
