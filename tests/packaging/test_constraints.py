"""`constraints.txt` has one version of every package that the tests use, and pyproject.toml allows it."""

from __future__ import annotations

import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.write_constraints import EXTRAS, FILE, OWN

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADVICE = (
    "install the newest set, run the tests, and write the file again: python -m scripts.write_constraints"
)


def pins() -> dict[str, str]:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    found = [line.split("==") for line in lines if not line.startswith("#")]
    assert len({name for name, _ in found}) == len(found)
    return {name: version for name, version in found}


def required(extras: tuple[str, ...]) -> list[Requirement]:
    """What the project itself asks for, with some of its extras."""
    lines = list(PROJECT["dependencies"])
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    found = []
    for requirement in map(Requirement, lines):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if canonicalize_name(requirement.name) == OWN:
            found += required(tuple(requirement.extras))
        else:
            found.append(requirement)
    return found


def test_every_package_of_the_tests_has_a_version_that_the_project_allows():
    versions = pins()
    for requirement in required(EXTRAS):
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is missing in constraints.txt; {ADVICE}"
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{requirement}: {version}; {ADVICE}"
        )


def test_no_version_contradicts_any_extra():
    versions = pins()
    others = tuple(extra for extra in PROJECT["optional-dependencies"] if not extra.startswith("gpu"))
    for requirement in required(others):
        version = versions.get(canonicalize_name(requirement.name))
        if version is not None:
            assert requirement.specifier.contains(version, prereleases=True), f"{requirement}: {version}"
