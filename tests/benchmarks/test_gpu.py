"""The benchmark on a GPU, as far as it goes on a CPU: a tiny model, every engine tried, absent ones named."""

from __future__ import annotations

import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.gpu import TINY, measure, show, with_floor
from benchmarks.gpu_contestants import REFERENCE, Contestants, Size
from soundstorm_edge.nn.torch_engine import TorchEngine
from soundstorm_runtime.engines.graphs import decoder_graph


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return measure(TINY, (1, 2), 1, tmp_path_factory.mktemp("gpu"))


def test_the_paper_needs_28_tera_operations():
    paper = Size()
    assert paper.steps == (16, *(1,) * 11)
    assert 27e12 < sum(paper.steps) * paper.operations < 31e12


def test_every_engine_at_hand_is_timed_in_every_batch(result):
    found = {(case.engine, case.batch) for case in result.cases}
    for batch in (1, 2):
        assert {(name, batch) for name in ("PyTorch cpu, eager, fp32", "ONNX Runtime cpu, fp32")} <= found
        assert (f"{REFERENCE}, eager", batch) in found
    assert all(case.decode.seconds > 0 and case.speed > 0 for case in result.cases)
    ours = next(case for case in result.cases if case.engine == "ONNX Runtime cpu, fp32")
    assert 0 < ours.step < ours.decode.seconds
    assert 0 < ours.host < ours.decode.seconds
    assert result.decoder.keys() == {"PyTorch cpu, eager, fp32", "ONNX Runtime cpu, fp32"}


def test_what_is_absent_is_named_with_its_reason(result):
    text = show(result)
    assert "absent: TensorRT, fp16: step, batch 1: " in text
    assert "absent: ONNX Runtime cuda, fp16: step, batch 1: provider 'cuda' asked for" in text
    assert result.floor is None


def test_the_share_of_the_floor_counts_every_sample(result):
    case = next(case for case in result.cases if case.batch == 2)
    assert with_floor(case, case.decode.seconds / 4).of_floor == pytest.approx(0.5)


def test_an_engine_is_freed_before_the_next_one_is_made():
    graph, alive = decoder_graph(2), []

    def make(*_):
        assert not any(engine() for engine in alive), "two engines need twice the memory"
        engine = TorchEngine(graph, lambda codes: torch.zeros(1, codes.shape[1] * 4))
        alive.append(weakref.ref(engine))
        return engine

    contestants = SimpleNamespace(
        device="cpu", absent={}, _networks={"decoder": SimpleNamespace(function=lambda codes: codes)},
        feeds=lambda *_: {"codes": np.zeros((1, 3, 2), np.int64)}, _onnx=make, _tensorrt=make,
    )  # fmt: skip
    names = []
    for name, engine in Contestants.engines(contestants, graph, 1):
        names.append(name)
        del engine
    assert len(alive) == len(names) == 7
