"""Choose where and in which precision the graphs of a bundle run, log the choice, and open them."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import Literal, get_args

from ..engines.base import Engine
from ..engines.onnx.onnx_engine import OnnxEngine, available_devices
from ..engines.onnx.tensorrt_provider import EngineCache
from ..errors import EngineError, OptionError
from ..support.hardware import cpu_features
from .engine_manifest import FOLDER, sources
from .manifest import Precision
from .open_tensorrt import has_engines, open_tensorrt
from .precisions import Place, PrecisionChoice, choose_precision, precisions_on, runs_on
from .reader import Bundle

Provider = Literal["auto", Place]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Engines:
    """The opened graphs of a bundle.

    Attributes:
        by_name: Engine of each graph.
        provider: Where they run.
        precision: Their precision.
        reason: Why this precision was chosen.
        in_batches: Whether a sample of a batch is computed as it is alone.
    """

    by_name: dict[str, Engine]
    provider: Place
    precision: Precision
    reason: str
    in_batches: bool = True


def open_engines(
    bundle: Bundle,
    *,
    provider: Provider = "auto",
    precision: PrecisionChoice = "auto",
    threads: int | None = None,
) -> Engines:
    """Open every graph of a bundle. The log says what 'auto' chose; what is named is used or refused.

    Args:
        bundle: The bundle.
        provider: 'cpu' or 'cuda' (ONNX Runtime), 'tensorrt' (engines that soundstorm-export built),
            'onnx-tensorrt' (engines that ONNX Runtime builds in the first runs, which takes minutes, and
            keeps beside the bundle), 'rtx' (TensorRT for RTX, a plug-in of ONNX Runtime), 'openvino',
            'coreml', 'directml' or 'xnnpack' (where ONNX Runtime has them), or 'auto' for the best of the
            first three that works.
        precision: One that the bundle has (see `precisions`), or 'auto' for the fastest of those whose speech
            is hardly worse.
        threads: Threads within one operator; None uses the available processors, up to 8.

    Raises:
        EngineError: An engine cannot be used.
        OptionError: An option is unknown, or the bundle lacks the precision.
    """
    for name, value, kind in (("provider", provider, Provider), ("precision", precision, PrecisionChoice)):
        if value not in get_args(kind):
            raise OptionError(f"{name} is {value!r}, expected one of {', '.join(get_args(kind))}")
    if threads is not None and threads < 1:
        raise OptionError(f"threads is {threads}, expected 1 or more")
    found = _open_best(bundle, precision, threads) if provider == "auto" else None
    if found is None:
        found = _open(bundle, "cpu" if provider == "auto" else provider, precision, threads)
    if "auto" in (provider, precision):
        some = next(iter(found.by_name.values()))
        _log.info("engine: %s, %s (%s)", some, found.precision, found.reason)
    return found


def _open_best(bundle: Bundle, precision: PrecisionChoice, threads: int | None) -> Engines | None:
    """Open a bundle on the GPU; return None where that is impossible, with the reason in the log."""
    if has_engines(bundle) and (precision == "auto" or runs_on(precision, "tensorrt")):
        try:
            return _open(bundle, "tensorrt", precision, threads)
        except EngineError as error:
            _log.warning("%s; not using TensorRT", error)
    wanted = bundle.manifest.precisions if precision == "auto" else (precision,)
    if "cuda" not in available_devices() or not precisions_on("cuda", wanted):
        return None
    try:
        return _open(bundle, "cuda", precision, threads)
    except EngineError as error:
        _log.warning("%s; using the CPU", error)
        return None


def _open(bundle: Bundle, device: Place, asked: PrecisionChoice, threads: int | None) -> Engines:
    manifest = bundle.manifest
    if device == "tensorrt":
        by_name, precision, reason = open_tensorrt(bundle, None if asked == "auto" else asked)
        return Engines(by_name, device, precision, reason)
    precision, reason = choose_precision(asked, device, manifest.precisions, cpu_features())
    files = {name: bundle.graph_file(name, precision, place=device) for name in manifest.expected_graphs()}
    by_name = {
        name: OnnxEngine(
            graph, files[name], manifest.axes, provider=device, threads=threads,
            cache=_cache(bundle, name, precision) if device in ("onnx-tensorrt", "rtx") else None,
        )
        for name, graph in manifest.expected_graphs().items()
    }  # fmt: skip
    in_batches = precision != "int8" or manifest.variants["int8"].by_row
    return Engines(by_name, device, precision, reason, in_batches)


def _cache(bundle: Bundle, name: str, precision: Precision) -> EngineCache:
    """Return where a graph's engines are kept: by its weights, which the library does not compare."""
    content = "".join(sources(bundle, name, precision).values())
    own = f"onnxruntime-{name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    return EngineCache(bundle.path / FOLDER / own, half=precision == "fp16")
