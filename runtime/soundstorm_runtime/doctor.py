"""What a machine can run a voice with: engines, libraries, instructions; and whether a bundle runs."""

from __future__ import annotations

import ctypes.util
import importlib.util
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from .bundle import Bundle, read_bundle
from .engine import Engine
from .engines import Engines, PrecisionChoice, Provider, open_engines
from .errors import EngineError, SoundStormError
from .examples import example_feeds
from .machine import INT8_FEATURES, Machine, this_machine
from .manifest import Manifest
from .onnx_engine import available_devices

# What is installed from where: the first of these distributions that is there counts.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "soundstorm-edge": ("soundstorm-edge",),
    "numpy": ("numpy",),
    "soundfile": ("soundfile",),
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime"),
    "tensorrt": ("tensorrt", "tensorrt-lean", "tensorrt-dispatch"),
    "cuda-python": ("cuda-python",),
}
CUDA_LIBRARIES = {"driver": "cuda", "runtime": "cudart", "cuDNN": "cudnn", "TensorRT": "nvinfer"}
LENGTHS = {"batch": 1, "frames": 50, "samples": 16_000, "phones": 12, "tokens": 50, "past": 7}


@dataclass(frozen=True)
class GraphCheck:
    """One graph, run once: its file, the seconds of the run, and what was wrong, if anything."""

    file: str
    milliseconds: float | None
    problem: str | None


@dataclass(frozen=True)
class BundleCheck:
    """A bundle that was opened as `auto`, or what was asked for, has it; `problem` where it was not."""

    path: str
    precisions: tuple[str, ...]
    engine: str | None
    precision: str | None
    reason: str | None
    graphs: dict[str, GraphCheck]
    problem: str | None


@dataclass(frozen=True)
class Diagnosis:
    """All that is known of a machine: versions of libraries and paths of CUDA's, None where absent."""

    machine: Machine
    libraries: dict[str, str | None]
    providers: tuple[str, ...]
    cuda: dict[str, str | None]
    auto: str
    advice: tuple[str, ...]
    bundle: BundleCheck | None

    @property
    def is_well(self) -> bool:
        """Whether there is an engine and, where a bundle was given, all its graphs ran."""
        check = self.bundle
        graphs = check.graphs.values() if check else ()
        return bool(self.providers) and not (check and check.problem) and not any(g.problem for g in graphs)


def diagnose(
    path: Path | None = None,
    *,
    provider: Provider = "auto",
    precision: PrecisionChoice = "auto",
    threads: int | None = None,
) -> Diagnosis:
    """Look at this machine and, where its folder is given, at a bundle. Absence of anything is no error."""
    machine = this_machine()
    providers, problem = _providers()
    libraries = {name: _version(names) for name, names in LIBRARIES.items()}
    check = _check_bundle(path, provider, precision, threads) if path else None
    return Diagnosis(
        machine=machine,
        libraries=libraries,
        providers=providers,
        cuda={name: _library(short) for name, short in CUDA_LIBRARIES.items()},
        auto=problem or _auto(providers, machine),
        advice=tuple(_advice(machine, providers, libraries)),
        bundle=check,
    )


def _providers() -> tuple[tuple[str, ...], str | None]:
    try:
        return tuple(available_devices()), None
    except EngineError as error:
        return (), str(error)
    except Exception as error:  # a library that is installed but broken raises whatever it likes
        return (), f"onnxruntime cannot be imported ({error}); install it again"


def _version(names: tuple[str, ...]) -> str | None:
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _library(name: str) -> str | None:
    """Find a shared library in the system's folders or in NVIDIA's wheels, without loading it."""
    if found := ctypes.util.find_library(name):
        return found
    for package in ("nvidia", "tensorrt_libs"):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            if files := sorted(Path(folder).glob(f"**/lib{name}.so*")):
                return str(files[0])
    return None


def _auto(providers: tuple[str, ...], machine: Machine) -> str:
    fast = next((feature for feature in INT8_FEATURES if feature in machine.features), None)
    on_cpu = f"int8 where a bundle has it ({fast})" if fast else "fp32 (no instructions for int8)"
    if "cuda" in providers:
        return f"CUDA if it starts, in fp16 where a bundle has it; else the CPU, {on_cpu}"
    return f"the CPU, {on_cpu}"


def _advice(machine: Machine, providers: tuple[str, ...], libraries: dict[str, str | None]) -> list[str]:
    advice = []
    if not providers:
        advice.append("pip install 'soundstorm-edge[cpu]' for an engine, or 'soundstorm-edge[gpu]' for CUDA")
    elif machine.gpus and "cuda" not in providers:
        advice.append(
            f"{machine.gpus[0]} is not used: pip uninstall onnxruntime, "
            "then pip install 'soundstorm-edge[gpu]'"
        )
    if libraries["soundstorm-edge"] is None:
        advice.append("soundstorm-edge runs from a source tree; pip install it to have its version told")
    return advice


def _check_bundle(
    path: Path, provider: Provider, precision: PrecisionChoice, threads: int | None
) -> BundleCheck:
    precisions: tuple[str, ...] = ()
    try:
        bundle = read_bundle(path)
        precisions = bundle.manifest.precisions
        bundle.prompts()
        engines = open_engines(bundle, provider=provider, precision=precision, threads=threads)
    except SoundStormError as error:
        return BundleCheck(str(path), precisions, None, None, None, {}, str(error))
    some = next(iter(engines.by_name.values()))
    graphs = {name: _check_graph(bundle, engines, name) for name in engines.by_name}
    return BundleCheck(str(path), precisions, str(some), engines.precision, engines.reason, graphs, None)


def _check_graph(bundle: Bundle, engines: Engines, name: str) -> GraphCheck:
    file = bundle.graph_file(name, engines.precision).relative_to(bundle.path).as_posix()
    try:
        return GraphCheck(file, round(1000 * _run_once(bundle.manifest, engines.by_name[name]), 2), None)
    except EngineError as error:
        return GraphCheck(file, None, str(error))


def _run_once(manifest: Manifest, engine: Engine) -> float:
    """Run a graph once; gives the seconds. Raises `EngineError` for results that are not finite."""
    feeds = example_feeds(manifest, engine.graph, LENGTHS, np.random.default_rng(0))
    started = time.perf_counter()
    results = engine.run(feeds)
    seconds = time.perf_counter() - started
    for name, array in results.items():
        if not np.isfinite(array).all():
            raise EngineError(
                f"output '{name}' of graph '{engine.graph.name}' is not finite; try another precision"
            )
    return seconds
