"""Where the spectral codec's inverse STFT should run: in NumPy on the host, or inside the graph.

Inside, it would be a matrix product of the spectrum with a fixed basis, since neither engine has an
inverse FFT. Both are timed on the same 10 s of spectrum in one run; without the overlap-add, which the
graph would need on top.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from soundstorm_runtime.audio.inverse_stft import inverse_stft
from soundstorm_runtime.engines.onnx.onnx_engine import default_threads
from soundstorm_runtime.support.command import run

from .report import RESULTS, Circumstances, circumstances, table, write_result

FRAMES, WINDOW, HOP = 500, 1280, 320
BINS = WINDOW // 2 + 1


@dataclass(frozen=True)
class InverseStft:
    """Median milliseconds for 10 s at 16 kHz: the whole inverse STFT on the host, the product alone."""

    circumstances: Circumstances
    host_milliseconds: float
    product_milliseconds: float


def matrix_product() -> onnxruntime.InferenceSession:
    """Make a graph that multiplies a spectrum `[frames, 2 * bins]` by a basis `[2 * bins, window]`."""
    basis = np.random.default_rng(0).standard_normal((2 * BINS, WINDOW)).astype(np.float32)
    spectrum = helper.make_tensor_value_info("spectrum", TensorProto.FLOAT, [FRAMES, 2 * BINS])
    pieces = helper.make_tensor_value_info("pieces", TensorProto.FLOAT, [FRAMES, WINDOW])
    node = helper.make_node("MatMul", ["spectrum", "basis"], ["pieces"])
    graph = helper.make_graph([node], "g", [spectrum], [pieces], [numpy_helper.from_array(basis, "basis")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = default_threads()
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def milliseconds(function: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call, after three warm-up calls."""
    taken = []
    for _ in range(repeats + 3):
        started = time.perf_counter()
        function()
        taken.append(time.perf_counter() - started)
    return round(1000 * statistics.median(taken[3:]), 2)


@click.command()
@click.option("--repeats", type=click.IntRange(min=1), default=30, show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), default=RESULTS / "inverse_stft.json", show_default=True
)
def main(repeats: int, out: Path) -> None:
    """Compare the inverse STFT on the host with a matrix product inside the graph."""
    spectrum = np.random.default_rng(1).standard_normal((FRAMES, 2 * BINS)).astype(np.float32)
    session = matrix_product()
    result = InverseStft(
        circumstances("inverse_stft"),
        milliseconds(lambda: inverse_stft(spectrum[None], WINDOW, HOP), repeats),
        milliseconds(lambda: session.run(None, {"spectrum": spectrum}), repeats),
    )
    write_result(out, result)
    rows = [["10 s of audio", "ms"], ["NumPy, all of it", f"{result.host_milliseconds:.1f}"]]
    click.echo(table([*rows, ["matrix product alone", f"{result.product_milliseconds:.1f}"]]))


if __name__ == "__main__":
    run(main)
