"""Several speakers: stretches of one voice, a text stage of one rhythm, and a prompt for each."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from soundstorm_edge.checkpoint import VoiceModels
from soundstorm_edge.data.corpus import Corpus
from soundstorm_edge.data.shipped_lexicon import shipped_lexicon
from soundstorm_edge.data.utterances import Utterance
from soundstorm_edge.errors import CheckpointError, ConfigError, CorpusError
from soundstorm_edge.support.config import to_dict
from soundstorm_edge.text_to_semantic.autoregressive import TextToSemanticConfig
from soundstorm_edge.training.pipeline import TrainingRun, speaker_prompts
from soundstorm_edge.training.recipe import load_recipe
from soundstorm_edge.training.stages.acoustic_stage import AcousticRecipe, AcousticStage
from soundstorm_edge.training.stages.text_stage import TextRecipe, TextStage
from soundstorm_edge.training.token_cache import corpus_tokens

SPEAKERS = ("anna", "otto")


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Ten utterances, by turns of two speakers, the last four held out; number n lasts 0.2 + 0.1 n s."""
    (tmp_path / "audio").mkdir()
    rows = []
    for number in range(10):
        samples = 3200 + 1600 * number
        row = Utterance(
            f"u{number}",
            f"audio/u{number}.flac",
            samples / 16_000,
            "Hello.",
            SPEAKERS[number % 2],
            number >= 6,
            ("pau", "pau"),
            (0.1, samples / 16_000),
        )
        soundfile.write(tmp_path / row.audio, np.random.default_rng(number).normal(0, 0.1, samples), 16_000)
        rows.append(json.dumps(to_dict(row)) + "\n")
    (tmp_path / "utterances.jsonl").write_text("".join(rows))
    return Corpus(tmp_path)


def numbered(corpus: Corpus) -> list[np.ndarray]:
    """Semantic tokens that tell the utterance."""
    return [np.full(10 + 5 * number, number) for number in range(len(corpus.utterances))]


def test_a_stretch_stays_with_its_speaker(corpus: Corpus, tiny_voice: VoiceModels) -> None:
    tokens = numbered(corpus)
    codes = [np.stack([own % 16, own % 16], axis=1) for own in tokens]
    recipe = AcousticRecipe(frames=60)
    stage = AcousticStage(recipe, tiny_voice.config.soundstorm, corpus, codes, tokens, 1)
    heard = set()
    for number in range(6):
        own_codes, own_tokens, *_ = stage.sample(number, np.random.default_rng(number))
        assert own_codes.shape == (60, 2)
        assert {token % 2 for token in own_tokens} == {number % 2}  # of this speaker alone
        assert own_tokens[0] == number  # from the utterance itself on
        assert own_tokens.max() < 6  # nothing that is held out
        heard |= set(own_tokens.tolist())
    assert heard == set(range(6))
    batch = stage.collate([stage.sample(n, np.random.default_rng(n)) for n in (0, 1)])
    assert [tuple(tensor.shape) for tensor in batch] == [(2, 60, 2), (2, 60), (2,), (2,), (2, 60)]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_tokens_may_be_predicted_ones(corpus: Corpus, tiny_voice: VoiceModels, share: float) -> None:
    tokens = numbered(corpus)
    codes = [np.stack([own % 16, own % 16], axis=1) for own in tokens]
    predicted = [own + 100 for own in tokens]
    recipe = AcousticRecipe(frames=60, predicted_tokens=share)
    stage = AcousticStage(recipe, tiny_voice.config.soundstorm, corpus, codes, tokens, 1, predicted)
    shares = []
    for seed in range(40):
        own_codes, own_tokens, *_ = stage.sample(seed % 6, np.random.default_rng(seed))
        assert (own_codes[:, 0] == own_tokens % 100).all()  # of the same utterance either way
        shares.append((own_tokens >= 100).mean())
    assert np.mean(shares) == pytest.approx(share, abs=0.15)
    assert all((held_out[1] < 100).all() for held_out in stage.held_out)


def test_prompts_may_be_degraded(corpus: Corpus, tiny_voice: VoiceModels) -> None:
    tokens = numbered(corpus)
    codes = [np.stack([own % 16, own % 16], axis=1) for own in tokens]
    degraded = [own_codes + 100 for own_codes in codes], [own + 100 for own in tokens]
    recipe = AcousticRecipe(frames=60, degraded_prompts=0.5)
    stage = AcousticStage(recipe, tiny_voice.config.soundstorm, corpus, codes, tokens, 1, None, degraded)
    prompts = []
    for seed in range(40):
        own_codes, own_tokens, prompt, _ = stage.sample(seed % 6, np.random.default_rng(seed))
        assert own_codes.shape == (60, 2)
        is_degraded = own_codes[:, 0] >= 100
        assert (is_degraded == (own_tokens >= 100)).all()
        assert is_degraded.sum() == max(0, prompt[0])
        assert is_degraded[: max(0, prompt[0])].all(), "what follows the prompt is clean"
        prompts.append(prompt[0])
    assert np.mean(np.array(prompts) > 0) == pytest.approx(0.5, abs=0.2)
    assert max(prompts) <= 30
    batch = stage.collate([stage.sample(n, np.random.default_rng(n)) for n in range(4)])
    clean = [tensor % 100 if tensor.ndim == 3 else tensor % 6 for tensor in batch[:2]]
    loss, _ = stage.loss(stage.model, (*clean, *batch[2:]))
    assert loss.isfinite()


def test_the_text_stage_predicts_tokens_for_the_true_durations(
    corpus: Corpus, tiny_voice: VoiceModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(
        load_recipe("flite-multi"),
        units=replace(load_recipe("flite-multi").units, model=tiny_voice.config.units),
        text=TextRecipe(tiny_voice.config.text),
        acoustic=AcousticRecipe(predicted_tokens=0.5),
        unit_distillation=None,
    )
    tokens = corpus_tokens(tmp_path / "heard", corpus, tiny_voice.units, tiny_voice.units.tokenize)
    run = TrainingRun(recipe, tmp_path)
    run.corpus = corpus
    monkeypatch.setattr(run, "weights", lambda *_: tiny_voice.text.state_dict())
    monkeypatch.setattr(run, "fitted_units", lambda: tiny_voice.units)
    predicted = run._predicted_tokens(run.trained_text("acoustic.predicted_tokens"))
    assert predicted.lengths.tolist() == tokens.lengths.tolist()
    pau, last = tiny_voice.config.text.symbols.index("pau"), tokens.lengths[3]
    alone = torch.tensor([[pau, pau]]), torch.tensor([2]), torch.tensor([[5, int(last) - 5]])
    assert predicted[3].tolist() == tiny_voice.text.predict(*alone)[0].tolist()
    autoregressive = replace(recipe, text=TextRecipe(TextToSemanticConfig()))
    with pytest.raises(ConfigError, match=r"predicted_tokens, which needs text\.model\.kind = 'parallel'"):
        TrainingRun(autoregressive, tmp_path).trained_text("acoustic.predicted_tokens")


def test_a_share_is_one() -> None:
    with pytest.raises(ConfigError, match=r"predicted_tokens is 1\.5, expected a share from 0 to 1"):
        AcousticRecipe(predicted_tokens=1.5)


def test_a_text_stage_may_learn_one_rhythm(corpus: Corpus, tiny_voice: VoiceModels) -> None:
    config, tokens, lexicon = tiny_voice.config.text, numbered(corpus), shipped_lexicon()
    stage = TextStage(TextRecipe(speaker="otto"), config, corpus, tokens, 50, lexicon)
    assert stage.numbers == [1, 3, 5]
    assert len(stage.held_out) == 2
    with pytest.raises(CorpusError, match="no training or no held-out utterance of 'emil'; add speech"):
        TextStage(TextRecipe(speaker="emil"), config, corpus, tokens, 50, lexicon)


def test_prompts_are_held_out_speech_of_each(corpus: Corpus, tiny_voice: VoiceModels) -> None:
    prompts = speaker_prompts(corpus, tiny_voice.codec, tiny_voice.units)
    assert list(prompts) == list(SPEAKERS)
    assert prompts["anna"].codes.shape == (50, 2)  # number 8, of 1 s, is nearest to three seconds
    assert prompts["otto"].semantic_tokens.shape == (55,)  # and number 9, of 1.1 s


def test_blends_teach_and_are_not_offered(corpus: Corpus, tiny_voice: VoiceModels) -> None:
    prompts = speaker_prompts(corpus, tiny_voice.codec, tiny_voice.units, ["otto", "emil"])
    assert list(prompts) == ["otto"]
    prompts = speaker_prompts(corpus, tiny_voice.codec, tiny_voice.units, ["otto", "anna"])
    assert list(prompts) == ["otto", "anna"]  # the first is the usual one
    prompts = speaker_prompts(corpus, tiny_voice.codec, tiny_voice.units, ["rms"])  # others
    assert list(prompts) == list(SPEAKERS)


def test_who_has_no_held_out_speech_is_prompted_with_other(corpus: Corpus, tiny_voice: VoiceModels) -> None:
    listing = corpus.folder / "utterances.jsonl"
    rows = [json.loads(row) for row in listing.read_text().splitlines()]
    for row in rows:
        row["held_out"] = row["held_out"] and row["speaker"] == "otto"
    listing.write_text("".join(json.dumps(row) + "\n" for row in rows))
    prompts = speaker_prompts(Corpus(corpus.folder), tiny_voice.codec, tiny_voice.units)
    assert prompts["anna"].codes.shape == (50, 2)


def test_a_stage_goes_on_with_what_it_learned_from_alone(
    corpus: Corpus, tiny_voice: VoiceModels, tmp_path: Path
) -> None:
    run = TrainingRun(load_recipe("flite-multi"), tmp_path)
    run.corpus = corpus
    models = {"codec": tiny_voice.codec, "units": tiny_voice.units}
    (tmp_path / "acoustic").mkdir()
    (tmp_path / "acoustic" / "sources.json").write_text('{"codec": "of a run stopped before its first save"}')
    run._record_sources("acoustic", **models)
    (tmp_path / "acoustic" / "state.pt").touch()
    run._record_sources("acoustic", **models)
    with (corpus.folder / "utterances.jsonl").open() as listing:
        rows = listing.readlines()
    (corpus.folder / "utterances.jsonl").write_text("".join(rows[1:]))
    run.corpus = Corpus(corpus.folder)  # a corpus that has changed is no other model
    run._record_sources("acoustic", **models)
    sources = tmp_path / "acoustic" / "sources.json"
    whole = sources.read_text()
    for damaged in ("[" * 9999, "3", whole[:20]):
        sources.write_text(damaged)
        with pytest.raises(
            CheckpointError, match=r"sources\.json cannot be read .*; remove .*acoustic and train"
        ):
            run._check_sources("acoustic", **models)
    sources.write_text(whole)
    with torch.no_grad():
        tiny_voice.codec.head.bias += 1
    run._check_sources("acoustic", **models)  # another decoder decodes the same codes
    with torch.no_grad():
        tiny_voice.codec.head.bias -= 1
    weight = next(tiny_voice.codec.parameters())
    with torch.no_grad():
        weight += 1
    try:
        with pytest.raises(
            CheckpointError, match=r"was trained with another codec than .*'soundstorm-train acoustic'"
        ):
            run._record_sources("acoustic", **models)
        with pytest.raises(CheckpointError, match="was trained with another codec"):
            run._check_sources("acoustic", **models)
    finally:
        with torch.no_grad():
            weight -= 1


def test_speakers_take_turns_after_speech_of_their_own(corpus: Corpus, tiny_voice: VoiceModels) -> None:
    tokens = numbered(corpus)
    codes = [np.stack([own % 16, own % 16], axis=1) for own in tokens]
    recipe = AcousticRecipe(frames=96, dialogues=1.0)
    stage = AcousticStage(recipe, tiny_voice.config.soundstorm, corpus, codes, tokens, 1)
    for number in range(6):
        _, own_tokens, prompt, given = stage.sample(number, np.random.default_rng(number))
        assert own_tokens.shape == given.shape == (96,)
        assert own_tokens[0] % 2 == number % 2  # the utterance's speaker is the first
        assert given[: prompt[0]].all()
        assert not given[prompt[0]]
        speakers = own_tokens % 2
        (starts,) = np.nonzero(np.diff(speakers))
        assert len(starts)
        assert given[starts + 1].all()  # another speaker starts with what is given
        turns = np.flatnonzero(np.diff(given.astype(int)) == -1)
        assert (speakers[turns] == speakers[turns + 1]).all()
    batch = stage.collate([stage.sample(n, np.random.default_rng(n)) for n in (0, 1)])
    loss, _ = stage.loss(stage.model, batch)
    assert torch.isfinite(loss)
    with pytest.raises(ConfigError, match="dialogues is 2, expected a share from 0 to 1"):
        AcousticRecipe(dialogues=2)
