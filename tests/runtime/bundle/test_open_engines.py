"""Where and in which precision a bundle runs: chosen, said, or refused."""

from __future__ import annotations

import logging
import re

import numpy as np
import onnxruntime
import pytest

from soundstorm_runtime import Voice
from soundstorm_runtime.bundle import open_engines as engines
from soundstorm_runtime.bundle.open_engines import open_engines
from soundstorm_runtime.bundle.precisions import choose_precision
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine
from soundstorm_runtime.errors import EngineError, OptionError

ALL = ("fp32", "int8", "fp16", "bf16", "int8-qdq", "fp8-qdq")


@pytest.mark.parametrize(
    ("asked", "provider", "available", "features", "expected"),
    [
        ("auto", "cpu", ALL, ("avx512_vnni", "avx2"), ("int8", "avx512_vnni makes it faster")),
        ("auto", "cpu", ALL, ("dotprod", "neon"), ("int8", "dotprod makes it faster")),
        ("auto", "cpu", ALL, ("amx_int8", "avx512_vnni"), ("int8", "amx_int8 makes it faster")),
        ("auto", "cpu", ALL, ("avx2",), ("fp32", "this processor has no instructions for int8")),
        ("auto", "cpu", ("fp32", "fp16"), ("avx512_vnni",), ("fp32", "the bundle has no int8")),
        ("auto", "cuda", ALL, ("avx512_vnni",), ("fp16", "a GPU is faster in it")),
        ("auto", "cuda", ("fp32", "int8"), (), ("fp32", "the bundle has no fp16")),
        ("auto", "cuda", ("fp32", "bf16", "int8-qdq"), (), ("fp32", "the bundle has no fp16")),
        ("int8-qdq", "cpu", ALL, (), ("int8-qdq", "asked for")),
        ("fp32", "cpu", ALL, ("avx512_vnni",), ("fp32", "asked for")),
        ("int8", "cpu", ALL, (), ("int8", "asked for")),
        ("auto", "cpu", ("int8",), ("avx2",), ("int8", "the bundle has no fp32")),
        ("auto", "openvino", ("int8",), (), ("int8", "the bundle has no fp32")),
        ("auto", "cuda", ("fp16",), (), ("fp16", "the bundle has no fp32")),
    ],
)
def test_the_fastest_precision_of_the_bundle_is_taken(asked, provider, available, features, expected):
    assert choose_precision(asked, provider, available, features) == expected


def test_a_precision_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(
        OptionError,
        match=r"precision 'fp16' was asked for, but the bundle has fp32, int8; take one of these, or export "
        r"the voice with soundstorm-export --precision fp16",
    ):
        choose_precision("fp16", "cpu", ("fp32", "int8"), ())


def test_a_bundle_for_cpus_alone_says_so_elsewhere():
    with pytest.raises(
        OptionError,
        match=r"has int8, which does not run on 'cuda'; take --provider cpu, or export the voice with fp32",
    ):
        choose_precision("auto", "cuda", ("int8",), ())


@pytest.mark.parametrize(
    ("precision", "place", "message"),
    [
        (
            "int8",
            "cuda",
            "'int8' runs on cpu and openvino, not on 'cuda'; take fp32 or fp16, or --provider cpu",
        ),
        (
            "bf16",
            "cpu",
            "precision 'bf16' runs on tensorrt and rtx, not on 'cpu'; take fp32 or int8 or fp16 or ",
        ),
        (
            "fp8-qdq",
            "onnx-tensorrt",
            "runs on tensorrt and rtx and cpu, not on 'onnx-tensorrt'; take fp32 or",
        ),
    ],
)
def test_a_precision_is_refused_where_it_does_not_run(precision, place, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        choose_precision(precision, place, ALL, ())


def test_the_variant_is_heard(make_bundle, monkeypatch):
    folder = make_bundle(variants=["int8"])

    def speak(**options):
        return Voice.load(folder, threads=1, **options).speak("Good morning.")

    monkeypatch.setattr(engines, "cpu_features", lambda: ("avx512_vnni",))
    np.testing.assert_array_equal(speak(), speak(precision="int8"))
    assert (speak() != speak(precision="fp32")).any()
    monkeypatch.setattr(engines, "cpu_features", lambda: ())
    np.testing.assert_array_equal(speak(), speak(precision="fp32"))


def test_auto_says_what_it_took(make_bundle, caplog, monkeypatch):
    monkeypatch.setattr(engines, "cpu_features", lambda: ("avx_vnni",))
    with caplog.at_level(logging.INFO):
        open_engines(read_bundle(make_bundle(variants=["int8"])), threads=1)
    version = onnxruntime.__version__
    assert f"engine: ONNX Runtime {version} on cpu, 1 thread, int8 (avx_vnni makes it faster)" in caplog.text


def test_what_is_asked_for_by_name_is_used_in_silence(make_bundle, caplog):
    with caplog.at_level(logging.INFO):
        opened = open_engines(read_bundle(make_bundle()), provider="cpu", precision="fp32", threads=2)
    assert not caplog.text
    assert (opened.provider, opened.precision) == ("cpu", "fp32")
    assert {engine.threads for engine in opened.by_name.values()} == {2}
    assert list(opened.by_name) == ["step", "decoder", "text_encoder", "text_decoder"]


@pytest.fixture
def with_cuda(monkeypatch):
    """A machine whose library knows CUDA; gives the graphs that were opened there."""
    opened = []

    def engine(graph, source, axes, *, provider, threads, cache):
        assert cache is None
        if provider == "cuda" and graph.name == engine.fails:
            raise EngineError("no driver")
        opened.append((provider, source.parent.name))
        made = OnnxEngine(graph, source, axes, threads=threads)
        made.provider = provider
        return made

    engine.fails = None
    monkeypatch.setattr(engines, "available_devices", lambda: ("cuda", "cpu"))
    monkeypatch.setattr(engines, "OnnxEngine", engine)
    engine.opened = opened
    return engine


def test_auto_takes_cuda_and_its_precision_where_it_starts(make_bundle, with_cuda, caplog):
    with caplog.at_level(logging.INFO):
        opened = open_engines(read_bundle(make_bundle(variants=["int8", "fp16"])))
    assert (opened.provider, opened.precision) == ("cuda", "fp16")
    assert ("cuda", "fp16") in with_cuda.opened
    assert "on cuda" in caplog.text


def test_auto_says_why_it_does_not_take_cuda(make_bundle, with_cuda, caplog):
    with_cuda.fails = "decoder"  # not even the first: all graphs run at one place
    with caplog.at_level(logging.INFO):
        opened = open_engines(read_bundle(make_bundle()))
    assert opened.provider == "cpu"
    assert {engine.provider for engine in opened.by_name.values()} == {"cpu"}
    assert "no driver; using the CPU" in caplog.text


def test_int8_by_name_is_taken_to_the_cpu(make_bundle, with_cuda):
    opened = open_engines(read_bundle(make_bundle(variants=["int8"])), precision="int8")
    assert (opened.provider, opened.precision) == ("cpu", "int8")


def test_what_is_for_tensorrt_alone_is_not_taken_elsewhere(make_bundle, with_cuda):
    with pytest.raises(OptionError, match=r"'bf16' runs on tensorrt and rtx, not on 'cpu'; take fp32"):
        open_engines(read_bundle(make_bundle(variants=["bf16"])), precision="bf16")
    assert not with_cuda.opened


def test_cuda_by_name_does_not_fall_back(make_bundle, with_cuda):
    with_cuda.fails = "step"
    with pytest.raises(EngineError, match="no driver"):
        open_engines(read_bundle(make_bundle()), provider="cuda")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"provider": "tpu"}, "provider is 'tpu', expected one of auto, cpu, cuda"),
        ({"precision": "int4"}, "precision is 'int4', expected one of auto, fp32, int8, fp16, bf16"),
        ({"threads": 0}, "threads is 0, expected 1 or more"),
        ({"precision": "int8"}, "precision 'int8' was asked for, but the bundle has fp32"),
    ],
)
def test_unknown_options_are_refused(make_bundle, options, message):
    with pytest.raises(OptionError, match=message):
        Voice.load(make_bundle(), **options)
