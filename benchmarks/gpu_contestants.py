"""What the GPU benchmark compares: the paper's model, with random weights, on every available engine."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from soundstorm_edge.codec.soundstream import SoundStream
from soundstorm_edge.codec.soundstream_config import SoundStreamConfig
from soundstorm_edge.interop.soundstorm_pytorch import from_soundstorm_pytorch
from soundstorm_edge.nn.conformer import ConformerConfig
from soundstorm_edge.nn.torch_engine import TorchEngine
from soundstorm_edge.soundstorm.model import SoundStorm, SoundStormConfig
from soundstorm_export.rewrite.half import HALVES, to_half
from soundstorm_export.rewrite.simplify import simplify
from soundstorm_export.tensorrt.engine_builder import BuildOptions, build_plan
from soundstorm_export.tracing.networks import Network
from soundstorm_export.tracing.trace import trace_graph
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.engines.graphs import AXES, Axis, Graph, decoder_graph, step_graph
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine
from soundstorm_runtime.engines.onnx.tensorrt_provider import EngineCache
from soundstorm_runtime.engines.tensorrt.library import open_tensorrt_library
from soundstorm_runtime.engines.tensorrt.tensorrt_engine import TensorRtEngine
from soundstorm_runtime.errors import SoundStormError

REFERENCE = "soundstorm-pytorch"
TOKENS = 500  # semantic ones, at the frame rate

_FF, _WIDE = 4, 2
_TOKEN_FACTS: dict[str, Any] = {
    "wav2vec_target_sample_hz": 16_000,
    "wav2vec_downsample_factor": 320,
    "codec_target_sample_hz": 16_000,
    "codec_downsample_factor": 320,
}


@dataclass(frozen=True)
class Size:
    """The model, and what it decodes: 30 s at 50 Hz, with as many steps as the paper."""

    dim: int = 1024
    depth: int = 12
    heads: int = 16
    levels: int = 12
    codes: int = 1024
    frames: int = 1500
    first_steps: int = 16
    channels: int = 32  # of SoundStream's first layer

    @property
    def steps(self) -> tuple[int, ...]:
        """Of each level."""
        return (self.first_steps, *(1,) * (self.levels - 1))

    @property
    def operations(self) -> float:
        """Multiplications and additions of the matrix products of one step of one sample."""
        inner = 64 * self.heads
        block = 4 * _FF * self.dim**2 + 4 * self.dim * inner + 3 * _WIDE * self.dim**2
        block += 2 * self.frames * inner  # scores, and the sums that they weigh
        return 2.0 * self.frames * (self.depth * block + self.dim**2 + self.dim * self.codes)


class Contestants:
    """Makes engines of one model; `absent` has the reasons why others could not be made."""

    def __init__(self, size: Size, folder: Path) -> None:
        self.size = size
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.absent: dict[str, str] = {}
        torch.manual_seed(0)
        self.reference = self._reference()
        self._forward = None if self.reference is None else self.reference.net.forward
        model = self._model().eval()
        codec = SoundStream(
            SoundStreamConfig(
                channels=size.channels,
                codebook_dim=16 * size.channels,
                codebook_size=size.codes,
                rq_num_quantizers=size.levels,
            )
        ).eval()
        self.step, self.decoder = step_graph(size.levels), decoder_graph(size.levels)
        self._folder = folder
        self._networks = {
            "step": Network(self.step, model, model.step),
            "decoder": Network(self.decoder, codec, codec.decode_from_codebook_indices),
        }
        for network in self._networks.values():
            self._export(network)
            network.module.to(self.device)

    def feeds(self, graph: Graph, batch: int, frames: int | None = None) -> dict[str, np.ndarray]:
        """Draw inputs: of a step that fills the first level, all codes masked; or codes to decode."""
        size, rng = self.size, np.random.default_rng(0)
        shape = (batch, frames or size.frames)
        if graph is self.decoder:
            return {"codes": rng.integers(size.codes, size=(*shape, size.levels))}
        return {
            "codes": np.full((*shape, size.levels), size.codes),
            "level": np.array([0]),
            "semantic_tokens": rng.integers(TOKENS, size=shape),
            "lengths": np.full(batch, shape[1]),
            "uniform": rng.random(shape, dtype=np.float32),
            "temperature": np.ones(1, np.float32),
        }

    def engines(self, graph: Graph, batch: int) -> Iterator[tuple[str, Engine]]:
        """Make every engine of a graph for one batch, one after the other: they need not fit in together."""
        function, device = self._networks[graph.name].function, self.device
        makers: dict[str, Callable[[], Engine]] = {
            f"PyTorch {device}, eager, fp32": lambda: TorchEngine(graph, function, device)
        }
        if device == "cuda":
            half = torch.autocast("cuda", torch.float16)(function)
            fast = torch.compile(half, mode="max-autotune")
            makers["PyTorch cuda, eager, fp16"] = lambda: TorchEngine(graph, half, device)
            makers["PyTorch cuda, compiled, fp16"] = lambda: TorchEngine(graph, fast, device)
        else:
            makers["ONNX Runtime cpu, fp32"] = lambda: self._onnx(graph, "fp32", batch)
        for precision in ("fp32", "fp16"):
            for provider in ("cuda", "onnx-tensorrt"):
                makers[f"ONNX Runtime {provider.removeprefix('onnx-')}, {precision}"] = (
                    lambda p=precision, on=provider: self._onnx(graph, p, batch, on)  # type: ignore[misc]
                )
            makers[f"TensorRT, {precision}"] = lambda p=precision: self._tensorrt(graph, p, batch)  # type: ignore[misc]
        for name, make in makers.items():
            try:
                engine = make()
                engine.run(self.feeds(graph, batch))
            except (SoundStormError, RuntimeError) as error:  # PyTorch's own for what it cannot do here
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                self.absent.setdefault(name, f"{graph.name}, batch {batch}: {reason}")
                continue
            yield name, engine
            del engine  # before the next one is made

    def reference_decode(self, batch: int, compiled: bool) -> Callable[[], object]:
        """Return a decode of the same tokens by soundstorm-pytorch, in half precision on a GPU."""
        tokens = torch.from_numpy(self.feeds(self.step, batch)["semantic_tokens"]).to(self.device)
        model = self.reference.to(self.device)
        model.net.forward = torch.compile(self._forward) if compiled else self._forward
        half = torch.autocast(self.device, torch.float16, enabled=self.device == "cuda")

        def generate() -> object:
            with torch.inference_mode(), half, contextlib.redirect_stderr(io.StringIO()):  # its progress
                return model.generate(cond_semantic_token_ids=tokens).cpu()

        return generate

    def _path(self, graph: Graph, precision: str) -> Path:
        return self._folder / f"{graph.name}-{precision}.onnx"

    def _axes(self, batch: int) -> dict[str, Axis]:
        frames = self.size.frames
        return {**AXES, "batch": Axis(batch, batch, batch), "frames": Axis(1, frames, frames)}

    def _onnx(self, graph: Graph, precision: str, batch: int, provider: Any = "cpu") -> Engine:
        cache = None
        if provider == "onnx-tensorrt":
            cache = EngineCache(self._folder / f"{graph.name}-{precision}-{batch}", precision == "fp16")
        path = self._path(graph, precision)
        return OnnxEngine(graph, path, self._axes(batch), provider=provider, cache=cache)

    def _tensorrt(self, graph: Graph, precision: str, batch: int) -> Engine:
        library, axes = open_tensorrt_library(("tensorrt",)), self._axes(batch)
        cache = self._folder / "timings"
        plan = build_plan(library, graph, self._path(graph, precision), axes, BuildOptions(), cache)
        return TensorRtEngine(graph, plan, axes, library)

    def _export(self, network: Network) -> None:
        model = simplify(trace_graph(network, self.feeds(network.graph, 2, 37)))
        ir.save(model, self._path(network.graph, "fp32"))
        ir.save(to_half(model, HALVES["fp16"]), self._path(network.graph, "fp16"))

    def _reference(self) -> Any:
        size = self.size
        try:
            from tests.interop import oracles  # noqa: F401 - for what the reference imports and does not need

            from soundstorm_pytorch import Conformer, ConformerWrapper  # isort: skip
            from soundstorm_pytorch import SoundStorm as ReferenceSoundStorm  # isort: skip
        except ImportError as error:
            self.absent[REFERENCE] = f"not installed ({error})"
            return None
        conformer = Conformer(
            dim=size.dim, depth=size.depth, heads=size.heads, ff_mult=_FF, conv_expansion_factor=_WIDE,
            conv_kernel_size=5, num_residual_streams=1,
        )  # fmt: skip
        net = ConformerWrapper(codebook_size=size.codes, num_quantizers=size.levels, conformer=conformer)
        options = {"steps": size.first_steps, "num_semantic_token_ids": TOKENS, **_TOKEN_FACTS}
        return ReferenceSoundStorm(net, **options).eval()

    def _model(self) -> SoundStorm:
        size = self.size
        if self.reference is not None:
            return from_soundstorm_pytorch(self.reference, heads=size.heads, **_TOKEN_FACTS)
        conformer = ConformerConfig(
            size.dim, size.depth, heads=size.heads, ff_mult=_FF, conv_expansion_factor=_WIDE,
            conv_kernel_size=5, num_residual_streams=1,
        )  # fmt: skip
        return SoundStorm.from_config(SoundStormConfig(size.levels, size.codes, TOKENS, conformer))


def matrix_rate(device: str) -> float | None:
    """Measure how many operations a second half-precision products reach here; None without a GPU."""
    if device != "cuda":
        return None
    side = 8192
    x, y = (torch.randn(side, side, device=device, dtype=torch.float16) for _ in range(2))
    times = []
    for _ in range(13):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        x @ y
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / 1000)
    return 2 * math.pow(side, 3) / float(np.median(times[3:]))
