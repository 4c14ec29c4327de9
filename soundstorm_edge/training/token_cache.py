"""Tokens of a whole corpus, computed once, and kept on disk in memory-mapped shards.

codes/settings.json      fingerprint of the weights and the corpus
codes/00000.npy          uint16 `[tokens]` or `[frames, levels]`, one utterance after another
codes/00000.ends.npy     int64 `[utterances]`, the end of each
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor, nn

from soundstorm_runtime.support.atomic import atomic_file, write_file
from soundstorm_runtime.support.files import reason

from ..codec.interface import CODING, Codec
from ..data.corpus import Corpus
from ..errors import CorpusError
from ..support.progress import progress_bar

PER_SHARD = 1024  # utterances: some minutes of work, which is what an interrupted run loses


class Tokens(Sequence[np.ndarray]):
    """The tokens of every utterance, in the order of the corpus: views of memory-mapped files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ends = [_load(path) for path in sorted(folder.glob("*.ends.npy"))]
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
            self._shards[shard] = _load(_shard_path(self.folder, shard), mmap_mode="r")
        start, end = self._ends[shard][row : row + 2]
        return self._shards[shard][start:end]


def corpus_tokens(
    folder: Path, corpus: Corpus, model: nn.Module, tokenize: Callable[[Tensor], Tensor]
) -> Tokens:
    """Return the tokens of the audio of every utterance.

    Args:
        folder: of the cache.
        corpus: the speech.
        model: computes the tokens; its weights identify the cache.
        tokenize: a function of the model, from audio `[1, samples]` to tokens `[1, ...]`.
    """

    def compute(numbers: Sequence[int], device: torch.device) -> list[Tensor]:
        audio = [torch.from_numpy(corpus.audio(corpus.utterances[number]))[None] for number in numbers]
        return [tokenize(one.to(device))[0] for one in audio]

    return tokens_of_utterances(folder, corpus, model, compute, batch=1)


def tokens_of_utterances(
    folder: Path,
    corpus: Corpus,
    model: nn.Module,
    compute: Callable[[Sequence[int], torch.device], Sequence[Tensor]],
    batch: int,
    uses_phones: bool = False,
) -> Tokens:
    """Return the tokens of every utterance, computed or read from the cache.

    An interrupted run resumes at its shard; several processes share the work.

    Args:
        folder: of the cache, which is replaced where weights or corpus have changed.
        corpus: the speech.
        model: its weights identify the cache.
        compute: returns the tokens of utterances by their numbers, with `model` on the given device.
        batch: the most utterances, of similar lengths, that `compute` is called with.
        uses_phones: whether the tokens depend on phones and their times, too.
    """
    state = PartialState()
    if state.is_main_process:
        _prepare(folder, _cache_fingerprint(model, corpus, uses_phones=uses_phones))
    state.wait_for_everyone()
    shards = range(state.process_index, -(-len(corpus.utterances) // PER_SHARD), state.num_processes)
    missing = [shard for shard in shards if not _shard_path(folder, shard).exists()]
    model.eval().to(state.device)
    numbers = range(len(corpus.utterances))
    todo = [numbers[n * PER_SHARD : (n + 1) * PER_SHARD] for n in missing]
    with progress_bar(
        total=sum(map(len, todo)), desc=f"tokens for {folder.name}", unit="utterance",
        shown=state.is_main_process,
    ) as bar:  # fmt: skip
        for shard, of_shard in zip(missing, todo, strict=True):
            found: dict[int, np.ndarray] = {}
            by_length = sorted(of_shard, key=corpus.utterances.seconds.__getitem__)
            for first in range(0, len(by_length), batch):
                asked = by_length[first : first + batch]
                with torch.inference_mode():
                    made = compute(asked, state.device)
                found |= {n: tokens.cpu().numpy() for n, tokens in zip(asked, made, strict=True)}
                bar.update(len(asked))
            _write_shard(folder, shard, [found[number] for number in of_shard])
    model.to("cpu")
    state.wait_for_everyone()
    return Tokens(folder)


def _prepare(folder: Path, digest: str) -> None:
    """Create the folder of a cache; delete the tokens of other weights or another corpus."""
    settings = folder / "settings.json"
    if settings.is_file() and settings.read_bytes() == _settings(digest).encode():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for path in (settings, *folder.glob("*.npy")):
        path.unlink(missing_ok=True)
    write_file(settings, _settings(digest))


def _settings(digest: str) -> str:
    return json.dumps({"fingerprint": digest})


def _load(path: Path, **options: Any) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False, **options)
    except (OSError, ValueError, EOFError) as error:
        raise CorpusError(
            f"cannot read {path} ({reason(error)}); remove {path.parent} and run again"
        ) from error


def _write_shard(folder: Path, shard: int, found: Sequence[np.ndarray]) -> None:
    """Write the tokens of a shard, which counts as complete once its last file is on disk."""
    flat = np.concatenate(found)
    if flat.min(initial=0) < 0 or flat.max(initial=0) > np.iinfo(np.uint16).max:
        raise CorpusError(f"the tokens go from {flat.min()} to {flat.max()}, expected 0 to 65535")
    path = _shard_path(folder, shard)
    for array, name in (
        (np.cumsum([len(tokens) for tokens in found]), path.with_suffix(".ends.npy")),
        (flat.astype(np.uint16), path),
    ):
        with atomic_file(name) as work, work.open("wb") as file:
            np.save(file, array, allow_pickle=False)


def _shard_path(folder: Path, shard: int) -> Path:
    return folder / f"{shard:05}.npy"


def fingerprint(model: nn.Module) -> str:
    """Return a digest of the weights, which are on the CPU; of a codec those that determine the codes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if isinstance(model, Codec) and not name.startswith(CODING):
            continue
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _cache_fingerprint(model: nn.Module, corpus: Corpus, *, uses_phones: bool) -> str:
    digest = hashlib.sha256(fingerprint(model).encode())
    for utterance in corpus.utterances:
        digest.update(f"{utterance.id} {utterance.seconds}\n".encode())
        if uses_phones:
            digest.update(f"{utterance.phones} {utterance.ends}\n".encode())
    return digest.hexdigest()
