"""The engines, libraries and processor features of a machine, and whether a bundle runs on it."""

from __future__ import annotations

import ctypes.util
import importlib.util
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from ..bundle.manifest import Manifest
from ..bundle.open_engines import Engines, PrecisionChoice, Provider, open_engines
from ..bundle.reader import Bundle, read_bundle
from ..engines.base import Engine
from ..engines.comparison import Difference, compare
from ..engines.example_feeds import example_feeds
from ..engines.graphs import Graph
from ..engines.onnx.onnx_engine import CPU, OnnxEngine, available_devices
from ..engines.tensorrt.library import PACKAGES, RTX, open_tensorrt_library
from ..errors import EngineError, SoundStormError
from ..support.hardware import INT8_FEATURES, Machine, this_machine
from ..support.jetson import Jetson, this_jetson

# The distributions that may provide a library; the first one that is installed is reported.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "soundstorm-edge": ("soundstorm-edge",),
    "numpy": ("numpy",),
    "soundfile": ("soundfile",),
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime"),
    "openvino": ("onnxruntime-ep-openvino", "onnxruntime-openvino"),
    "tensorrt": ("tensorrt", "tensorrt-lean", "tensorrt-dispatch"),
    "tensorrt-rtx": ("tensorrt-rtx", "tensorrt-rtx-cu12", "tensorrt-rtx-cu13"),
    "cuda-python": ("cuda-python",),
}
CUDA_LIBRARIES = {"driver": "cuda", "runtime": "cudart", "cuDNN": "cudnn", "TensorRT": "nvinfer"}
LENGTHS = {
    "batch": 1, "frames": 50, "samples": 16_000, "phones": 12, "tokens": 50, "past": 7, "prefix": 40,
    "prompt_frames": 50, "prompt_tokens": 50,
}  # fmt: skip


LITTLE_MEMORY = 1024  # MiB below which engines of a small voice may not start
# Lengths at which an engine on a GPU is compared, in three runs: the last one replays the captured graph.
COMPARED = {
    "batch": 1, "frames": 200, "samples": 16_000, "phones": 60, "tokens": 200, "past": 40, "prefix": 128,
}  # fmt: skip
LEAST_AGREEMENT = 0.98
TIMED_RUNS = 5


@dataclass(frozen=True)
class GraphCheck:
    """The result of running one graph once.

    Attributes:
        file: The file of the graph.
        milliseconds: Time of the run.
        problem: The error of the run, None if there was none.
        difference: From ONNX Runtime in fp32 on the CPU, with the same random numbers; only on a GPU.
        on_gpu: Share of the nodes that ONNX Runtime ran on the GPU; None for other engines.
    """

    file: str
    milliseconds: float | None
    problem: str | None
    difference: Difference | None = None
    on_gpu: float | None = None


@dataclass(frozen=True)
class BundleCheck:
    """The result of opening a bundle and running its graphs.

    Attributes:
        problem: The error of opening it.
        faster: What to take in place of the CPU, because its steps took less time; None if nothing did.
    """

    path: str
    precisions: tuple[str, ...]
    engine: str | None
    precision: str | None
    reason: str | None
    graphs: dict[str, GraphCheck]
    problem: str | None
    faster: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """The state of a machine.

    Attributes:
        libraries: Version of each Python library, None for one that is not installed.
        providers: Devices of the installed ONNX Runtime.
        cuda: Path of each CUDA library, None for one that was not found.
        auto: The provider that 'auto' chooses, and why.
        advice: What to install or change.
        tensorrt: The usable TensorRT and its GPU, None if there is none.
        tensorrt_problem: Why there is none.
        jetson: Power mode, clocks and free memory of a Jetson; None on another machine.
    """

    machine: Machine
    libraries: dict[str, str | None]
    providers: tuple[str, ...]
    cuda: dict[str, str | None]
    auto: str
    advice: tuple[str, ...]
    bundle: BundleCheck | None
    tensorrt: str | None
    tensorrt_problem: str | None
    jetson: Jetson | None = None

    @property
    def is_well(self) -> bool:
        """Whether an engine works and, if a bundle was given, all its graphs ran."""
        check = self.bundle
        graphs = check.graphs.values() if check else ()
        has_engine = bool(self.providers or self.tensorrt)
        return has_engine and not (check and check.problem) and not any(g.problem for g in graphs)


def diagnose(
    path: Path | None = None,
    *,
    provider: Provider = "auto",
    precision: PrecisionChoice = "auto",
    threads: int | None = None,
) -> Diagnosis:
    """Examine this machine and, if its folder is given, a bundle. A missing library is not an error."""
    machine, jetson = this_machine(), this_jetson()
    providers, problem = _providers()
    tensorrt, tensorrt_problem = _tensorrt()
    libraries = {name: _version(names) for name, names in LIBRARIES.items()}
    check = _check_bundle(path, provider, precision, threads) if path else None
    return Diagnosis(
        machine=machine,
        libraries=libraries,
        providers=providers,
        cuda={name: _library(short) for name, short in CUDA_LIBRARIES.items()},
        auto=problem or _auto(providers, machine, tensorrt),
        advice=(*_advice(machine, providers, libraries, check), *_jetson_advice(jetson)),
        bundle=check,
        tensorrt=tensorrt,
        tensorrt_problem=tensorrt_problem,
        jetson=jetson,
    )


def _providers() -> tuple[tuple[str, ...], str | None]:
    try:
        return tuple(available_devices()), None
    except EngineError as error:
        return (), str(error)
    except Exception as error:  # a broken installation may raise anything
        return (), f"onnxruntime cannot be imported ({error}); install it again"


def _tensorrt() -> tuple[str | None, str | None]:
    problem = None
    for packages in (PACKAGES, RTX):
        try:
            return str(open_tensorrt_library(packages)), None
        except EngineError as error:
            problem = problem or str(error)
    return None, problem


def _version(names: tuple[str, ...]) -> str | None:
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _library(name: str) -> str | None:
    """Return the path of a shared library in the system's folders or NVIDIA's wheels, without loading it."""
    if found := ctypes.util.find_library(name):
        return found
    for package in ("nvidia", "tensorrt_libs"):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            if files := sorted(Path(folder).glob(f"**/lib{name}.so*")):
                return str(files[0])
    return None


def _auto(providers: tuple[str, ...], machine: Machine, tensorrt: str | None) -> str:
    if tensorrt:
        return f"TensorRT where a bundle has engines for this machine; else {_auto(providers, machine, None)}"
    fast = next((feature for feature in INT8_FEATURES if feature in machine.features), None)
    on_cpu = f"int8 where a bundle has it ({fast})" if fast else "fp32 (no instructions for int8)"
    if "cuda" in providers:
        return f"CUDA if it starts, in fp16 where a bundle has it; else the CPU, {on_cpu}"
    return f"the CPU, {on_cpu}"


def _advice(
    machine: Machine,
    providers: tuple[str, ...],
    libraries: dict[str, str | None],
    check: BundleCheck | None,
) -> list[str]:
    advice = []
    if check is not None and check.faster is not None:
        advice.append(check.faster)
    if not providers:
        advice.append("pip install 'soundstorm-edge[cpu]' for an engine, or 'soundstorm-edge[gpu]' for CUDA")
    elif machine.gpus and "cuda" not in providers:
        advice.append(
            f"{machine.gpus[0]} is not used: pip uninstall onnxruntime, "
            "then pip install 'soundstorm-edge[gpu]'"
        )
    if libraries["soundstorm-edge"] is None:
        advice.append("soundstorm-edge runs from a source tree; pip install it to have its version reported")
    return advice


def _jetson_advice(jetson: Jetson | None) -> list[str]:
    advice: list[str] = []
    if jetson is None:
        return advice
    if jetson.gpu is not None and not jetson.gpu.is_fixed:
        advice.append("the clocks rise with the load, and short sentences end before: sudo jetson_clocks")
    if jetson.free_mb is not None and jetson.free_mb < LITTLE_MEMORY:
        advice.append(
            f"{jetson.free_mb} MiB of memory are free for CPU and GPU together; close the desktop, or take "
            "--provider cpu beside a language model"
        )
    return advice


def _check_bundle(
    path: Path, provider: Provider, precision: PrecisionChoice, threads: int | None
) -> BundleCheck:
    precisions: tuple[str, ...] = ()
    try:
        bundle = read_bundle(path)
        precisions = bundle.manifest.precisions
        bundle.check()
        bundle.prompts()
        engines = open_engines(bundle, provider=provider, precision=precision, threads=threads)
    except SoundStormError as error:
        return BundleCheck(str(path), precisions, None, None, None, {}, str(error))
    some = next(iter(engines.by_name.values()))
    graphs = {engine.graph.name: _check_graph(bundle, engines, engine) for engine in engines.by_name.values()}
    for graph in bundle.manifest.prompt_graphs().values():
        graphs[graph.name] = _check_prompt_graph(bundle, graph, threads)
    faster = _faster(bundle, engines, threads)
    return BundleCheck(
        str(path), precisions, str(some), engines.precision, engines.reason, graphs, None, faster
    )


def _faster(bundle: Bundle, engines: Engines, threads: int | None) -> str | None:
    """Time steps on the CPU and with OpenVINO, in turns; return the advice to take the latter if faster."""
    if engines.provider != "cpu" or "openvino" not in available_devices():
        return None
    times: dict[str, list[float]] = {"cpu": [], "openvino": []}
    try:
        other = open_engines(bundle, provider="openvino", threads=threads)
        steps = {"cpu": engines.by_name["step"], "openvino": other.by_name["step"]}
        for _ in range(TIMED_RUNS):
            for name, step in steps.items():
                times[name].append(1000 * _run_once(bundle.manifest, step))
    except EngineError:  # it cannot run this bundle
        return None
    cpu, openvino = min(times["cpu"]), min(times["openvino"])
    if openvino >= cpu:
        return None
    return f"a step takes {openvino:.1f} ms with OpenVINO and {cpu:.1f} ms without: take --provider openvino"


def _check_graph(bundle: Bundle, engines: Engines, engine: Engine) -> GraphCheck:
    name = engine.graph.name
    path = bundle.graph_file(name, engines.precision, place=engines.provider)
    file = path.relative_to(bundle.path).as_posix()
    try:
        milliseconds = round(1000 * _run_once(bundle.manifest, engine), 2)
        if engines.provider == "cpu":
            return GraphCheck(file, milliseconds, None)
        difference = _compare(bundle, engine)
    except EngineError as error:
        return GraphCheck(file, None, str(error))
    problem = _objection(bundle, engines, name, difference)
    return GraphCheck(file, milliseconds, problem, difference, _share_on_gpu(bundle, engine))


def _check_prompt_graph(bundle: Bundle, graph: Graph, threads: int | None) -> GraphCheck:
    """Run the graphs that make prompts from recordings; they always run on the CPU in fp32."""
    path = bundle.graph_file(graph.name)
    file = path.relative_to(bundle.path).as_posix()
    try:
        engine = OnnxEngine(graph, path, bundle.manifest.axes, threads=threads)
        return GraphCheck(file, round(1000 * _run_once(bundle.manifest, engine), 2), None)
    except EngineError as error:
        return GraphCheck(file, None, str(error))


def _share_on_gpu(bundle: Bundle, engine: Engine) -> float | None:
    if not isinstance(engine, OnnxEngine):
        return None
    lengths = _within(LENGTHS, engine)
    nodes = engine.placed_nodes(
        example_feeds(engine.graph, bundle.manifest.feed_limits, lengths, np.random.default_rng(0))
    )
    return 1 - nodes.get(CPU, 0) / max(1, sum(nodes.values()))


def _compare(bundle: Bundle, engine: Engine) -> Difference:
    """Compare an engine with ONNX Runtime on the CPU, in fp32 if the bundle has it."""
    graph, manifest = engine.graph, bundle.manifest
    file = bundle.graph_file(graph.name, manifest.precisions[0])
    reference = OnnxEngine(graph, file, manifest.axes, provider="cpu")
    lengths, rng = _within(COMPARED, engine), np.random.default_rng(1)
    for _ in range(3):
        feeds = example_feeds(graph, manifest.feed_limits, lengths, rng)
        results = engine.run(feeds)
    return compare(graph, reference.run(feeds), results)


def _objection(bundle: Bundle, engines: Engines, name: str, difference: Difference) -> str | None:
    manifest = bundle.manifest
    variant = manifest.variants.get(engines.precision) if engines.precision != "fp32" else None
    allowed = (variant.parity if variant else {}).get(name, manifest.parity[name]).tolerance
    if difference.largest <= allowed and difference.agreement >= LEAST_AGREEMENT:
        return None
    return (
        f"differs from ONNX Runtime on the CPU by {difference.largest:.1e} and agrees in "
        f"{difference.agreement:.1%} of the integers, expected at most {allowed:.0e} and at least "
        f"{LEAST_AGREEMENT:.0%}; try another precision, or --provider cpu"
    )


def _within(lengths: Mapping[str, int], engine: Engine) -> dict[str, int]:
    """Limit lengths to those that an engine takes, filled up to the length in which it runs fastest.

    An older bundle has fewer axes.
    """
    axes, padding = engine.axes, engine.graph.padding
    found = {
        symbol: min(max(length, axes[symbol].min), axes[symbol].max)
        for symbol, length in lengths.items()
        if symbol in axes
    }
    return found if padding is None else found | {padding: engine.padded(found[padding])}


def _run_once(manifest: Manifest, engine: Engine) -> float:
    """Run a graph once and return the seconds. Raises `EngineError` for results that are not finite."""
    feeds = example_feeds(
        engine.graph, manifest.feed_limits, _within(LENGTHS, engine), np.random.default_rng(0)
    )
    started = time.perf_counter()
    results = engine.run(feeds)
    seconds = time.perf_counter() - started
    for name, array in results.items():
        if not np.isfinite(array).all():
            raise EngineError(
                f"output '{name}' of graph '{engine.graph.name}' is not finite; try another precision"
            )
    return seconds
