"""How many written texts are read as expected: a table of test cases, by class.

    python -m benchmarks.reading nemo-cases.tsv

A case is a line of class, written text and expected words, separated by tabs, as in the test cases of NVIDIA
NeMo-text-processing (Apache License 2.0). Letters and digits are compared: capitals, spaces, punctuation and
the
"and" inside numbers make no difference to speech.
"""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter
from pathlib import Path

from soundstorm_runtime.text.sentences import normalise

from .report import circumstances, write_result

RESULT = Path(__file__).parent / "results" / "reading.json"


def comparable(words: str) -> str:
    """Return what two readings must have in common."""
    words = re.sub(r"\bay\b", "a", words.lower())  # the letter a
    return re.sub(r"[^a-z]", "", re.sub(r"\band\b", "", words))


def main() -> None:
    """Read the cases, print those that differ and the share of each class, and write it to a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", type=Path, help="file of tab-separated class, written and spoken text")
    parser.add_argument("-q", "--quiet", action="store_true", help="do not print the cases that differ")
    parser.add_argument(
        "--output", type=Path, default=RESULT, help="JSON file to write (default: %(default)s)"
    )
    options = parser.parse_args()
    rows = [line.split("\t") for line in options.cases.read_text("utf-8").splitlines() if line[:1] != "#"]
    right: Counter[str] = Counter()
    total = Counter(row[0] for row in rows)
    normalise("Warm up with 1/2 - a (first) sign, +1, #2, $3.50, 'four', ~5 and /6; .7 = @eight.")
    started = time.process_time()
    read = [normalise(written) for _, written, _ in rows]
    milliseconds = 1000 * (time.process_time() - started) / len(rows)
    for (kind, written, spoken), found in zip(rows, read, strict=True):
        if comparable(found) == comparable(spoken):
            right[kind] += 1
        elif not options.quiet:
            print(f"{kind:13} {written!r}\n  expected {spoken}\n  read     {found}")
    for kind, count in total.items():
        print(f"{kind:13} {right[kind]:3} of {count:3}")
    share = right.total() / len(rows)
    print(f"{'all':13} {right.total():3} of {len(rows):3}: {share:.1%}, {milliseconds:.3f} ms a text")
    result = {
        "circumstances": circumstances("reading"),
        "cases": options.cases.name,
        "share": round(share, 4),
        "milliseconds_a_text": round(milliseconds, 3),
        "classes": {kind: {"cases": count, "read_as_expected": right[kind]} for kind, count in total.items()},
    }
    write_result(options.output, result)


if __name__ == "__main__":
    main()
