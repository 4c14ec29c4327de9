"""A block-causal network on ONNX Runtime: decoding with the cache gives the codes of decoding without it."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from soundstorm_edge.nn.torch_engine import TorchEngine
from soundstorm_edge.soundstorm.guided_step import GuidedStep
from soundstorm_edge.soundstorm.model import SoundStorm
from soundstorm_edge.soundstorm.next_step import step_next
from soundstorm_export.rewrite.cpu import to_cpu, to_int8
from soundstorm_export.rewrite.cuda import to_cuda
from soundstorm_export.rewrite.half import HALVES, to_half
from soundstorm_export.rewrite.simplify import simplify
from soundstorm_export.tracing.networks import Network
from soundstorm_export.tracing.trace import EXAMPLE_LENGTHS, trace_graph
from soundstorm_export.verify.operators import check_operators
from soundstorm_runtime.decoding.maskgit import DecodeOptions, decode
from soundstorm_runtime.decoding.prefix_cache import PrefixCache
from soundstorm_runtime.engines.comparison import compare
from soundstorm_runtime.engines.example_feeds import FeedLimits, example_feeds
from soundstorm_runtime.engines.graphs import CacheShape, prefix_graph, step_graph, step_next_graph
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine

LEVELS, CODES, TOKENS = 2, 16, 12
SHAPE = CacheShape(layers=2, width=16, before=1, channels=32)
LIMITS = FeedLimits(LEVELS, CODES, TOKENS, 0, 0.7)
FORMS = {
    "plain": lambda model: model,
    "cpu": to_cpu,
    "int8": to_int8,
    "fp16": lambda model: to_half(model, HALVES["fp16"]),
    "cuda": lambda model: to_cuda(to_half(model, HALVES["fp16"])),
}
CASES = (
    {"batch": 1, "frames": 1, "prefix": 1},
    {"batch": 1, "frames": 50, "prefix": 150},
    {"batch": 3, "frames": 21, "prefix": 31},  # of different lengths
)


@pytest.fixture(scope="module")
def model(block_causal: SoundStorm) -> SoundStorm:
    return block_causal


@pytest.fixture(scope="module")
def networks(model):
    return {
        "step": Network(step_graph(LEVELS, SHAPE), model, model.step),
        "prefix": Network(prefix_graph(LEVELS, SHAPE), model, model.prefix),
    }


@pytest.fixture(scope="module")
def traced(networks):
    found = {}
    for name, network in networks.items():
        feeds = example_feeds(network.graph, LIMITS, EXAMPLE_LENGTHS, np.random.default_rng(0))
        found[name] = simplify(trace_graph(network, feeds))
    return found


@pytest.fixture(scope="module")
def engines(traced, networks, tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("prefix"), {}
    for form, convert in FORMS.items():
        for name, model in traced.items():
            file = folder / f"{name}-{form}.onnx"
            ir.save(convert(model.clone()), file)
            found[name, form] = OnnxEngine(networks[name].graph, file, threads=1)
    return found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["step", "prefix"])
def test_every_form_agrees_with_pytorch(engines, networks, name, form):
    engine, network = engines[name, form], networks[name]
    bound = {"plain": 1e-4, "cpu": 1e-4, "int8": 0.25, "fp16": 2e-2, "cuda": 2e-2}[form]
    rng = np.random.default_rng(1)
    for case in CASES:
        feeds = example_feeds(engine.graph, LIMITS, case, rng)
        found, expected = engine.run(feeds), TorchEngine(network.graph, network.function).run(feeds)
        difference = compare(engine.graph, expected, found)
        assert difference.largest < bound
        assert difference.agreement > (0.8 if form == "int8" else 0.95)


def test_the_form_for_cpus_fuses_attention_and_rotations(traced):
    for model in traced.values():
        operators = [node.op_type for node in to_cpu(model.clone()).graph.all_nodes()]
        assert operators.count("RotaryEmbedding") == 4
        assert operators.count("MultiHeadAttention") == 4  # in both branches of each block
        assert "Softmax" not in operators or operators.count("Softmax") < 3  # of the sampling alone


@pytest.mark.parametrize(("frames", "prefix"), [(64, 150), (64, 1), (8, 64), (21, 31)])
def test_the_form_for_cuda_attends_to_an_aligned_number_of_keys(traced, networks, tmp_path, frames, prefix):
    """Rows of a bias begin at aligned addresses then, where ONNX Runtime's kernels do not check it."""
    model = FORMS["cuda"](traced["step"].clone())
    attentions = [node for node in model.graph if node.op_type == "MultiHeadAttention"]
    assert len(attentions) == 2
    assert not [node for node in model.graph.all_nodes() if node.op_type == "If"]
    watched = {node.inputs[place] for node in attentions for place in (1, 2, 5)}
    model.graph.outputs.extend(watched)
    ir.save(model, tmp_path / "step.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "step.onnx")
    case = {"batch": 2, "frames": frames, "prefix": prefix}
    feeds = example_feeds(networks["step"].graph, LIMITS, case, np.random.default_rng(0))
    keys = -(-(frames + prefix) // 8) * 8
    shapes = {array.shape for array in session.run([value.name for value in watched], feeds)}
    assert shapes == {(2, keys, 16), (2, 1, frames, keys)}


@pytest.mark.parametrize("form", FORMS)
def test_graphs_need_no_operator_that_tensorrt_lacks(traced, form):
    if form in ("plain", "fp16"):
        for name, model in traced.items():
            check_operators(name, FORMS[form](model.clone()))


@pytest.mark.parametrize(
    ("options", "lengths", "ends"),
    [
        (DecodeOptions((5, 1)), (30,), (6,)),
        (DecodeOptions((4, 2), noise=2.0, can_mask_prev_unmasked=True), (40, 29), (6, 20)),
        (DecodeOptions((4, 0)), (24,), (0,)),
    ],
)
@pytest.mark.parametrize("form", ["plain", "cpu"])
def test_a_decode_has_the_codes_of_one_without_a_cache(model, engines, form, options, lengths, ends):
    random, frames, batch, known = np.random.default_rng(1), max(lengths), len(lengths), ends[-1]
    tokens = random.integers(TOKENS, size=(1, frames)).repeat(batch, axis=0)
    given = random.integers(CODES, size=(known, LEVELS))
    common = {
        "semantic_tokens": tokens,
        "lengths": np.array(lengths),
        "levels": LEVELS,
        "codebook_size": CODES,
        "options": options,
        "prompt": given[None].repeat(batch, axis=0),
    }
    blocks = sum((torch.arange(frames) >= end).long() for end in ends).expand(batch, -1)
    with torch.no_grad():
        condition = model.condition.embed(torch.from_numpy(tokens))
    step = GuidedStep(model.net, None, None, condition, None, 1.0, {"blocks": blocks})
    uncached = TorchEngine(step_graph(LEVELS), step)
    cache = PrefixCache.empty(engines["prefix", form])
    for start, end in zip((0, *ends), ends, strict=False):
        if end:
            cache = cache.extended(engines["prefix", form], given[start:end], tokens[0, start:end])
    for seed in range(3):
        expected = decode(uncached, rng=np.random.default_rng(seed), **common)
        found = decode(engines["step", form], rng=np.random.default_rng(seed), cache=cache, **common)
        np.testing.assert_array_equal(found, expected)


def test_a_whole_step_takes_a_cache(model, engines):
    whole = TorchEngine(step_next_graph(LEVELS, SHAPE), partial(step_next, model))
    random = np.random.default_rng(2)
    tokens, given = random.integers(TOKENS, size=(1, 30)), random.integers(CODES, size=(8, LEVELS))
    cache = PrefixCache.empty(engines["prefix", "plain"]).extended(
        engines["prefix", "plain"], given, tokens[0, :8]
    )
    found = [
        decode(engine, tokens, np.array([30]), LEVELS, CODES, DecodeOptions((4, 2), noise=1.0),
               np.random.default_rng(0), given[None], cache=cache)
        for engine in (engines["step", "plain"], whole)
    ]  # fmt: skip
    np.testing.assert_array_equal(*found)
