"""SPEAR-TTS's stages: restoring speech, back-translation, and fine-tuning with frozen layers."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from soundstorm_edge.errors import CheckpointError, ConfigError, CorpusError
from soundstorm_edge.text_to_semantic.autoregressive import TextToSemantic, TextToSemanticConfig
from soundstorm_edge.text_to_semantic.representation_alignment import similarity_loss
from soundstorm_edge.training.compat.spear_tts import (
    Deletion,
    GeneratedAudioTextDataset,
    SemanticToTextDatasetGenerator,
    SemanticToTextWrapper,
    SpeechSpeechPretrainWrapper,
    TextToSemanticWrapper,
    train_for_back_translation,
    train_for_fine_tuning,
    train_for_pretraining,
)
from soundstorm_edge.training.compat.spear_tts_trainers import (
    SemanticToTextTrainer,
    SpeechSpeechPretrainer,
    TextToSemanticTrainer,
)
from soundstorm_edge.units.semantic_units import SpectralUnits, SpectralUnitsConfig
from soundstorm_runtime.errors import OptionError

TINY = TextToSemanticConfig(
    dim=16, source_depth=3, target_depth=1, heads=2, dim_head=8, target_early_exit_layer=1,
    num_text_token_ids=9, num_semantic_token_ids=12, text_pad_id=-1,
)  # fmt: skip
SPEECH = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [11, 3, 5, 7, 9, -1, -1, -1, -1, -1]])
TEXT = torch.tensor([[1, 2, 3, 4], [5, 6, -1, -1]])


@pytest.fixture
def model() -> TextToSemantic:
    torch.manual_seed(0)
    return TextToSemantic(TINY)


def rows(ids: Tensor, mask: Tensor) -> list[list[int]]:
    return [row[real].tolist() for row, real in zip(ids, mask, strict=True)]


def test_deletes_a_share_of_each_sequence_and_asks_for_it() -> None:
    torch.manual_seed(0)
    seen = set()
    for _ in range(30):
        found = Deletion(0.6)(SPEECH, SPEECH >= 0)
        kept = rows(found["source"], found["source_mask"])
        deleted = rows(found["target"], found["target_mask"])
        assert [(len(k), len(d)) for k, d in zip(kept, deleted, strict=True)] == [(4, 6), (2, 3)]
        assert kept[0] == sorted(kept[0])
        assert sorted(kept[0] + deleted[0]) == list(range(1, 11))
        assert sorted(kept[1] + deleted[1]) == [3, 5, 7, 9, 11]
        seen |= {tuple(kept[0])}
    assert len(seen) > 20


def test_deletion_may_ask_for_all_and_leave_masks_in_its_place() -> None:
    mask = SPEECH >= 0
    found = Deletion(0.5, reconstruct=True)(SPEECH, mask)
    assert rows(found["target"], found["target_mask"]) == rows(SPEECH, mask)
    assert [len(row) for row in rows(found["source"], found["source_mask"])] == [5, 3]
    found = Deletion(0.5, reconstruct=True, mask_id=0)(SPEECH, mask)
    hidden = found["source"] == 0
    assert hidden.sum(dim=1).tolist() == [5, 2]
    assert torch.where(hidden, SPEECH, found["source"]).equal(SPEECH)


def test_one_token_is_always_left_and_one_asked_for_where_there_are_two() -> None:
    ids = torch.tensor([[3, -1], [4, 5]])
    for probability in (0.01, 0.99):
        found = Deletion(probability)(ids, ids >= 0)
        assert [len(row) for row in rows(found["source"], found["source_mask"])] == [1, 1]
        assert [len(row) for row in rows(found["target"], found["target_mask"])] == [0, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"deletion_prob": 1.0}, "deletion_prob is 1.0, expected above 0 and below 1"),
        ({"mask_id": 3}, "mask_id is 3 without reconstruct_seq, expected both; set reconstruct_seq"),
    ],
)
def test_refuses_other_deletions(options: dict[str, Any], message: str, model: TextToSemantic) -> None:
    with pytest.raises(ConfigError, match=message):
        SpeechSpeechPretrainWrapper(model, **options)


def test_wrappers_give_loss_and_logits(model: TextToSemantic) -> None:
    for loss, logits in (
        SpeechSpeechPretrainWrapper(model)(SPEECH),
        SemanticToTextWrapper(model)(SPEECH, TEXT),
        TextToSemanticWrapper(model)(TEXT, SPEECH),
    ):
        assert loss > 0
        assert logits.isfinite().all()
    logits = SemanticToTextWrapper(model)(SPEECH, TEXT)[1]
    assert logits.shape == (2, 10, 5)  # nine tokens and the end; four places and the end's
    without, _ = TextToSemanticWrapper(model)(TEXT, SPEECH, return_early_exit_loss=False)
    assert TextToSemanticWrapper(model)(TEXT, SPEECH)[0] > without + 0.5


def test_pretrains_on_audio() -> None:
    units = SpectralUnits(SpectralUnitsConfig(vocabulary=7, mels=8, context=0))
    units.centroids = torch.randn(7, 8)
    fields = {"dim": 16, "source_depth": 1, "target_depth": 1, "num_text_token_ids": 9}
    model = TextToSemantic(**fields, wav2vec=units)
    assert model.config.num_semantic_token_ids == 7
    assert not any(parameter.requires_grad for parameter in units.parameters())
    loss, logits = SpeechSpeechPretrainWrapper(model)(torch.randn(2, 16_000 // 5))
    assert loss > 0
    assert logits.shape == (2, 8, 7)  # six of ten tokens and the end
    with pytest.raises(OptionError, match="audio was given to a model without wav2vec; give semantic tokens"):
        SpeechSpeechPretrainWrapper(TextToSemantic(TINY))(torch.randn(2, 3200))


def learning(model: TextToSemantic) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_each_stage_lets_its_own_weights_learn(model: TextToSemantic) -> None:
    train_for_pretraining(model)
    assert "embedding.speech.weight" in learning(model)
    assert {name.split(".")[0] for name in learning(model)} == {"source", "target", "embedding", "begin"}
    assert "embedding.text.weight" not in learning(model)
    train_for_back_translation(model)
    parts = {name.split(".")[0] for name in learning(model) - {"embedding.text.weight", "begin.text"}}
    assert parts == {"target"}
    train_for_fine_tuning(model, 2)
    assert {name.split(".")[0] for name in learning(model)} == {"source", "embedding", "early_exit"}
    blocks = {name.split(".")[2] for name in learning(model) if name.startswith("source.blocks")}
    assert blocks == {"2"}


@pytest.mark.parametrize("stage", ["pretraining", "back-translation", "fine-tuning"])
def test_every_weight_that_may_learn_gets_a_gradient(stage: str, model: TextToSemantic) -> None:
    if stage == "pretraining":
        train_for_pretraining(model)
        loss, _ = SpeechSpeechPretrainWrapper(model)(SPEECH)
    elif stage == "back-translation":
        train_for_back_translation(model)
        loss, _ = SemanticToTextWrapper(model)(SPEECH, TEXT)
    else:
        train_for_fine_tuning(model)
        loss, _ = TextToSemanticWrapper(model)(TEXT, SPEECH)
    loss.backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_writes_pairs_and_reads_them_again(model: TextToSemantic, tmp_path: Path) -> None:
    speech = [torch.randint(12, (length,)) for length in (5, 3, 9)]
    generator = SemanticToTextDatasetGenerator(model, dataset=speech, folder=tmp_path / "pairs", batch_size=2)
    generator(max_length=4, beam_size=2)
    pairs = GeneratedAudioTextDataset(tmp_path / "pairs")
    assert len(pairs) == 3
    for original, (tokens, text) in zip(speech, pairs, strict=True):
        assert tokens.equal(original)
        options = {"source_type": "speech", "target_type": "text", "beam_search_decode": True, "beam_size": 2}
        alone = model.generate(original[None], max_length=4, **options)[0]
        assert text.tolist() == [i for i in alone.tolist() if 0 < i < 9]  # no padding, no end


def test_names_what_is_wrong_with_pairs(model: TextToSemantic, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no \*\.pt in .*, expected pairs of semantic tokens and text"):
        GeneratedAudioTextDataset(tmp_path)
    torch.save(torch.tensor([1, 2, 3]), tmp_path / "0.pt")
    with pytest.raises(CorpusError, match=r"0\.pt has no delimiter -1 between speech and text"):
        GeneratedAudioTextDataset(tmp_path)[0]
    torch.save(torch.nn.Linear(1, 1), tmp_path / "1.pt")
    with pytest.raises(CheckpointError, match=r"cannot read .*1\.pt as a pair of semantic tokens and text"):
        GeneratedAudioTextDataset(tmp_path)[1]
    with pytest.raises(ConfigError, match="delimiter_id is 3, the id of a token; choose another, such as -1"):
        SemanticToTextDatasetGenerator(model, dataset=[], delimiter_id=3)


def spoken(text: list[int]) -> Tensor:
    """A language in which each letter is two sounds."""
    return torch.tensor([sound for letter in text for sound in (letter, letter + 2)])


def test_the_whole_road_teaches_to_speak(tmp_path: Path) -> None:
    torch.manual_seed(0)
    random.seed(0)
    texts = [[random.randint(1, 8) for _ in range(random.randint(2, 4))] for _ in range(48)]
    pairs = [(spoken(text), torch.tensor(text)) for text in texts]
    model = TextToSemantic(replace(TINY, dim=32, source_depth=2))
    options: dict[str, Any] = {"num_warmup_steps": 5, "batch_size": 8, "lr": 3e-3}

    def losses(stage: str) -> list[float]:
        lines = (tmp_path / stage / "log.jsonl").read_text().splitlines()
        return [row["loss"] for row in map(json.loads, lines) if "loss" in row]

    speech = [tokens for tokens, _ in pairs]
    SpeechSpeechPretrainer(
        model, dataset=speech, num_train_steps=41, results_folder=str(tmp_path / "speech"), **options
    ).train()
    SemanticToTextTrainer(
        model, dataset=pairs[:24], num_train_steps=41, results_folder=str(tmp_path / "text"), **options
    ).train()
    frozen = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    assert losses("speech")[-1] < losses("speech")[0]
    assert losses("text")[-1] < losses("text")[0]
    generator = SemanticToTextDatasetGenerator(model, dataset=speech[24:32], folder=tmp_path / "pairs")
    generator(max_length=6, beam_search_decode=False)
    TextToSemanticTrainer(
        model, dataset=pairs[:24], generated_audio_text_dataset_folder=tmp_path / "pairs",
        freeze_encoder_layers_below=1, num_train_steps=41, results_folder=str(tmp_path / "both"), **options,
    ).train()  # fmt: skip
    assert losses("both")[-1] < losses("both")[0]
    decoder = {name: p for name, p in model.named_parameters() if name.startswith("target.")}
    assert not any(p.requires_grad for p in decoder.values())
    assert all(model.get_parameter(name).equal(value) for name, value in frozen.items() if "blocks.0" in name)


def test_trainers_name_wrong_options(model: TextToSemantic) -> None:
    with pytest.raises(
        ConfigError, match="TrainerOptions has the unknown key 'steps'; valid keys: num_train_"
    ):
        SemanticToTextTrainer(model, dataset=[], steps=3)
    options = {"num_train_steps": 1, "num_warmup_steps": 1, "batch_size": 1}
    with pytest.raises(CorpusError, match="no pairs were given, expected dataset, generated_audio_text_dat"):
        TextToSemanticTrainer(model, **options)
    trainer = SpeechSpeechPretrainer(model, dataset=[torch.zeros(100)] * 4, **options)
    with pytest.raises(CorpusError, match="dataset has audio, which nothing turns into semantic tokens"):
        trainer.stage.sample(0, None)


@pytest.mark.parametrize("temperature", [None, 0.1])
def test_similarity_is_compared_over_pairs(temperature: float | None) -> None:
    source = torch.eye(3)[:, None]  # three samples that have nothing in common
    target = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 1, 0]])[:, None]  # of which two are alike
    mask = torch.ones(3, 1, dtype=torch.bool)
    assert similarity_loss(source, mask, source, mask, temperature) == 0
    loss = similarity_loss(source, mask, target, mask, temperature)
    assert loss.item() == pytest.approx(2 / 6, abs=1e-3)
    padded = torch.cat([target, torch.full_like(target, 9.0)], dim=1)
    hidden = torch.cat([mask, ~mask], dim=1)
    torch.testing.assert_close(similarity_loss(source, mask, padded, hidden, temperature), loss)
    assert similarity_loss(source[:1], mask[:1], target[:1], mask[:1], temperature) == 0


def test_the_similarity_loss_counts_where_the_source_is_withheld(model: TextToSemantic) -> None:
    options = {"source_type": "text", "target_type": "speech", "return_loss": True}

    def loss(weight: float, chance: float, **more: Any) -> float:
        other = TextToSemantic(replace(TINY, align_reg_loss_weight=weight))
        other.load_state_dict(model.state_dict())
        return other(TEXT, SPEECH, cond_drop_prob=chance, **options, **more).item()

    extra = loss(1.0, 1.0) - loss(0.0, 1.0)
    assert extra > 1e-4
    assert loss(3.0, 1.0) - loss(0.0, 1.0) == pytest.approx(3 * extra, rel=1e-2)
    assert loss(1.0, 0.0) == loss(0.0, 0.0)
    assert loss(1.0, 1.0, should_sim_regularize=False) == loss(0.0, 1.0)


def test_withholds_the_source_as_often_as_asked(model: TextToSemantic) -> None:
    torch.manual_seed(0)
    options = {"source_type": "text", "target_type": "speech"}
    blind = model(TEXT, SPEECH, cond_drop_prob=1.0, **options)
    times = sum(model(TEXT, SPEECH, cond_drop_prob=0.3, **options).equal(blind) for _ in range(100))
    assert times / 100 == pytest.approx(0.3, abs=2.5 * math.sqrt(0.3 * 0.7 / 100))
