"""Write the versions that are installed here, as pip's constraints: `python -m scripts.write_constraints`.

The packages are those that the extras `EXTRAS` need, and what these need in turn.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
FILE = ROOT / "constraints.txt"
OWN = "soundstorm-edge"
LEFT_OUT = (OWN, "setuptools")  # of the latter, the packages of the extra `peers` need an old version
EXTRAS = ("cpu", "dev")  # dev has train, export, serve and ssml


def requirements(name: str, extras: Iterable[str]) -> Iterator[Requirement]:
    """Yield what an installed distribution needs here, with some of its extras."""
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def closure(name: str, extras: Iterable[str]) -> dict[str, str]:
    """Return the version of every distribution that `name` needs, by its name."""
    versions: dict[str, str] = {}
    left, seen = [(name, frozenset(extras))], set()
    while left:
        if (item := left.pop()) in seen:
            continue
        seen.add(item)
        for requirement in requirements(*item):
            needed = canonicalize_name(requirement.name)
            left.append((needed, frozenset(requirement.extras)))
            if needed not in LEFT_OUT:
                versions[needed] = distribution(needed).version.partition("+")[0]
    return versions


def main() -> None:
    """Write `constraints.txt`."""
    python = ".".join(map(str, sys.version_info[:2]))
    head = (
        f"# The versions that the tests passed with, on Python {python}: pip install -c constraints.txt ...\n"
    )
    pins = (f"{name}=={version}\n" for name, version in sorted(closure(OWN, EXTRAS).items()))
    FILE.write_text(head + "".join(pins), encoding="utf-8")


if __name__ == "__main__":
    main()
