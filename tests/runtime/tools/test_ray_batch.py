"""`soundstorm batch --ray` on a real cluster of several nodes on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the extra ray is absent: pip install 'soundstorm-edge[ray]'")

import ray
from click.testing import CliRunner
from ray.cluster_utils import Cluster

from soundstorm_runtime.cli import main_group
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.support.cluster import connect
from soundstorm_runtime.tools.batch_jobs import Job, Line
from soundstorm_runtime.tools.ray_batch import speak_on_cluster
from soundstorm_runtime.tools.shards import ids_in_shards

_MEMORY = 100 * 2**20  # of a node's object store


def lines(count: int) -> list[Line]:
    return [Line(f"line-{number}", f"Number {number}.") for number in range(count)]


@pytest.fixture
def cluster():
    made = Cluster()
    made.add_node(num_cpus=1, object_store_memory=_MEMORY, include_dashboard=False)
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_cluster_speaks_every_line_once_and_goes_on_where_it_was_stopped(
    cluster, make_bundle, tmp_path, environment
):
    bundle, out = make_bundle(), tmp_path / "out"
    path = tmp_path / "lines.jsonl"
    path.write_text("\n".join(json.dumps({"id": line.id, "text": line.text}) for line in lines(5)))
    (tmp_path / "words.toml").write_text('number = "ten"\n')
    command = [
        *(sys.executable, "-m", "soundstorm_runtime.cli", "batch", bundle, path, "-o", out),
        *("--ray", cluster.address, "--shard-size", 2, "--lexicon", "words.toml"),
    ]

    def speak() -> str:
        done = subprocess.run(
            [*map(str, command)],
            cwd=tmp_path,  # where the nodes are not
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        )
        return done.stdout + done.stderr

    found = speak()
    assert "3 shards, 5 lines, " in found
    assert "0 existed already" in found
    assert "node " in found
    next(out.glob("shard-*")).unlink()  # as where a run was interrupted
    assert "1 shards, " in speak()
    assert Counter(ids_in_shards(out)) == Counter(line.id for line in lines(5))


@pytest.mark.cluster
def test_a_node_that_is_killed_loses_and_doubles_nothing(cluster, make_bundle, tmp_path):
    second = cluster.add_node(num_cpus=1, object_store_memory=_MEMORY)
    cluster.wait_for_nodes()
    connect(cluster.address)
    job, asked = Job(make_bundle(), tmp_path / "out"), lines(120)
    (tmp_path / "out").mkdir()
    nodes: Counter[str] = Counter()
    for shard in speak_on_cluster(job, asked, "parquet", 4):
        nodes[shard.node] += 1
        if second is not None and len(nodes) == 2:
            cluster.remove_node(second, allow_graceful=False)
            second = None
        time.sleep(0.05)
    assert second is None  # both nodes spoke before one was killed
    assert Counter(ids_in_shards(job.folder)) == Counter(line.id for line in asked)
    assert not list(Path(job.folder).glob(".*"))


def test_processes_of_this_machine_are_none_of_the_cluster(make_bundle, tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"id": "one", "text": "Yes."}')
    options = ["-o", tmp_path / "out", "--ray", "auto", "--workers", 2]
    found = CliRunner().invoke(main_group, ["batch", *map(str, [make_bundle(), path, *options])])
    assert isinstance(found.exception, OptionError)
    assert "both --ray and --workers" in str(found.exception)


def test_without_a_cluster_the_address_is_told():
    with pytest.raises(OptionError, match=r"no Ray cluster at '127\.0\.0\.1:1'"):
        connect("127.0.0.1:1")
