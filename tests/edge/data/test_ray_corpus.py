"""A corpus that a cluster of Ray makes is that of one machine."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("ray", reason="the extra ray is absent: pip install 'soundstorm-edge[ray]'")

import ray

from soundstorm_edge.data.corpus import make_corpus
from soundstorm_edge.data.corpus_config import CorpusConfig
from soundstorm_edge.data.ray_corpus import CHUNK, on_cluster

pytestmark = pytest.mark.cluster


def test_it_is_that_of_one_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "LJSpeech-1.1"
    (folder / "wavs").mkdir(parents=True)
    names = [f"LJ001-{number:04d}" for number in range(CHUNK + 5)]
    for place, name in enumerate(names):
        tone = 0.3 * np.sin(np.arange(8000) * (place + 1) / 50)
        soundfile.write(folder / "wavs" / f"{name}.wav", 0 * tone if place == 3 else tone, 8000)
    (folder / "metadata.csv").write_text("".join(f"{name}|Hello|Hello\n" for name in names))
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False)
    monkeypatch.chdir(tmp_path)  # where the nodes are not
    config = CorpusConfig(source="ljspeech", path=folder.name, unusable="skip")
    here = make_corpus(config, tmp_path / "here")
    try:
        there = make_corpus(config, tmp_path / "there", make_utterances=on_cluster)
    finally:
        ray.shutdown()
    assert len(there.utterances) == CHUNK + 4  # one is silent
    assert [*there.utterances] == [*here.utterances]
    for utterance in here.utterances:
        np.testing.assert_array_equal(here.audio(utterance), there.audio(utterance))
