"""The held-out sentences, and the choice of those that a short run uses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from soundstorm_runtime.errors import TextError

SENTENCES = Path(__file__).with_name("sentences.txt")


@dataclass(frozen=True)
class Sentence:
    """One sentence and its kind."""

    kind: str
    text: str


def read_sentences(path: Path = SENTENCES) -> list[Sentence]:
    """Read sentences, one a line, in groups that a line `[kind]` begins; `#` begins a comment."""
    found: list[Sentence] = []
    kind = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            kind = line[1:-1]
        elif line and not line.startswith("#"):
            if not kind:
                raise TextError(f"{path}:{number} has a sentence before the first [kind]; put one above it")
            found.append(Sentence(kind, line))
    return found


def take_evenly(sentences: list[Sentence], count: int) -> list[Sentence]:
    """Take `count` sentences: the first of every kind, then the second of every kind, and so on."""
    if not 1 <= count <= len(sentences):
        raise TextError(f"{count} sentences were asked for, expected 1 to {len(sentences)}")
    places: dict[str, int] = {}
    turns = []
    for sentence in sentences:
        places[sentence.kind] = places.get(sentence.kind, 0) + 1
        turns.append(places[sentence.kind])
    order = sorted(range(len(sentences)), key=lambda place: turns[place])  # stable: kinds stay in order
    return [sentences[place] for place in order[:count]]
