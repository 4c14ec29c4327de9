"""English sentences that Debian carries, for sources that synthesize speech."""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import CorpusError

FORTUNES = Path("/usr/share/games/fortunes")
_SENTENCE = re.compile(r"(?<=[.!?])[\"')]*\s+(?=[\"'(]?[A-Z])")
_CLEAN = re.compile(r"[A-Z][A-Za-z ,;:'?!.-]+[.?!]")
_ABBREVIATED = re.compile(r"\b(Mr|Mrs|Dr|St|Jr|Sr|vs|etc|Prof|[A-Z])\.")


def fortune_sentences(folder: Path = FORTUNES) -> list[str]:
    """Return clean English sentences of 3 to 30 words, each once, from the files of Debian's `fortunes`.

    Raises:
        CorpusError: the folder has no text.
    """
    files = sorted(path for path in folder.glob("*") if path.is_file() and not path.suffix)
    if not files:
        raise CorpusError(f"no text in {folder}; install it with 'apt-get install fortunes'")
    sentences: dict[str, None] = {}
    for path in files:
        for fortune in re.split(r"^%\n", path.read_text(encoding="utf-8", errors="replace"), flags=re.M):
            quote = re.split(r"^\s*--", fortune, flags=re.M)[0]  # the author's name follows
            text = re.sub(r"\s+", " ", quote.replace('"', "")).strip()
            if _ABBREVIATED.search(text):  # its full stop would end the sentence
                continue
            for sentence in _SENTENCE.split(text):
                if _is_clean(sentence):
                    sentences[sentence] = None
    return list(sentences)


def _is_clean(sentence: str) -> bool:
    words = sentence.split()
    capitals = sum(word.isupper() and len(word) > 1 for word in words)
    return (
        3 <= len(words) <= 30
        and _CLEAN.fullmatch(sentence) is not None
        and not capitals
        and ".." not in sentence
    )
