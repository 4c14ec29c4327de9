"""Benchmarks of SoundStorm Edge: quality and speed of a voice."""

from soundstorm_runtime.support.telemetry import refuse_telemetry

refuse_telemetry()  # some benchmarks import ONNX Runtime by themselves
