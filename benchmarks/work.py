"""Results kept between runs under `build/score`, as long as nothing that they depend on changes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

import benchmarks
import soundstorm_edge
import soundstorm_export
import soundstorm_runtime
from soundstorm_edge.checkpoint import VoiceModels
from soundstorm_export.bundle_writer import export_bundle
from soundstorm_runtime.bundle.manifest import FileRecord
from soundstorm_runtime.bundle.reader import MANIFEST_FILE

WORK = Path("build/score")


def fingerprint(*parts: object) -> str:
    """Return a name for results of these inputs and of the current code."""
    digest = hashlib.sha256(repr(parts).encode())
    for package in (soundstorm_edge, soundstorm_export, soundstorm_runtime, benchmarks):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def exported(models: VoiceModels, checkpoint: Path) -> Path:
    """Export a checkpoint, or return the folder where an earlier run did."""
    folder = WORK / f"bundle-{fingerprint(FileRecord.of(checkpoint).sha256)}"
    if not (folder / MANIFEST_FILE).is_file():
        export_bundle(models, folder, lambda line: click.echo(line, err=True), precisions=("fp32", "int8"))
    return folder
