"""Tokens of a corpus: computed once, in shards that are mapped and not read."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from soundstorm_edge.data.corpus import Corpus
from soundstorm_edge.errors import CorpusError
from soundstorm_edge.training import token_cache as module
from soundstorm_edge.training.batches import Epochs
from soundstorm_edge.training.token_cache import Tokens, corpus_tokens

HOP = 100


class Counter(nn.Module):
    """Gives the loudest sample of every hop, twice; knows how often it was asked."""

    def __init__(self, fail_at: int = -1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.asked, self.fail_at = 0, fail_at

    def tokenize(self, audio: Tensor) -> Tensor:
        if self.asked == self.fail_at:
            raise KeyboardInterrupt
        self.asked += 1
        frames = audio.unfold(1, HOP, HOP).amax(dim=2)
        return (frames * 100).round().long()[..., None].expand(-1, -1, 2)


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """Eleven utterances, the n-th of n + 1 hops and of the loudness n/100; shards of four."""
    monkeypatch.setattr(module, "PER_SHARD", 4)
    folder, rows = tmp_path / "corpus", []
    folder.mkdir()
    for n in range(11):
        soundfile.write(folder / f"{n}.flac", np.full(HOP * (n + 1), n / 100), 8000, subtype="PCM_24")
        row = {"id": str(n), "audio": f"{n}.flac", "seconds": HOP * (n + 1) / 8000, "text": "", "speaker": ""}
        rows.append(json.dumps(row | {"held_out": False}) + "\n")
    (folder / "utterances.jsonl").write_text("".join(rows))
    return Corpus(folder)


def check(tokens: Tokens) -> None:
    assert len(tokens) == 11
    assert tokens.lengths.tolist() == list(range(1, 12))
    for n, found in enumerate(tokens):
        assert found.tolist() == [[n, n]] * (n + 1)


def test_every_utterance_is_tokenized_once(corpus: Corpus, tmp_path: Path) -> None:
    model = Counter()
    check(corpus_tokens(tmp_path / "codes", corpus, model, model.tokenize))
    check(corpus_tokens(tmp_path / "codes", corpus, model, model.tokenize))
    assert model.asked == 11
    with torch.no_grad():
        model.weight += 1
    check(corpus_tokens(tmp_path / "codes", corpus, model, model.tokenize))
    assert model.asked == 22, "other weights make other tokens"


def test_a_killed_run_goes_on_at_its_shard(corpus: Corpus, tmp_path: Path) -> None:
    killed, model = Counter(fail_at=6), Counter()
    with pytest.raises(KeyboardInterrupt):
        corpus_tokens(tmp_path / "codes", corpus, killed, killed.tokenize)
    check(corpus_tokens(tmp_path / "codes", corpus, model, model.tokenize))
    assert model.asked == 7, "the first shard of four was whole"


def test_a_damaged_cache_is_made_again_or_named(corpus: Corpus, tmp_path: Path) -> None:
    model, folder = Counter(), tmp_path / "codes"
    corpus_tokens(folder, corpus, model, model.tokenize)
    (folder / "settings.json").write_text("[" * 9999)
    check(corpus_tokens(folder, corpus, model, model.tokenize))
    assert model.asked == 22
    for name in ("00000.npy", "00000.ends.npy"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:20])
        with pytest.raises(CorpusError, match=rf"cannot read .*{name} .*; remove .*codes and run again"):
            corpus_tokens(folder, corpus, model, model.tokenize)[0]
        (folder / name).write_bytes(whole)


def test_processes_share_the_work(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    for index in range(2):
        state = SimpleNamespace(
            is_main_process=index == 0, process_index=index, num_processes=2,
            device=torch.device("cpu"), wait_for_everyone=lambda: None,
        )  # fmt: skip
        monkeypatch.setattr(module, "PartialState", lambda state=state: state)
        model = Counter()
        tokens = corpus_tokens(tmp_path / "codes", corpus, model, model.tokenize)
        asked.append(model.asked)
    assert asked == [4 + 3, 4]
    check(tokens)


def test_tokens_are_mapped_and_only_where_they_are_needed(corpus: Corpus, tmp_path: Path) -> None:
    model = Counter()
    corpus_tokens(tmp_path / "codes", corpus, model, model.tokenize)
    tokens = Tokens(tmp_path / "codes")
    for number in (1, 2, np.int64(3)):
        assert isinstance(tokens[number], np.memmap)
    assert list(tokens._shards) == [0], "the other files were not opened"
    (tmp_path / "codes" / "00002.npy").unlink()
    assert tokens[7].shape == (8, 2)
    with pytest.raises(IndexError, match="utterance 11 of 11"):
        tokens[11]


def test_every_utterance_is_drawn_once_an_epoch_over_the_processes(corpus: Corpus, tmp_path: Path) -> None:
    model = Counter()
    tokens = corpus_tokens(tmp_path / "codes", corpus, model, model.tokenize)
    processes: list[list[int]] = [[], []]
    for step in range(11):  # two epochs, of two processes with a sample each
        batch = Epochs(tokens.lengths, 2, seed=0).batch(step)
        for process, number in enumerate(batch):
            processes[process].append(len(tokens[number]))
    drawn = [length for pair in zip(*processes, strict=True) for length in pair]
    assert sorted(drawn[:11]) == sorted(drawn[11:]) == list(range(1, 12))


def test_ids_that_do_not_fit_are_named(corpus: Corpus, tmp_path: Path) -> None:
    model = Counter()
    with pytest.raises(CorpusError, match="the tokens go from 0 to 1000000, expected 0 to 65535"):
        corpus_tokens(tmp_path / "codes", corpus, model, lambda audio: model.tokenize(audio) * 10**6 // 3)
