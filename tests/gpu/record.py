"""Write down the Python API of NVIDIA's packages as it really is: `python tests/gpu/record.py MODULE >> ...`.

The signatures are those that the compiled bindings carry in their docstrings. The bindings of the whole
TensorRT are a small wheel of their own (`tensorrt_cu12_bindings`, `tensorrt_cu13_bindings`), and can be
imported without the library: they look up nine C functions, for which empty libraries of the right names can
stand in, since an import calls none of them. `api.json` holds what was recorded so of

    tensorrt_cu12_bindings 10.3.0, tensorrt_cu13_bindings 10.16.1.11 and 11.4.0.106
    tensorrt_rtx_cu12_bindings 1.7.1.116, with its library
    cuda-python 12.6.2.post1, cuda-bindings 13.5.0
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from functools import partial
from typing import Any

CLASSES = (
    "Builder IBuilderConfig IOptimizationProfile INetworkDefinition ITensor OnnxParser ParserError "
    "IExecutionContext ICudaEngine Runtime IProgressMonitor ITimingCache ILogger IHostMemory "
    "IRuntimeConfig IRuntimeCache"
).split()
ENUMS = (
    "NetworkDefinitionCreationFlag BuilderFlag HardwareCompatibilityLevel MemoryPoolType DataType "
    "TensorIOMode TensorLocation ExecutionContextAllocationStrategy OnnxParserFlag ComputeCapability "
    "DynamicShapesKernelSpecializationStrategy"
).split()
CALLS = (
    "cudaGetDeviceCount cudaDriverGetVersion cudaGetDeviceProperties cudaMalloc cudaFree cudaHostAlloc "
    "cudaFreeHost "
    "cudaStreamCreateWithFlags cudaMemcpyAsync cudaStreamSynchronize cudaStreamBeginCapture "
    "cudaStreamEndCapture cudaGraphInstantiate cudaGraphLaunch cudaGraphExecDestroy cudaGraphDestroy "
    "cudaMemGetInfo cudaGetErrorString cudaGetLastError"
).split()


def signatures(documentation: str, name: str) -> list[list[str]]:
    """Read the parameters of each overload, without `self`; one that has a default ends in '='."""
    found = []
    for line in documentation.splitlines():
        if match := re.match(rf"(?:\d+\. )?{re.escape(name)}\((.*?)\)(?: ->.*)?$", line.strip()):
            inside = re.sub(r"\[[^\[\]]*\]", "", re.sub(r"\[[^\[\]]*\]", "", match.group(1)))
            parts = [part.strip() for part in inside.split(", ") if part.strip()]
            names = [
                re.split(r"[:=]", part)[0].strip().split()[-1] + ("=" if "=" in part else "")
                for part in parts
            ]
            if names != ["*args", "**kwargs"]:
                found.append([part for part in names if part != "self"])
    return found


def record_tensorrt(module: Any) -> dict[str, Any]:
    """Give each class's members (overloads, or 'read' or 'write' for a property), and each enum's names."""
    classes: dict[str, Any] = {}
    for name in filter(partial(hasattr, module), CLASSES):
        members: dict[str, Any] = {}
        for member in dir(getattr(module, name)):
            value = getattr(getattr(module, name), member)
            is_layer = name == "INetworkDefinition" and member.startswith("add_")  # the parser's business
            if is_layer or (member.startswith("_") and member != "__init__"):
                continue
            if isinstance(value, property):
                members[member] = "write" if value.fset else "read"
            elif found := signatures(value.__doc__ or "", member):
                members[member] = found
        classes[name] = members
    enums = {name: list(getattr(module, name).__members__) for name in ENUMS if hasattr(module, name)}
    return {"classes": classes, "enums": enums}


def record_cuda(module: Any) -> dict[str, Any]:
    """Give the parameters of each call."""
    return {name: signatures(getattr(module, name).__doc__, name)[0] for name in CALLS}


def main(name: str, version: str) -> None:
    """Print what was recorded as JSON."""
    module = importlib.import_module(name)
    found = record_cuda(module) if name.startswith("cuda") else record_tensorrt(module)
    print(json.dumps({version: found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
