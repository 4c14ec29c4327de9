"""The manifest of a bundle, `bundle.json`: written by the export, read on the device."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

from ..decoding.maskgit import DecodeOptions
from ..engines.example_feeds import FeedLimits
from ..engines.graphs import (
    AXES,
    Axis,
    CacheShape,
    Graph,
    Tensor,
    autoregressive_text_graphs,
    decoder_graph,
    decoder_stream_graph,
    encoder_graph,
    parallel_text_graphs,
    prefix_graph,
    quantizer_graph,
    spectral_decoder_graph,
    step_graph,
    step_next_graph,
    units_graph,
)
from ..support.serde import check_printable, to_dict
from .manifest_schema import (
    LEXICON_FILE,
    TOKENIZER_FILE,
    AudioSchema,
    AutoregressiveTextSchema,
    FileRecord,
    GraphSchema,
    ParallelTextSchema,
    ParityReport,
    Precision,
    PromptEncoderReport,
    SemanticSchema,
    SpeechReport,
    TextSchema,
    Variant,
    VariantSchema,
    spelling_file,
    text_files,
    text_ids,
)

__all__ = [
    "LEXICON_FILE",
    "TOKENIZER_FILE",
    "AudioSchema",
    "AutoregressiveTextSchema",
    "FileRecord",
    "GraphSchema",
    "Manifest",
    "ParallelTextSchema",
    "ParityReport",
    "Precision",
    "PromptEncoderReport",
    "SemanticSchema",
    "SpeechReport",
    "TextSchema",
    "Variant",
    "VariantSchema",
    "prompt_graphs",
    "spelling_file",
    "voice_graphs",
]

FORMAT = "soundstorm-bundle"
VERSION = 1
DIGEST = "digest"  # key of the manifest's own digest; a manifest of before there was one has none

_LONGER = 100  # times that an axis may be longer than in the table of graphs


def voice_graphs(
    audio: AudioSchema, semantic: SemanticSchema, text: TextSchema | None, cache: CacheShape | None = None
) -> dict[str, Graph]:
    """Return the graphs of a voice by name: step, decoder, and those that the other sections call for."""
    stage: tuple[Graph, ...] = ()
    if isinstance(text, ParallelTextSchema):
        stage = parallel_text_graphs(text.dim)
    elif text is not None:
        stage = autoregressive_text_graphs(text.layers, text.heads, text.dim_head, semantic.vocabulary)
    if audio.codec == "spectral":
        decoder = spectral_decoder_graph(audio.levels, audio.decoder_width, source=audio.source)
    else:
        decoder = decoder_graph(audio.levels)
    pieces = (decoder_stream_graph(audio.levels, audio.state),) if audio.state else ()
    prefix = () if cache is None else (prefix_graph(audio.levels, cache),)
    step = step_graph(audio.levels, cache, audio.latent)
    quantizer = () if audio.latent is None else (quantizer_graph(audio.levels, audio.latent),)
    speaking = (step, *quantizer, decoder, *stage, *pieces, *prefix)
    return {graph.name: graph for graph in speaking}


def prompt_graphs(audio: AudioSchema, semantic: SemanticSchema) -> dict[str, Graph]:
    """Return the graphs that make prompts of recordings, by name."""
    encoder = encoder_graph(audio.hop, audio.levels)
    return {graph.name: graph for graph in (encoder, units_graph(audio.sample_rate // semantic.rate))}


@dataclass(frozen=True)
class Manifest:
    """The contents of `bundle.json`.

    Attributes:
        format: Name of the format.
        version: Version of the format.
        producer: Program that wrote the bundle.
        name: Name of the voice.
        audio: The codec.
        semantic: The semantic tokens.
        decode: The voice's own decode options.
        text: The text stage; None where the voice takes semantic tokens only.
        axes: Limits of the symbolic axes.
        graphs: The graphs, and their files in fp32.
        files: Size and hash of every file.
        parity: How far each graph is from PyTorch.
        variants: The other precisions.
        prompts: File of each named voice (`soundstorm_runtime.bundle.prompts`).
        speaker: Name of the default voice, if any.
        fingerprint: Hash of the weights that define codes and semantic tokens; prompts carry it.
        hearing: The prompt encoder; None where the bundle makes no prompts of recordings.
        cpu: Graphs of fp32 with operators that only ONNX Runtime has, for CPUs; they use the weights of
            `graphs`.
        cuda: Graphs of fp16 with such operators, for ONNX Runtime on CUDA; they use the weights of the
            variant fp16.
        notice: Whose speech the voice was trained on, and under which licence.
        cache: Of a block-causal network, which has the graph `prefix`; None for others.

    Raises:
        ValueError: Values contradict each other.
    """

    format: Literal["soundstorm-bundle"]
    version: Literal[1]
    producer: str
    name: str
    audio: AudioSchema
    semantic: SemanticSchema
    decode: DecodeOptions
    text: TextSchema | None
    axes: dict[str, Axis]
    graphs: dict[str, GraphSchema]
    files: dict[str, FileRecord]
    parity: dict[str, ParityReport]
    variants: dict[Variant, VariantSchema] = field(default_factory=dict)
    prompts: dict[str, str] = field(default_factory=dict)
    speaker: str | None = None
    fingerprint: str = ""
    hearing: PromptEncoderReport | None = None
    cpu: VariantSchema | None = None
    cuda: VariantSchema | None = None
    notice: str = ""
    cache: CacheShape | None = None

    def __post_init__(self) -> None:
        if self.audio.sample_rate % (self.audio.hop * self.semantic.rate):
            raise ValueError(
                f"sample_rate {self.audio.sample_rate} with hop {self.audio.hop} and {self.semantic.rate} "
                "semantic tokens a second, expected a whole number of frames per token"
            )
        self.decode.check_levels(self.audio.levels)
        self._check_names()
        speaking = self.expected_graphs()
        expected = speaking | self.whole_step() | self.prompt_graphs()
        _check_keys("graphs", self.graphs, expected)
        _check_keys("parity", self.parity, expected)
        for name, graph in expected.items():
            _check_tensors(name, "inputs", self.graphs[name].inputs, graph.inputs)
            _check_tensors(name, "outputs", self.graphs[name].outputs, graph.outputs)
        _check_axes(self.axes, expected)
        for name in self.files:
            _check_inside(name)
        for name, variant in self.variants.items():
            if name not in get_args(Variant):
                raise ValueError(f"variants has {name!r}, expected {' or '.join(get_args(Variant))}")
            _check_variant(name, variant, speaking | self.whole_step())
        for form, own in (("cpu", self.cpu), ("cuda", self.cuda)):
            if own is not None:
                _check_variant(form, own, speaking)
        if self.cuda is not None and "fp16" not in self.variants:
            raise ValueError("cuda has graphs of fp16, expected the variant fp16 as well")
        if self.speaker is not None and self.speaker not in self.prompts:
            raise ValueError(f"speaker is {self.speaker!r}, expected one of prompts: {_listed(self.prompts)}")
        for name, schema in self.graphs.items():
            lacking = [other for other, variant in self.variants.items() if name not in variant.graphs]
            if schema.file is None and (lacking or not self.variants):
                raise ValueError(f"graph {name} has no file in {_listed(['fp32', *lacking])}, expected one")
        for file in self.named_files():
            if file not in self.files:
                raise ValueError(f"files has {_listed(self.files)}, expected also {file}")

    def _check_names(self) -> None:
        """Raise `ValueError` for a text that a terminal would not show as it is."""
        symbols = () if self.text is None else self.text.symbols
        for what, texts in (
            ("producer", [self.producer]), ("name", [self.name]), ("notice", [self.notice]),
            ("fingerprint", [self.fingerprint]), ("prompts", self.prompts), ("files", self.files),
            ("symbols", symbols),
        ):  # fmt: skip
            for text in texts:
                check_printable(what, text)

    def named_files(self) -> tuple[str, ...]:
        """Return the files that the other sections name."""
        others = (*self.variants.values(), *(own for own in (self.cpu, self.cuda) if own is not None))
        variants = (file for v in others for file in (*v.graphs.values(), *v.weights.values()))
        graphs = (file for g in self.graphs.values() for file in (g.file, g.weights) if file is not None)
        text = () if self.text is None else text_files(self.text)
        return (*text, *graphs, *variants, *self.prompts.values())

    @property
    def frames_per_token(self) -> int:
        """Codec frames of one semantic token."""
        return self.audio.sample_rate // (self.audio.hop * self.semantic.rate)

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The precisions that the bundle has."""
        if all(graph.file is not None for graph in self.graphs.values()):
            return ("fp32", *self.variants)
        return tuple(self.variants)

    def own_form(self, precision: Precision, place: str | None) -> VariantSchema | None:
        """Return the graphs of a precision that have operators of ONNX Runtime for a place, if any."""
        return {("fp32", "cpu"): self.cpu, ("fp16", "cuda"): self.cuda}.get((precision, place or ""))

    def expected_graphs(self) -> dict[str, Graph]:
        """Return the graphs that the voice speaks with, by name."""
        return voice_graphs(self.audio, self.semantic, self.text, self.cache)

    def whole_step(self) -> dict[str, Graph]:
        """Return the graph `step_next`, by its name, if the bundle has it: `step` for engines of TensorRT.

        It is exported with the first precision for GPUs; bundles for CPUs, and older ones, lack it.
        """
        return {"step_next": step_next_graph(self.audio.levels)} if "step_next" in self.graphs else {}

    def prompt_graphs(self) -> dict[str, Graph]:
        """Return the graphs that make prompts of recordings, by name, if the bundle has them."""
        return {} if self.hearing is None else prompt_graphs(self.audio, self.semantic)

    @property
    def feed_limits(self) -> FeedLimits:
        """Ranges of the values that the graphs take."""
        return FeedLimits(
            levels=self.audio.levels,
            codebook_size=self.audio.codebook_size,
            vocabulary=self.semantic.vocabulary,
            text_ids=0 if self.text is None else text_ids(self.text),
            temperature=self.decode.temperature,
        )

    def to_json(self) -> str:
        """Return the manifest as the text of `bundle.json`, with its own digest."""
        data = to_dict(self)
        return json.dumps({**data, DIGEST: digest(data)}, indent=2, allow_nan=False) + "\n"


def digest(data: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest's content, however it is laid out as JSON."""
    text = json.dumps({key: value for key, value in data.items() if key != DIGEST}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _check_keys(what: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    if found.keys() != expected.keys():
        raise ValueError(f"{what} has {_listed(found)}, expected {_listed(expected)}")


def _check_variant(name: str, variant: VariantSchema, graphs: Mapping[str, Graph]) -> None:
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
        if axis.max > _LONGER * AXES[name].max:
            raise ValueError(f"axis {name} goes to {axis.max}, expected at most {_LONGER * AXES[name].max}")


def _check_inside(name: str) -> None:
    path = PurePosixPath(name)
    if not name or "\\" in name or ":" in name or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"files has the path {name!r}, expected one inside the bundle")
