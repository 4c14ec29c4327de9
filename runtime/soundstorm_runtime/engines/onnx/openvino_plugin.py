"""OpenVINO as a plug-in of ONNX Runtime, from the package onnxruntime-ep-openvino: Intel's CPUs and GPUs.

Sources: that package's own page; ONNX Runtime's page on plug-in execution providers.
"""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

OPENVINO = "OpenVINOExecutionProvider"

_PLUGIN = "onnxruntime_ep_openvino"
_DEVICES = ("GPU", "CPU")  # of OpenVINO, the preferred one first; an NPU takes no dynamic lengths


def has_plugin(library: ModuleType) -> bool:
    """Return whether the plug-in is installed, and ONNX Runtime takes plug-ins (since 1.23)."""
    return hasattr(library, "get_ep_devices") and importlib.util.find_spec(_PLUGIN) is not None


def plugin_device(library: ModuleType) -> Any:
    """Register the plug-in, once in a process, and return the device to run on; None where it sees none."""
    devices = _devices(library)
    if not devices:
        import onnxruntime_ep_openvino

        library.register_execution_provider_library(_PLUGIN, onnxruntime_ep_openvino.get_library_path())
        devices = _devices(library)
    return next((devices[name] for name in _DEVICES if name in devices), None)


def _devices(library: ModuleType) -> dict[str, Any]:
    """Return the devices of the plug-in by OpenVINO's name of them."""
    return {
        device.ep_metadata.get("ov_device", ""): device
        for device in library.get_ep_devices()
        if device.ep_name == OPENVINO
    }
