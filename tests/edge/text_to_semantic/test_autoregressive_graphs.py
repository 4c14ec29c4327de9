"""The two graphs of the autoregressive text stage: in PyTorch, exported, and around the device's loop."""

from __future__ import annotations

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

from soundstorm_edge.errors import ConfigError
from soundstorm_edge.nn.conformer import frame_mask
from soundstorm_edge.nn.torch_engine import TorchEngine
from soundstorm_edge.text_to_semantic.autoregressive import TextToSemantic, TextToSemanticConfig
from soundstorm_runtime.engines.graphs import Graph
from soundstorm_runtime.synthesis.text_stage import AutoregressiveText

SYMBOLS = tuple("abcdefgh")
TINY = TextToSemanticConfig(
    symbols=SYMBOLS, autoset_text_eos_id=False, num_semantic_token_ids=12, rate=25,
    dim=16, source_depth=2, target_depth=2, heads=2, dim_head=8,
)  # fmt: skip
GROUPED = replace(TINY, heads=4, target_kv_heads=2)
TEXT_TO_SPEECH = {"source_type": "text", "target_type": "speech"}
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
    """A model with no parameter left at its first value, whose blocks outweigh its embeddings."""
    torch.manual_seed(seed)
    model = TextToSemantic(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += 0.2 * torch.randn_like(parameter)
            parameter *= 3 if ".blocks." in name and parameter.ndim > 1 else 1
    return model.eval()


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def logits_of(model: TextToSemantic, phones: Tensor, lengths: Tensor, tokens: Tensor) -> Tensor:
    masks = {"source_mask": frame_mask(lengths, phones.shape[1]), "target_mask": tokens >= 0}
    return model(phones, tokens, **masks, **TEXT_TO_SPEECH)


def empty_cache(batch: int, past: int = 0, config: TextToSemanticConfig = TINY) -> Tensor:
    return torch.zeros(config.target_depth, batch, config.heads, past, config.dim_head)


@torch.no_grad()
def stepped(model: TextToSemantic, phones: Tensor, lengths: Tensor, tokens: Tensor) -> Tensor:
    cross = model.encode(phones, lengths)
    keys = values = empty_cache(len(phones), config=model.config)
    logits = []
    for token in nn.functional.pad(tokens, (1, 0), value=model.config.vocabulary).unbind(1):
        scores, keys, values = model.step(token, lengths, *cross, keys, values)
        logits.append(scores)
    assert keys.shape == values.shape == empty_cache(len(phones), tokens.shape[1] + 1, model.config).shape
    return torch.stack(logits, dim=1)


@given(batch=st.integers(1, 3), phones=st.integers(1, 9), tokens=st.integers(0, 11), seed=st.integers(0, 99))
@settings(max_examples=8, deadline=None)
@pytest.mark.parametrize("config", [TINY, GROUPED])
def test_stepping_equals_the_full_pass(
    config: TextToSemanticConfig, batch: int, phones: int, tokens: int, seed: int
) -> None:
    model = make_model(config, seed)
    ids, lengths = torch.randint(len(SYMBOLS), (batch, phones)), torch.randint(1, phones + 1, (batch,))
    past = torch.randint(TINY.vocabulary, (batch, tokens))
    with torch.no_grad():
        full = logits_of(model, ids, lengths, past)
    assert full.shape == (batch, tokens + 1, TINY.vocabulary + 1)
    torch.testing.assert_close(stepped(model, ids, lengths, past), full, atol=1e-3, rtol=0)


def test_a_step_looks_at_all_phones_and_at_no_padding() -> None:
    model = make_model()
    cross = torch.randn(2, *empty_cache(2, 5).shape).requires_grad_()
    logits, _, _ = model.step(torch.tensor([1, 2]), torch.tensor([5, 3]), *cross, *[empty_cache(2)] * 2)
    (gradient,) = torch.autograd.grad(logits.square().sum(), cross)
    seen = gradient.abs().amax(dim=(0, 1, 3, 5)) > 0
    assert seen.tolist() == [[True] * 5, [True] * 3 + [False] * 2]


@pytest.mark.parametrize(("config", "seed"), [(TINY, 0), (GROUPED, 2)])
def test_the_device_decodes_what_pytorch_does(config: TextToSemanticConfig, seed: int) -> None:
    model = make_model(config, seed)
    torch.manual_seed(0)
    encoder, step = model.graphs
    engines = TorchEngine(encoder, model.encode), TorchEngine(step, model.step)
    device = AutoregressiveText(*engines, max_tokens=20, vocabulary=12, rate=25)
    phones = torch.randint(len(SYMBOLS), (1, 2))
    spoken = device.semantic_tokens(phones[0].numpy(), np.random.default_rng(0))
    every = torch.ones_like(phones, dtype=torch.bool)
    written = model.generate(phones, source_mask=every, temperature=0, max_length=20, **TEXT_TO_SPEECH)
    assert len(set(spoken.tolist())) > 3
    assert spoken.tolist() == [i for i in written[0].tolist() if 0 <= i < 12]


@pytest.fixture(scope="module", params=[TINY, GROUPED])
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TextToSemantic, list[Session]]:
    """A model and both its graphs, exported from a batch of 2 with 5 phones and 3 cached tokens."""
    model = make_model(request.param)
    folder = tmp_path_factory.mktemp("onnx")
    encoder, step = model.graphs
    return model, [
        export(g, Method(model, name), folder) for g, name in ((encoder, "encode"), (step, "step"))
    ]


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
    exported: tuple[TextToSemantic, list[Session]], lengths: list[int], past: int
) -> None:
    model, sessions = exported
    batch = len(lengths)
    encoder = (torch.randint(len(SYMBOLS), (batch, max(lengths))), torch.tensor(lengths))
    cross = model.encode(*encoder)
    token = torch.randint(TINY.vocabulary + 1, (batch,))
    caches = torch.randn(2, *empty_cache(batch, past, model.config).shape)
    shared = caches[:, :, :, : model.config.kv_heads]
    caches = shared.repeat(1, 1, 1, model.config.heads // model.config.kv_heads, 1, 1)
    step = (token, encoder[1], *cross, *caches)
    for session, feeds, expected in zip(sessions, (encoder, step), (cross, model.step(*step)), strict=True):
        names = [i.name for i in session.get_inputs()]
        found = session.run(None, {n: f.numpy() for n, f in zip(names, feeds, strict=True)})
        for result, want in zip(found, expected, strict=True):
            np.testing.assert_allclose(result, want.numpy(), atol=1e-4, rtol=0)


def test_a_model_of_sequences_that_the_device_ends_otherwise_has_no_graphs() -> None:
    model = TextToSemantic(
        dim=16,
        source_depth=1,
        target_depth=1,
        num_text_token_ids=5,
        num_semantic_token_ids=5,
        autoset_semantic_eos_id=False,
    )
    with pytest.raises(
        ConfigError, match="autoset_semantic_eos_id is False, expected True: the device stops"
    ):
        model.graphs  # noqa: B018
