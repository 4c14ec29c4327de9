"""Shards: their content, their names, and which lines are done."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest
import soundfile

from soundstorm_runtime.errors import AudioError, OptionError
from soundstorm_runtime.tools.batch_jobs import Line
from soundstorm_runtime.tools.shards import Utterance, check_ids, ids_in_shards, shard_file, write_shard

LINES = [Line("one", "Good morning.", seed=3), Line("two", "Grüße.", voice="slt")]


def utterances() -> list[Utterance]:
    return [Utterance(line, np.linspace(-1, 1, 80, dtype=np.float32), 800) for line in LINES]


def test_a_tar_is_a_webdataset(tmp_path):
    file = shard_file(tmp_path, LINES, "tar")
    write_shard(file, utterances())
    with tarfile.open(file) as tar:
        assert tar.getnames() == ["one.json", "one.wav", "two.json", "two.wav"]
        facts = json.load(tar.extractfile("two.json"))
        audio, rate = soundfile.read(io.BytesIO(tar.extractfile("one.wav").read()), dtype="float32")
    assert facts == {"text": "Grüße.", "voice": "slt", "seed": None, "seconds": 0.1}
    assert rate == 800
    np.testing.assert_allclose(audio, utterances()[0].audio, atol=1e-4)
    assert list(ids_in_shards(tmp_path)) == ["one", "two"]


def test_parquet_has_a_row_for_each_line(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra ray is absent")
    file = shard_file(tmp_path, LINES, "parquet")
    write_shard(file, utterances())
    first, second = parquet.read_table(file).to_pylist()
    audio, rate = soundfile.read(io.BytesIO(first.pop("wav")))
    assert first == {
        "id": "one", "text": "Good morning.", "voice": None, "seed": 3, "seconds": 0.1, "sample_rate": 800
    }  # fmt: skip
    assert (len(audio), rate, second["voice"]) == (80, 800, "slt")
    assert list(ids_in_shards(tmp_path)) == ["one", "two"]


def test_equal_lines_give_equal_bytes_under_one_name(tmp_path):
    """So that whoever speaks a shard twice changes nothing."""
    file = shard_file(tmp_path, LINES, "tar")
    write_shard(file, utterances())
    before = file.read_bytes()
    write_shard(shard_file(tmp_path, LINES, "tar"), utterances())
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]
    assert shard_file(tmp_path, LINES[:1], "tar") != file


def test_what_is_no_shard_is_told(tmp_path):
    (tmp_path / "shard-1.tar").write_bytes(b"x" * 700)
    with pytest.raises(OptionError, match=r"shard-1\.tar is damaged .*remove it"):
        list(ids_in_shards(tmp_path))


def test_a_shard_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(AudioError, match="cannot write"):
        write_shard(tmp_path / "none" / "shard-1.tar", utterances())


def test_ids_that_webdataset_would_cut_are_refused():
    with pytest.raises(OptionError, match=r"id 'a\.b' has a dot"):
        check_ids([Line("a.b", "Yes.")], "tar")
    check_ids([Line("a.b", "Yes.")], "parquet")
