"""The pages of the documentation, taken apart: fenced blocks, code in the text, links."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]

NOTHING_RUNS = re.compile(r"<!-- nothing here runs: [^>]+ -->")
_BLOCK = re.compile(
    r"^(?:<!-- (?P<note>[^>]*) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the comment before it, and the line where it begins."""

    language: str
    text: str
    note: str
    line: int

    @property
    def runs(self) -> bool:
        """Whether a test executes it."""
        return self.language in ("bash", "python") and not self.note.startswith("not run: ")

    @property
    def commands(self) -> list[list[str]]:
        """Its lines, split as a shell does; continued lines are one."""
        joined = self.text.replace("\\\n", " ")
        return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def blocks(markdown: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    nothing = NOTHING_RUNS.search(markdown)
    return [
        Block(
            found["language"],
            found["text"],
            "not run: the whole page" if nothing and not found["note"] else found["note"] or "",
            markdown.count("\n", 0, found.start()) + 1,
        )
        for found in _BLOCK.finditer(markdown)
    ]


def code_spans(markdown: str) -> list[str]:
    """Return what stands between single backticks, outside of fenced blocks."""
    return _SPAN.findall(_BLOCK.sub("", markdown))


def links(markdown: str) -> list[str]:
    """Return the targets of all links and images that lead to a file of the repository."""
    targets = (target.partition("#")[0] for target in _LINK.findall(_BLOCK.sub("", markdown)))
    return [target for target in targets if target and "://" not in target]
