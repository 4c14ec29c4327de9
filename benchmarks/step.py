"""The step graph against soundstorm-pytorch, against its own matrix products, and as it grows.

One run measures all of it, with equal weights on both sides. The reference runs in eager PyTorch, with one
residual stream, as it is installed: `pip install soundstorm-pytorch`, beside what it imports.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx_ir as ir
import onnxruntime
import torch

from soundstorm_edge.interop.soundstorm_pytorch import from_soundstorm_pytorch
from soundstorm_edge.soundstorm.model import SoundStorm
from soundstorm_export.rewrite.cpu import to_cpu, to_int8
from soundstorm_export.rewrite.simplify import simplify
from soundstorm_export.tracing.networks import Network
from soundstorm_export.tracing.trace import trace_graph
from soundstorm_runtime.decoding.maskgit import DecodeOptions, decode
from soundstorm_runtime.engines.graphs import step_graph
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.support.command import run
from soundstorm_runtime.support.hardware import default_threads

from .floor import example_inputs, step_products
from .harness import Spans, Timing, exponent, interleave, ratio, timing
from .report import RESULTS, Circumstances, circumstances, table, write_result

FRAMES, RATE = 500, 50  # ten seconds
LEVELS, CODES, TOKENS = 8, 1024, 500
STEPS = (16, *(1,) * (LEVELS - 1))
LENGTHS = (250, 500, 1000, 1500)
BATCHES = (1, 4, 16)
PRECISIONS = ("fp32", "int8")

# Semantic tokens at the frame rate.
TOKEN_FACTS: dict[str, Any] = {
    "wav2vec_target_sample_hz": 16_000,
    "wav2vec_downsample_factor": 320,
    "codec_target_sample_hz": 16_000,
    "codec_downsample_factor": 320,
}
REFERENCE = "soundstorm-pytorch"


@dataclass(frozen=True)
class Growth:
    """How a step's time grows: seconds by size, and the exponent of the fit."""

    seconds: dict[str, float]
    exponent: float


@dataclass(frozen=True)
class StepResult:
    """The result. `times` are of one call; `faster` of the reference's time over ours; `over_floor` of ours
    over that of the matrix products alone; `growth` by precision, in frames (batch 1) and in batch.
    """

    circumstances: Circumstances
    versions: dict[str, str]
    threads: int
    heads: int
    times: dict[str, Timing]
    faster: dict[str, float]
    over_floor: dict[str, float]
    growth_frames: dict[str, Growth]
    growth_batch: dict[str, Growth]
    spans: dict[str, float]


class Contestants:
    """The reference, our graphs in every precision, and their floors, all of the same weights."""

    def __init__(self, folder: Path, heads: int, depth: int, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.reference = _reference(heads, depth)
        self.model: SoundStorm = from_soundstorm_pytorch(self.reference, heads=heads, **TOKEN_FACTS)
        self.engines: dict[str, OnnxEngine] = {}
        self.floors: dict[str, Callable[[], object]] = {}
        graph = step_graph(LEVELS)
        model = simplify(trace_graph(Network(graph, self.model, self.model.step), step_feeds(2, 37)))
        floor = step_products(self.model.config, FRAMES)
        for precision in PRECISIONS:
            path = folder / f"{precision}.onnx"
            ir.save(to_cpu(model) if precision == "fp32" else to_int8(model), path)
            self.engines[precision] = OnnxEngine(graph, path, provider="cpu", threads=threads)
            path = folder / f"floor-{precision}.onnx"
            ir.save(floor if precision == "fp32" else to_int8(floor), path)
            self.floors[precision] = _runner(path, example_inputs(floor), threads)

    def reference_step(self) -> Callable[[], object]:
        """Return one pass of the reference's network, all heads, as its `generate` computes it."""
        codes = torch.from_numpy(step_feeds(1, FRAMES)["codes"]).flatten(1)
        cond = torch.randn(1, FRAMES, self.model.net.dim)
        mask = torch.ones(1, FRAMES, dtype=torch.bool)

        def step() -> object:
            with torch.no_grad():
                return self.reference.net(codes, mask=mask, cond=cond)

        return step

    def step(self, precision: str, batch: int = 1, frames: int = FRAMES) -> Callable[[], object]:
        """Return one run of our graph."""
        feeds = step_feeds(batch, frames)
        return lambda: self.engines[precision].run(feeds)

    def decode(self, precision: str) -> Callable[[], object]:
        """Return a whole decode of `FRAMES`."""
        tokens = step_feeds(1, FRAMES)["semantic_tokens"]
        options, lengths = DecodeOptions(steps=STEPS), np.array([FRAMES])
        engine = self.engines[precision]
        return lambda: decode(engine, tokens, lengths, LEVELS, CODES, options, np.random.default_rng(0))

    def reference_decode(self) -> Callable[[], object]:
        """Return the reference's decode of the same tokens."""
        tokens = torch.from_numpy(step_feeds(1, FRAMES)["semantic_tokens"])

        def generate() -> object:
            with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
                return self.reference.generate(cond_semantic_token_ids=tokens)

        return generate


def step_feeds(batch: int, frames: int) -> dict[str, np.ndarray]:
    """Draw the inputs of a step that fills the first level, all codes masked."""
    rng = np.random.default_rng(0)
    return {
        "codes": np.full((batch, frames, LEVELS), CODES),
        "level": np.array([0]),
        "semantic_tokens": rng.integers(TOKENS, size=(batch, frames)),
        "lengths": np.full(batch, frames),
        "uniform": rng.random((batch, frames), dtype=np.float32),
        "temperature": np.ones(1, np.float32),
    }


def _reference(heads: int, depth: int) -> Any:
    from tests.interop import oracles  # noqa: F401 - for what the reference imports and does not need here

    try:
        from soundstorm_pytorch import Conformer, ConformerWrapper
        from soundstorm_pytorch import SoundStorm as ReferenceSoundStorm
    except ImportError as error:
        raise OptionError(f"soundstorm-pytorch is not installed ({error}); pip install it") from error

    conformer = Conformer(dim=256, depth=depth, heads=heads, conv_kernel_size=5, num_residual_streams=1)
    net = ConformerWrapper(codebook_size=CODES, num_quantizers=LEVELS, conformer=conformer)
    return ReferenceSoundStorm(
        net,
        steps=STEPS[0],
        num_semantic_token_ids=TOKENS,
        **TOKEN_FACTS,
    ).eval()


def _runner(path: Path, feeds: dict[str, np.ndarray], threads: int) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")  # as in the engine
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feeds)


def grow(contestants: Contestants, precision: str, sizes: dict[int, tuple[int, int]], repeats: int) -> Growth:
    """Time steps of several sizes, each given as batch and frames."""
    cases = {str(size): contestants.step(precision, *shape) for size, shape in sizes.items()}
    taken = interleave(cases, repeats, burn_in=1, lead_in=1)
    seconds = {name: timing(of).seconds for name, of in taken.items()}
    return Growth(seconds, exponent(list(sizes), list(seconds.values())))


def measure(contestants: Contestants, repeats: int, spans: Spans) -> dict[str, Any]:
    """Run all comparisons."""
    cases = {f"step {REFERENCE}": contestants.reference_step()}
    for precision in PRECISIONS:
        cases[f"step {precision}"] = contestants.step(precision)
        cases[f"floor {precision}"] = contestants.floors[precision]
    with spans("steps"):
        taken = interleave(cases, repeats, lead_in=1)
    cases = {f"decode {REFERENCE}": contestants.reference_decode()}
    cases |= {f"decode {precision}": contestants.decode(precision) for precision in PRECISIONS}
    with spans("decodes"):
        taken |= interleave(cases, max(1, repeats // 5), burn_in=1)
    few = max(1, repeats // 3)
    with spans("growth"):
        frames = {p: grow(contestants, p, {n: (1, n) for n in LENGTHS}, few) for p in PRECISIONS}
        batch = {p: grow(contestants, p, {n: (n, FRAMES) for n in BATCHES}, few) for p in PRECISIONS}
    return {
        "times": {name: timing(seconds) for name, seconds in taken.items()},
        "faster": {
            f"{what} {p}": ratio(taken, f"{what} {REFERENCE}", f"{what} {p}")
            for what in ("step", "decode")
            for p in PRECISIONS
        },
        "over_floor": {p: ratio(taken, f"step {p}", f"floor {p}") for p in PRECISIONS},
        "growth_frames": frames,
        "growth_batch": batch,
    }


def show(result: StepResult) -> str:
    """Format the figures as text."""
    rows = [["", "ms", "quartiles", f"{REFERENCE} takes", "over its products"]]
    for name, taken in result.times.items():
        low, high = (f"{1000 * seconds:.1f}" for seconds in taken.quartiles)
        faster = f"{result.faster[name]:.2f} times" if name in result.faster else ""
        what, _, precision = name.partition(" ")
        over = f"{result.over_floor[precision]:.2f}" if what == "step" and precision in PRECISIONS else ""
        rows.append([name, f"{1000 * taken.seconds:.1f}", f"{low} - {high}", faster, over])
    lines = [table(rows)]
    for axis, growth in (("frames", result.growth_frames), ("batch", result.growth_batch)):
        for precision, of in growth.items():
            sizes = ", ".join(f"{size}: {1000 * seconds:.0f} ms" for size, seconds in of.seconds.items())
            lines.append(f"{precision}, {axis} {sizes}; time grows as {axis} ** {of.exponent:.2f}")
    return "\n".join(lines)


@click.command()
@click.option("--repeats", type=click.IntRange(min=1), default=15, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="Threads on both sides.  [default: processors]")
@click.option(
    "--heads",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Attention heads, 64 wide; the reference's default is 8.",
)
@click.option("--depth", type=click.IntRange(min=2), default=8, show_default=True, help="Blocks.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "step.json", show_default=True)
def main(repeats: int, threads: int | None, heads: int, depth: int, out: Path) -> None:
    """Compare one step, and a whole decode, with soundstorm-pytorch and with the matrix products alone."""
    threads, spans = threads or default_threads(), Spans()
    with tempfile.TemporaryDirectory() as folder, spans("all"):
        with spans("export"):
            contestants = Contestants(Path(folder), heads, depth, threads)
        figures = measure(contestants, repeats, spans)
    result = StepResult(
        circumstances=circumstances("step"),
        versions={"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
        threads=threads,
        heads=heads,
        spans=spans.seconds,
        **figures,
    )
    write_result(out, result)
    click.echo(show(result))


if __name__ == "__main__":
    run(main)
