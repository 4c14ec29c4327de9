"""OpenVINO as a plug-in of ONNX Runtime, from the package onnxruntime-ep-openvino: Intel's CPUs and GPUs.

Sources: that package's own page; ONNX Runtime's page on plug-in execution providers.
"""

from __future__ import annotations

import importlib.util
import json
from types import ModuleType
from typing import Any

OPENVINO = "OpenVINOExecutionProvider"

_PLUGIN = "onnxruntime_ep_openvino"
_DEVICES = ("GPU", "CPU")  # of OpenVINO, the preferred one first; an NPU takes no dynamic lengths


def has_plugin(library: ModuleType) -> bool:
    """Return whether the plug-in is installed, and ONNX Runtime takes plug-ins (since 1.23)."""
    return hasattr(library, "get_ep_devices") and importlib.util.find_spec(_PLUGIN) is not None


def add_plugin(library: ModuleType, options: Any, threads: int) -> bool:
    """Have a session run on OpenVINO; return False where it sees no device.

    By itself OpenVINO would compute in bfloat16 or float16 where a device has them. Here it keeps to float32,
    so that fp32 gives the codes of the other engines.

    Args:
        library: ONNX Runtime.
        options: The options of the session.
        threads: Threads on a CPU.
    """
    if not _devices(library):  # once in a process
        import onnxruntime_ep_openvino

        library.register_execution_provider_library(_PLUGIN, onnxruntime_ep_openvino.get_library_path())
    devices = _devices(library)
    name = next((name for name in _DEVICES if name in devices), None)
    if name is None:
        return False
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    if name == "CPU":
        config["INFERENCE_NUM_THREADS"] = str(threads)
    options.add_provider_for_devices([devices[name]], {"load_config": json.dumps({name: config})})
    return True


def _devices(library: ModuleType) -> dict[str, Any]:
    """Return the devices of the plug-in by OpenVINO's name of them."""
    return {
        device.ep_metadata.get("ov_device", ""): device
        for device in library.get_ep_devices()
        if device.ep_name == OPENVINO
    }
