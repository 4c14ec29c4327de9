"""Build engines of TensorRT for the GPU at hand, or of TensorRT for RTX for GPUs elsewhere, into a bundle.

Imports neither PyTorch nor ONNX: it runs on the device. The precision is that of the graph: networks are
strongly typed, which TensorRT 11 always does and 10 does when told.

Sources: TensorRT's Python API (Builder, IBuilderConfig, IOptimizationProfile, OnnxParser, ITimingCache,
IProgressMonitor) and its guide to migrating from 10 to 11, which took away the flags of precision; TensorRT
for RTX's page on engines that are built without a GPU, and its flag REQUIRE_USER_ALLOCATION, without which
runs may not be captured as CUDA graphs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any

import soundstorm_runtime
from soundstorm_runtime.bundle.engine_manifest import (
    FOLDER,
    MANIFEST_FILE,
    EngineRecord,
    EnginesManifest,
    engine_graphs,
    folder_name,
    sources,
)
from soundstorm_runtime.bundle.manifest import FileRecord, Precision
from soundstorm_runtime.bundle.precisions import precisions_on, runs_on
from soundstorm_runtime.bundle.reader import Bundle
from soundstorm_runtime.engines.cuda_runtime import Gpu, out_of_memory
from soundstorm_runtime.engines.graphs import Axis, Graph
from soundstorm_runtime.engines.padding import whole_buckets
from soundstorm_runtime.engines.tensorrt.library import (
    Library,
    TensorRt,
    open_rtx_builder,
    open_tensorrt_library,
)
from soundstorm_runtime.support.atomic import atomic_folder, write_file

from ..errors import ExportError

Report = Callable[[str], None]
Target = Gpu | tuple[str, ...]
"""What engines are built for: the GPU at hand, or the compute capabilities that TensorRT for RTX is given."""

# Compute capability that a precision needs (TensorRT's support matrix); the others run on all that it takes.
OLDEST: Mapping[Precision, tuple[int, int]] = {"bf16": (8, 0), "fp8-qdq": (8, 9)}

_SPLITS = (
    256,
    768,
)  # frames at which one profile ends and the next begins: TensorRT tunes for one length of each
_ALIGNED = 8  # the longest length is a multiple of it, for tensor cores load half precision in rows of 8


@dataclass(frozen=True)
class BuildOptions:
    """What engines are built for.

    frames, batch: lengths that they take and are tuned for; None takes what the bundle has, and batches of up
    to 4: the memory of attention grows with the batch and the square of the frames. workspace: MiB that one
    layer may take, None for what TensorRT likes. version_compatible: newer versions of TensorRT, and its lean
    runtime, may run them; a little slower. hardware_compatible: all cards since Ampere may; slower, and not
    on a Jetson. compute_capabilities: such as '8.6': TensorRT for RTX builds for GPUs with these, and no GPU
    is needed; empty for TensorRT and the GPU at hand.
    """

    frames: Axis | None = None
    batch: Axis | None = None
    workspace: int | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False
    compute_capabilities: tuple[str, ...] = ()


def profile_axes(bundle: Bundle, options: BuildOptions) -> dict[str, Axis]:
    """Return the axes of the bundle, cut to the options; the most frames are a multiple of 8.

    Raises:
        ExportError: for lengths outside those of the bundle.
    """
    axes = dict(bundle.manifest.axes)
    batch = axes["batch"]
    axes["batch"] = Axis(batch.min, batch.opt, min(batch.max, 4))
    for symbol, wanted in (("frames", options.frames), ("batch", options.batch)):
        limits = bundle.manifest.axes[symbol]
        if wanted is None:
            continue
        if not limits.min <= wanted.min <= wanted.opt <= wanted.max <= limits.max:
            raise ExportError(
                f"--{symbol} is {wanted.min},{wanted.opt},{wanted.max}, expected min,opt,max that rise from "
                f"{limits.min} to {limits.max}"
            )
        axes[symbol] = wanted
    frames = axes["frames"]
    aligned = -(-frames.max // _ALIGNED) * _ALIGNED
    axes["frames"] = Axis(frames.min, frames.opt, min(aligned, bundle.manifest.axes["frames"].max))
    return axes


def profiles(graph: Graph, axes: Mapping[str, Axis], options: BuildOptions) -> list[dict[str, Axis]]:
    """Return the axes of each optimisation profile of a graph.

    A graph that is padded to whole buckets meets no other lengths, so that its profiles begin, are tuned, and
    end at buckets. It has several, one after the other, unless `options` name the length to tune for.
    """
    if graph.padding is None:
        return [dict(axes)]
    axis = axes[graph.padding]
    if options.frames is not None:
        low, middle = (min(whole_buckets(length), axis.max) for length in (axis.min, axis.opt))
        return [{**axes, graph.padding: Axis(low, middle, axis.max)}]
    ends = [end for end in _SPLITS if axis.min <= end < axis.max] + [axis.max]
    starts = [axis.min] + [end + 1 for end in ends[:-1]]
    found = []
    for start, end in zip(starts, ends, strict=True):
        low, middle = (min(whole_buckets(length), end) for length in (start, (start + end) // 2))
        found.append({**axes, graph.padding: Axis(low, middle, end)})
    return found


def build_engines(
    bundle: Bundle,
    precision: Precision,
    options: BuildOptions | None = None,
    report: Report = lambda line: None,
    library: Library | None = None,
) -> Path:
    """Build an engine for each graph that the bundle speaks with, and put them into it; gives their folder.

    An interrupted build leaves nothing but what it learnt of the timing of kernels, for the next one. Raises
    `EngineError` without TensorRT, or the GPU that it needs; `ExportError` for a graph that TensorRT refuses,
    with its node.
    """
    options = options or BuildOptions()
    has = precisions_on("tensorrt", bundle.manifest.precisions)
    if precision not in has:
        other = precision if runs_on(precision, "tensorrt") else "fp16"
        choice = f"{', '.join(has)}; take one of these, or" if has else "none;"
        raise ExportError(
            f"engines in {precision} were asked for, but for a GPU the bundle has {choice} export the voice "
            f"with soundstorm-export --precision {other}"
        )
    library = library or open_library(options)
    target = library.cuda.gpu if isinstance(library, TensorRt) else options.compute_capabilities
    _check_capabilities(precision, target)
    axes = profile_axes(bundle, options)
    folder = bundle.path / FOLDER / folder_name(target, library.version, precision)
    cache = None if library.is_rtx else folder.with_name(f"{folder.name}.timing")
    place = target.name if isinstance(target, Gpu) else f"compute capability {', '.join(target)}"
    engines: dict[str, EngineRecord] = {}
    with atomic_folder(folder) as work:
        for name, graph in engine_graphs(bundle.manifest).items():
            report(f"building the engine of {name} in {precision} for {place}")
            file = work / f"{name}.engine"
            source = bundle.graph_file(name, precision)
            file.write_bytes(build_plan(library, graph, source, axes, options, cache, report))
            engines[name] = EngineRecord(file.name, FileRecord.of(file), sources(bundle, name, precision))
        manifest = EnginesManifest(
            format="soundstorm-engines",
            version=1,
            producer=f"soundstorm-edge {soundstorm_runtime.__version__}",
            tensorrt=library.version,
            precision=precision,
            axes=axes,
            engines=engines,
            version_compatible=options.version_compatible,
            hardware_compatible=options.hardware_compatible,
            **_board(target),
        )
        (work / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    return folder


def open_library(options: BuildOptions) -> Library:
    """Import what builds engines with these options. Raises `EngineError` that says what is missing."""
    return open_rtx_builder() if options.compute_capabilities else open_tensorrt_library(("tensorrt",))


def _board(target: Target) -> dict[str, Any]:
    """Return what the manifest says of the GPUs."""
    if isinstance(target, Gpu):
        facts = asdict(target)
        return {"gpu": facts.pop("name"), **facts}
    return {"gpu": "", "compute_capability": "", "driver": "", "compute_capabilities": target}


def _check_capabilities(precision: Precision, target: Target) -> None:
    """Raise `ExportError` for a GPU that does not compute in the precision."""
    oldest = OLDEST.get(precision, (0, 0))
    for found in (target.compute_capability,) if isinstance(target, Gpu) else target:
        if tuple(map(int, found.split("."))) < oldest:
            has = f"{target.name} has" if isinstance(target, Gpu) else "a GPU was named with"
            raise ExportError(
                f"{has} compute capability {found}, {precision} needs {'.'.join(map(str, oldest))} or more; "
                "take --precision fp16"
            )


def build_plan(
    library: Library,
    graph: Graph,
    source: Path,
    axes: Mapping[str, Axis],
    options: BuildOptions,
    cache: Path | None,
    report: Report = lambda line: None,
) -> bytes:
    """Build the engine of one graph from its ONNX file, for lengths within `axes`.

    TensorRT works in a thread of its own: while the main thread is inside its code, Python sees no Ctrl-C,
    and an exception must not pass through its callbacks. Here the main thread waits, and Ctrl-C ends the
    build at the next step that TensorRT reports.

    Args:
        cache: file of kernel timings, read where it exists, and written; None for TensorRT for RTX, which
            times nothing.

    Raises:
        ExportError: for a graph that TensorRT does not take, or of which it builds no engine.
    """
    build = _Build(library, graph, source, axes, options, cache, report)
    with ThreadPoolExecutor(1, thread_name_prefix="tensorrt-build") as worker:
        plan = worker.submit(build.plan)
        try:
            return plan.result()
        except KeyboardInterrupt:
            build.stop.set()  # leaving the block waits for TensorRT to return
            raise


class _Build:
    """The build of one engine; what TensorRT refers to lives as long as it."""

    def __init__(
        self,
        library: Library,
        graph: Graph,
        source: Path,
        axes: Mapping[str, Axis],
        options: BuildOptions,
        cache: Path | None,
        report: Report,
    ) -> None:
        self.stop = Event()
        self._library, self._trt = library, library.module
        self._graph, self._source, self._axes, self._options = graph, source, axes, options
        self._cache, self._report = cache, report

    def plan(self) -> bytes:
        """Parse, time and build."""
        self._builder = self._trt.Builder(self._library.logger)
        self._progress = _progress(self._trt, self._graph.name, self._report, self.stop)
        network = self._network()
        config = self._config()
        for profile in self._profiles(network):
            config.add_optimization_profile(profile)
        if self._cache is None:
            plan = self._builder.build_serialized_network(network, config)
        else:
            timings = self._timings(config, self._cache)
            plan = self._builder.build_serialized_network(network, config)
            with suppress(OSError):  # without it, the next build is slower and nothing else
                write_file(self._cache, bytes(timings.serialize()))
        self._library.messages.raise_interrupt()
        if self._progress.error is not None:
            raise self._progress.error
        if self.stop.is_set():
            raise KeyboardInterrupt
        if plan is None:
            raise self._refused()
        return bytes(plan)

    def _timings(self, config: Any, cache: Path) -> Any:
        """Read the timing cache; begin a new one where it is damaged, or of another GPU or version."""
        if cache.is_file():
            timings = config.create_timing_cache(cache.read_bytes())
            if timings is not None and config.set_timing_cache(timings, False):
                return timings
        timings = config.create_timing_cache(b"")
        config.set_timing_cache(timings, False)
        return timings

    def _network(self) -> Any:
        trt = self._trt
        strong = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = self._builder.create_network(strong if int(trt.__version__.split(".")[0]) < 11 else 0)
        parser = trt.OnnxParser(network, self._library.logger)
        if self._options.version_compatible:  # what stands in for it is not in the lean runtime
            parser.set_flag(trt.OnnxParserFlag.NATIVE_INSTANCENORM)
        if not parser.parse_from_file(str(self._source)):
            errors = [_described(parser.get_error(place)) for place in range(parser.num_errors)]
            raise ExportError(
                f"{self._library.title} does not take graph '{self._graph.name}' "
                f"({'; '.join(errors) or self._library.why()}); use a newer TensorRT, or --provider cuda"
            )
        return network

    def _config(self) -> Any:
        trt, options = self._trt, self._options
        config = self._builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)  # fp32 is what the graph says
        if options.workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
        if options.version_compatible:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        if options.hardware_compatible:
            config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        if options.compute_capabilities:
            self._aim(config)
        config.progress_monitor = self._progress
        return config

    def _aim(self, config: Any) -> None:
        """Name the compute capabilities of the GPUs, and have runs that CUDA graphs can capture."""
        trt, wanted = self._trt, self._options.compute_capabilities
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
        config.num_compute_capabilities = len(wanted)
        for place, capability in enumerate(wanted):
            target = getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}", None)
            if target is None or not config.set_compute_capability(target, place):
                has = re.findall(r"SM(\d+)(\d)", " ".join(trt.ComputeCapability.__members__))
                raise ExportError(
                    f"--compute-capability has {capability}, TensorRT for RTX {self._library.version} builds "
                    f"for {', '.join(map('.'.join, has))}; on the GPU itself, take --tensorrt"
                )

    def _profiles(self, network: Any) -> list[Any]:
        """Make the optimisation profiles: the range of shapes of each input that has a symbolic axis."""
        inputs = {
            network.get_input(place).name: network.get_input(place) for place in range(network.num_inputs)
        }
        for tensor in self._graph.inputs:
            if tensor.name not in inputs or inputs[tensor.name].is_shape_tensor:
                raise ExportError(
                    f"TensorRT does not read input '{tensor.name}' of graph '{self._graph.name}' as a tensor "
                    "of the GPU; export the voice again with soundstorm-export"
                )
        made = []
        for axes in profiles(self._graph, self._axes, self._options):
            profile = self._builder.create_optimization_profile()
            for tensor in self._graph.inputs:
                if not any(isinstance(axis, str) for axis in tensor.axes):
                    continue
                spans = [axes[a] if isinstance(a, str) else Axis(a, a, a) for a in tensor.axes]
                low, middle, high = ([getattr(span, end) for span in spans] for end in ("min", "opt", "max"))
                profile.set_shape(tensor.name, low, middle, high)
            made.append(profile)
        return made

    def _refused(self) -> ExportError:
        why = self._library.why()
        advice = build_advice(why, self._options)
        if advice is None and "memory" in why.lower() and isinstance(self._library, TensorRt):
            advice = str(out_of_memory(self._library.cuda.free_memory()))
        advice = advice or "use a newer TensorRT, or --provider cuda"
        return ExportError(f"{self._library.title} built no engine of '{self._graph.name}' ({why}); {advice}")


def build_advice(why: str, options: BuildOptions) -> str | None:
    """Return which option made a build fail, by TensorRT's reason; None where no option did."""
    said = why.lower()
    if options.version_compatible and "lean" in said:
        return (
            "--version-compatible needs TensorRT's lean runtime: pip install tensorrt-lean, or on a Jetson "
            "sudo apt-get install libnvinfer-lean10; or leave the option out"
        )
    reasons = ("workspace", "memory", "any implementation", "tactic")
    if options.workspace is not None and any(reason in said for reason in reasons):
        return f"--workspace {options.workspace} may be too small; give more MiB, or leave it out"
    return None


def _described(error: Any) -> str:
    """Return the errors of the parser, with the node of the ONNX graph of each."""
    reason = " ".join(error.desc().split())
    return f"node {error.node()} '{error.node_name()}' ({error.node_operator()}): {reason}"


def _progress(trt: Any, graph: str, report: Report, stop: Event) -> Any:
    """Make the object that TensorRT reports its progress to; the build ends once `stop` is set.

    No exception may leave its methods, which TensorRT calls from its own code: the first one is kept as
    `error`, and ends the build.
    """

    class Progress(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.error: BaseException | None = None
            self._outer: tuple[str, int] | None = None

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self._outer = (phase_name, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                if self._outer is not None and phase_name == self._outer[0]:
                    report(f"{graph}: {phase_name}, step {step + 1} of {self._outer[1]}")
            except BaseException as error:
                self.error = self.error or error
            return self.error is None and not stop.is_set()

        def phase_finish(self, phase_name: str) -> None:
            if self._outer is not None and phase_name == self._outer[0]:
                self._outer = None

    return Progress()
