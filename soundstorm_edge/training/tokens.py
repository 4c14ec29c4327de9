"""Tokens of a whole corpus, computed once and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..corpus import Corpus


def corpus_tokens(
    path: Path, corpus: Corpus, model: nn.Module, tokenize: Callable[[Tensor], Tensor]
) -> list[np.ndarray]:
    """Tokenize every utterance, or read what an earlier run kept for the same weights and corpus.

    Returns one int64 array `[tokens]` or `[frames, levels]` for each utterance, in the corpus's order.
    """
    fingerprint = _fingerprint(model, corpus)
    if path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            if kept["fingerprint"].item() == fingerprint:
                flat = kept["flat"].astype(np.int64)
                return np.split(flat, kept["ends"][:-1])
    model.eval()
    found = []
    with tqdm(corpus.utterances, desc=f"tokens for {path.stem}", unit="utterance") as bar:
        for utterance in bar:
            with torch.inference_mode():
                found.append(tokenize(torch.from_numpy(corpus.audio(utterance))[None])[0].numpy())
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    ends = np.cumsum([len(tokens) for tokens in found])
    np.savez(
        partial, flat=np.concatenate(found).astype(np.int16), ends=ends, fingerprint=np.array(fingerprint)
    )
    partial.replace(path)
    return found


def _fingerprint(model: nn.Module, corpus: Corpus) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    for utterance in corpus.utterances:
        digest.update(f"{utterance.id} {utterance.seconds}\n".encode())
    return digest.hexdigest()
