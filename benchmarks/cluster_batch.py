"""`soundstorm batch --ray` on one node of one core and on two: how much does the second node add?"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import ray
from ray.cluster_utils import Cluster

from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.support.cluster import connect
from soundstorm_runtime.support.command import run
from soundstorm_runtime.tools.batch_jobs import Job, Line
from soundstorm_runtime.tools.ray_batch import speak_on_cluster

from .report import RESULTS, Circumstances, circumstances, table, write_result
from .sentences import read_sentences

_MEMORY = 150 * 2**20  # of a node's object store


@dataclass(frozen=True)
class Nodes:
    """A run: seconds from the start of the first shard to the end of the last, and of the whole command."""

    nodes: int
    speaking: float
    whole: float
    audio: float


@dataclass(frozen=True)
class ClusterBatch:
    """The result; `efficiency` is the time of one node over twice that of two, while they speak."""

    circumstances: Circumstances
    voice: str
    lines: int
    runs: tuple[Nodes, ...]
    efficiency: float


def measure(bundle: Path, lines: list[Line], nodes: int, size: int) -> Nodes:
    """Speak lines on a cluster of so many nodes of one core.

    Ray's own processes run on these cores, too: on one that no node has, they would cost one node nothing.
    """
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(cores)[:nodes]))
    cluster = Cluster()
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=1, object_store_memory=_MEMORY)
        cluster.wait_for_nodes()
        connect(cluster.address)
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            first, last, audio = float("inf"), 0.0, 0.0
            for shard in speak_on_cluster(Job(bundle.resolve(), Path(folder)), lines, "tar", size):
                last = time.perf_counter()
                first = min(first, last - shard.took)
                audio += shard.seconds
            whole = time.perf_counter() - started
        return Nodes(nodes, round(last - first, 2), round(whole, 2), round(audio, 2))
    finally:
        ray.shutdown()
        cluster.shutdown()
        os.sched_setaffinity(0, cores)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--count", type=click.IntRange(min=1), default=240, show_default=True, help="Lines.")
@click.option("--shard-size", type=click.IntRange(min=1), default=8, show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), default=RESULTS / "cluster_batch.json", show_default=True
)
def main(bundle: Path, count: int, shard_size: int, out: Path) -> None:
    """Speak sentences with the voice in the folder BUNDLE on one node and on two."""
    sentences = read_sentences()
    lines = [Line(f"line-{n}", sentences[n % len(sentences)].text) for n in range(count)]
    runs = tuple(measure(bundle, lines, nodes, shard_size) for nodes in (1, 2))
    efficiency = round(runs[0].speaking / (2 * runs[1].speaking), 3)
    name = read_bundle(bundle).manifest.name
    write_result(out, ClusterBatch(circumstances("cluster_batch"), name, count, runs, efficiency))
    rows = [["nodes", "speaking", "whole", "audio"]]
    rows += [[str(r.nodes), f"{r.speaking} s", f"{r.whole} s", f"{r.audio} s"] for r in runs]
    click.echo(f"{table(rows)}\nefficiency {efficiency}")


if __name__ == "__main__":
    run(main)
