"""Which package may import which: the arrows of the design, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "runtime/soundstorm_runtime": {"torch", "onnx", "transformers", "soundstorm_edge", "soundstorm_export"},
    "soundstorm_edge": {"onnx", "onnxscript", "onnxruntime", "soundstorm_export"},
    "export/soundstorm_export": {"accelerate"},  # an export needs no trainer
}
# The teacher of a corpus is an ONNX graph, which the extra `teacher` runs.
ALLOWED = {"soundstorm_edge/data/kokoro_teacher.py": {"onnx", "onnxruntime"}}


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Give the line and the dotted name of everything that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
            "import_module",
            "__import__",
        ):
            yield from ((node.lineno, arg.value) for arg in node.args if isinstance(arg, ast.Constant))


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_imports_nothing_it_must_not(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"no package at {package}"
    found = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in files
        for line, name in imports(file)
        if (top := name.partition(".")[0]) in FORBIDDEN[package]
        and top not in ALLOWED.get(file.relative_to(ROOT).as_posix(), ())
    ]
    assert found == []


def test_the_check_sees_every_way_to_import(tmp_path):
    file = tmp_path / "module.py"
    file.write_text(
        "import torch.nn\nfrom onnx import load\nfrom .torch import x\n"
        "def f():\n    import soundstorm_edge as e\n    importlib.import_module('torch')\n"
    )
    assert sorted(imports(file)) == [(1, "torch.nn"), (2, "onnx"), (5, "soundstorm_edge"), (6, "torch")]
