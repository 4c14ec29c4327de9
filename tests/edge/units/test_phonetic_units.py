"""Phonetic units: a network that learns the phones of a corpus, and clusters of what it makes of them."""

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
from soundstorm_edge.training.optimization import Optimization
from soundstorm_edge.training.pipeline import TrainingRun
from soundstorm_edge.training.recipe import Recipe
from soundstorm_edge.training.stages.units_stage import (
    MELODY_SPREAD,
    PhoneticStage,
    UnitsRecipe,
    fit_units,
    load_units,
    melody,
    phones_of_frames,
)
from soundstorm_edge.training.token_cache import Tokens
from soundstorm_edge.units.semantic_units import PhoneticUnits, PhoneticUnitsConfig

PITCHES = {"low": 300.0, "high": 2000.0, "pau": 0.0}
TINY = PhoneticUnitsConfig(vocabulary=6, mels=20, dim=16, depth=1, width=8)


def spoken(rng: np.random.Generator) -> tuple[np.ndarray, tuple[str, ...], tuple[float, ...]]:
    """Tones for phones, 0.1 to 0.2 s each."""
    phones = tuple(rng.choice(["low", "high"], size=8).tolist())
    samples = rng.integers(1600, 3200, size=8)
    tones = [
        0.3 * np.sin(2 * np.pi * PITCHES[phone] * np.arange(count) / 16_000)
        for phone, count in zip(phones, samples, strict=True)
    ]
    audio = np.concatenate(tones) + 0.01 * rng.standard_normal(samples.sum())
    return audio.astype(np.float32), phones, tuple((np.cumsum(samples) / 16_000).tolist())


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    rng, folder = np.random.default_rng(0), tmp_path / "corpus"
    (folder / "audio").mkdir(parents=True)
    rows = []
    for number in range(12):
        audio, phones, ends = spoken(rng)
        name = f"u{number}"
        row = Utterance(
            name, f"audio/{name}.flac", len(audio) / 16_000, "text", "s", number > 9, phones, ends
        )
        soundfile.write(folder / row.audio, audio, 16_000)
        rows.append(json.dumps(to_dict(row)) + "\n")
    (folder / "utterances.jsonl").write_text("".join(rows))
    return Corpus(folder)


def recipe(steps: int = 60) -> UnitsRecipe:
    return UnitsRecipe(TINY, 10, 0, 30, Optimization(steps=steps, batch=8, learning_rate=1e-2, warmup=1))


def test_units_tell_phones_apart(corpus: Corpus, tmp_path: Path) -> None:
    units = fit_units(recipe(), corpus, tmp_path / "units" / "units.pt", tuple(PITCHES))
    tokens = units.tokenize(torch.from_numpy(corpus.audio(corpus.utterances[11]))[None])[0].numpy()
    phones = np.array(corpus.utterances[11].phones)
    borders = np.round(np.array(corpus.utterances[11].ends) * 50).astype(int)
    middles = borders - 4
    seen = {phone: set(tokens[middles[phones == phone]].tolist()) for phone in set(phones.tolist())}
    assert not set.intersection(*seen.values())
    kept = load_units(tmp_path / "units" / "units.pt", TINY)
    assert torch.equal(kept.centroids, units.centroids)


def test_units_of_phones_name_them(corpus: Corpus, tmp_path: Path) -> None:
    """Each unit belongs to a phone; with known phones, tokens name them, though features mistake some."""
    by_phone = replace(recipe(2), model=replace(TINY, by_phone=True))
    units = fit_units(by_phone, corpus, tmp_path / "units.pt", tuple(PITCHES))
    assert isinstance(units, PhoneticUnits)
    assert set(units.phone_of.tolist()) == {0, 1}  # the corpus has no pause
    utterance = corpus.utterances[11]
    audio = torch.from_numpy(corpus.audio(utterance))[None]
    frames = units.tokenize(audio).shape[1]
    phones = phones_of_frames(utterance, 50, frames, {phone: n for n, phone in enumerate(PITCHES)})
    tokens = units.tokenize_phones(audio, torch.from_numpy(phones)[None])[0]
    assert (units.phone_of[tokens].numpy() == phones).all()
    assert len(tokens) == frames
    assert len(set(tokens.tolist())) > 2
    unseen = torch.full((1, frames), 2)  # a phone without units may be any
    assert torch.equal(units.tokenize_phones(audio, unseen), units.tokenize(audio))
    kept = load_units(tmp_path / "units.pt", by_phone.model)
    assert torch.equal(kept.tokenize(audio), units.tokenize(audio))
    units.vocabulary = 1
    with pytest.raises(ConfigError, match="1 units for 2 phones"):
        units.fit_by_phone(np.zeros((4, 8), np.float32), np.array([0, 0, 1, 1]), 0)


def test_tokens_of_a_run_name_its_phones(corpus: Corpus, tmp_path: Path) -> None:
    """Those of an utterance without phone times, as when a voice is fine-tuned, are the nearest units."""
    named = {"low": "aa1", "high": "s"}
    rows = [replace(u, phones=tuple(named[phone] for phone in u.phones)) for u in corpus.utterances]
    by_phone = replace(recipe(2), utterances=3, model=replace(TINY, by_phone=True))
    for gone in ("", "u3"):  # the tokens are made anew once its times are gone
        lines = [json.dumps(to_dict(replace(u, ends=() if u.id == gone else u.ends))) + "\n" for u in rows]
        (corpus.folder / "utterances.jsonl").write_text("".join(lines))
        run = TrainingRun(Recipe(name="by-phone", lexicon="cmu", units=by_phone), tmp_path)
        run.fit_units()
    units, tokens = run.fitted_units(), Tokens(tmp_path / "units" / "tokens")
    assert isinstance(units, PhoneticUnits)
    ids = {symbol: number for number, symbol in enumerate(run.lexicon.symbols)}
    mended = 0
    for utterance, own in zip(run.corpus.utterances, tokens, strict=True):
        heard = units.tokenize(torch.from_numpy(run.corpus.audio(utterance))[None])[0].numpy()
        if utterance.ends:
            phones = phones_of_frames(utterance, 50, len(own), ids)
            assert (units.phone_of[torch.from_numpy(own.astype(int))].numpy() == phones).all()
            mended += int((own != heard).sum())
        else:
            assert (own == heard).all()
    assert mended > 0


def test_averaged_weights_make_the_units(corpus: Corpus, tmp_path: Path) -> None:
    averaging = replace(recipe(2), optimization=replace(recipe(2).optimization, ema=0.9))
    units = fit_units(averaging, corpus, tmp_path / "units.pt", tuple(PITCHES))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    name, weight = next(iter(units.named_parameters()))
    assert torch.equal(weight, state["ema"][f"module.units.{name}"])
    assert not torch.equal(weight, state["model"][f"units.{name}"])


def test_targets_are_the_phones_at_their_times(corpus: Corpus) -> None:
    stage = PhoneticStage(recipe(), TINY, corpus, tuple(PITCHES))
    audio, phones, progress = stage.sample(0, np.random.default_rng(0))
    assert audio.shape == (30 * 320,)
    assert phones.shape == (3, 30)
    change = np.flatnonzero(np.diff(progress) < 0)[0] + 1  # a phone begins
    assert phones[1, change] == phones[2, change - 1]
    assert phones[0, change] == phones[1, change - 1]


def test_a_corpus_without_times_is_refused(corpus: Corpus) -> None:
    stage = PhoneticStage(recipe(), TINY, corpus, tuple(PITCHES))
    row = corpus.utterances[0]
    with pytest.raises(CorpusError, match="u0 has no phone times, which phonetic units need; align"):
        stage._targets(Utterance(**{**to_dict(row), "phones": (), "ends": ()}), 0, 30)


def test_features_are_of_one_scale() -> None:
    units = PhoneticUnits(TINY)
    features = units.features(torch.randn(2, 3200))
    assert features.shape == (2, 10, 8)
    torch.testing.assert_close(features.std(dim=-1, unbiased=False), torch.ones(2, 10), atol=1e-2, rtol=0)


def test_kernels_are_odd() -> None:
    with pytest.raises(ConfigError, match="kernel 4 is even, expected an odd number"):
        PhoneticUnitsConfig(kernel=4)


def test_melody_is_relative_to_the_mean() -> None:
    found = melody((100.0, 0.0, 200.0, 400.0), 4)
    assert np.isnan(found).tolist() == [False, True, False, False]
    assert np.nanmean(found) == pytest.approx(0, abs=1e-6)
    assert found[3] - found[2] == pytest.approx(12 / MELODY_SPREAD)
    assert np.isnan(melody((0.0, 0.0), 4)).all()


def test_a_pitch_that_the_corpus_does_not_know_is_estimated(corpus: Corpus) -> None:
    stage = PhoneticStage(replace(recipe(), melody=1.0), TINY, corpus, tuple(PITCHES))
    _, phones, _, found = stage.sample(0, np.random.default_rng(0))
    low = phones[1] == list(PITCHES).index("low")  # a tone of 300 Hz
    assert found.shape == (30,)
    assert np.isfinite(found[low]).sum() > 10
    assert np.nanmedian(np.abs(found[low] - np.nanmedian(found[low]))) < 0.1


def test_units_learn_melody(corpus: Corpus) -> None:
    listing = corpus.folder / "utterances.jsonl"
    rows = [json.loads(line) for line in listing.read_text().splitlines()]
    for row in rows:
        row["pitch"] = [PITCHES[phone] for phone in row["phones"]]
    listing.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = replace(recipe(), melody=1.0)
    stage = PhoneticStage(asked, replace(TINY, pooled=True), Corpus(corpus.folder), tuple(PITCHES))
    batch = stage.collate([stage.sample(n, np.random.default_rng(n)) for n in range(4)])
    loss, parts = stage.loss(stage.model, batch)
    assert parts["melody"] > 0
    loss.backward()
    assert stage.units.pooled is not None
    assert stage.units.pooled.weight.grad is not None
    assert set(stage.evaluate(torch.device("cpu"))) >= {"melody"}
