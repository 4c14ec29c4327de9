from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from soundstorm_edge.errors import ConfigError, CorpusError
from soundstorm_edge.nn.conformer import frame_mask
from soundstorm_edge.support.config import from_dict, to_dict
from soundstorm_edge.text_to_semantic.autoregressive import TextToSemantic, TextToSemanticConfig

SYMBOLS = tuple("abcdefgh")
TINY = TextToSemanticConfig(
    symbols=SYMBOLS, autoset_text_eos_id=False, num_semantic_token_ids=12, rate=25,
    dim=16, source_depth=2, target_depth=2, heads=2, dim_head=8,
)  # fmt: skip
GROUPED = replace(TINY, heads=4, target_kv_heads=2)
TEXT_TO_SPEECH = {"source_type": "text", "target_type": "speech"}


def make_model(config: TextToSemanticConfig = TINY, seed: int = 0) -> TextToSemantic:
    """A model with no parameter left at its first value, in evaluation mode."""
    torch.manual_seed(seed)
    model = TextToSemantic(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def logits_of(model: TextToSemantic, phones: Tensor, lengths: Tensor, tokens: Tensor) -> Tensor:
    mask = frame_mask(lengths, phones.shape[1])
    every = torch.ones_like(tokens, dtype=torch.bool)
    return model(phones, tokens, source_mask=mask, target_mask=every, **TEXT_TO_SPEECH)


def loss_of(
    model: TextToSemantic, phones: Tensor, phone_lengths: Tensor, tokens: Tensor, token_lengths: Tensor
) -> Tensor:
    masks = {
        "source_mask": frame_mask(phone_lengths, phones.shape[1]),
        "target_mask": frame_mask(token_lengths, tokens.shape[1]),
    }
    return model(phones, tokens, return_loss=True, **masks, **TEXT_TO_SPEECH)


@pytest.fixture(scope="module")
def model() -> TextToSemantic:
    return make_model()


def test_no_token_sees_those_after_it(model: TextToSemantic) -> None:
    phones, lengths = torch.randint(len(SYMBOLS), (1, 5)), torch.tensor([5])
    tokens = torch.randint(TINY.vocabulary, (1, 6))
    changed = tokens.clone()
    changed[0, 3] = (tokens[0, 3] + 1) % TINY.vocabulary
    before, after = logits_of(model, phones, lengths, tokens), logits_of(model, phones, lengths, changed)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert ((before - after)[:, 4:].abs().amax(-1) > 1e-3).all()


def test_order_of_phones_and_of_tokens_matters(model: TextToSemantic) -> None:
    lengths = torch.tensor([4])
    phones, tokens = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[5, 6, 7]])
    last = logits_of(model, phones, lengths, tokens)[0, -1]
    for other in (
        logits_of(model, phones.flip(1), lengths, tokens),
        logits_of(model, phones, lengths, tokens[:, [1, 0, 2]]),
    ):
        assert (other[0, -1] - last).abs().max() > 1e-3


@pytest.mark.parametrize("padding", [0, -1, 10_000])
def test_padding_changes_nothing(model: TextToSemantic, padding: int) -> None:
    phones, tokens = torch.randint(len(SYMBOLS), (2, 7)), torch.randint(TINY.vocabulary, (2, 9))
    phone_lengths, token_lengths = torch.tensor([7, 3]), torch.tensor([4, 9])
    phones[1, 3:] = padding
    tokens[0, 4:] = padding
    padded = loss_of(
        model, nn.functional.pad(phones, (0, 2), value=padding), phone_lengths, tokens, token_lengths
    )
    first = loss_of(model, phones[:1], phone_lengths[:1], tokens[:1, :4], token_lengths[:1])
    second = loss_of(model, phones[1:, :3], phone_lengths[1:], tokens[1:], token_lengths[1:])
    # Each sequence is scored at its tokens and its end: 5 and 10 places.
    torch.testing.assert_close(padded, (5 * first + 10 * second) / 15)


def test_loss_is_the_cross_entropy_of_each_token_and_the_end(model: TextToSemantic) -> None:
    phones, lengths, tokens = torch.tensor([[1, 2]]), torch.tensor([2]), torch.tensor([[3, 4, 5]])
    scores = logits_of(model, phones, lengths, tokens).log_softmax(-1)[0]
    expected = -scores[torch.arange(4), torch.tensor([3, 4, 5, TINY.vocabulary])].mean()
    torch.testing.assert_close(loss_of(model, phones, lengths, tokens, torch.tensor([3])), expected)


@torch.no_grad()
def test_a_fresh_model_guesses_evenly() -> None:
    tokens = torch.randint(TINY.vocabulary, (8, 20))
    model = TextToSemantic(TINY).eval()
    loss = loss_of(model, torch.randint(8, (8, 5)), torch.full((8,), 5), tokens, torch.full((8,), 20))
    assert abs(float(loss) - np.log(TINY.vocabulary + 1)) < 0.8


def test_gradient_reaches_every_parameter_that_the_direction_uses() -> None:
    model = make_model(GROUPED).train()
    phones, tokens = torch.arange(8).repeat(2, 1), torch.arange(12).repeat(2, 1)
    loss_of(model, phones, torch.tensor([8, 5]), tokens, torch.tensor([12, 7])).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert without == ["begin.text"]


def test_learns_to_copy_and_ends_by_itself() -> None:
    model = TextToSemantic(replace(TINY, dim=64, dim_head=16))
    lengths = torch.tensor([6, 5, 3, 1, 4, 6, 2, 5])
    phones = torch.stack([torch.randperm(8)[:6] for _ in lengths])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(40):
        loss = loss_of(model, phones, lengths, phones, lengths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]
    mask = frame_mask(lengths, 6)
    copied = model.generate(phones, temperature=0, source_mask=mask, max_length=9, **TEXT_TO_SPEECH)
    expected = [[*ids[:n].tolist(), model.config.vocabulary] for ids, n in zip(phones, lengths, strict=True)]
    assert [[i for i in ids if i >= 0] for ids in copied.tolist()] == expected


@pytest.mark.parametrize(
    ("phones", "tokens", "message"),
    [
        ([[0, 8]], [[1]], "text holds the id 8, expected 0 to 7; make it with the symbols and units"),
        ([[0, -1]], [[1]], "text holds the id -1, expected 0 to 7"),
        ([[0]], [[1, 13]], "speech holds the id 13, expected 0 to 11"),
        ([[0] * 3001], [[1]], "a sample has 3001 text tokens, expected at most 3000; leave it out"),
        ([0, 1], [[1]], "text is torch.int64 of shape [2], expected ids [batch, length]"),
        ([[0.5]], [[1]], "text is torch.float32 of shape [1, 1], expected ids [batch, length]"),
        ([[0], [1]], [[1]], "2 sources and 1 targets were given, expected as many"),
    ],
)
def test_refuses_bad_batches(model: TextToSemantic, phones: list, tokens: list, message: str) -> None:
    source, target = torch.tensor(phones), torch.tensor(tokens)
    with pytest.raises(CorpusError, match=f"^{re.escape(message)}[^\\n]*$"):
        model(source, target, source_mask=torch.ones_like(source, dtype=torch.bool), **TEXT_TO_SPEECH)


def test_refuses_bad_masks_and_empty_sources(model: TextToSemantic) -> None:
    ids = torch.zeros(2, 3, dtype=torch.int64)
    message = "the mask of text is torch.float32 of shape [2, 3], expected bool [2, 3], false for padding"
    with pytest.raises(CorpusError, match=re.escape(message)):
        model(ids, ids, source_mask=torch.ones(2, 3), **TEXT_TO_SPEECH)
    mask = torch.tensor([[True] * 3, [False] * 3])
    with pytest.raises(CorpusError, match="a source has no text tokens, expected one or more; leave it out"):
        model(ids, ids, source_mask=mask, **TEXT_TO_SPEECH)


@torch.no_grad()
def test_takes_the_longest_sequences_of_the_axes(model: TextToSemantic) -> None:
    longest = [(torch.zeros(1, n, dtype=torch.int64), torch.tensor([n])) for n in (1000, 3000)]
    assert torch.isfinite(loss_of(model, *longest[0], *longest[1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"symbols": ["a", "a"]}, "text: 2 symbols, expected no symbol twice"),
        ({"num_semantic_token_ids": 0}, "text: num_semantic_token_ids is 0, expected at least 1"),
        ({"target_depth": 0}, "text: target_depth is 0, expected at least 1"),
        ({"dim_head": 7}, "text: dim_head is 7, expected an even number"),
        ({"ff_dropout": 1.0}, "text: ff_dropout is 1.0, expected 0 or more and less than 1"),
        ({"cond_drop_prob": -0.1}, "text: cond_drop_prob is -0.1, expected 0 or more and less than 1"),
        ({"heads": 4, "target_kv_heads": 3}, "text: target_kv_heads is 3, expected a divisor of heads 4"),
        ({"target_early_exit_layer": 3}, "text: target_early_exit_layer is 3, expected 1 to target_depth 2"),
        (
            {"align_reg_logsumexp_pool_temp": 0.0},
            "text: align_reg_logsumexp_pool_temp is 0.0, expected",
        ),
        ({"num_text_token_ids": 9}, "text: 8 symbols and num_text_token_ids 9 were given, expected one"),
        (
            {"symbols": [], "num_text_token_ids": 9, "use_openai_tokenizer": True},
            "text: num_text_token_ids is 9, expected 49408 or more with use_openai_tokenizer",
        ),
    ],
)
def test_refuses_bad_configurations(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(TextToSemanticConfig, {**to_dict(TINY), **change}, "text")
    assert str(caught.value).startswith(message)


def test_a_state_dict_holds_parameters_alone_and_restores_the_model(model: TextToSemantic) -> None:
    state = model.state_dict()
    assert set(state) == {name for name, _ in model.named_parameters()}
    twin = TextToSemantic(from_dict(TextToSemanticConfig, to_dict(TINY), "text")).eval()
    twin.load_state_dict(state)
    phones, lengths = torch.tensor([[1, 2, 3]]), torch.tensor([3])
    torch.testing.assert_close(twin.encode(phones, lengths), model.encode(phones, lengths))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_text_token_ids": 9}, "num_semantic_token_ids is not given; set it to the number of"),
        (
            {"num_semantic_token_ids": 9},
            "num_text_token_ids is not given; set it, or symbols, or use",
        ),
        (
            {"num_text_ids": 9},
            "TextToSemanticConfig has the unknown key 'num_text_ids'; valid keys: kind",
        ),
    ],
)
def test_asks_for_what_is_missing(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        TextToSemantic(dim=16, source_depth=1, target_depth=1, **fields)
