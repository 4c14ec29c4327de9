from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime import InferenceSession as Session
from torch import Tensor, nn

from soundstorm_edge.config import from_plain, to_plain
from soundstorm_edge.errors import CorpusError, RecipeError
from soundstorm_edge.text_to_semantic import TextToSemantic, TextToSemanticConfig
from soundstorm_runtime.graphs import Graph

SYMBOLS = tuple("abcdefgh")
TINY = TextToSemanticConfig(
    symbols=SYMBOLS, vocabulary=12, rate=25, dim=16, source_depth=2, target_depth=2, heads=2, dim_head=8
)
# What the exported graphs are made of; every one is in the list of what TensorRT's parser accepts.
OPERATORS = {
    *("Add", "Concat", "Div", "Equal", "Erf", "Expand", "Gather", "Gemm", "IsNaN", "Less", "MatMul", "Mul"),
    *("Pow", "Range", "Reciprocal", "ReduceMean", "Reshape", "Shape", "Slice", "Softmax", "Split", "Sqrt"),
    *("Squeeze", "Sub", "Transpose", "Unsqueeze", "Where"),
}


class Method(nn.Module):
    """One method of the model as a module, for the exporter."""

    def __init__(self, model: TextToSemantic, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return getattr(self.model, self.name)(*inputs)


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


def empty_cache(batch: int, past: int = 0, config: TextToSemanticConfig = TINY) -> Tensor:
    return torch.zeros(config.target_depth, batch, config.heads, past, config.dim_head)


@pytest.fixture(scope="module")
def model() -> TextToSemantic:
    return make_model()


@torch.no_grad()
def stepped(model: TextToSemantic, phones: Tensor, lengths: Tensor, tokens: Tensor) -> Tensor:
    cross = model.encode(phones, lengths)
    keys = values = empty_cache(len(phones))
    logits = []
    for token in nn.functional.pad(tokens, (1, 0), value=model.end).unbind(1):
        scores, keys, values = model.step(token, lengths, *cross, keys, values)
        logits.append(scores)
    assert keys.shape == values.shape == empty_cache(len(phones), tokens.shape[1] + 1).shape
    return torch.stack(logits, dim=1)


@given(batch=st.integers(1, 3), phones=st.integers(1, 9), tokens=st.integers(0, 11), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_stepping_equals_the_full_pass(batch: int, phones: int, tokens: int, seed: int) -> None:
    model = make_model(seed=seed)
    ids, lengths = torch.randint(len(SYMBOLS), (batch, phones)), torch.randint(1, phones + 1, (batch,))
    past = torch.randint(TINY.vocabulary, (batch, tokens))
    with torch.no_grad():
        full = model.logits(ids, lengths, past)
    assert full.shape == (batch, tokens + 1, TINY.vocabulary + 1)
    torch.testing.assert_close(stepped(model, ids, lengths, past), full, atol=1e-4, rtol=0)


def test_no_token_sees_those_after_it(model: TextToSemantic) -> None:
    phones, lengths = torch.randint(len(SYMBOLS), (1, 5)), torch.tensor([5])
    tokens = torch.randint(TINY.vocabulary, (1, 6))
    changed = tokens.clone()
    changed[0, 3] = (tokens[0, 3] + 1) % TINY.vocabulary
    before, after = model.logits(phones, lengths, tokens), model.logits(phones, lengths, changed)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert ((before - after)[:, 4:].abs().amax(-1) > 1e-3).all()


def test_order_of_phones_and_of_tokens_matters(model: TextToSemantic) -> None:
    lengths = torch.tensor([4])
    phones, tokens = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[5, 6, 7]])
    last = model.logits(phones, lengths, tokens)[0, -1]
    for other in (
        model.logits(phones.flip(1), lengths, tokens),
        model.logits(phones, lengths, tokens[:, [1, 0, 2]]),
    ):
        assert (other[0, -1] - last).abs().max() > 1e-3


@pytest.mark.parametrize("padding", [0, -1, 10_000])
def test_padding_changes_nothing(model: TextToSemantic, padding: int) -> None:
    phones, tokens = torch.randint(len(SYMBOLS), (2, 7)), torch.randint(TINY.vocabulary, (2, 9))
    phone_lengths, token_lengths = torch.tensor([7, 3]), torch.tensor([4, 9])
    phones[1, 3:] = padding
    tokens[0, 4:] = padding
    padded = model(nn.functional.pad(phones, (0, 2), value=padding), phone_lengths, tokens, token_lengths)
    first = model(phones[:1], phone_lengths[:1], tokens[:1, :4], token_lengths[:1])
    second = model(phones[1:, :3], phone_lengths[1:], tokens[1:], token_lengths[1:])
    # Each sequence is scored at its tokens and its end: 5 and 10 places.
    torch.testing.assert_close(padded, (5 * first + 10 * second) / 15)


def test_a_step_looks_at_all_phones_and_at_no_padding(model: TextToSemantic) -> None:
    cross = torch.randn(2, *empty_cache(2, 5).shape).requires_grad_()
    logits, _, _ = model.step(torch.tensor([1, 2]), torch.tensor([5, 3]), *cross, *[empty_cache(2)] * 2)
    (gradient,) = torch.autograd.grad(logits.square().sum(), cross)
    seen = gradient.abs().amax(dim=(0, 1, 3, 5)) > 0
    assert seen.tolist() == [[True] * 5, [True] * 3 + [False] * 2]


def test_loss_is_the_cross_entropy_of_each_token_and_the_end(model: TextToSemantic) -> None:
    phones, lengths, tokens = torch.tensor([[1, 2]]), torch.tensor([2]), torch.tensor([[3, 4, 5]])
    scores = model.logits(phones, lengths, tokens).log_softmax(-1)[0]
    expected = -scores[torch.arange(4), torch.tensor([3, 4, 5, TINY.vocabulary])].mean()
    torch.testing.assert_close(model(phones, lengths, tokens, torch.tensor([3])), expected)


@torch.no_grad()
def test_a_fresh_model_guesses_evenly() -> None:
    tokens = torch.randint(TINY.vocabulary, (8, 20))
    model = TextToSemantic(TINY).eval()
    loss = model(torch.randint(8, (8, 5)), torch.full((8,), 5), tokens, torch.full((8,), 20))
    assert abs(float(loss) - np.log(TINY.vocabulary + 1)) < 0.8


def test_gradient_reaches_every_parameter() -> None:
    model = make_model().train()
    phones, tokens = torch.arange(8).repeat(2, 1), torch.arange(12).repeat(2, 1)
    model(phones, torch.tensor([8, 5]), tokens, torch.tensor([12, 7])).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert without == []


def test_learns_to_copy_and_ends_by_itself() -> None:
    config = replace(TINY, dim=64, dim_head=16, dropout=0.0)
    model = TextToSemantic(config)
    lengths = torch.tensor([6, 5, 3, 1, 4, 6, 2, 5])
    phones = torch.stack([torch.randperm(8)[:6] for _ in lengths])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(40):
        loss = model(phones, lengths, phones, lengths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]
    model.eval()
    spoken = model.generate(phones, lengths)
    assert [ids.tolist() for ids in spoken] == [
        ids[:n].tolist() for ids, n in zip(phones, lengths, strict=True)
    ]


def test_the_seed_decides_what_is_sampled(model: TextToSemantic) -> None:
    phones, lengths = torch.arange(8).repeat(2, 1), torch.tensor([8, 5])
    first, again, other = (model.generate(phones, lengths, temperature=1.0, seed=s) for s in (0, 0, 1))
    torch.testing.assert_close(first, again)
    assert [t.tolist() for t in first] != [t.tolist() for t in other]
    assert all(int(t.min()) >= 0 and int(t.max()) < TINY.vocabulary for t in first)


@pytest.fixture(scope="module")
def sessions(model: TextToSemantic, tmp_path_factory: pytest.TempPathFactory) -> list[Session]:
    """Both graphs, exported from a batch of 2 with 5 phones and 3 cached tokens."""
    folder = tmp_path_factory.mktemp("onnx")
    encoder, step = model.graphs
    return [export(encoder, Method(model, "encode"), folder), export(step, Method(model, "step"), folder)]


def export(graph: Graph, method: Method, folder: Path) -> Session:
    lengths = {"batch": 2, "phones": 5, "past": 3}
    inputs, dynamic = [], []
    for tensor in graph.inputs:
        shape = [lengths.get(a, a) for a in tensor.axes]
        inputs.append(torch.ones(shape, dtype=getattr(torch, tensor.dtype)))
        dynamic.append({i: torch.export.Dim.DYNAMIC for i, a in enumerate(tensor.axes) if a in lengths})
    options = {
        "input_names": [t.name for t in graph.inputs],
        "output_names": [t.name for t in graph.outputs],
        "dynamic_shapes": (tuple(dynamic),),
    }
    program = torch.onnx.export(method.eval(), tuple(inputs), dynamo=True, opset_version=18, **options)
    path = folder / f"{graph.name}.onnx"
    program.save(path)
    exported = onnx.load(path)
    assert {node.op_type for node in exported.graph.node} <= OPERATORS
    assert [opset.version for opset in exported.opset_import if opset.domain == ""] == [18]
    return Session(path, providers=["CPUExecutionProvider"])


PADDED = [([6, 2], 0), ([3, 3, 12], 1), ([7, 1, 5], 20)]


@pytest.mark.parametrize(("lengths", "past"), [([1], 0), ([9], 0), ([1], 1), ([4], 700), *PADDED])
@torch.no_grad()
def test_onnx_equals_pytorch(
    model: TextToSemantic, sessions: list[Session], lengths: list[int], past: int
) -> None:
    batch = len(lengths)
    encoder = (torch.randint(len(SYMBOLS), (batch, max(lengths))), torch.tensor(lengths))
    cross = model.encode(*encoder)
    token = torch.randint(TINY.vocabulary + 1, (batch,))
    step = (token, encoder[1], *cross, *torch.randn(2, *empty_cache(batch, past).shape))
    for session, feeds, expected in zip(sessions, (encoder, step), (cross, model.step(*step)), strict=True):
        names = [i.name for i in session.get_inputs()]
        found = session.run(None, {n: f.numpy() for n, f in zip(names, feeds, strict=True)})
        for result, want in zip(found, expected, strict=True):
            np.testing.assert_allclose(result, want.numpy(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("phones", "phone_length", "tokens", "token_length", "message"),
    [
        ([0, 8], 2, [1], 1, "phones hold the id 8, expected 0 to 7; make them with the symbols and units"),
        ([0, -1], 2, [1], 1, "phones hold the id -1, expected 0 to 7"),
        ([0], 1, [1, 12], 2, "tokens hold the id 12, expected 0 to 11"),
        ([0, 1], 0, [1], 1, "a sample has 0 phones, expected 1 to 2; leave it out"),
        ([0, 1], 2, [1], 0, "a sample has 0 tokens, expected 1 to 1; leave it out"),
        ([0, 1], 3, [1], 1, "a sample has 3 phones, expected 1 to 2"),
        ([0] * 1001, 1001, [1], 1, "a sample has 1001 phones, expected 1 to 1000"),
        ([0], 1, [1] * 3001, 3001, "a sample has 3001 tokens, expected 1 to 3000"),
        ([], 0, [1], 1, "phones [1, 0] have lengths [1], expected [batch, length] and [batch]"),
    ],
)
def test_refuses_bad_batches(
    model: TextToSemantic,
    phones: list[int],
    phone_length: int,
    tokens: list[int],
    token_length: int,
    message: str,
) -> None:
    batch = (phones, phone_length, tokens, token_length)
    with pytest.raises(CorpusError, match=f"^{re.escape(message)}[^\\n]*$"):
        model(*(torch.tensor([part], dtype=torch.int64) for part in batch))


@torch.no_grad()
def test_takes_the_longest_sequences_of_the_axes(model: TextToSemantic) -> None:
    longest = [(torch.zeros(1, n, dtype=torch.int64), torch.tensor([n])) for n in (1000, 3000)]
    assert torch.isfinite(model(*longest[0], *longest[1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"symbols": ["a", "a"]}, "text: 2 symbols, expected no symbol twice"),
        ({"vocabulary": 0}, "text: vocabulary is 0, expected at least 1"),
        ({"target_depth": 0}, "text: target_depth is 0, expected at least 1"),
        ({"dim_head": 7}, "text: dim_head is 7, expected an even number"),
        ({"dropout": 1.0}, "text: dropout is 1.0, expected 0 or more and less than 1"),
    ],
)
def test_refuses_bad_configurations(change: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        from_plain(TextToSemanticConfig, {**to_plain(TINY), **change}, "text")
    assert str(caught.value).startswith(message)


def test_a_state_dict_holds_parameters_alone_and_restores_the_model(model: TextToSemantic) -> None:
    state = model.state_dict()
    assert set(state) == {name for name, _ in model.named_parameters()}
    twin = TextToSemantic(from_plain(TextToSemanticConfig, to_plain(TINY), "text")).eval()
    twin.load_state_dict(state)
    phones, lengths = torch.tensor([[1, 2, 3]]), torch.tensor([3])
    torch.testing.assert_close(twin.encode(phones, lengths), model.encode(phones, lengths))
