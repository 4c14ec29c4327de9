"""Training both text stages on utterances of a corpus."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from soundstorm_edge.data.corpus import Corpus
from soundstorm_edge.errors import CorpusError
from soundstorm_edge.nn.conformer import ConformerConfig
from soundstorm_edge.text_to_semantic.autoregressive import TextToSemanticConfig
from soundstorm_edge.text_to_semantic.parallel import ParallelTextConfig
from soundstorm_edge.training.pipeline import shipped_lexicon
from soundstorm_edge.training.stage import Share
from soundstorm_edge.training.stages.text_stage import TextRecipe, TextStage, with_alphabets

CONFORMER = ConformerConfig(dim=16, depth=1, heads=2, dim_head=8)
PARALLEL = ParallelTextConfig(encoder=CONFORMER, decoder=CONFORMER)
AUTOREGRESSIVE = TextToSemanticConfig(
    dim=16, source_depth=1, target_depth=2, heads=2, dim_head=8, target_early_exit_layer=1
)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    rows = [
        {
            "id": f"u{number}", "audio": f"audio/u{number}.flac", "seconds": 0.4, "text": "a tree",
            "speaker": "rms", "held_out": number % 4 == 0, "phones": ["ax", "t", "r", "iy"][: 2 + number % 3],
            "ends": [0.1, 0.2, 0.3, 0.4][: 2 + number % 3],
        }
        for number in range(8)
    ]  # fmt: skip
    (tmp_path / "utterances.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Corpus(tmp_path)


def make_stage(corpus: Corpus, model: ParallelTextConfig | TextToSemanticConfig) -> TextStage:
    lexicon = shipped_lexicon()
    config = with_alphabets(model, lexicon.symbols, 30, 50)
    tokens = [np.arange(20, dtype=np.uint16) + number for number in range(8)]
    return TextStage(TextRecipe(model), config, corpus, tokens, 50, lexicon)


@pytest.mark.parametrize("model", [PARALLEL, AUTOREGRESSIVE], ids=["parallel", "autoregressive"])
def test_learns_from_what_is_not_held_out(
    model: ParallelTextConfig | TextToSemanticConfig, corpus: Corpus
) -> None:
    stage = make_stage(corpus, model)
    assert stage.config.vocabulary == 30
    assert len(stage.lengths) == 6
    assert len(stage.held_out) == 2
    optimizer = torch.optim.AdamW(stage.parameter_groups(), lr=0.01)
    losses = []
    for step in range(15):
        loss, _ = stage.loss(stage.model, stage.share(Share(0, step, 4, 0, 1)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert all(np.isfinite(score) for score in stage.evaluate(torch.device("cpu")).values())


def test_an_early_exit_learns_too(corpus: Corpus) -> None:
    stage = make_stage(corpus, AUTOREGRESSIVE)
    loss, _ = stage.loss(stage.model, stage.share(Share(0, 0, 4, 0, 1)))
    loss.backward()
    assert stage.model.early_exit.to_logits.weight.grad.abs().max() > 0


def test_the_device_may_speak_what_was_fitted_to_a_lexicon() -> None:
    config = with_alphabets(AUTOREGRESSIVE, ("a", "b"), 30, 25)
    assert (config.symbols, config.text_tokens, config.vocabulary, config.rate) == (("a", "b"), 2, 30, 25)
    assert not config.autoset_text_eos_id


def test_names_an_unknown_phone(corpus: Corpus) -> None:
    lexicon = shipped_lexicon()
    config = with_alphabets(AUTOREGRESSIVE, ("t", "r"), 30, 50)
    tokens = [np.arange(20)] * 8
    with pytest.raises(CorpusError, match=r"phone 'ax' of the corpus is not in the lexicon \(t, r\)"):
        TextStage(TextRecipe(AUTOREGRESSIVE), config, corpus, tokens, 50, lexicon)
