"""The text tokenizer gives the ids of the one that spear-tts-pytorch takes from x-clip."""

from __future__ import annotations

import pytest
import torch

from soundstorm_edge.text_to_semantic.compat.clip_tokenizer import CLIP_TOKENS, clip_tokenize
from tests.interop import oracles  # noqa: F401 - before the reference is imported

reference = pytest.importorskip("x_clip.tokenizer").tokenizer

TEXTS = [
    "the rain in spain falls mainly in the plain",
    "Hello, World! It's 2024 & I've <b>$3.50</b>",
    "DON'T we'LL rock'n'roll's __init__ @x #y",
    "ünïcödé naïve “quotes” — em-dash, schÃ¶n",
    "日本語 テスト 🙂👍🏽 ١٢٣ ⅷ ½",
    "&lt;p&gt; &amp;amp; x\t many   spaces\n\nlines ",
    "<|startoftext|>hi<|endoftext|>",
    "a\u0301 é É İstanbul zero\x00x",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
def test_ids_are_those_of_the_reference(text: str) -> None:
    assert clip_tokenize([text])[0].tolist() == reference.encode(text)


def test_batches_and_sizes_are_those_of_the_reference() -> None:
    assert torch.equal(clip_tokenize(TEXTS[:5]), reference.tokenize(TEXTS[:5]))
    assert reference.vocab_size == CLIP_TOKENS
