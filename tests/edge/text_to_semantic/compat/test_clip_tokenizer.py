"""CLIP's byte-pair tokenizer; `tests/interop` compares its ids with the reference's."""

from __future__ import annotations

import importlib.metadata
import sys

import pytest
import torch

from soundstorm_edge.errors import ConfigError
from soundstorm_edge.text_to_semantic.autoregressive import TextToSemantic
from soundstorm_edge.text_to_semantic.compat import clip_tokenizer
from soundstorm_edge.text_to_semantic.compat.clip_tokenizer import CLIP_TOKENS, clip_tokenize


@pytest.fixture
def _carried() -> None:
    pytest.importorskip("tokenizers")
    pytest.importorskip("ftfy")
    try:
        clip_tokenize([""])
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("_carried")
def test_known_ids() -> None:
    assert clip_tokenize(["a diagram", "a dog"]).tolist() == [[320, 22697], [320, 1929]]
    assert clip_tokenize(["a cat", ""]).tolist() == [[320, 2368], [0, 0]]


@pytest.mark.usefixtures("_carried")
def test_a_model_takes_texts() -> None:
    torch.manual_seed(0)
    sizes = {"dim": 16, "source_depth": 1, "target_depth": 1, "heads": 2, "dim_head": 8}
    model = TextToSemantic(
        **sizes, num_text_token_ids=50_000, num_semantic_token_ids=20, use_openai_tokenizer=True
    )
    texts = ["the rain in spain ...", "the quick brown fox ..."]
    options = {"source_type": "text", "target_type": "speech", "temperature": 0, "max_length": 5}
    assert model.generate(texts, **options).equal(model.generate(clip_tokenize(texts), **options))
    assert (
        TextToSemantic(**sizes, num_semantic_token_ids=9, use_openai_tokenizer=True).config.text_tokens
        == 49_408
    )
    assert model.config.text_tokens > CLIP_TOKENS


@pytest.mark.parametrize("missing", ["tokenizers", "ftfy", "its vocabulary"])
def test_says_what_is_not_installed(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    clip_tokenizer.clip_tokenizer.cache_clear()
    if missing == "its vocabulary":
        pytest.importorskip("tokenizers")
        pytest.importorskip("ftfy")
        monkeypatch.setattr(importlib.metadata, "distribution", absent)
    else:
        monkeypatch.setitem(sys.modules, missing, None)
    message = rf"use_openai_tokenizer needs .*{missing}, which is not installed; pip install 'soundstorm"
    with pytest.raises(ConfigError, match=message):
        clip_tokenize(["a cat"])
    clip_tokenizer.clip_tokenizer.cache_clear()
