"""TensorRT engines beside a bundle: what they were built for, and whether they fit this machine.

An engine of TensorRT runs only on the kind of GPU, and with the version of TensorRT, that built it. So they
lie in `engines/<gpu>-<multiprocessors>sm-<TensorRT>-<precision>/`, one for each graph, with a manifest of
their own; those for several machines may lie side by side. `soundstorm-export BUNDLE --tensorrt` writes them.

Engines of TensorRT for RTX run on every GPU with one of the compute capabilities that were named. They lie in
`engines/tensorrt-rtx-<compute capabilities>-<TensorRT for RTX>-<precision>/`; `soundstorm-export BUNDLE
--tensorrt-rtx` writes them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..engines.cuda_runtime import Gpu
from ..engines.graphs import Axis, Graph
from ..errors import EngineError
from ..support.files import TEXT, parse_json, read_file, reason
from ..support.serde import from_dict, to_dict
from .manifest import FileRecord, Manifest, Precision
from .reader import ENGINES_FOLDER, Bundle

FORMAT = "soundstorm-engines"
VERSION = 1
MANIFEST_FILE = "engines.json"
FOLDER = ENGINES_FOLDER


@dataclass(frozen=True)
class EngineRecord:
    """One engine: its file, and the SHA-256 of each file of the bundle that it was built from."""

    file: str
    facts: FileRecord
    sources: dict[str, str]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z_]+\.engine", self.file):
            raise ValueError(f"file is {self.file!r}, expected a name such as step.engine")


@dataclass(frozen=True)
class EnginesManifest:
    """The contents of `engines.json`.

    axes: the lengths that the engines take. driver: the CUDA version of the driver that was there.
    version_compatible: whether newer versions of TensorRT may run them, with the runtime that they carry
    inside. hardware_compatible: whether all GPUs since Ampere (compute capability 8.0) may. multiprocessors,
    memory: of the GPU, MiB; 0 where an older version wrote the file, and then the GPU's name is compared.
    compute_capabilities: of engines of TensorRT for RTX, those of the GPUs that may run them; nothing else is
    known of these GPUs then. Empty for engines of TensorRT.
    """

    format: Literal["soundstorm-engines"]
    version: Literal[1]
    producer: str
    gpu: str
    compute_capability: str
    driver: str
    tensorrt: str
    precision: Precision
    axes: dict[str, Axis]
    engines: dict[str, EngineRecord]
    version_compatible: bool = False
    hardware_compatible: bool = False
    multiprocessors: int = 0
    memory: int = 0
    compute_capabilities: tuple[str, ...] = ()

    @property
    def is_rtx(self) -> bool:
        """Whether TensorRT for RTX built the engines, and runs them."""
        return bool(self.compute_capabilities)

    def to_json(self) -> str:
        """Write it as the text of `engines.json`."""
        return json.dumps(to_dict(self), indent=2, allow_nan=False) + "\n"


def folder_name(target: Gpu | tuple[str, ...], tensorrt: str, precision: Precision) -> str:
    """Name the folder of engines, in lower-case letters, digits, dots and hyphens.

    The number of multiprocessors distinguishes boards of one name.

    Args:
        target: The GPU, or the compute capabilities of engines of TensorRT for RTX.
        tensorrt: The version of the library.
        precision: The precision of the engines.
    """
    if isinstance(target, Gpu):
        built_for = f"{target.name}-{target.multiprocessors}sm"
    else:
        built_for = f"tensorrt-rtx-{'-'.join(target)}"
    return re.sub(r"[^a-z0-9.]+", "-", f"{built_for}-{tensorrt}-{precision}".lower()).strip("-")


def rebuild_command(
    bundle: Path, precision: Precision | None = None, capabilities: tuple[str, ...] = ()
) -> str:
    """Return the command that builds engines for a bundle: here, or for GPUs of these capabilities."""
    option = f"--tensorrt-rtx --compute-capability {','.join(capabilities)}" if capabilities else "--tensorrt"
    return f"soundstorm-export {bundle} {option}" + (f" --precision {precision}" if precision else "")


def engine_folders(bundle: Path) -> list[Path]:
    """List the folders of engines that a bundle has; what is being built is hidden and not among them."""
    return sorted(file.parent for file in (bundle / FOLDER).glob(f"[!.]*/{MANIFEST_FILE}"))


def read_engines(folder: Path, bundle: Bundle) -> EnginesManifest:
    """Read the manifest of a folder, and check that it is about the graphs of the bundle as they are.

    Raises `EngineError` that says what is wrong, and which command builds the engines again.
    """
    file = folder / MANIFEST_FILE
    try:
        data = parse_json(read_file(file, TEXT, links=False))
        if isinstance(data, dict) and (data.get("format"), data.get("version")) != (FORMAT, VERSION):
            raise ValueError(
                f"format and version are {data.get('format')!r} and {data.get('version')!r}, "
                f"expected {FORMAT!r} and {VERSION}"
            )
        manifest = from_dict(EnginesManifest, data, "engines")
    except (ValueError, OSError) as error:
        raise EngineError(
            f"{file}: {reason(error)}; build them again: {rebuild_command(bundle.path)}"
        ) from error
    command = rebuild_command(bundle.path, manifest.precision, manifest.compute_capabilities)
    again = f"build them again: {command}"
    expected = engine_graphs(bundle.manifest)
    if manifest.engines.keys() != expected.keys():
        raise EngineError(
            f"{file} has engines for {_listed(manifest.engines)}, expected {_listed(expected)}; {again}"
        )
    missing = bundle.manifest.axes.keys() - manifest.axes.keys()
    if missing:
        raise EngineError(
            f"{file} has no axis {min(missing)}, expected {_listed(bundle.manifest.axes)}; {again}"
        )
    for name, engine in manifest.engines.items():
        now = sources(bundle, name, manifest.precision)
        if engine.sources != now:
            raise EngineError(
                f"{folder / engine.file} was built from files with SHA-256 {engine.sources}, "
                f"the bundle has {now}; {again}"
            )
    return manifest


def engine_graphs(manifest: Manifest) -> dict[str, Graph]:
    """Return the graphs that engines are built of, by name: `step_next` for `step` where there is one."""
    graphs, whole_step = manifest.expected_graphs(), manifest.whole_step()
    if whole_step:
        del graphs["step"]
    return whole_step | graphs


def sources(bundle: Bundle, name: str, precision: Precision) -> dict[str, str]:
    """Return the SHA-256 of the files of a graph in a precision, its ONNX file first."""
    manifest = bundle.manifest
    variant = manifest.variants.get(precision) if precision != "fp32" else None
    graph = manifest.graphs[name]
    files = [file for file in (graph.file, graph.weights) if file is not None]
    if variant is not None and name in variant.graphs:
        files = [variant.graphs[name], *([variant.weights[name]] if name in variant.weights else [])]
    return {file: manifest.files[file].sha256 for file in files}


_SAME_MEMORY = 0.1  # share by which the memory of equal boards differs with what the system keeps of it


def mismatches(manifest: EnginesManifest, gpu: Gpu, tensorrt: str) -> list[str]:
    """Name each property in which this machine differs from where the engines were built, if it matters.

    The driver does not: NVIDIA's are compatible with engines of older and newer ones. GPUs are compared by
    what decides which kernels run: compute capability, multiprocessors and memory; two boards of one name may
    differ in these, and equal ones may have different names.
    """
    found = []
    if manifest.is_rtx:
        if gpu.compute_capability not in manifest.compute_capabilities:
            built, here = " or ".join(manifest.compute_capabilities), gpu.compute_capability
            found.append(f"compute capability must be {built}, here it is {here!r}")
    elif manifest.hardware_compatible:
        if _numbers(gpu.compute_capability) < (8, 0):
            found.append(f"compute capability must be 8.0 or more, here it is {gpu.compute_capability!r}")
    else:
        found += _other_board(manifest, gpu)
    if manifest.version_compatible and _numbers(tensorrt) < _numbers(manifest.tensorrt):
        found.append(f"TensorRT must be {manifest.tensorrt!r} or newer, here it is {tensorrt!r}")
    if not manifest.version_compatible and tensorrt != manifest.tensorrt:
        library = "TensorRT for RTX" if manifest.is_rtx else "TensorRT"
        found.append(f"{library} was {manifest.tensorrt!r}, here it is {tensorrt!r}")
    return found


def _other_board(manifest: EnginesManifest, gpu: Gpu) -> list[str]:
    found = []
    if manifest.compute_capability != gpu.compute_capability:
        built, here = manifest.compute_capability, gpu.compute_capability
        found.append(f"compute capability was {built!r}, here it is {here!r}")
    if not manifest.multiprocessors:
        if manifest.gpu != gpu.name:
            found.append(f"the GPU was {manifest.gpu!r}, here it is {gpu.name!r}")
        return found
    if manifest.multiprocessors != gpu.multiprocessors:
        found.append(
            f"the GPU had {manifest.multiprocessors} multiprocessors, here it has {gpu.multiprocessors}"
        )
    if abs(manifest.memory - gpu.memory) > _SAME_MEMORY * manifest.memory:
        found.append(f"the GPU had {manifest.memory} MiB of memory, here it has {gpu.memory}")
    return found


def read_plan(folder: Path, name: str, manifest: EnginesManifest, bundle: Path) -> bytes:
    """Read the engine of a graph once its size and SHA-256 are right. Raises `EngineError`."""
    engine = manifest.engines[name]
    command = rebuild_command(bundle, manifest.precision, manifest.compute_capabilities)
    path, again = folder / engine.file, f"build it again: {command}"
    try:
        content = read_file(path, engine.facts.size, links=False)
    except FileNotFoundError as error:
        raise EngineError(f"{path} is missing, expected {engine.facts.size} bytes; {again}") from error
    except OSError as error:
        raise EngineError(f"{path} cannot be used: {reason(error)}; {again}") from error
    if len(content) != engine.facts.size:
        raise EngineError(f"{path} has {len(content)} bytes, expected {engine.facts.size}; {again}")
    if (found := hashlib.sha256(content).hexdigest()) != engine.facts.sha256:
        raise EngineError(f"{path} has SHA-256 {found}, expected {engine.facts.sha256}; {again}")
    return content


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
