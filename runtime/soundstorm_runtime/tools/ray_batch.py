"""Speak many lines on a cluster: a map of Ray Data over shards, whose actors each hold a voice.

Ray: https://docs.ray.io/en/latest/data/batch_inference.html
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import ray
from ray.data import ActorPoolStrategy, DataContext

from ..bundle.reader import read_bundle
from ..errors import EngineError
from ..voice import Voice
from .batch_jobs import Job, Line, load_voice, speak_together
from .shards import Form, Utterance, check_ids, ids_in_shards, shard_file, write_shard

_log = logging.getLogger(__name__)

Row = dict[str, Any]

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 10.0  # seconds between two attempts, doubled where nothing was spoken


@dataclass(frozen=True)
class Shard:
    """What became of the lines of a shard.

    Attributes:
        name: Name of its file.
        node: Name of the node that spoke them.
        lines: Lines that were spoken.
        seconds: Seconds of audio.
        took: Seconds that it took.
        problems: Why lines could not be spoken, by id.
    """

    name: str
    node: str
    lines: int
    seconds: float
    took: float
    problems: dict[str, str]


def speak_on_cluster(job: Job, lines: Sequence[Line], form: Form, size: int) -> Iterator[Shard]:
    """Speak lines into shards of `job.folder`, and yield what became of each shard.

    Lines that are in a shard of the folder already are left out. Shards that are lost with a node are spoken
    again by the nodes that are left: into the same files, should the lost node have written them after all.

    Args:
        job: The bundle, folder and options. All nodes must have both under the same paths.
        lines: The lines.
        form: 'tar' (WebDataset) or 'parquet'.
        size: Lines of a shard.

    Raises:
        OptionError: An id does not fit the form, or the folder has a damaged shard.
        EngineError: No node could speak.
    """
    read_bundle(job.bundle)  # a damaged one is reported here, once
    check_ids(lines, form)
    done = set(ids_in_shards(job.folder))
    left = [line for line in lines if line.id not in done]
    shards = {
        shard_file(job.folder, part, form).name: part
        for part in (left[start : start + size] for start in range(0, len(left), size))
    }
    pause = _FIRST_PAUSE
    while shards:
        reason = "see the logs of the cluster (ray logs)"
        try:
            for shard in _map(job, list(shards.values()), form):
                del shards[shard.name]
                pause = _FIRST_PAUSE
                yield shard
        except ray.exceptions.RayError as error:
            reason = str(error).splitlines()[-1]
        if shards and pause > _LONGEST_PAUSE:
            raise EngineError(f"no node of the cluster can speak: {reason}")
        if shards:
            _log.warning("%d shards are spoken again: their nodes were lost (%s)", len(shards), reason)
            time.sleep(pause)  # a cluster takes a while to notice that a node is gone
            pause *= 2


def _map(job: Job, shards: Sequence[Sequence[Line]], form: Form) -> Iterator[Shard]:
    """Speak shards, each in one task; those of a node that is lost are left out."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # lost nodes are reported by `speak_on_cluster`
    threads = job.threads or 1
    actors = max(1, int(ray.cluster_resources().get("CPU", 0)) // threads)
    rows = [{"lines": json.dumps([asdict(line) for line in shard])} for shard in shards]
    made = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        cast(Any, _Actor),  # Ray's types know functions alone
        fn_constructor_args=(job, form, Path.cwd()),
        compute=ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
        num_cpus=threads,
        # An actor that waits for a lost node to come back would keep its tasks.
        ray_remote_args_fn=lambda: {"max_restarts": 0, "max_task_retries": 0},
    )
    for row in made.iter_rows():
        yield Shard(**{**row, "problems": json.loads(row["problems"])})


class _Actor:
    """Holds a voice on a node, and speaks shards."""

    def __init__(self, job: Job, form: Form, current: Path) -> None:
        with suppress(OSError):  # a node that lacks the folder needs it for relative paths alone
            os.chdir(current)  # prompts and pronunciations may have such, as on the machine that asks
        self._job, self._form = job, form
        self._voice: Voice = load_voice(job, job.threads or 1)

    def __call__(self, row: Row) -> Row:
        """Speak the lines of a row into a shard."""
        started = time.perf_counter()
        lines = [Line(**line) for line in json.loads(row["lines"])]
        spoken, problems = [], {}
        for line, audio in zip(lines, speak_together(self._voice, self._job, lines), strict=True):
            if isinstance(audio, np.ndarray):
                spoken.append(Utterance(line, audio, self._voice.sample_rate))
            else:
                problems[line.id] = audio
        file = shard_file(self._job.folder, lines, self._form)
        if spoken:
            write_shard(file, spoken)
        return {
            "name": file.name,
            "node": ray.get_runtime_context().get_node_id()[:8],
            "lines": len(spoken),
            "seconds": sum(len(each.audio) / each.sample_rate for each in spoken),
            "took": time.perf_counter() - started,
            "problems": json.dumps(problems),
        }
