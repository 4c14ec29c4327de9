"""On a real GPU with the real TensorRT: build, run, compare. Skipped by name where one of them is absent."""

from __future__ import annotations

import numpy as np
import pytest

from soundstorm_export.tensorrt.engine_builder import BuildOptions, build_engines
from soundstorm_runtime import Voice
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.engines.graphs import Axis
from soundstorm_runtime.engines.tensorrt.library import open_tensorrt_library
from soundstorm_runtime.errors import EngineError
from soundstorm_runtime.tools.diagnosis import diagnose

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def library():
    try:
        return open_tensorrt_library(("tensorrt",))
    except EngineError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("kind", ["parallel", "autoregressive"])
def test_engines_are_built_and_agree_with_the_cpu(make_bundle, library, kind):
    bundle = read_bundle(make_bundle(kind))
    build_engines(bundle, "fp32", BuildOptions(Axis(1, 100, 300), Axis(1, 1, 2)), library=library)
    diagnosis = diagnose(bundle.path, provider="tensorrt")
    assert diagnosis.bundle is not None
    assert diagnosis.bundle.problem is None
    assert [graph.problem for graph in diagnosis.bundle.graphs.values()] == [None] * 4
    spoken = Voice.load(bundle.path, provider="tensorrt").speak("Good morning.")
    expected = Voice.load(bundle.path, provider="cpu").speak("Good morning.")
    np.testing.assert_allclose(spoken, expected, atol=1e-3)
