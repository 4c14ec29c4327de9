"""The manifest of a bundle, `bundle.json`: what a voice is, written by the export and read on the device."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from .decode import DecodeOptions
from .graphs import (
    AXES,
    Axis,
    Graph,
    Tensor,
    autoregressive_text_graphs,
    decoder_graph,
    parallel_text_graphs,
    spectral_decoder_graph,
    step_graph,
)
from .plain import check_positive, to_plain

FORMAT = "soundstorm-bundle"
VERSION = 1
LEXICON_FILE = "lexicon.txt.gz"

Variant = Literal["int8", "fp16"]
Precision = Literal["fp32", "int8", "fp16"]


@dataclass(frozen=True)
class AudioFacts:
    """The codec: samples per second, samples per frame, RVQ levels, codes per level.

    window: samples of the spectral codec's inverse STFT, a multiple of `hop`; 0 for SoundStream.
    groups: of the codec's quantizers, each with its share of the levels (`decode.level_order`).
    """

    codec: Literal["spectral", "soundstream"]
    sample_rate: int
    hop: int
    window: int
    levels: int
    codebook_size: int
    groups: int = 1

    def __post_init__(self) -> None:
        check_positive(self, "sample_rate", "hop", "levels", "codebook_size", "groups")
        if self.levels % self.groups:
            raise ValueError(f"levels is {self.levels}, expected a multiple of groups {self.groups}")
        spectral = self.codec == "spectral"
        if spectral != (self.window >= 2 * self.hop and self.window % self.hop == 0):
            expected = f"a multiple of hop {self.hop}, twice it or more" if spectral else "0"
            raise ValueError(f"window is {self.window}, expected {expected} for codec {self.codec!r}")


@dataclass(frozen=True)
class SemanticFacts:
    """Semantic tokens: how many there are, and how many a second has."""

    vocabulary: int
    rate: int

    def __post_init__(self) -> None:
        check_positive(self, "vocabulary", "rate")


@dataclass(frozen=True)
class ParallelTextFacts:
    """The text stage with durations; a phone's id is its place in `symbols`."""

    kind: Literal["parallel"]
    symbols: tuple[str, ...]
    dim: int

    def __post_init__(self) -> None:
        check_positive(self, "dim")
        _check_symbols(self.symbols)


@dataclass(frozen=True)
class AutoregressiveTextFacts:
    """The text stage with a key/value cache; a phone's id is its place in `symbols`."""

    kind: Literal["autoregressive"]
    symbols: tuple[str, ...]
    layers: int
    heads: int
    dim_head: int

    def __post_init__(self) -> None:
        check_positive(self, "layers", "heads", "dim_head")
        _check_symbols(self.symbols)


TextFacts = ParallelTextFacts | AutoregressiveTextFacts


@dataclass(frozen=True)
class GraphFacts:
    """One graph: its ONNX file, and its inputs and outputs as the table of graphs has them."""

    file: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class FileFacts:
    """What a file must be: lower-case hexadecimal SHA-256, and size in bytes."""

    sha256: str
    size: int

    @classmethod
    def of(cls, path: Path) -> FileFacts:
        """Measure a file."""
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return cls(digest.hexdigest(), path.stat().st_size)


@dataclass(frozen=True)
class ParityFacts:
    """How far a graph is from PyTorch, over `cases`, each the lengths of the symbolic axes.

    agreement: share of the integers (sampled codes, chosen tokens) that are equal; 1 where there are none.
    """

    cases: tuple[dict[str, int], ...]
    largest_error: float
    mean_error: float
    tolerance: float
    agreement: float


@dataclass(frozen=True)
class SpeechFacts:
    """What a variant does to speech, beside fp32 with the same seeds, over so many sentences.

    spectral_distance: mean over frames of the root mean square difference of log-mel spectra, in dB.
    word_error_rate, word_error_rate_fp32: in percent; None where no recogniser was installed.
    """

    sentences: int
    spectral_distance: float
    word_error_rate: float | None = None
    word_error_rate_fp32: float | None = None


@dataclass(frozen=True)
class VariantFacts:
    """The graphs of another precision: an ONNX file and a parity report for each.

    Inputs and outputs are those of fp32. A graph that the variant lacks is taken from there, too.
    """

    graphs: dict[str, str]
    parity: dict[str, ParityFacts]
    speech: SpeechFacts | None = None


def voice_graphs(audio: AudioFacts, semantic: SemanticFacts, text: TextFacts | None) -> dict[str, Graph]:
    """Return the graphs of a voice by name: step, decoder, and those of its text stage if it has one."""
    stage: tuple[Graph, ...] = ()
    if isinstance(text, ParallelTextFacts):
        stage = parallel_text_graphs(text.dim)
    elif text is not None:
        stage = autoregressive_text_graphs(text.layers, text.heads, text.dim_head, semantic.vocabulary)
    if audio.codec == "spectral":
        decoder = spectral_decoder_graph(audio.levels, audio.window // 2 + 1)
    else:
        decoder = decoder_graph(audio.levels)
    return {graph.name: graph for graph in (step_graph(audio.levels), decoder, *stage)}


@dataclass(frozen=True)
class Manifest:
    """What `bundle.json` says. Raises `ValueError` for facts that contradict each other.

    text: None where the voice takes semantic tokens alone.
    prompts: the file of each named voice (`soundstorm_runtime.prompts`).
    speaker: the one that speaks where none is asked for, if any.
    """

    format: Literal["soundstorm-bundle"]
    version: Literal[1]
    producer: str
    name: str
    audio: AudioFacts
    semantic: SemanticFacts
    decode: DecodeOptions
    text: TextFacts | None
    axes: dict[str, Axis]
    graphs: dict[str, GraphFacts]
    files: dict[str, FileFacts]
    parity: dict[str, ParityFacts]
    variants: dict[Variant, VariantFacts] = field(default_factory=dict)
    prompts: dict[str, str] = field(default_factory=dict)
    speaker: str | None = None

    def __post_init__(self) -> None:
        if self.audio.sample_rate % (self.audio.hop * self.semantic.rate):
            raise ValueError(
                f"sample_rate {self.audio.sample_rate} with hop {self.audio.hop} and {self.semantic.rate} "
                "semantic tokens a second, expected a whole number of frames per token"
            )
        self.decode.check_levels(self.audio.levels)
        expected = self.expected_graphs()
        _check_keys("graphs", self.graphs, expected)
        _check_keys("parity", self.parity, expected)
        for name, graph in expected.items():
            _check_tensors(name, "inputs", self.graphs[name].inputs, graph.inputs)
            _check_tensors(name, "outputs", self.graphs[name].outputs, graph.outputs)
        _check_axes(self.axes, expected)
        for name in self.files:
            _check_inside(name)
        for name, variant in self.variants.items():
            _check_variant(name, variant, expected)
        if self.speaker is not None and self.speaker not in self.prompts:
            raise ValueError(f"speaker is {self.speaker!r}, expected one of prompts: {_listed(self.prompts)}")
        for file in self._named_files():
            if file not in self.files:
                raise ValueError(f"files has {_listed(self.files)}, expected also {file}")

    def _named_files(self) -> tuple[str, ...]:
        variants = (file for variant in self.variants.values() for file in variant.graphs.values())
        graphs = (graph.file for graph in self.graphs.values())
        lexicon = () if self.text is None else (LEXICON_FILE,)
        return (*lexicon, *graphs, *variants, *self.prompts.values())

    @property
    def frames_per_token(self) -> int:
        """Codec frames that one semantic token lasts."""
        return self.audio.sample_rate // (self.audio.hop * self.semantic.rate)

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Those that the bundle has."""
        return ("fp32", *self.variants)

    def expected_graphs(self) -> dict[str, Graph]:
        """Return the graphs that a voice of these facts has, by name."""
        return voice_graphs(self.audio, self.semantic, self.text)

    def to_json(self) -> str:
        """Write the manifest as the text of `bundle.json`."""
        return json.dumps(to_plain(self), indent=2, allow_nan=False) + "\n"


def _check_symbols(symbols: tuple[str, ...]) -> None:
    if not symbols or len(set(symbols)) != len(symbols):
        raise ValueError(f"symbols has {len(symbols)} phones, expected one or more, each once")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _check_keys(what: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    if found.keys() != expected.keys():
        raise ValueError(f"{what} has {_listed(found)}, expected {_listed(expected)}")


def _check_variant(name: str, variant: VariantFacts, graphs: Mapping[str, Graph]) -> None:
    if name not in get_args(Variant):
        raise ValueError(f"variants has {name!r}, expected {' or '.join(get_args(Variant))}")
    if not variant.graphs or not variant.graphs.keys() <= graphs.keys():
        raise ValueError(
            f"variant {name} has the graphs {_listed(variant.graphs)}, expected some of {_listed(graphs)}"
        )
    _check_keys(f"parity of variant {name}", variant.parity, variant.graphs)


def _check_tensors(name: str, kind: str, found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    def shown(tensors: tuple[Tensor, ...]) -> str:
        return ", ".join(f"{t.name} {t.dtype} {list(t.axes)}" for t in tensors)

    if found != expected:
        raise ValueError(f"graph {name} has the {kind} {shown(found)}; expected {shown(expected)}")


def _check_axes(axes: Mapping[str, Axis], graphs: Mapping[str, Graph]) -> None:
    tensors = [tensor for graph in graphs.values() for tensor in graph.inputs + graph.outputs]
    needed = {axis: None for tensor in tensors for axis in tensor.axes if isinstance(axis, str)}
    if not needed.keys() <= axes.keys() <= AXES.keys():
        raise ValueError(f"axes has {_listed(axes)}, expected {_listed(needed)}")
    for name, axis in axes.items():
        if not 0 <= axis.min <= axis.opt <= axis.max or axis.max < 1:
            raise ValueError(
                f"axis {name} is {axis.min}, {axis.opt}, {axis.max}, expected 0 <= min <= opt <= max"
            )


def _check_inside(name: str) -> None:
    path = PurePosixPath(name)
    if not name or "\\" in name or ":" in name or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"files has the path {name!r}, expected one inside the bundle")
