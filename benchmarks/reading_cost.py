"""What reading a text costs: time for a sentence, memory, and the slowest shapes of a long text.

    python -m benchmarks.reading_cost

Times are of the CPU, with the lexicon of the CMU dictionary; those of a sentence go up to its phones. A shape
is a text of 100,000 characters that repeats one token: each kind of sign, alone, with spaces and with line
breaks between.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from soundstorm_edge.data.shipped_lexicon import shipped_lexicon
from soundstorm_runtime.errors import TextError

from .report import RESULTS, Circumstances, circumstances, write_result

CHARACTERS = 100_000
SENTENCES = Path(__file__).parent / "sentences.txt"
SIGNS = (
    "a A 1 é ß 漢 ع ٣ \N{GRINNING FACE} ½ ² ⁻⁶ $ € ¢ % ° µ α ≠ → √ № ™ ( ) [ { < \" ' * _ ` ~ = # @ & / \\ | "
    "^ - – — + . , ; : ! ? … • \u0301 \u200b \u2028 \ue000 \U0001f1e9 \ufffd"
).split(" ")
TOKENS = (
    "ab AB ABCD it's A1 1/ 1/2 T½ x² 1, 1. 1- -1 1:2 12:30 $1 -$5 5% 5kg 1,000 1e5 2x4 6'2\" 5th 1980s v1.2 "
    "A. e.g. Dr. IV AT&T a@b.c www. http://a a.b **a** [] [[ [pause] <b> <x> &amp; "
    "\N{GRINNING FACE}\N{PARTY POPPER}"
).split(" ")
_MEASURED = """
import resource, sys
from pathlib import Path
import numpy, soundstorm_runtime.errors
def resident(): return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
before = resident()
from soundstorm_runtime.text.lexicon_file import load_lexicon
lexicon = load_lexicon(Path(sys.argv[1]))
for line in open(sys.argv[2], encoding="utf-8"):
    for sentence in lexicon.sentences(line) if line.strip() else ():
        lexicon.spoken(sentence.words)
print((resident() - before) / 1e6)
"""


@dataclass(frozen=True)
class Cost:
    """The figures. slowest: shapes with their seconds, the slowest first."""

    circumstances: Circumstances
    milliseconds_a_sentence: float
    seconds_to_load: float
    megabytes: float
    shapes: int
    slowest: list[tuple[str, float]]


def seconds(read: Callable[[], object]) -> float:
    """Return the seconds of reading a text."""
    started = time.process_time()
    with suppress(TextError):  # of a sign that is silent there is nothing to speak
        read()
    return time.process_time() - started


def shapes() -> list[str]:
    """Return what the long texts repeat."""
    return [*SIGNS, *(f"{sign} " for sign in SIGNS), *TOKENS, *" \n\t", "½\n", "A\n", "1\n", "No. ", "a,\n"]


def measure() -> Cost:
    """Measure all of it."""
    started = time.process_time()
    lexicon = shipped_lexicon("cmu")
    to_load = time.process_time() - started
    lines = [line for line in SENTENCES.read_text("utf-8").splitlines() if line.strip()]
    a_sentence = min(seconds(lambda: [lexicon.phones(line) for line in lines]) for _ in range(10)) / len(
        lines
    )
    found = []
    for shape in shapes():
        text = (shape * CHARACTERS)[:CHARACTERS]
        found.append((shape, round(seconds(lambda: lexicon.sentences(text)), 2)))  # noqa: B023
    found.sort(key=lambda row: -row[1])
    return Cost(
        circumstances("reading_cost"), round(1000 * a_sentence, 3), round(to_load, 3), megabytes(),
        len(found), found[:12],
    )  # fmt: skip


def megabytes() -> float:
    """Return by how much a process grows when it reads the sentences of the benchmarks."""
    with resources.as_file(resources.files("soundstorm_edge.data") / "lexicon-cmu.txt.gz") as file:
        command = [sys.executable, "-c", _MEASURED, str(file), str(SENTENCES)]
        return round(float(subprocess.run(command, check=True, capture_output=True).stdout), 1)


def main() -> None:
    """Print the costs, and write them to a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--output", type=Path, default=RESULTS / "reading_cost.json", help="JSON file to write"
    )
    options = parser.parse_args()
    logging.disable()
    cost = measure()
    print(
        f"{cost.milliseconds_a_sentence} ms a sentence, {cost.megabytes} MB, "
        f"loaded in {cost.seconds_to_load} s"
    )
    print(f"the slowest of {cost.shapes} texts of {CHARACTERS} characters:")
    for shape, taken in cost.slowest:
        print(f"  {taken:5.2f} s  {shape!r}")
    write_result(options.output, cost)


if __name__ == "__main__":
    main()
