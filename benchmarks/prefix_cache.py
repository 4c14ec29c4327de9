"""What the cache of a prompt saves: one step with and without it, for a network of the size of kokoro-multi.

Weights are random, which does not change the time. Steps take turns in one run. The uncached step computes
the prompt too; the last pair is that of a stream: a block of a second, its prompt and what was spoken before.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import onnx_ir as ir
import torch

from soundstorm_edge.soundstorm.model import SoundStorm, SoundStormConfig
from soundstorm_edge.training.recipe import load_recipe
from soundstorm_export.rewrite.cpu import to_cpu, to_int8
from soundstorm_export.rewrite.simplify import simplify
from soundstorm_export.tracing.networks import Network
from soundstorm_export.tracing.trace import EXAMPLE_LENGTHS, trace_graph
from soundstorm_runtime.engines.example_feeds import FeedLimits, example_feeds
from soundstorm_runtime.engines.graphs import CacheShape, prefix_graph, step_graph
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine
from soundstorm_runtime.support.command import run
from soundstorm_runtime.support.hardware import default_threads

from .harness import Timing, interleave, ratio, timing
from .report import RESULTS, Circumstances, circumstances, table, write_result

LEVELS, CODES, TOKENS = 8, 1024, 2000
LIMITS = FeedLimits(LEVELS, CODES, TOKENS, text_ids=0, temperature=0.5)
CONVERT = {"fp32": to_cpu, "int8": to_int8}
PROMPT, SPEECH, SPOKEN, BLOCK = 150, 150, 50, 58  # frames, 50 a second


@dataclass(frozen=True)
class PrefixCacheResult:
    """Times of one call; `faster`: time of an uncached step over that of the cached one, by precision."""

    circumstances: Circumstances
    threads: int
    times: dict[str, Timing]
    sentence_faster: dict[str, float]
    stream_faster: dict[str, float]


def engines(folder: Path, threads: int) -> dict[tuple[str, str], OnnxEngine]:
    """Export the steps and the prefix, each in both precisions."""
    conformer = load_recipe("kokoro-multi").acoustic.conformer
    inner = conformer.dim * conformer.conv_expansion_factor
    width, before = conformer.heads * conformer.dim_head, conformer.conv_kernel_size // 2
    shape = CacheShape(conformer.depth, width, before, inner)
    found = {}
    for name in ("uncached", "step", "prefix"):
        torch.manual_seed(0)
        own = replace(conformer, block_causal=name != "uncached")
        model = SoundStorm.from_config(SoundStormConfig(LEVELS, CODES, TOKENS, own)).eval()
        graph = step_graph(LEVELS, None if name == "uncached" else shape)
        network = Network(graph, model, model.step)
        if name == "prefix":
            network = Network(prefix_graph(LEVELS, shape), model, model.prefix)
        feeds = example_feeds(network.graph, LIMITS, EXAMPLE_LENGTHS, np.random.default_rng(0))
        traced = simplify(trace_graph(network, feeds))
        for precision, convert in CONVERT.items():
            file = folder / f"{name}-{precision}.onnx"
            ir.save(convert(traced.clone()), file)
            found[name, precision] = OnnxEngine(network.graph, file, threads=threads)
    return found


def measure(made: dict[tuple[str, str], OnnxEngine], repeats: int, threads: int) -> PrefixCacheResult:
    """Time all steps in turns."""

    def case(name: str, precision: str, frames: int, prefix: int = 1) -> Callable[[], object]:
        engine = made[name, precision]
        lengths = {"batch": 1, "frames": frames, "prefix": prefix}
        feeds = example_feeds(engine.graph, LIMITS, lengths, np.random.default_rng(0))
        return lambda: engine.run(feeds)

    cases = {}
    for precision in CONVERT:
        cases[f"sentence, uncached {precision}"] = case("uncached", precision, PROMPT + SPEECH)
        cases[f"sentence, cached {precision}"] = case("step", precision, SPEECH, PROMPT)
        cases[f"prefix of the prompt {precision}"] = case("prefix", precision, PROMPT)
        cases[f"stream, uncached {precision}"] = case("uncached", precision, PROMPT + SPOKEN + BLOCK)
        cases[f"stream, cached {precision}"] = case("step", precision, BLOCK, PROMPT + 3 * SPOKEN)
    taken = interleave(cases, repeats, lead_in=1)
    return PrefixCacheResult(
        circumstances("prefix_cache"),
        threads,
        {name: timing(seconds) for name, seconds in taken.items()},
        {p: ratio(taken, f"sentence, uncached {p}", f"sentence, cached {p}") for p in CONVERT},
        {p: ratio(taken, f"stream, uncached {p}", f"stream, cached {p}") for p in CONVERT},
    )


@click.command()
@click.option("--repeats", type=click.IntRange(min=1), default=15, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="[default: processors]")
@click.option(
    "--out", type=click.Path(path_type=Path), default=RESULTS / "prefix_cache.json", show_default=True
)
def main(repeats: int, threads: int | None, out: Path) -> None:
    """Time one step with and without the cache of a prompt of three seconds."""
    threads = threads or default_threads()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(engines(Path(folder), threads), repeats, threads)
    write_result(out, result)
    rows = [[name, f"{1000 * taken.seconds:.1f} ms"] for name, taken in result.times.items()]
    click.echo(table(rows))
    for what, faster in (("sentence", result.sentence_faster), ("stream", result.stream_faster)):
        shown = ", ".join(f"{factor:.2f} times in {precision}" for precision, factor in faster.items())
        click.echo(f"{what}: a cached step is faster {shown}")


if __name__ == "__main__":
    run(main)
