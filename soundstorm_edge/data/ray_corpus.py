"""Make the utterances of a corpus on a cluster of Ray."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray

from ..errors import CorpusError
from .corpus import Outcome, try_utterance
from .corpus_config import CorpusConfig
from .recording import Recording
from .sources import recordings

CHUNK = 16  # recordings of one task
_TASKS_A_CPU = 4  # that wait or run


def on_cluster(found: Sequence[Recording], config: CorpusConfig, folder: Path) -> Iterator[Outcome]:
    """Make the utterances of recordings, in their order, on the cluster that this process has joined.

    All nodes must have the folder of the corpus, and that of its source, under the same paths. Ray runs the
    tasks of a node that is lost on another one.

    Raises:
        CorpusError: a task failed on every node.
    """
    if config.path:  # of this process, and not of the nodes
        config = replace(config, path=str(Path(config.path).resolve()))
    make = ray.remote(num_cpus=1, max_retries=-1)(_make)
    most = _TASKS_A_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
    tasks: deque[Any] = deque()
    try:
        for start in range(0, len(found), CHUNK):
            ids = [recording.id for recording in found[start : start + CHUNK]]
            tasks.append(make.remote(ids, config, folder.resolve()))
            if len(tasks) >= most:
                yield from ray.get(tasks.popleft())
        while tasks:
            yield from ray.get(tasks.popleft())
    except ray.exceptions.RayError as error:
        raise CorpusError(f"the cluster failed: {str(error).splitlines()[-1]}") from error


def _make(ids: Sequence[str], config: CorpusConfig, folder: Path) -> list[Outcome]:
    """Make utterances on a node."""
    by_id = _recordings_by_id(config)
    return [try_utterance(by_id[name], config, folder) for name in ids]


@lru_cache(maxsize=1)
def _recordings_by_id(config: CorpusConfig) -> dict[str, Recording]:
    return {recording.id: recording for recording in recordings(config)}
