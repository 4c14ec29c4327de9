"""The byte-pair tokens of CLIP (arXiv 2103.00020): 49,408 ids for any text, without a lexicon.

Models of spear-tts-pytorch may read these.
"""

from __future__ import annotations

import gzip
import html
import importlib.metadata
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...errors import ConfigError

CLIP_TOKENS = 49_408
PAD = 0
MERGES = CLIP_TOKENS - 2 * 256 - 2  # without all bytes, at the end of a word or not, and two special ones
SPECIAL = ("<|startoftext|>", "<|endoftext|>")
# Pairs are merged within these: contractions, words, single digits, and runs of anything else.
PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
# Distributions with the vocabulary, and its path; their code, which needs torchvision, is not imported.
CARRIERS = {
    "open_clip_torch": "open_clip/bpe_simple_vocab_16e6.txt.gz",
    "x-clip": "x_clip/data/bpe_simple_vocab_16e6.txt",
}


def clip_tokenize(texts: Sequence[str]) -> Tensor:
    """Return the ids of texts, int64 `[batch, length]`, padded with 0.

    Raises:
        ConfigError: the vocabulary, or a library that reads it, is not installed.
    """
    tokenizer = clip_tokenizer()
    rows = [tokenizer.encode(_clean(text)).ids for text in texts]
    return pad_sequence([torch.tensor(row, dtype=torch.int64) for row in rows], True, PAD)


def _clean(text: str) -> str:
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", text).strip().lower()


@cache
def clip_tokenizer() -> Any:
    """Return the tokenizer of CLIP, without the repair of Unicode that `clip_tokenize` does first."""
    try:
        import ftfy  # noqa: F401 - fails here rather than within a batch
        from tokenizers import Regex, Tokenizer, normalizers
        from tokenizers.models import BPE
        from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
    except ImportError as error:
        raise _missing(f"the package {error.name}") from error
    lines = _vocabulary().split("\n")[1 : MERGES + 1]
    merges = [(first, second) for first, second in map(str.split, lines)]
    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges), *SPECIAL]
    ids = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(BPE(ids, merges, end_of_word_suffix="</w>"))
    tokenizer.add_special_tokens(list(SPECIAL))
    straight = [normalizers.Replace(Regex(curly), plain) for curly, plain in (("[‘’]", "'"), ("[“”]", '"'))]
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *straight, normalizers.Lowercase()])
    pieces = Split(Regex(PIECES), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = Sequence([pieces, ByteLevel(add_prefix_space=False, use_regex=False)])
    return tokenizer


def _byte_letters() -> list[str]:
    """Return the letter that stands for each byte, printable ones first, in the order of their ids."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(others)]


def _vocabulary() -> str:
    for name, path in CARRIERS.items():
        try:
            file = importlib.metadata.distribution(name).locate_file(path)
        except importlib.metadata.PackageNotFoundError:
            continue
        with open(str(file), "rb") as stream:
            content = stream.read()
        return (gzip.decompress(content) if path.endswith(".gz") else content).decode("utf-8")
    raise _missing("its vocabulary")


def _missing(what: str) -> ConfigError:
    return ConfigError(
        f"use_openai_tokenizer needs {what}, which is not installed; pip install 'soundstorm-edge[clip]'"
    )
