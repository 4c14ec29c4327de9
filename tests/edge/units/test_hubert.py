"""HuBERT units, on a tiny HuBERT with random weights that lies on disk as real ones do."""

import sys
from pathlib import Path

import pytest
import torch
from transformers import HubertConfig, HubertModel

from soundstorm_edge.errors import CheckpointError
from soundstorm_edge.support.config import from_dict
from soundstorm_edge.units.semantic_units import HubertUnits, HubertUnitsConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
        "conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("hubert")
    HubertModel(HubertConfig(**sizes)).save_pretrained(folder)
    return folder


def units(folder: Path, **changes: int) -> HubertUnits:
    return HubertUnits(
        HubertUnitsConfig(str(folder), **{"layer": 1, "width": 16, "vocabulary": 5, **changes})
    )  # type: ignore[arg-type]


def test_fifty_tokens_a_second(folder: Path) -> None:
    made = units(folder)
    audio = torch.randn(1, 32_000)
    made.fit(made.features(audio)[0].numpy(), seed=0)
    assert made.tokenize(audio).shape == (1, 100)
    assert len(made.tokenize(audio).unique()) == 5
    assert made.tokenize(torch.randn(1, 16_001)).shape == (1, 51)


def test_only_the_centroids_are_kept(folder: Path) -> None:
    made = units(folder)
    made.features(torch.randn(1, 3_200))
    assert list(made.state_dict()) == ["centroids"]


def test_missing_weights_are_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no HuBERT weights in .*expected config\.json and model"):
        units(tmp_path).features(torch.randn(1, 3_200))


def test_damaged_weights_are_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        units(tmp_path).features(torch.randn(1, 3_200))


def test_another_size_is_told(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has 2 layers of width 16, but units\.model asks for layer 9"):
        units(folder, layer=9).features(torch.randn(1, 3_200))


def test_a_missing_library_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(CheckpointError, match=r"pip install 'soundstorm-edge\[hubert\]'"):
        units(folder).features(torch.randn(1, 3_200))


def test_a_recipe_can_ask_for_it() -> None:
    plain = {"kind": "hubert", "folder": "weights/hubert", "layer": 6}
    assert from_dict(HubertUnitsConfig, plain, "units.model").layer == 6
