"""Plots of the results in `benchmarks/results/`, one for each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from matplotlib import rc_context
from matplotlib.figure import Figure

from soundstorm_runtime.support.command import run

from .latency_plot import plot_latency
from .report import RESULTS

PLOTS = Path("benchmarks/plots")
OURS, OTHERS = "tab:blue", "tab:gray"


def plot_step(result: dict[str, Any]) -> Figure:
    """Show one step and one decode beside the reference, and a step beside its products alone."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, what, unit in zip(figure.subplots(1, 2), ("step", "decode"), ("ms", "s"), strict=True):
        times = {n: t["seconds"] for n, t in result["times"].items() if n.split()[0] in (what, _floor(what))}
        scale = 1000 if unit == "ms" else 1
        colors = [OURS if name in result["faster"] else OTHERS for name in times]
        bars = axes.barh(list(times), [scale * seconds for seconds in times.values()], color=colors)
        faster = (
            f"{result['faster'][name]:.1f} times faster" if name in result["faster"] else "" for name in times
        )
        axes.bar_label(bars, list(faster), padding=3, fontsize=8)
        axes.invert_yaxis()
        axes.margins(x=0.25)
        axes.set_xlabel(unit)
        axes.set_title(f"one {what} of 10 s, {result['threads']} threads", loc="left", fontsize=10)
    return figure


def _floor(what: str) -> str:
    return "floor" if what == "step" else what


def plot_growth(result: dict[str, Any]) -> Figure:
    """Show how the time of a step grows with length and with batch, and the fitted exponents."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("frames", "batch"), strict=True):
        for precision, growth in result[f"growth_{name}"].items():
            sizes, seconds = [int(size) for size in growth["seconds"]], list(growth["seconds"].values())
            label = f"{precision}: {name} ** {growth['exponent']:.2f}"
            axes.loglog(sizes, [1000 * s for s in seconds], "o-", label=label)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel(name)
        axes.set_ylabel("ms for one step")
        axes.legend(fontsize=8)
    return figure


def plot_speed(result: dict[str, Any]) -> Figure:
    """Show the stages of each text, in seconds of computing per second of audio."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    cases = [case for case in result["run"]["cases"] if case["batch"] == 1]
    names, left = [f"{case['audio']:.1f} s" for case in cases], [0.0] * len(cases)
    for stage in ("text", "steps", "codec", "rest"):
        widths = [case[stage] / case["audio"] for case in cases]
        axes.barh(names, widths, left=left, label=stage)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel(f"RTF, {result['run']['precision']}, {result['threads']} threads")
    figure.legend(fontsize=8, ncols=4, loc="outside upper center")
    return figure


def plot_dial(result: dict[str, Any]) -> Figure:
    """Show word error rate, distance from the teacher and time over the number of steps."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    words, distance = figure.subplots(1, 2)
    for setting in result["settings"]:
        label, rtf = ",".join(map(str, setting["steps"])), [setting["rtf"]]
        for axes, value, (low, high) in (
            (words, setting["word_errors"]["rate"], setting["interval"]),
            (distance, setting["farther"], setting["farther_interval"]),
        ):
            errors = [[max(0.0, value - low)], [max(0.0, high - value)]]
            axes.errorbar(rtf, [value], errors, fmt="o", capsize=3, label=label)
    words.set_ylabel("word error rate, %")
    distance.set_ylabel("mel-cepstral distance from the teacher,\ndB more than with the most steps")
    for axes in (words, distance):
        axes.set_xlabel(f"RTF, {result['precision']}")
    words.set_title(f"{result['voice']}, {result['sentences']} sentences", loc="left", fontsize=10)
    distance.legend(title="steps of each level", fontsize=8)
    return figure


def plot_peers(result: dict[str, Any]) -> Figure:
    """Show word errors and opinion scores of every contestant over its time."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    words, opinion = figure.subplots(1, 2)
    for one in result["contestants"]:
        color = OURS if one["name"].startswith("ours") else OTHERS
        (ear, rate), *_ = one["word_errors"].items()
        for axes, value, (low, high) in (
            (words, rate, one["word_error_intervals"][ear]),
            (opinion, one["overall"], one["overall_interval"]),
        ):
            errors = [[max(0.0, value - low)], [max(0.0, high - value)]]
            axes.errorbar([one["rtf"]], [value], errors, fmt="o", capsize=3, color=color)
            axes.annotate(
                one["name"], (one["rtf"], value), (4, 4), textcoords="offset points", fontsize=7, color=color
            )
    words.set_ylabel("word error rate by Whisper base, %")
    opinion.set_ylabel("DNSMOS, overall")
    for axes in (words, opinion):
        axes.set_xscale("log")
        axes.set_xlabel(f"RTF, {result['threads']} threads")
    words.set_title(f"{result['sentences']} sentences, 95 % intervals", loc="left", fontsize=10)
    return figure


# By plot: the command that writes its result, and the function that draws it.
PICTURES: dict[str, tuple[str, str, Callable[[dict[str, Any]], Figure]]] = {
    "step": ("step.json", "python -m benchmarks.step", plot_step),
    "step-4-heads": ("step-4-heads.json", "python -m benchmarks.step --heads 4", plot_step),
    "step_growth": ("step.json", "python -m benchmarks.step", plot_growth),
    "speed": ("speed.json", "soundstorm bench BUNDLE --json > FILE", plot_speed),
    "latency": ("latency.json", "python -m benchmarks.latency BUNDLE", plot_latency),
    "peers": ("peers.json", "python -m benchmarks.peers BUNDLE", plot_peers),
    "dial": ("dial.json", "python -m benchmarks.dial CHECKPOINT", plot_dial),
}


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=PLOTS, show_default=True)
def main(results: Path, out: Path) -> None:
    """Plot all results that exist."""
    out.mkdir(parents=True, exist_ok=True)
    for name, (source, command, plot) in PICTURES.items():
        path = results / source
        if not path.is_file():
            click.echo(f"{path} is not there; {command} writes it", err=True)
            continue
        picture = out / f"{name}.svg"
        # Neither a date nor random ids: the same figures give the same bytes.
        with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
            plot(json.loads(path.read_text(encoding="utf-8"))).savefig(picture, metadata={"Date": None})
        click.echo(str(picture))


if __name__ == "__main__":
    run(main)
