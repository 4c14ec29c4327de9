"""A bundle: the folder a voice is exported to, read with every check before anything is used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from .errors import BundleError
from .manifest import FORMAT, LEXICON_FILE, VERSION, FileFacts, Manifest, Precision
from .plain import from_plain
from .prompts import Prompt, read_prompt

MANIFEST_FILE = "bundle.json"

_AGAIN = "export it again with soundstorm-export"


@dataclass(frozen=True)
class Bundle:
    """A bundle that passed every check."""

    path: Path
    manifest: Manifest

    def graph_file(self, name: str, precision: Precision = "fp32") -> Path:
        """Return the ONNX file of a graph; a variant that lacks it takes that of fp32."""
        variant = self.manifest.variants.get(precision) if precision != "fp32" else None
        files = variant.graphs if variant else {}
        return self.path / files.get(name, self.manifest.graphs[name].file)

    def prompts(self) -> dict[str, Prompt]:
        """Read the named voices. Raises `BundleError` for one that is broken or made for another voice."""
        return {
            name: read_prompt(self.path / file, self.manifest) for name, file in self.manifest.prompts.items()
        }

    @property
    def lexicon_file(self) -> Path:
        """The pronunciation lexicon."""
        return self.path / LEXICON_FILE


def read_bundle(path: str | Path) -> Bundle:
    """Read and check a bundle: the manifest, and size and SHA-256 of every file.

    Raises `BundleError` that names the file, what was expected, what was found and what to do.
    Nothing in a bundle is executed or unpickled.
    """
    folder = Path(path)
    file = folder / MANIFEST_FILE
    if not file.is_file():
        raise BundleError(
            f"{folder} is not a bundle: expected a folder with {MANIFEST_FILE}, found "
            f"{'none in it' if folder.is_dir() else 'a file' if folder.exists() else 'nothing'}; "
            "give the folder that soundstorm-export wrote"
        )
    manifest = _read_manifest(file)
    for name, facts in manifest.files.items():
        _check_file(folder, name, facts)
    return Bundle(folder, manifest)


def _read_manifest(file: Path) -> Manifest:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise BundleError(
            f"{file} cannot be read as JSON ({error}): truncated or edited; {_AGAIN}"
        ) from error
    head = data if isinstance(data, dict) else {}
    if head.get("format") != FORMAT:
        raise BundleError(f"{file}: format is {head.get('format')!r}, expected {FORMAT!r}; {_AGAIN}")
    if head.get("version") != VERSION:
        raise BundleError(
            f"{file}: version is {head.get('version')!r}, this runtime reads {VERSION}; "
            f"install the soundstorm-edge that made it, or {_AGAIN}"
        )
    try:
        return from_plain(Manifest, data, "bundle")
    except ValueError as error:
        raise BundleError(f"{file}: {error}; {_AGAIN}") from error


def _check_file(folder: Path, name: str, facts: FileFacts) -> None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BundleError(
            f"{path} is a link to {path.resolve()}, expected a file inside the bundle; {_AGAIN}"
        )
    if not path.is_file():
        raise BundleError(f"{path} is missing, expected {facts.size} bytes; {_AGAIN}")
    try:
        if (size := path.stat().st_size) != facts.size:
            raise BundleError(f"{path} has {size} bytes, expected {facts.size}; {_AGAIN}")
        if (found := FileFacts.of(path)) != facts:
            raise BundleError(f"{path} has SHA-256 {found.sha256}, expected {facts.sha256}; {_AGAIN}")
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}; make it readable") from error
