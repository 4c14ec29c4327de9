"""Tokens of a whole corpus, computed once and kept on disk in shards that are read as they are needed.

codes/settings.json      of which weights and corpus
codes/00000.npy          uint16 `[tokens]` or `[frames, levels]`, utterance after utterance
codes/00000.ends.npy     int64 `[utterances]`, where each of them ends
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor, nn
from tqdm import tqdm

from soundstorm_runtime.support.atomic import atomic_file, write_file

from ..data.corpus import Corpus
from ..errors import CorpusError

PER_SHARD = 1024  # utterances: some minutes' work, which is all that a killed run loses


class Tokens(Sequence[np.ndarray]):
    """The tokens of every utterance, in the corpus's order: views of memory-mapped files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ends = [np.load(path) for path in sorted(folder.glob("*.ends.npy"))]
        self._ends = [np.concatenate([[0], shard]) for shard in ends]
        self._shards: dict[int, np.ndarray] = {}
        self.lengths = np.concatenate([np.diff(shard) for shard in self._ends])

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, number: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, number: slice) -> list[np.ndarray]: ...

    def __getitem__(self, number: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(f"utterance {number} of {len(self)}")
        shard, row = divmod(int(number), PER_SHARD)
        if shard not in self._shards:
            self._shards[shard] = np.load(_shard_path(self.folder, shard), mmap_mode="r", allow_pickle=False)
        start, end = self._ends[shard][row : row + 2]
        return self._shards[shard][start:end]


def corpus_tokens(
    folder: Path, corpus: Corpus, model: nn.Module, tokenize: Callable[[Tensor], Tensor]
) -> Tokens:
    """Make tokens of what is heard, `tokenize` of audio `[1, samples]`: see `tokens_of_utterances`."""

    def heard(numbers: Sequence[int], device: torch.device) -> list[Tensor]:
        audio = [torch.from_numpy(corpus.audio(corpus.utterances[number]))[None] for number in numbers]
        return [tokenize(one.to(device))[0] for one in audio]

    return tokens_of_utterances(folder, corpus, model, heard, batch=1)


def tokens_of_utterances(
    folder: Path,
    corpus: Corpus,
    model: nn.Module,
    make: Callable[[Sequence[int], torch.device], Sequence[Tensor]],
    batch: int,
) -> Tokens:
    """Make tokens of every utterance, or take what an earlier run kept for the same weights and corpus.

    make: gives those of utterances by their numbers, with `model`, which is on that device; it is asked
    for up to `batch` at once, about as long as one another.
    A killed run goes on at the shard that it was at; several processes share the work.
    """
    state = PartialState()
    if state.is_main_process:
        _begin(folder, fingerprint(model, corpus))
    state.wait_for_everyone()
    shards = range(state.process_index, -(-len(corpus.utterances) // PER_SHARD), state.num_processes)
    missing = [shard for shard in shards if not _shard_path(folder, shard).exists()]
    model.eval().to(state.device)
    numbers = range(len(corpus.utterances))
    todo = [numbers[n * PER_SHARD : (n + 1) * PER_SHARD] for n in missing]
    with tqdm(
        total=sum(map(len, todo)), desc=f"tokens for {folder.name}", unit="utterance",
        disable=not state.is_main_process,
    ) as bar:  # fmt: skip
        for shard, of_shard in zip(missing, todo, strict=True):
            found: dict[int, np.ndarray] = {}
            by_length = sorted(of_shard, key=corpus.utterances.seconds.__getitem__)
            for first in range(0, len(by_length), batch):
                asked = by_length[first : first + batch]
                with torch.inference_mode():
                    made = make(asked, state.device)
                found |= {n: tokens.cpu().numpy() for n, tokens in zip(asked, made, strict=True)}
                bar.update(len(asked))
            _write_shard(folder, shard, [found[number] for number in of_shard])
    model.to("cpu")
    state.wait_for_everyone()
    return Tokens(folder)


def _begin(folder: Path, made_by: str) -> None:
    """Take away the tokens of other weights or of another corpus; they are quickly made again."""
    settings = folder / "settings.json"
    if settings.is_file() and json.loads(settings.read_text()) == {"fingerprint": made_by}:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for path in (settings, *folder.glob("*.npy")):
        path.unlink(missing_ok=True)
    write_file(settings, json.dumps({"fingerprint": made_by}))


def _write_shard(folder: Path, shard: int, found: Sequence[np.ndarray]) -> None:
    """Write the tokens of a shard: they are there once all of it is on disk."""
    flat = np.concatenate(found)
    if flat.min(initial=0) < 0 or flat.max(initial=0) > np.iinfo(np.uint16).max:
        raise CorpusError(f"tokens from {flat.min()} to {flat.max()} were made, expected 0 to 65535")
    path = _shard_path(folder, shard)
    for array, name in (
        (np.cumsum([len(tokens) for tokens in found]), path.with_suffix(".ends.npy")),
        (flat.astype(np.uint16), path),
    ):
        with atomic_file(name) as work, work.open("wb") as file:
            np.save(file, array, allow_pickle=False)


def _shard_path(folder: Path, shard: int) -> Path:
    return folder / f"{shard:05}.npy"


def fingerprint(model: nn.Module, corpus: Corpus) -> str:
    """Tell weights, which are on the CPU, and a corpus from others."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    for utterance in corpus.utterances:
        digest.update(f"{utterance.id} {utterance.seconds}\n".encode())
    return digest.hexdigest()
