"""Weights of spear-tts-pytorch do here what they do there."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from soundstorm_edge.errors import CheckpointError, ConfigError
from soundstorm_edge.interop.spear_tts_pytorch import from_spear_tts_pytorch, text_to_semantic_from_state
from soundstorm_edge.text_to_semantic.autoregressive import TextToSemantic
from tests.interop import oracles  # noqa: F401 - before the reference is imported

reference = pytest.importorskip("spear_tts_pytorch")

SIZES: dict[str, Any] = {
    "dim": 32, "source_depth": 1, "target_depth": 2, "heads": 4, "dim_head": 8,
    "num_text_token_ids": 20, "num_semantic_token_ids": 30,
}  # fmt: skip
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deep": {"source_depth": 3, "target_depth": 1, "ff_mult": 2},
    "wide heads": {"heads": 2, "dim_head": 24, "dim": 20},
    "pairs of heads share a key": {"target_kv_heads": 2},
    "all heads share a key": {"target_kv_heads": 1, "target_depth": 3},
    "early exit": {"target_early_exit_layer": 1},
    "late exit": {"target_early_exit_layer": 2, "detach_early_exit_embed": True, "target_kv_heads": 2},
    "guided": {"cond_drop_prob": 0.25},
    "guided, maximum pooled": {"cond_drop_prob": 0.5, "align_reg_use_logsumexp_pool": False},
    "guided, soft": {
        "cond_drop_prob": 0.5,
        "align_reg_logsumexp_pool_temp": 0.7,
        "align_reg_loss_weight": 2.0,
    },
    "padding is a token": {"semantic_pad_id": 4, "text_pad_id": 5},
    "without ends": {"autoset_semantic_eos_id": False, "autoset_text_eos_id": False},
    "text without an end": {"autoset_text_eos_id": False},
    "fused": {"attn_flash": False, "attn_dropout": 0.1, "ff_dropout": 0.1},
}
TOLD = {*SIZES, "ff_mult", "target_kv_heads", "attn_flash", "attn_dropout", "ff_dropout"}
DIRECTIONS = [("text", "speech"), ("speech", "text"), ("speech", "speech")]


def make_reference(seed: int = 0, **changes: Any) -> Any:
    """A reference model with every parameter jittered, whose sequences vary: blocks outweigh embeddings."""
    torch.manual_seed(seed)
    model = reference.TextToSemantic(**{**SIZES, **changes}).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += 0.1 * torch.randn_like(parameter)
            parameter *= 3 if ".layers." in name and parameter.ndim > 1 else 1
        for table in (*model.token_emb.values(), *model.start_token.values()):
            (table if isinstance(table, Tensor) else table.weight).mul_(0.2)
    return model


def convert(model: Any, changes: dict[str, Any]) -> TextToSemantic:
    facts = {name: value for name, value in changes.items() if name not in TOLD}
    return text_to_semantic_from_state(model.state_dict(), **facts)


@pytest.fixture(scope="module", params=CONFIGURATIONS, ids=lambda name: name.replace(" ", "-"))
def pair(request: pytest.FixtureRequest) -> tuple[Any, TextToSemantic]:
    theirs = make_reference(**CONFIGURATIONS[request.param])
    return theirs, convert(theirs, CONFIGURATIONS[request.param])


def sequences(model: Any, name: str, *shape: int) -> Tensor:
    """Random ids, of which the last row ends in padding where the reference can embed that."""
    ids = torch.randint(6, 20, shape)
    if model.pad_id[name] >= 0:
        ids[-1, -3:] = model.pad_id[name]
    return ids


def written(model: Any, source: Tensor, **options: Any) -> Tensor:
    """What a model writes, all after the end made equal: the reference leaves it if another row goes on."""
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        target = model.generate(source, **{"temperature": 0, "max_length": 24, **options})
    kind = options["target_type"]
    end, pad = SIZES["num_semantic_token_ids" if kind == "speech" else "num_text_token_ids"], -9
    ended = (target == end).cumsum(dim=1) - (target == end).long() > 0
    target = torch.where(ended, pad, target)
    return torch.nn.functional.pad(target, (0, 24 - target.shape[1]), value=pad)


@torch.no_grad()
@pytest.mark.parametrize(("source_type", "target_type"), DIRECTIONS)
@pytest.mark.parametrize("chance", [0.0, 1.0], ids=["conditioned", "unconditioned"])
def test_logits_and_losses(
    pair: tuple[Any, TextToSemantic], source_type: str, target_type: str, chance: float
) -> None:
    theirs, ours = pair
    torch.manual_seed(1)
    source, target = sequences(theirs, source_type, 3, 9), sequences(theirs, target_type, 3, 7)
    options = {"source_type": source_type, "target_type": target_type, "cond_drop_prob": chance}
    torch.testing.assert_close(
        ours(source, target, **options), theirs(source, target, **options), atol=1e-4, rtol=0
    )
    early = theirs.target_has_early_exit and (source_type, target_type) == ("text", "speech")
    options |= {"return_loss": True, "return_logits": True, "return_early_exit_loss": early}
    for found, expected in zip(
        ours(source, target, **options), theirs(source, target, **options), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("source_type", "target_type"), DIRECTIONS)
def test_greedy_decoding(pair: tuple[Any, TextToSemantic], source_type: str, target_type: str) -> None:
    theirs, ours = pair
    torch.manual_seed(2)
    source = sequences(theirs, source_type, 4, 9)
    options = {"source_type": source_type, "target_type": target_type}
    expected = written(theirs, source, **options)
    assert written(ours, source, **options).equal(expected)
    if ours.config.cond_drop_prob:
        guided = written(theirs, source, cond_scale=2.5, **options)
        assert written(ours, source, cond_scale=2.5, **options).equal(guided)
        assert not guided.equal(expected)
    if ours.early_exit is not None and (source_type, target_type) == ("text", "speech"):
        for gamma in (1, 4):
            fast = written(ours, source, spec_decode=True, spec_decode_gamma=gamma, **options)
            assert fast.equal(expected)


def test_greedy_sequences_vary() -> None:
    """Or else their equality would say little."""
    model = make_reference()
    torch.manual_seed(2)
    target = written(model, torch.randint(6, 20, (4, 9)), source_type="text", target_type="speech")
    assert len(target.unique()) > 8


def test_the_early_exit_guesses_the_same() -> None:
    theirs = make_reference(target_early_exit_layer=1)
    ours = convert(theirs, {"target_early_exit_layer": 1})
    hidden = torch.randn(2, 3, 32)
    torch.testing.assert_close(ours.early_exit(hidden), theirs.to_early_exit_semantic_logits(hidden))


@pytest.mark.parametrize("kind", ["state dict", "trainer's file"])
def test_reads_files(kind: str, tmp_path: Path) -> None:
    theirs = make_reference()
    state = theirs.state_dict()
    path = tmp_path / "model.pt"
    torch.save(
        state if kind == "state dict" else {"model": state, "optim": {}, "scheduler": {"step": 1}}, path
    )
    ours = from_spear_tts_pytorch(path)
    assert not ours.training
    source, target = torch.randint(1, 20, (2, 5)), torch.randint(30, (2, 4))
    options = {"source_type": "text", "target_type": "speech"}
    found, expected = (model(source, target, **options) for model in (ours, theirs))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert (ours.config.heads, ours.config.dim_head, ours.config.ff_mult) == (4, 8, 4)
    assert (ours.config.num_text_token_ids, ours.config.num_semantic_token_ids) == (20, 30)


def test_reads_what_the_trainer_of_the_reference_wrote(tmp_path: Path) -> None:
    """Its `save` puts the optimizer and the scheduler beside the weights."""
    theirs = make_reference()
    optimizer = torch.optim.AdamW(theirs.parameters())
    theirs(torch.randint(1, 20, (2, 5)), torch.randint(30, (2, 4)), source_type="text", target_type="speech",
           return_loss=True).backward()  # fmt: skip
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    content = {"model": theirs.state_dict(), "optim": optimizer.state_dict()}
    torch.save({**content, "scheduler": scheduler.state_dict()}, tmp_path / "text.semantic.0.pt")
    ours = from_spear_tts_pytorch(tmp_path / "text.semantic.0.pt")
    torch.testing.assert_close(ours.begin["speech"], theirs.start_token["speech"])


def test_weights_of_a_wav2vec_are_left_in_the_file() -> None:
    state = {**make_reference().state_dict(), "wav2vec.model.weight": torch.zeros(3)}
    assert text_to_semantic_from_state(state).wav2vec is None


def test_numbers_of_tokens_tell_whether_there_are_ends() -> None:
    theirs = make_reference(autoset_text_eos_id=False)
    ours = text_to_semantic_from_state(theirs.state_dict(), num_text_token_ids=20)
    assert not ours.config.autoset_text_eos_id
    assert ours.config.autoset_semantic_eos_id


@pytest.mark.parametrize(
    ("changes", "facts", "message"),
    [
        ({"target_early_exit_layer": 1}, {}, "but not after which layer; give target_early_exit_layer"),
        ({}, {"target_early_exit_layer": 1}, "but the weights have no early exit; leave it out"),
        ({}, {"heads": 2}, "heads was given as 2, but the weights have 4"),
        ({}, {"num_text_token_ids": 17}, "num_text_token_ids was given as 17, but the weights have 21 ids"),
        (
            {},
            {"num_semantic_token_ids": 30, "autoset_semantic_eos_id": False},
            "autoset_semantic_eos_id was given as False, but the weights have True",
        ),
        ({"ff_mult": 1.5}, {}, "a fractional ff_mult cannot be represented here"),
    ],
)  # fmt: skip
def test_names_what_is_in_the_way(changes: dict[str, Any], facts: dict[str, Any], message: str) -> None:
    state = make_reference(**changes).state_dict()
    with pytest.raises(CheckpointError, match=message):
        text_to_semantic_from_state(state, **facts)


def test_refuses_other_weights(tmp_path: Path) -> None:
    state = make_reference().state_dict()
    with pytest.raises(CheckpointError, match=r"have 'registers\.weight', which cannot be represented here"):
        text_to_semantic_from_state({**state, "registers.weight": torch.zeros(2)})
    del state["target_transformer.final_norm.gamma"]
    with pytest.raises(
        CheckpointError, match=r"lack 'target_transformer\.final_norm\.gamma', which a spear-tts"
    ):
        text_to_semantic_from_state(state)
    torch.save({"model": [1, 2]}, tmp_path / "other.pt")
    with pytest.raises(
        CheckpointError, match=r"other\.pt holds no tensors by name, expected the weights of a"
    ):
        from_spear_tts_pytorch(tmp_path / "other.pt")
    with pytest.raises(ConfigError, match="has the unknown key 'depth'; valid keys: kind, dim"):
        text_to_semantic_from_state(make_reference().state_dict(), depth=3)


def test_never_runs_code_of_a_file(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "pickled.pt")
    with pytest.raises(
        CheckpointError, match=r"cannot read .*pickled\.pt as a spear-tts-pytorch TextToSemantic"
    ):
        from_spear_tts_pytorch(tmp_path / "pickled.pt")


def test_other_rotary_frequencies_are_kept() -> None:
    """Jittered above as all else; the weights then include them, and a model without them refuses."""
    ours = convert(make_reference(), {})
    assert "source.rotary" in ours.state_dict()
    plain = reference.TextToSemantic(**SIZES)
    assert "source.rotary" not in text_to_semantic_from_state(plain.state_dict()).state_dict()
