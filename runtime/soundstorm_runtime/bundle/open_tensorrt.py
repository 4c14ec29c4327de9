"""Open the TensorRT engines of a bundle that fit this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..decoding.length_batching import MOST_FRAMES
from ..engines.base import Engine
from ..engines.graphs import Graph
from ..engines.tensorrt.library import PACKAGES, RTX, TensorRt, open_tensorrt_library
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

    The engine `step` runs the graph `step_next` where the bundle has it. Engines of TensorRT for RTX are
    opened where those of TensorRT are missing or cannot be used.

    asked: None for the fastest of `ON_GPU` that was built for this machine. Raises `EngineError` that names
    every fact in which engines and machine differ, and the command that builds others; `OptionError` for a
    precision that TensorRT does not run.
    """
    if asked is not None:
        check_place(asked, "tensorrt", bundle.manifest.precisions)
    found, unread = _read(bundle)
    own = {
        packages: {
            folder: manifest for folder, manifest in found.items() if manifest.is_rtx == (packages == RTX)
        }
        for packages in (PACKAGES, RTX)
    }
    reasons = []
    for packages in [packages for packages in own if own[packages]] or [PACKAGES]:
        try:
            library = open_tensorrt_library(packages)
            folder, manifest = _choose(bundle, own[packages], unread, library, asked)
        except EngineError as error:
            reasons.append(str(error))
            continue
        engines = _open(bundle, folder, manifest, library)
        return engines, manifest.precision, "asked for" if asked else f"built as {folder.name}"
    raise EngineError("; ".join(reasons))


def _open(bundle: Bundle, folder: Path, manifest: EnginesManifest, library: TensorRt) -> dict[str, Engine]:
    runtime = library.module.Runtime(library.logger)
    if manifest.version_compatible:  # such an engine carries a runtime of its own, which is code of the host
        runtime.engine_host_code_allowed = True
    graphs = engine_graphs(bundle.manifest)
    resident = resident_tensors(graphs.values())
    engines: dict[str, Engine] = {}
    for name, graph in graphs.items():
        file = folder / manifest.engines[name].file
        engine = TensorRtEngine(
            graph,
            read_plan(folder, name, manifest, bundle.path),
            manifest.axes,
            library,
            where=str(file),
            most=MOST_FRAMES,
            resident=resident & {tensor.name for tensor in graph.inputs + graph.outputs},
            chained=name == "step_next",
            runtime=runtime,
            runtime_cache=file.with_suffix(".runtime-cache") if library.is_rtx else None,
        )
        engine.warm_up()
        engines["step" if name == "step_next" else name] = engine
    return engines


def resident_tensors(graphs: Iterable[Graph]) -> frozenset[str]:
    """Name what goes from one run to another and is no concern of the host: numbers given, then taken.

    An output `next_x` is taken as the input `x` of the next run; the names of both are given.
    """
    graphs = tuple(graphs)
    taken = {t.name for graph in graphs for t in graph.inputs if t.dtype == "float32"}
    given = {t.name for graph in graphs for t in graph.outputs if t.name.removeprefix("next_") in taken}
    return frozenset(given | {name.removeprefix("next_") for name in given})


def _read(bundle: Bundle) -> tuple[dict[Path, EnginesManifest], list[str]]:
    """Read the manifests of all folders of engines; gives why others cannot be read."""
    found, unread = {}, []
    for folder in engine_folders(bundle.path):
        try:
            found[folder] = read_engines(folder, bundle)
        except EngineError as error:
            unread.append(str(error))
    return found, unread


def _choose(
    bundle: Bundle,
    found: Mapping[Path, EnginesManifest],
    unread: Iterable[str],
    library: TensorRt,
    asked: Precision | None,
) -> tuple[Path, EnginesManifest]:
    """Choose the folder whose engines fit, the fastest precision first."""
    reasons, fitting, gpu = list(unread), {}, library.cuda.gpu
    for folder, manifest in found.items():
        if wrong := mismatches(manifest, gpu, library.version):
            reasons.append(f"the engines in {folder} were built for another machine: {', '.join(wrong)}")
        else:
            fitting[manifest.precision] = (folder, manifest)
            if manifest.driver != gpu.driver and not manifest.is_rtx:
                _log.warning(
                    "the engines in %s were built with a driver for CUDA %s, here it is %s; if speech sounds "
                    "wrong, run soundstorm doctor %s --engine tensorrt",
                    folder, manifest.driver, gpu.driver, bundle.path,
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
    capabilities = (gpu.compute_capability,) if library.is_rtx else ()
    raise EngineError(f"{reason}; build them here: {rebuild_command(bundle.path, asked, capabilities)}")
