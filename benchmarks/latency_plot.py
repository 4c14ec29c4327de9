"""Plot of `benchmarks/results/latency.json`: the parts of the time to the first audio, and memory."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

MUST, AIM = 250, 100  # milliseconds until the first audio


def plot_latency(result: dict[str, Any]) -> Figure:
    """Show the median and 95th percentile of each stage, and the memory over one long text."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    spreads = {"first audio": result["first_audio"], **result["stages"]}
    median = [1000 * spread["median"] for spread in spreads.values()]
    beyond = [1000 * (spread["percentile_95"] - spread["median"]) for spread in spreads.values()]
    colors = ["tab:blue" if name == "first audio" else "tab:gray" for name in spreads]
    left.barh(list(spreads), median, xerr=([0] * len(beyond), beyond), color=colors, capsize=3)
    for limit, name in ((AIM, "aim"), (MUST, "must")):
        left.axvline(limit, color="tab:orange", linestyle=":" if name == "aim" else "-", linewidth=1)
        above = left.get_xaxis_transform()
        left.text(limit, 1.01, name, color="tab:orange", fontsize=8, ha="center", transform=above)
    left.invert_yaxis()
    left.set_xlabel(f"ms, median and 95 %, {result['first_audio']['count']} sentences")
    memory = (result["memory"] or {"minutes": []})["minutes"]
    right.plot(range(1, len(memory) + 1), memory, "o-", color="tab:blue")
    right.set_ylim(0, 1.3 * max(memory, default=1))
    right.set_xlabel("minutes of one text")
    right.set_ylabel("resident MiB")
    return figure
