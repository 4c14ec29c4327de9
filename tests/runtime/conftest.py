"""A tiny real bundle, made by hand with `onnx.helper` and NumPy: no PyTorch, no training."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, save

from soundstorm_runtime.bundle.manifest import (
    FORMAT,
    LEXICON_FILE,
    TOKENIZER_FILE,
    VERSION,
    AudioSchema,
    AutoregressiveTextSchema,
    FileRecord,
    GraphSchema,
    Manifest,
    ParallelTextSchema,
    ParityReport,
    PromptEncoderReport,
    SemanticSchema,
    TextSchema,
    Variant,
    VariantSchema,
    prompt_graphs,
    voice_graphs,
)
from soundstorm_runtime.bundle.manifest_schema import ALIGNMENT_FILE
from soundstorm_runtime.bundle.prompts import Prompt, write_prompt
from soundstorm_runtime.bundle.reader import MANIFEST_FILE
from soundstorm_runtime.bundle.token_alignment import TokenAlignment, write_alignment
from soundstorm_runtime.decoding.maskgit import DecodeOptions
from soundstorm_runtime.engines.graphs import AXES, Graph, step_next_graph
from soundstorm_runtime.text.flite_lexicon import FliteLexicon
from soundstorm_runtime.text.letter_to_sound import LetterToSound

LEVELS, CODES, HOP, WINDOW, VOCABULARY, DIM = 3, 8, 16, 64, 10, 4
FINGERPRINT = "0123456789abcdef"
CONSONANTS = "b ch d dh f g hh jh k l m n ng p r s sh t th v w y z zh"
VOWELS = "aa ae ah ao aw ax ay eh er ey ih iy ow oy uh uw"
SYMBOLS = ("pau", *VOWELS.split(), *CONSONANTS.split())

Nodes = list[tuple[str, list[str], str, dict[str, Any]]]


def _model(graph: Graph, nodes: Nodes, constants: dict[str, np.ndarray]) -> ModelProto:
    types = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT}

    def info(tensor: Any) -> Any:
        return helper.make_tensor_value_info(tensor.name, types[tensor.dtype], tensor.axes)

    return helper.make_model(
        helper.make_graph(
            [helper.make_node(op, inputs, [output], **options) for op, inputs, output, options in nodes],
            graph.name,
            [info(tensor) for tensor in graph.inputs],
            [info(tensor) for tensor in graph.outputs],
            [numpy_helper.from_array(array, name) for name, array in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )


def _floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def step_model(graph: Graph, scale: float = 3.0) -> ModelProto:
    """Logits from the semantic token, the level and all codes of a frame; sampling inside."""
    nodes: Nodes = [
        ("Gather", ["of_token", "semantic_tokens"], "a", {}),
        ("Gather", ["of_level", "level"], "b", {}),
        ("Gather", ["of_code", "codes"], "each", {}),
        ("ReduceSum", ["each", "two"], "c", {"keepdims": 0}),
        ("Sum", ["a", "b", "c"], "logits", {}),
        ("Div", ["logits", "temperature"], "scaled", {}),
        ("Softmax", ["scaled"], "p", {"axis": -1}),
        ("CumSum", ["p", "axis"], "cumulative", {}),
        ("Unsqueeze", ["uniform", "last"], "u", {}),
        ("Less", ["cumulative", "u"], "below", {}),
        ("Cast", ["below"], "counts", {"to": TensorProto.INT64}),
        ("ReduceSum", ["counts", "last"], "sum", {"keepdims": 1}),
        ("Min", ["sum", "largest"], "index", {}),
        ("GatherElements", ["p", "index"], "chance", {"axis": -1}),
        ("Squeeze", ["index", "last"], "ids", {}),
        ("Squeeze", ["chance", "last"], "confidence", {}),
    ]
    constants = {
        "of_token": np.float32(scale) * _floats(VOCABULARY, CODES),
        "of_level": _floats(LEVELS, CODES),
        "of_code": _floats(CODES + 1, CODES),
        "axis": np.array(2, np.int64),
        "two": _ints(2),
        "last": _ints(-1),
        "largest": _ints(CODES - 1),
    }
    return _model(graph, nodes, constants)


def step_next_model(graph: Graph) -> ModelProto:
    """Codes that depend on all that changes from step to step; other ones than `step_model` samples."""
    nodes: Nodes = [
        ("Mul", ["uniform", "temperature"], "a", {}),
        ("Add", ["a", "noise"], "b", {}),
        ("Mul", ["b", "ten"], "c", {}),
        ("Cast", ["c"], "d", {"to": TensorProto.INT64}),
        ("Add", ["d", "level"], "e", {}),
        ("Add", ["e", "noisy"], "f", {}),
        ("Unsqueeze", ["stay", "last"], "g", {}),
        ("Add", ["f", "g"], "h", {}),
        ("Unsqueeze", ["h", "last"], "i", {}),
        ("Add", ["codes", "i"], "j", {}),
        ("Mod", ["j", "count"], "next_codes", {}),
    ]
    return _model(graph, nodes, {"ten": np.float32([10]), "last": _ints(-1), "count": _ints(CODES)})


def decoder_model(graph: Graph) -> ModelProto:
    """A short wave for each code of each level, summed and joined."""
    nodes: Nodes = [
        ("Gather", ["waves", "codes"], "each", {}),
        ("ReduceSum", ["each", "two"], "summed", {"keepdims": 0}),
        ("Reshape", ["summed", "shape"], "audio", {}),
    ]
    return _model(graph, nodes, {"waves": _floats(CODES, HOP), "two": _ints(2), "shape": _ints(0, -1)})


def decoder_stream_model(graph: Graph) -> ModelProto:
    """The same for codes in pieces; its state counts the pieces, and is not audible."""
    nodes: Nodes = [
        ("Gather", ["waves", "codes"], "each", {}),
        ("ReduceSum", ["each", "two"], "summed", {"keepdims": 0}),
        ("Reshape", ["summed", "shape"], "audio", {}),
        ("Shape", ["codes"], "sizes", {}),
        ("Gather", ["sizes", "one"], "frames", {}),
        ("Add", ["past_frames", "frames"], "next_past_frames", {}),
        ("Add", ["state_0", "once"], "next_state_0", {}),
    ]
    constants = {
        "waves": _floats(CODES, HOP),
        "two": _ints(2),
        "shape": _ints(0, -1),
        "one": _ints(1),
        "once": np.ones(1, np.float32),
    }
    return _model(graph, nodes, constants)


def spectral_decoder_model(graph: Graph) -> ModelProto:
    """A spectrum for each code of each level, summed."""
    nodes: Nodes = [
        ("Gather", ["spectra", "codes"], "each", {}),
        ("ReduceSum", ["each", "two"], "spectrum", {"keepdims": 0}),
    ]
    return _model(graph, nodes, {"spectra": _floats(CODES, WINDOW + 2), "two": _ints(2)})


def parallel_models(encoder: Graph, decoder: Graph) -> list[ModelProto]:
    """Durations from a table; a token is the place of its phone and a third of it, wrapped around."""
    encode: Nodes = [
        ("Gather", ["of_phone", "phones"], "hidden", {}),
        ("Gather", ["duration", "phones"], "durations", {}),
    ]
    tables = {
        "of_phone": _floats(len(SYMBOLS), DIM),
        "duration": np.linspace(0.4, 4.0, len(SYMBOLS), dtype=np.float32),
    }
    decode: Nodes = [
        ("Mul", ["progress", "three"], "thirds", {}),
        ("Cast", ["thirds"], "part", {"to": TensorProto.INT64}),
        ("Add", ["phone_index", "part"], "sum", {}),
        ("Mod", ["sum", "vocabulary"], "semantic_tokens", {}),
    ]
    constants = {"three": np.array(3, np.float32), "vocabulary": _ints(VOCABULARY)}
    return [_model(encoder, encode, tables), _model(decoder, decode, constants)]


def autoregressive_models(encoder: Graph, step: Graph) -> list[ModelProto]:
    """Counts up in its cache, and ends after two tokens for each phone."""
    encode: Nodes = [
        ("Gather", ["of_phone", "phones"], "state", {}),
        ("Unsqueeze", ["state", "axes_"], "cross_keys", {}),
        ("Neg", ["cross_keys"], "cross_values", {}),
    ]
    tables = {"of_phone": _floats(len(SYMBOLS), DIM), "axes_": _ints(0, 2)}
    advance: Nodes = [
        ("Gather", ["of_token", "token"], "state", {}),
        ("Unsqueeze", ["state", "axes_"], "new", {}),
        ("Concat", ["keys", "new"], "next_keys", {"axis": 3}),
        ("Concat", ["values", "new"], "next_values", {"axis": 3}),
        ("Shape", ["keys"], "shape", {}),
        ("Gather", ["shape", "place"], "made", {}),
        ("Add", ["lengths", "lengths"], "twice", {}),
        ("Less", ["made", "twice"], "goes_on", {}),
        ("Mod", ["made", "vocabulary"], "next", {}),
        ("Where", ["goes_on", "next", "vocabulary"], "chosen", {}),
        ("OneHot", ["chosen", "classes", "low_high"], "logits", {"axis": -1}),
    ]
    constants = {
        "of_token": _floats(VOCABULARY + 1, DIM),
        "axes_": _ints(0, 2, 3),
        "place": _ints(3),
        "vocabulary": _ints(VOCABULARY),
        "classes": _ints(VOCABULARY + 1),
        "low_high": np.array([0, 20], np.float32),
    }
    return [_model(encoder, encode, tables), _model(step, advance, constants)]


def hearing_models(encoder: Graph, units: Graph) -> list[ModelProto]:
    """Codes, all levels alike, and tokens that tell how loud the loudest sample of a frame is."""

    def loudness(keepdims: int) -> Nodes:
        return [
            ("Abs", ["audio"], "size", {}),
            ("ReduceMax", ["size", "last"], "peak", {"keepdims": keepdims}),
            ("Mul", ["peak", "steps"], "scaled", {}),
            ("Cast", ["scaled"], "whole", {"to": TensorProto.INT64}),
            ("Mod", ["whole", "count"], "semantic_tokens" if not keepdims else "code", {}),
        ]

    shared = {"last": _ints(-1), "steps": np.array(40, np.float32)}
    encode = [*loudness(1), ("Concat", ["code"] * LEVELS, "codes", {"axis": -1})]
    return [
        _model(encoder, encode, {**shared, "count": _ints(CODES)}),
        _model(units, loudness(0), {**shared, "count": _ints(VOCABULARY)}),
    ]


def tiny_lexicon() -> FliteLexicon:
    """One phone for each letter, whatever stands beside it."""
    sounds = "ae b k d eh f g hh ih jh k l m n aa p k r s t ah v w s y z"
    sound_of = dict(zip(string.ascii_lowercase, sounds.split(), strict=True))
    ends = {"", *string.ascii_lowercase, "th", "rst", "nd", "ng", "st", "rk"}
    return FliteLexicon(sound_of, {}, LetterToSound(sound_of), onsets=ends, codas=ends)


def tiny_tokenizer() -> str:
    """A tokenizer of the library `tokenizers` with a token for each letter."""
    tokenizers = pytest.importorskip("tokenizers")
    ids = {"[unknown]": 0} | {letter: place for place, letter in enumerate(string.ascii_lowercase, 1)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="[unknown]"))
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    return str(tokenizer.to_str())


def tiny_prompt(tokens: int) -> Prompt:
    """A prompt of so many semantic tokens, two frames each."""
    rng = np.random.default_rng(tokens)
    return Prompt(rng.integers(CODES, size=(2 * tokens, LEVELS)), rng.integers(VOCABULARY, size=tokens))


def _make_bundle(
    folder: Path,
    kind: str = "parallel",
    options: DecodeOptions | None = None,
    voices: Mapping[str, int] | None = None,
    variants: Sequence[Variant] = (),
    hears: bool = False,
    codec: Literal["soundstream", "spectral"] | None = None,
    streams: bool = False,
    tokenizer: bool = False,
    whole_step: bool = False,
    alignment: bool = False,
) -> Path:
    codec = codec or ("soundstream" if kind == "parallel" else "spectral")
    if codec == "soundstream":
        audio = AudioSchema(codec, 800, HOP, 0, LEVELS, CODES, state=((3,),) if streams else ())
    else:
        reach = (1, 1) if streams else (None, None)
        audio = AudioSchema(codec, 800, HOP, WINDOW, LEVELS, CODES, context=reach[0], lookahead=reach[1])
    semantic = SemanticSchema(VOCABULARY, 25)
    text: TextSchema = ParallelTextSchema("parallel", SYMBOLS, DIM)
    text_models = parallel_models
    if kind == "autoregressive":
        text = AutoregressiveTextSchema("autoregressive", SYMBOLS, 1, 1, DIM, alignment=alignment)
        if tokenizer:
            text = AutoregressiveTextSchema("autoregressive", (), 1, 1, DIM, text_tokens=len(SYMBOLS))
        text_models = autoregressive_models
    graphs = voice_graphs(audio, semantic, text)
    step, decoder, first, second, *pieces = graphs.values()
    codec_model = spectral_decoder_model if audio.codec == "spectral" else decoder_model
    models = [step_model(step), codec_model(decoder), *text_models(first, second)]
    models += [decoder_stream_model(graph) for graph in pieces]
    if hears:
        hearing = prompt_graphs(audio, semantic)
        graphs, models = graphs | hearing, [*models, *hearing_models(*hearing.values())]
    if whole_step:
        whole = step_next_graph(LEVELS)
        graphs, models = graphs | {"step_next": whole}, [*models, step_next_model(whole)]
    folder.mkdir()
    for name, model in zip(graphs, models, strict=True):
        save(model, folder / f"{name}.onnx")
    for variant in variants:  # other weights, so that one hears which of them is used
        (folder / variant).mkdir()
        save(step_model(step, scale=1.0), folder / variant / "step.onnx")
    if tokenizer:
        (folder / TOKENIZER_FILE).write_text(tiny_tokenizer(), encoding="utf-8")
    else:
        tiny_lexicon().save(folder / LEXICON_FILE)
    if alignment:  # the same for all tokens
        write_alignment(folder / ALIGNMENT_FILE, TokenAlignment(np.zeros((len(SYMBOLS), VOCABULARY))))
    prompts = {name: f"prompts/{name}.npz" for name in voices or {}}
    for name, file in prompts.items():
        prompt = tiny_prompt((voices or {})[name])
        write_prompt(folder / file, replace(prompt, fingerprint=FINGERPRINT if hears else ""))
    parity = ParityReport(({"batch": 1, "frames": 7},), 1e-6, 1e-7, 1e-4, 1.0)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    manifest = Manifest(
        format=FORMAT,
        version=VERSION,
        producer="by hand",
        name="tiny",
        audio=audio,
        semantic=semantic,
        decode=options or DecodeOptions((4, 2, 1)),
        text=text,
        axes=dict(AXES),
        graphs={n: GraphSchema(f"{n}.onnx", g.inputs, g.outputs) for n, g in graphs.items()},
        files={file.relative_to(folder).as_posix(): FileRecord.of(file) for file in files},
        parity={name: parity for name in graphs},
        variants={v: VariantSchema({"step": f"{v}/step.onnx"}, {"step": parity}) for v in variants},
        prompts=prompts,
        speaker=next(iter(prompts), None),
        fingerprint=FINGERPRINT if hears else "",
        hearing=PromptEncoderReport(-20.0, 20.0, 1.0, 1.0, 0.0) if hears else None,
        notice="Trained on nobody's speech.",
    )
    (folder / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    return folder


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Path]:
    """Make a bundle, in a folder of its own in each test.

    `make_bundle("parallel")` has a SoundStream decoder, `make_bundle("autoregressive")` a spectral one.
    `voices={"slt": 6}` gives it a named voice with a prompt of 6 tokens, `variants=["int8"]` another step,
    `hears=True` the graphs that make prompts, `codec` another codec, `streams=True` one that is decoded in
    pieces, `tokenizer=True` an autoregressive text stage that reads the tokens of a tokenizer,
    `whole_step=True` the graph `step_next`, which samples other codes than `step`, `alignment=True` the file
    from which an autoregressive text stage has word times.
    """
    return lambda kind="parallel", **options: _make_bundle(tmp_path / kind, kind, **options)
