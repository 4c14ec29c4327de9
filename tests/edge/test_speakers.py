"""Several speakers: stretches of one voice, a text stage of one rhythm, and a prompt for each."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundstorm_edge.checkpoint import VoiceModels
from soundstorm_edge.config import to_plain
from soundstorm_edge.corpus import Corpus
from soundstorm_edge.errors import CorpusError
from soundstorm_edge.lexicon import shipped_lexicon
from soundstorm_edge.training.acoustic import AcousticRecipe, AcousticStage
from soundstorm_edge.training.run import _prompts
from soundstorm_edge.training.text import TextRecipe, TextStage
from soundstorm_edge.utterances import Utterance

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
        rows.append(json.dumps(to_plain(row)) + "\n")
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
        own_codes, own_tokens = stage.sample(number, np.random.default_rng(number))
        assert own_codes.shape == (60, 2)
        assert {token % 2 for token in own_tokens} == {number % 2}  # of this speaker alone
        assert own_tokens[0] == number  # from the utterance itself on
        assert own_tokens.max() < 6  # nothing that is held out
        heard |= set(own_tokens.tolist())
    assert heard == set(range(6))
    batch = stage.collate([stage.sample(n, np.random.default_rng(n)) for n in (0, 1)])
    assert [tuple(tensor.shape) for tensor in batch] == [(2, 60, 2), (2, 60), (2,)]


def test_a_text_stage_may_learn_one_rhythm(corpus: Corpus, tiny_voice: VoiceModels) -> None:
    config, tokens, lexicon = tiny_voice.config.text, numbered(corpus), shipped_lexicon()
    stage = TextStage(TextRecipe(speaker="otto"), config, corpus, tokens, 50, lexicon)
    assert stage.numbers == [1, 3, 5]
    assert len(stage.held_out) == 2
    with pytest.raises(CorpusError, match="no training or no held-out utterance of 'emil'; add speech"):
        TextStage(TextRecipe(speaker="emil"), config, corpus, tokens, 50, lexicon)


def test_prompts_are_held_out_speech_of_each(corpus: Corpus, tiny_voice: VoiceModels) -> None:
    prompts = _prompts(corpus, tiny_voice.codec, tiny_voice.units)
    assert list(prompts) == list(SPEAKERS)
    assert prompts["anna"].codes.shape == (50, 2)  # number 8, of 1 s, is nearest to three seconds
    assert prompts["otto"].semantic_tokens.shape == (55,)  # and number 9, of 1.1 s
