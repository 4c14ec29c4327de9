"""Open the TensorRT engines of a bundle that fit this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from ..decoding.length_batching import MOST_FRAMES
from ..engines.base import Engine
from ..engines.graphs import Graph
from ..engines.tensorrt.library import TensorRt, open_tensorrt_library
from ..engines.tensorrt.tensorrt_engine import TensorRtEngine
from ..errors import EngineError
from .engine_manifest import (
    EnginesManifest,
    engine_folders,
    engine_graphs,
    mismatches,
    read_engines,
    read_plan,
    rebuild_command,
)
from .manifest import Precision
from .precisions import ON_GPU, check_place
from .reader import Bundle

_log = logging.getLogger(__name__)


def has_engines(bundle: Bundle) -> bool:
    """Whether engines were built for the bundle, be it for another machine."""
    return bool(engine_folders(bundle.path))


def open_tensorrt(bundle: Bundle, asked: Precision | None) -> tuple[dict[str, Engine], Precision, str]:
    """Open every graph of a bundle on TensorRT; gives the engines by name, their precision, and why that one.

    The engine `step` runs the graph `step_next` where the bundle has it.

    asked: None for the fastest of `ON_GPU` that was built for this machine. Raises `EngineError` that names
    every fact in which engines and machine differ, and the command that builds others; `OptionError` for a
    precision that TensorRT does not run.
    """
    if asked is not None:
        check_place(asked, "tensorrt", bundle.manifest.precisions)
    library = open_tensorrt_library()
    folder, manifest = _find(bundle, library, asked)
    runtime = library.module.Runtime(library.logger)
    if manifest.version_compatible:  # such an engine carries a runtime of its own, which is code of the host
        runtime.engine_host_code_allowed = True
    graphs = engine_graphs(bundle.manifest)
    resident = resident_tensors(graphs.values())
    engines: dict[str, Engine] = {}
    for name, graph in graphs.items():
        engine = TensorRtEngine(
            graph,
            read_plan(folder, manifest.engines[name], bundle.path),
            manifest.axes,
            library,
            where=str(folder / manifest.engines[name].file),
            most=MOST_FRAMES,
            resident=resident & {tensor.name for tensor in graph.inputs + graph.outputs},
            chained=name == "step_next",
            runtime=runtime,
        )
        engine.warm_up()
        engines["step" if name == "step_next" else name] = engine
    return engines, manifest.precision, "asked for" if asked else f"built as {folder.name}"


def resident_tensors(graphs: Iterable[Graph]) -> frozenset[str]:
    """Name what goes from one run to another and is no concern of the host: numbers given, then taken.

    An output `next_x` is taken as the input `x` of the next run; the names of both are given.
    """
    graphs = tuple(graphs)
    taken = {t.name for graph in graphs for t in graph.inputs if t.dtype == "float32"}
    given = {t.name for graph in graphs for t in graph.outputs if t.name.removeprefix("next_") in taken}
    return frozenset(given | {name.removeprefix("next_") for name in given})


def _find(bundle: Bundle, library: TensorRt, asked: Precision | None) -> tuple[Path, EnginesManifest]:
    """Choose the folder whose engines fit, the fastest precision first."""
    reasons, fitting = [], {}
    for folder in engine_folders(bundle.path):
        try:
            manifest = read_engines(folder, bundle)
        except EngineError as error:
            reasons.append(str(error))
            continue
        if wrong := mismatches(manifest, library.cuda.gpu, library.version):
            reasons.append(f"the engines in {folder} were built for another machine: {', '.join(wrong)}")
        else:
            fitting[manifest.precision] = (folder, manifest)
            if manifest.driver != library.cuda.gpu.driver:
                _log.warning(
                    "the engines in %s were built with a driver for CUDA %s, here it is %s; if speech sounds "
                    "wrong, run soundstorm doctor %s --engine tensorrt",
                    folder, manifest.driver, library.cuda.gpu.driver, bundle.path,
                )  # fmt: skip
    wanted = (asked,) if asked else ON_GPU
    for precision in wanted:
        if precision in fitting:
            return fitting[precision]
    if fitting:
        by_name = "" if asked else f" (--precision {min(fitting)} takes those)"
        reasons.append(
            f"engines are there in {', '.join(fitting)}, but not in {' or '.join(wanted)}{by_name}"
        )
    reason = "; ".join(reasons) or f"{bundle.path} has no TensorRT engines"
    raise EngineError(f"{reason}; build them here: {rebuild_command(bundle.path, asked)}")
