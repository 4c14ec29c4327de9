"""The rooms of the three packages: which may import which, and how large they may be.

A room is a folder or a file at the top of a package. `ROOMS` is the one table of arrows. It is checked
against every import in the source, also those inside functions and under `TYPE_CHECKING`.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "soundstorm_runtime": ROOT / "runtime" / "soundstorm_runtime",
    "soundstorm_edge": ROOT / "soundstorm_edge",
    "soundstorm_export": ROOT / "export" / "soundstorm_export",
}
TESTS = {"soundstorm_runtime": "runtime", "soundstorm_edge": "edge", "soundstorm_export": "export"}
MOST_ROOMS, MOST_FILES = 13, 15  # a dozen, and `integrations`, which no other room but `cli` knows

# Each room, and the rooms of its own package that it may import; `__init__` has its public names.
ROOMS = {
    "soundstorm_runtime": {
        "errors": "",
        "support": "errors",
        "engines": "errors support",
        "text": "errors support",
        "audio": "errors support",
        "decoding": "errors support engines",
        "bundle": "errors support engines text audio decoding",
        "synthesis": "errors support engines text audio decoding bundle",
        "voice": "errors support engines text audio decoding bundle synthesis",
        "server": "errors support engines text audio decoding bundle synthesis voice",
        "tools": "errors support engines text audio decoding bundle synthesis voice",
        "integrations": "errors __init__",  # the public names, and nothing below them
        "cli": "errors support engines text audio decoding bundle synthesis voice server tools integrations",
    },
    "soundstorm_edge": {
        "errors": "",
        "support": "errors",
        "nn": "errors support",
        "codec": "errors support nn",
        "units": "errors support nn",
        "text_to_semantic": "errors support nn units",
        "soundstorm": "errors support nn codec units text_to_semantic",
        "checkpoint": "errors support nn codec units text_to_semantic soundstorm",
        "interop": "errors support nn codec units text_to_semantic soundstorm",
        "data": "errors support nn",
        "training": "errors support nn codec units text_to_semantic soundstorm checkpoint data",
        "cli": "errors support checkpoint training",
    },
    "soundstorm_export": {
        "errors": "",
        "voice_parts": "errors",
        "rewrite": "errors",
        "tensorrt": "errors",
        "schemas": "voice_parts",
        "tracing": "errors voice_parts",
        "verify": "errors voice_parts rewrite tracing",
        "variants": "errors voice_parts rewrite tracing verify",
        "third_party": "errors voice_parts",
        "alignment_training": "",
        "bundle_writer": "errors voice_parts schemas rewrite tracing verify variants alignment_training",
        "voice_package": "errors",
        "cli": "errors voice_parts tensorrt variants third_party bundle_writer voice_package",
    },
}
# The rooms of other packages that a package may import.
ABROAD = {
    "soundstorm_runtime": {},
    "soundstorm_edge": {"soundstorm_runtime": "errors support engines text audio decoding bundle"},
    "soundstorm_export": {
        "soundstorm_runtime": "errors support engines text audio decoding bundle synthesis voice",
        "soundstorm_edge": "errors support nn codec units text_to_semantic soundstorm checkpoint interop",
    },
}


def modules(package: Path) -> dict[str, Path]:
    """Return the files of a package by the dotted name of their module."""
    found = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(name: str, file: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """Yield the modules among `known` that a module imports, anywhere in its file."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield from [name for name in (f"{base}.{alias.name}", base) if name in known][:1]


def graph_of(known: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return the modules that each of `known` imports."""
    return {name: set(imports(name, file, known)) - {name} for name, file in known.items()}


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the names along one circle of a graph, or nothing where there is none."""
    left = dict(graph)
    while free := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in free:
            del left[name]
    path: list[str] = []
    name = next(iter(left), None)
    while name is not None and name not in path:
        path.append(name)
        name = min(left[name] & left.keys())
    return [*path[path.index(name) :], name] if name is not None else []


def entries(folder: Path) -> list[Path]:
    """Return what a folder holds beside `__init__.py`, `py.typed` and what Python leaves there."""
    left_out = {"__init__.py", "py.typed", "__pycache__"}
    return sorted(path for path in folder.iterdir() if path.name not in left_out)


def rooms(folder: Path) -> list[Path]:
    """Return a package's folders, at every depth, that hold Python files."""
    return sorted({file.parent for file in folder.rglob("*.py")})


GRAPH = graph_of({name: file for package in PACKAGES.values() for name, file in modules(package).items()})


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_follow_the_arrows(package):
    wrong = []
    for name, targets in GRAPH.items():
        own, *inside = name.split(".")
        for target in targets if own == package and inside else ():
            other, *there = target.split(".")
            if (other, there[:1]) == (own, inside[:1]):
                continue
            table = ROOMS[own].get(inside[0], "") if other == own else ABROAD[own].get(other, "")
            allowed = {"__init__", *table.split()} if other != own else set(table.split())
            if (there[0] if there else "__init__") not in allowed:
                wrong.append(f"{name} imports {target}")
    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_table_has_every_room_and_no_circle(package):
    assert sorted(ROOMS[package]) == sorted(path.stem for path in entries(PACKAGES[package]))
    assert circle({room: set(allowed.split()) for room, allowed in ROOMS[package].items()}) == []
    assert len(ROOMS[package]) <= MOST_ROOMS


def test_no_files_import_each_other_in_a_circle():
    assert circle(GRAPH) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_room_has_at_most_so_many_files(package):
    crowded = {
        str(room.relative_to(ROOT)): len(files)
        for room in rooms(PACKAGES[package])
        if len(files := [path for path in entries(room) if path.suffix == ".py"]) > MOST_FILES
    }
    assert crowded == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_file_name_means_one_thing_in_a_package(package):
    """`__init__.py` and `__main__.py` mean the same in every folder."""
    names = Counter(file.name for file in PACKAGES[package].rglob("*.py"))
    assert [name for name, count in names.items() if count > 1 and not name.startswith("__")] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_tests_lie_in_the_rooms_of_what_they_test(package):
    folders = {path.relative_to(PACKAGES[package]) for path in rooms(PACKAGES[package])}
    tests = ROOT / "tests" / TESTS[package]
    strange = [str(path.relative_to(ROOT)) for path in rooms(tests) if path.relative_to(tests) not in folders]
    assert strange == []


def test_the_check_sees_every_way_to_import(tmp_path):
    sources = {
        "p/__init__.py": "from .a import x",
        "p/a/__init__.py": "",
        "p/a/one.py": "def f():\n    from ..b import two\n    from .. import b",
        "p/b/__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import p.a.one",
        "p/b/two.py": "import os\nfrom p import a\nfrom p.a.one import f\nfrom . import three",
        "p/b/three.py": "from .nothing import x\nfrom ..a.one import f as g",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    found = graph_of(modules(tmp_path / "p"))
    assert found == {
        "p": {"p.a"},
        "p.a": set(),
        "p.a.one": {"p.b.two", "p.b"},
        "p.b": {"p.a.one"},
        "p.b.two": {"p.a", "p.a.one", "p.b.three"},
        "p.b.three": {"p.a.one"},
    }
    assert sorted(set(circle(found))) == ["p.a.one", "p.b"]
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
