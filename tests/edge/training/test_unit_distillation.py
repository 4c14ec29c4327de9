"""Unit distillation: units that are trained on the tokens of a text stage."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from soundstorm_edge.data.corpus import Corpus
from soundstorm_edge.data.utterances import Utterance
from soundstorm_edge.errors import ConfigError, CorpusError
from soundstorm_edge.support.config import to_dict
from soundstorm_edge.training.loop import train
from soundstorm_edge.training.optimization import Optimization
from soundstorm_edge.training.pipeline import TrainingRun
from soundstorm_edge.training.recipe import load_recipe
from soundstorm_edge.training.stages.unit_distillation import (
    UnitDistillationRecipe,
    UnitDistillationStage,
    mask_bands_and_spans,
)
from soundstorm_edge.training.state import read_state, trained_weights
from soundstorm_edge.units.semantic_units import PhoneticUnits, PhoneticUnitsConfig

PITCHES = (300.0, 2000.0, 900.0)  # of what is read as tokens 0, 1 and 2
TINY = PhoneticUnitsConfig(vocabulary=3, mels=20, dim=16, depth=1, width=8)
RECIPE = UnitDistillationRecipe(TINY, 30, Optimization(steps=80, batch=8, learning_rate=1e-2, warmup=1))


@pytest.fixture
def spoken(tmp_path: Path) -> tuple[Corpus, list[np.ndarray]]:
    """Twelve utterances of tones, the last two held out, and the tokens that stand for the tones."""
    rng, folder = np.random.default_rng(0), tmp_path / "corpus"
    (folder / "audio").mkdir(parents=True)
    rows, read = [], []
    for number in range(12):
        tokens = np.repeat(rng.integers(3, size=10), rng.integers(5, 10, size=10)).astype(np.uint16)
        waves = np.sin(2 * np.pi * np.cumsum(np.repeat(np.array(PITCHES)[tokens], 320)) / 16_000)
        audio = 0.3 * waves + 0.01 * rng.standard_normal(len(waves))
        row = Utterance(f"u{number}", f"audio/u{number}.flac", len(audio) / 16_000, "t", "s", number > 9)
        soundfile.write(folder / row.audio, audio, 16_000)
        rows.append(json.dumps(to_dict(row)) + "\n")
        read.append(tokens)
    (folder / "utterances.jsonl").write_text("".join(rows))
    return Corpus(folder), read


def test_bands_and_spans_are_hidden() -> None:
    torch.manual_seed(0)
    mel = torch.randn(40, 50, 24)
    hidden = mask_bands_and_spans(mel) != mel
    bands, frames = hidden.all(dim=1), hidden.all(dim=2)
    assert torch.equal(hidden, bands[:, None, :] | frames[:, :, None]), "nothing but whole bands and frames"
    for marks, longest in ((bands, 4), (frames, 5)):
        counts, begins = marks.sum(dim=1), (marks[:, 1:] & ~marks[:, :-1]).sum(dim=1) + marks[:, 0]
        assert set(counts.tolist()) == set(range(longest + 1)), "every length comes up"
        assert begins.max() == 1, "they lie side by side"


def test_units_come_to_hear_what_was_read(spoken: tuple[Corpus, list[np.ndarray]], tmp_path: Path) -> None:
    corpus, read = spoken
    stage = UnitDistillationStage(RECIPE, corpus, read)
    with torch.inference_mode():
        before = stage.evaluate(torch.device("cpu"))["same"]
    train(stage, RECIPE.optimization, tmp_path)
    units = PhoneticUnits(TINY)
    weights = trained_weights(read_state(tmp_path / "state.pt", TINY, "train it again"))
    units.load_state_dict({name.removeprefix("units."): value for name, value in weights.items()})
    heard = units.eval().tokenize(torch.from_numpy(corpus.audio(corpus.utterances[11]))[None])[0].numpy()
    assert before < 0.6
    assert (heard == read[11]).mean() > 0.9


def test_a_crop_has_the_tokens_of_its_time(spoken: tuple[Corpus, list[np.ndarray]]) -> None:
    corpus, read = spoken
    stage = UnitDistillationStage(RECIPE, corpus, read)
    assert stage.numbers == list(range(10))
    assert stage.held_out == [10, 11]
    audio, tokens = stage.sample(3, np.random.default_rng(1))
    assert (audio.shape, audio.dtype, tokens.shape, tokens.dtype) == ((9600,), np.float32, (30,), np.int64)
    frames = np.abs(np.fft.rfft(audio.reshape(30, 320))).argmax(axis=1) * 50.0  # bins are 50 Hz apart
    assert np.abs(frames - np.array(PITCHES)[tokens]).max() <= 50


def test_short_speech_is_left_out(spoken: tuple[Corpus, list[np.ndarray]]) -> None:
    corpus, read = spoken
    read[4] = read[4][:29]
    assert 4 not in UnitDistillationStage(RECIPE, corpus, read).numbers


@pytest.mark.parametrize(("field", "value"), [("vocabulary", 500), ("rate", 25), ("sample_rate", 8000)])
def test_the_second_units_are_like_the_first(field: str, value: int) -> None:
    recipe = load_recipe("flite-multi")
    assert recipe.unit_distillation is not None
    given = getattr(recipe.unit_distillation.model, field)
    other = replace(recipe.unit_distillation, model=replace(recipe.unit_distillation.model, **{field: value}))
    with pytest.raises(
        ConfigError, match=rf"unit_distillation\.model\.{field} is {value}, expected {given} as in units"
    ):
        replace(recipe, unit_distillation=other)


def test_a_recipe_without_the_stage_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"flite-rms has no \[unit_distillation\]; go on without this stage"
    ):
        TrainingRun(load_recipe("flite-rms"), tmp_path).distill_units()


def test_crops_longer_than_any_speech_are_refused(spoken: tuple[Corpus, list[np.ndarray]]) -> None:
    with pytest.raises(CorpusError, match=r"no training utterance lasts 20\.00 s; shorten the crops"):
        UnitDistillationStage(replace(RECIPE, frames=1000), *spoken)
