"""A bundle: the folder a voice is exported to; every file is checked before it is used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import BundleError, OptionError
from ..support.serde import from_dict
from ..text.spelling import Phones, Spelling, Tokens
from ..text.stressed_lexicon import load_lexicon
from ..text.user_lexicon import OwnWords, Pronunciations
from .manifest import (
    FORMAT,
    VERSION,
    AutoregressiveTextSchema,
    FileRecord,
    Manifest,
    Precision,
    spelling_file,
)
from .prompts import SUFFIX, Prompts

MANIFEST_FILE = "bundle.json"

_AGAIN = "export it again with soundstorm-export"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest is sound and whose files are all there; each is checked when it is opened."""

    path: Path
    manifest: Manifest

    def file(self, name: str) -> Path:
        """Return the path of a file, once its size and SHA-256 are what the manifest says.

        Raises `BundleError` that says what was expected, what was found and what to do.
        """
        _check_file(self.path, name, self.manifest.files[name])
        return self.path / name

    def check(self) -> None:
        """Check all files, those included that this machine would not open. Raises `BundleError`."""
        for name in self.manifest.files:
            self.file(name)

    def graph_file(self, name: str, precision: Precision = "fp32", *, on_cpu: bool = False) -> Path:
        """Return the ONNX file of a graph, checked with its weights; a variant that lacks it takes fp32's.

        on_cpu: take the one made for ONNX Runtime on CPUs, if there is one.
        """
        facts = self.manifest.graphs[name]
        variant = self.manifest.variants.get(precision) if precision != "fp32" else None
        if variant is not None and name in variant.graphs:
            return self.file(variant.graphs[name])
        if facts.weights is not None:
            self.file(facts.weights)
        own = self.manifest.cpu.graphs if on_cpu and self.manifest.cpu is not None else {}
        return self.file(own.get(name, facts.file))

    def prompts(self) -> Prompts:
        """Give the named voices: those that the bundle came with, and those put beside them since.

        The latter are all files in its folder `prompts`, each the voice of its name. They are checked when
        they are used, so that a bad one does not silence the others. Raises `BundleError` for one of the
        former that is broken or made for another voice.
        """
        files = {name: self.file(file) for name, file in self.manifest.prompts.items()}
        for path in sorted((self.path / "prompts").glob(f"[!.]*{SUFFIX}")):
            files.setdefault(path.stem, path)
        prompts = Prompts(files, self.manifest)
        for name in self.manifest.prompts:
            prompts[name]
        return prompts

    def spelling(self, own: Pronunciations | None = None) -> Spelling | None:
        """Read how text is spelled for the text stage; None where the voice has none.

        own: a user's pronunciations (`text.user_lexicon`). Raises `OptionError` for one that this
        voice cannot speak.
        """
        text = self.manifest.text
        if text is None:
            return None
        file = self.file(spelling_file(text))
        if isinstance(text, AutoregressiveTextSchema) and text.text_tokens is not None:
            if own is not None:
                raise OptionError(
                    f"a lexicon was given, but voice '{self.manifest.name}' reads letters and no phones; "
                    "leave it out, and respell the words in the text"
                )
            return Tokens(file, text.text_tokens, text.end)
        lexicon = load_lexicon(file)
        if own is not None:
            lexicon.add(OwnWords(own, lexicon.phones, text.symbols))
        return Phones(lexicon, text.symbols, self.manifest.name)


def read_bundle(path: str | Path) -> Bundle:
    """Read a bundle and check its manifest, and that every file is there and of the right size.

    SHA-256 of a file is checked when it is opened, so that none waits for variants that it does not use;
    `Bundle.check` looks at all of them.
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
        _check_place(folder, name, facts)
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
        return from_dict(Manifest, data, "bundle")
    except ValueError as error:
        raise BundleError(f"{file}: {error}; {_AGAIN}") from error


def _check_place(folder: Path, name: str, facts: FileRecord) -> None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BundleError(
            f"{path} is a link to {path.resolve()}, expected a file inside the bundle; {_AGAIN}"
        )
    if not path.is_file():
        raise BundleError(f"{path} is missing, expected {facts.size} bytes; {_AGAIN}")
    if (size := path.stat().st_size) != facts.size:
        raise BundleError(f"{path} has {size} bytes, expected {facts.size}; {_AGAIN}")


def _check_file(folder: Path, name: str, facts: FileRecord) -> None:
    _check_place(folder, name, facts)
    path = folder / name
    try:
        if (found := FileRecord.of(path)) != facts:
            raise BundleError(f"{path} has SHA-256 {found.sha256}, expected {facts.sha256}; {_AGAIN}")
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}; make it readable") from error
