"""Results kept between runs under `build/score`, as long as nothing that they depend on changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import benchmarks
import soundstorm_edge
import soundstorm_export
import soundstorm_runtime
from soundstorm_edge.checkpoint import VoiceModels
from soundstorm_export.bundle_writer import export_bundle
from soundstorm_runtime.bundle.manifest import FileRecord
from soundstorm_runtime.bundle.reader import MANIFEST_FILE
from soundstorm_runtime.support.atomic import write_file

WORK = Path("build/score")


def fingerprint(*parts: object) -> str:
    """Return a name for results of these inputs and of the current code."""
    digest = hashlib.sha256(repr(parts).encode())
    for package in (soundstorm_edge, soundstorm_export, soundstorm_runtime, benchmarks):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def read_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the place and the value of every line of JSON that an earlier run kept, none without a file."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    if path.exists():  # a killed run may have left half a line
        write_file(path, "".join(f"{line}\n" for line in lines))
    for number, line in enumerate(lines, 1):
        yield f"{path}:{number}", json.loads(line)


def exported(models: VoiceModels, checkpoint: Path) -> Path:
    """Export a checkpoint, or return the folder where an earlier run did."""
    folder = WORK / f"bundle-{fingerprint(FileRecord.of(checkpoint).sha256)}"
    if not (folder / MANIFEST_FILE).is_file():
        export_bundle(models, folder, lambda line: click.echo(line, err=True), precisions=("fp32", "int8"))
    return folder
