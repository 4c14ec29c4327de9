"""NVIDIA's real bindings, where they are installed, without any GPU: names, loggers, and the way out.

`pip install tensorrt-lean-cu13 cuda-python` brings them; neither needs a card to be imported.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest

from soundstorm_runtime.engines.tensorrt.library import PACKAGES, RTX, _logger
from tests.gpu import record
from tests.gpu.recorded import API

# What the runner uses, that the lean runtime offers as well.
USED = {
    "Runtime": {"deserialize_cuda_engine", "engine_host_code_allowed"},
    "ICudaEngine": {
        "num_io_tensors", "get_tensor_name", "get_tensor_mode", "get_tensor_dtype", "get_tensor_location",
        "get_tensor_shape", "create_execution_context", "device_memory_size_v2",
    },
    "IExecutionContext": {
        "set_input_shape", "get_tensor_shape", "set_tensor_address", "set_device_memory", "execute_async_v3",
    },
}  # fmt: skip
PROBE = "from soundstorm_runtime.engines.tensorrt.library import open_tensorrt_library as o\no()"


@pytest.fixture(params=[*PACKAGES, *RTX])
def bindings(request):
    return pytest.importorskip(request.param, reason=f"pip install {request.param.replace('_', '-')}")


@pytest.fixture
def runtime_calls():
    return pytest.importorskip("cuda.bindings.runtime", reason="pip install cuda-python")


def test_all_recorded_versions_have_what_the_runner_uses():
    for version in [*API["tensorrt"].values(), *API["tensorrt_rtx"].values()]:
        for name, members in USED.items():
            assert members <= version["classes"][name].keys()


def test_the_bindings_have_what_the_runner_uses(bindings):
    for name, members in USED.items():
        assert members <= set(dir(getattr(bindings, name)))
    known = (API["tensorrt"] | API["tensorrt_rtx"]).get(bindings.__version__)
    if known:  # and take the same arguments as those of the whole library
        for name, members in USED.items():
            for member in members:
                documentation = getattr(getattr(bindings, name), member).__doc__ or ""
                found = record.signatures(documentation, member)
                assert not found or found == known["classes"][name][member]


def test_complaints_are_kept_by_a_real_logger(bindings):
    logger, messages = _logger(bindings)
    messages.errors.clear()
    logger.log(bindings.ILogger.Severity.ERROR, "no")
    logger.log(bindings.ILogger.Severity.WARNING, "perhaps")
    assert messages.errors == ["no"]


def test_enumerations_are_named_as_the_runner_names_them(bindings):
    assert bindings.TensorIOMode.INPUT.name == "INPUT"
    assert bindings.TensorLocation.DEVICE.name == "DEVICE"
    assert bindings.ExecutionContextAllocationStrategy.USER_MANAGED.name == "USER_MANAGED"
    assert {bindings.DataType.INT64.name, bindings.DataType.FLOAT.name} == {"INT64", "FLOAT"}


def test_cuda_python_takes_the_arguments_that_were_recorded(runtime_calls):
    for name, parameters in API["cuda"]["13.5.0"].items():
        assert record.signatures(getattr(runtime_calls, name).__doc__, name)[0] == parameters


def test_without_a_card_it_ends_with_an_error_and_does_not_crash(bindings, runtime_calls, environment):
    code, count = runtime_calls.cudaGetDeviceCount()
    if code == runtime_calls.cudaError_t.cudaSuccess and count:
        pytest.skip("this machine has a card")
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env=environment | {"PYTHONPATH": os.pathsep.join([environment["PYTHONPATH"], *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "EngineError: no " in done.stderr
    assert importlib.import_module(bindings.__name__) is bindings
