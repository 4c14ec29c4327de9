"""Pictures of a voice: what they show, and that they stay small."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.voice_plots import (
    plot_durations,
    plot_spectrograms,
    plot_training,
    predicted_ends,
    read_logs,
    save,
)


def test_spectrograms_share_time_and_loudness_and_stay_small(tmp_path):
    rng = np.random.default_rng(0)
    speech = {
        name: (0.1 * rng.standard_normal(samples)).astype(np.float32)
        for name, samples in (("teacher", 48_000), ("voice", 40_000))
    }
    figure = plot_spectrograms(speech, 16_000)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["teacher", "voice"]
    first, second = (axes.images[0] for axes in figure.axes)
    assert first.get_clim() == second.get_clim()
    assert [image.get_extent()[1] for image in (first, second)] == pytest.approx([3, 2.5])
    assert all(axes.get_xlim() == pytest.approx((0, 3)) for axes in figure.axes), "the longest is seen whole"
    save(figure, tmp_path / "spectrograms.png")
    assert 5_000 < (tmp_path / "spectrograms.png").stat().st_size < 150_000


def test_durations_are_of_every_phone(tiny_voice):
    ends = predicted_ends(tiny_voice, "Good morning.")
    assert [phone for phone, _ in ends] == tiny_voice.lexicon.phones("Good morning.")
    times = [end for _, end in ends]
    assert times == sorted(times)
    assert times[0] >= 1 / tiny_voice.units.rate
    (axes,) = plot_durations(ends, ends).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [phone for phone, _ in ends]


def test_training_that_was_resumed_goes_on_in_time():
    rows = [
        {"step": 0, "seconds": 0.0, "loss": 3.0},
        {"step": 20, "seconds": 3600.0, "loss": 2.0},
        {"step": 20, "seconds": 3600.0, "held-out loss": 2.5},
        {"step": 40, "seconds": 1800.0, "loss": 1.0},
    ]
    (axes,) = plot_training({"codec": rows}).axes
    training, held_out = axes.lines
    assert training.get_xydata().tolist() == [[0, 3], [1, 2], [1.5, 1]]
    assert held_out.get_xydata().tolist() == [[1, 2.5]]
    assert training.get_color() == held_out.get_color()


def test_the_shipped_logs_are_drawn(tmp_path):
    logs = read_logs("flite-multi")
    assert list(logs) == ["codec", "units", "text", "unit_distillation", "acoustic"]
    save(plot_training(logs), tmp_path / "training.png")
    assert (tmp_path / "training.png").stat().st_size < 150_000
    assert read_logs("nobody") == {}
