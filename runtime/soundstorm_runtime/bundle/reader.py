"""A bundle: the folder that a voice is exported to. Every file is checked before it is used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..engines.onnx.graph_limits import check_graph
from ..errors import BundleError, OptionError
from ..support.files import TEXT, check_file, parse_json, read_file, reason
from ..support.serde import from_dict
from ..text.lexicon_file import load_lexicon
from ..text.spelling import Phones, Spelling, Tokens
from ..text.user_lexicon import Pronunciations, UserLexicon
from .manifest import (
    DIGEST,
    FORMAT,
    VERSION,
    AutoregressiveTextSchema,
    FileRecord,
    Manifest,
    Precision,
    digest,
    spelling_file,
)
from .manifest_schema import ALIGNMENT_FILE, text_ids
from .precisions import Place
from .prompts import SUFFIX, Prompts
from .token_alignment import TokenAlignment, read_alignment

MANIFEST_FILE = "bundle.json"
ENGINES_FOLDER = "engines"  # see `engine_manifest`

_AGAIN = "export it again with soundstorm-export"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest is valid and whose files exist; each file is checked when it is opened.

    Attributes:
        path: Its folder.
        manifest: What its `bundle.json` says.
    """

    path: Path
    manifest: Manifest

    def file(self, name: str) -> Path:
        """Return the path of a file whose size and SHA-256 are those of the manifest.

        Raises:
            BundleError: The file differs from the manifest, or the manifest does not list it.
        """
        if name not in self.manifest.files:
            raise BundleError(f"{self.path / name} is not listed in {MANIFEST_FILE}; {_AGAIN}")
        _check_file(self.path, name, self.manifest.files[name])
        return self.path / name

    def check(self) -> None:
        """Check all files, also those that this machine would not open.

        Files that the manifest does not list are refused, since nothing says what they should be. Excepted
        are the voices that a user added (`prompts`), engines, which have a manifest of their own, and hidden
        files.

        Raises:
            BundleError: A file differs from the manifest, or is not listed in it.
        """
        for name in self.manifest.files:
            self.file(name)
        for path in sorted(self.path.rglob("*")):
            place = path.relative_to(self.path)
            folder = path.is_dir() and not path.is_symlink()
            if folder or any(part.startswith(".") for part in place.parts):
                continue
            added = place.parent.as_posix() == "prompts" and path.suffix == SUFFIX
            listed = place.as_posix() in {MANIFEST_FILE, *self.manifest.files}
            if not (listed or added or place.parts[0] == ENGINES_FOLDER):
                raise BundleError(f"{path} is not listed in {MANIFEST_FILE}; move it out of the bundle")

    def graph_file(self, name: str, precision: Precision = "fp32", *, place: Place | None = None) -> Path:
        """Return the ONNX file of a graph, checked together with its weights and for what it holds.

        Args:
            name: The graph.
            precision: One that the bundle has; a variant that lacks the graph has that of fp32.
            place: Where it will run: a form made for ONNX Runtime there is preferred. None for no such form.

        Raises:
            BundleError: A file differs from the manifest, or the graph exceeds `engines.onnx.graph_limits`.
        """
        manifest, graph = self.manifest, self.manifest.graphs[name]
        variant = manifest.variants.get(precision) if precision != "fp32" else None
        if variant is not None and name in variant.graphs:
            listed, named = variant.graphs[name], variant.weights.get(name)
        else:
            if graph.file is None:
                raise BundleError(
                    f"{self.path} was exported without fp32 of graph '{name}'; take another precision of "
                    f"{', '.join(manifest.variants)}, or export it again with fp32"
                )
            precision, listed, named = "fp32", graph.file, graph.weights
        form = manifest.own_form(precision, place)
        own = form.graphs.get(name) if form is not None else None
        file, weights = self.file(own or listed), None if named is None else self.file(named)
        branches = precision == "int8" or (own is not None and place == "cpu")  # these may have `If`
        try:
            check_graph(file, weights, branches=branches)
        except (ValueError, OSError) as error:
            raise BundleError(f"{file} is not a graph of a voice: {reason(error)}; {_AGAIN}") from error
        return file

    def prompts(self) -> Prompts:
        """Return the prompts of the named voices: those of the manifest, and those that a user added.

        The latter are the other files in the folder `prompts`, named after the file. They are checked when
        they are used, so that a bad one does not affect the others.

        Raises:
            BundleError: A prompt of the manifest is damaged or was made for another voice.
        """
        files = {name: self.file(file) for name, file in self.manifest.prompts.items()}
        for path in sorted((self.path / "prompts").glob(f"[!.]*{SUFFIX}")):
            files.setdefault(path.stem, path)
        prompts = Prompts(files, self.manifest)
        for name in self.manifest.prompts:
            prompts[name]
        return prompts

    def spelling(self, own: Pronunciations | None = None) -> Spelling | None:
        """Read how text becomes the ids of the text stage; return None for a voice without one.

        Args:
            own: Pronunciations of the user (see `text.user_lexicon`).

        Raises:
            BundleError: The lexicon or tokenizer is damaged.
            OptionError: The voice cannot speak one of the pronunciations.
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
            lexicon.add(UserLexicon(own, lexicon.phones, text.symbols))
        return Phones(lexicon, text.symbols, self.manifest.name)

    def alignment(self) -> TokenAlignment | None:
        """Read how semantic tokens are aligned with phones; return None where there is no such file.

        Raises:
            BundleError: The file is damaged.
        """
        text = self.manifest.text
        if not isinstance(text, AutoregressiveTextSchema) or not text.alignment:
            return None
        return read_alignment(self.file(ALIGNMENT_FILE), text_ids(text), self.manifest.semantic.vocabulary)


def read_bundle(path: str | Path) -> Bundle:
    """Read a bundle; check its manifest, and that every file exists and has the right size.

    The SHA-256 of a file is checked when it is opened, so that loading does not wait for variants that are
    not used; `Bundle.check` checks all files. Nothing in a bundle is executed or unpickled.

    Args:
        path: The folder.

    Raises:
        BundleError: The message names the file, what was expected, what was found and what to do.
    """
    folder = Path(path)
    file = folder / MANIFEST_FILE
    if not file.exists():
        raise BundleError(
            f"{folder} is not a bundle: expected a folder with {MANIFEST_FILE}, found "
            f"{'none in it' if folder.is_dir() else 'a file' if folder.exists() else 'nothing'}; "
            "give the folder that soundstorm-export wrote"
        )
    manifest = _read_manifest(file)
    for name, record in manifest.files.items():
        _check_place(folder, name, record)
    return Bundle(folder, manifest)


def _read_manifest(file: Path) -> Manifest:
    try:
        data = parse_json(read_file(file, TEXT, links=False))
    except (ValueError, OSError) as error:
        raise BundleError(
            f"{file} cannot be read as JSON ({reason(error)}): truncated or edited; {_AGAIN}"
        ) from error
    head = data if isinstance(data, dict) else {}
    if head.get("format") != FORMAT:
        raise BundleError(f"{file}: format is {head.get('format')!r}, expected {FORMAT!r}; {_AGAIN}")
    if head.get("version") != VERSION:
        raise BundleError(
            f"{file}: version is {head.get('version')!r}, this runtime reads {VERSION}; "
            f"install the soundstorm-edge that made it, or {_AGAIN}"
        )
    stated = head.pop(DIGEST, None)
    try:
        manifest = from_dict(Manifest, head, "bundle")
    except ValueError as error:
        raise BundleError(f"{file}: {error}; {_AGAIN}") from error
    if stated is not None and stated != (found := digest(head)):
        raise BundleError(f"{file} has the digest {found}, expected {stated}: it was edited; {_AGAIN}")
    return manifest


def _check_place(folder: Path, name: str, record: FileRecord) -> None:
    path = folder / name
    if path.is_symlink() or not path.resolve().is_relative_to(folder.resolve()):
        raise BundleError(
            f"{path} is a link to {path.resolve()}, expected a file inside the bundle; {_AGAIN}"
        )
    try:
        size = check_file(path).st_size
    except FileNotFoundError as error:
        raise BundleError(f"{path} is missing, expected {record.size} bytes; {_AGAIN}") from error
    except OSError as error:
        raise BundleError(f"{path} cannot be used: {reason(error)}; {_AGAIN}") from error
    if size != record.size:
        raise BundleError(f"{path} has {size} bytes, expected {record.size}; {_AGAIN}")


def _check_file(folder: Path, name: str, record: FileRecord) -> None:
    _check_place(folder, name, record)
    path = folder / name
    try:
        if (found := FileRecord.of(path)) != record:
            raise BundleError(f"{path} has SHA-256 {found.sha256}, expected {record.sha256}; {_AGAIN}")
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}; make it readable") from error
