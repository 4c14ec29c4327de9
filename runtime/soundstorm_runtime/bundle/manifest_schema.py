"""The sections of a manifest: schemas of the voice and its files, and reports of the export's checks."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..engines.graphs import Tensor
from ..support.files import open_file
from ..support.serde import check_positive

LEXICON_FILE = "lexicon.txt.gz"
ALIGNMENT_FILE = "alignment.npz"
TOKENIZER_FILE = "tokenizer.json"

LONGEST_WINDOW = 1 << 16  # samples
LARGEST_STATE = 1 << 24  # numbers of one tensor
LARGEST_FILE = 4 << 30  # bytes, which take some seconds to compare with their hash

Variant = Literal["int8", "fp16", "bf16", "int8-qdq", "fp8-qdq"]
Precision = Literal["fp32", Variant]


@dataclass(frozen=True)
class AudioSchema:
    """The codec.

    Attributes:
        codec: Its kind.
        sample_rate: Samples a second.
        hop: Samples of a frame.
        window: Samples of the window of the spectral codec's inverse STFT; 0 for SoundStream.
        levels: Levels of residual vector quantization, of all groups.
        codebook_size: Codes of a level.
        groups: Groups of quantizers, each with its share of the levels (`maskgit.level_order`).
        context: Frames before a frame that its spectrum depends on; None for SoundStream, and where unknown.
        lookahead: Frames after a frame that its spectrum depends on; None for SoundStream, and where unknown.
        state: Shapes of the state of SoundStream's decoder; empty where it cannot decode in pieces.
        transforms: Inverse transforms of a frame, `hop // transforms` samples from one to the next.
        source: Whether the decoder predicts filters of pulses and noise in place of spectra:
            `soundstorm_runtime.audio.harmonic_source`.
        latent: Width of the codebooks' vectors, where the voice decodes by expectation (the option `expected`
            of `DecodeOptions`); None for other voices.
    """

    codec: Literal["spectral", "soundstream"]
    sample_rate: int
    hop: int
    window: int
    levels: int
    codebook_size: int
    groups: int = 1
    context: int | None = None
    lookahead: int | None = None
    state: tuple[tuple[int, ...], ...] = ()
    transforms: int = 1
    source: bool = False
    latent: int | None = None

    def __post_init__(self) -> None:
        check_positive(self, "sample_rate", "hop", "levels", "codebook_size", "groups", "transforms")
        if self.window > LONGEST_WINDOW:
            raise ValueError(f"window is {self.window}, expected at most {LONGEST_WINDOW}")
        if max((math.prod(shape) for shape in self.state), default=0) > LARGEST_STATE:
            raise ValueError(f"state is {self.state}, expected at most {LARGEST_STATE} numbers each")
        if self.levels % self.groups:
            raise ValueError(f"levels is {self.levels}, expected a multiple of groups {self.groups}")
        spectral = self.codec == "spectral"
        if self.hop % self.transforms or (self.transforms > 1 and not spectral):
            expected = f"a divisor of hop {self.hop}" if spectral else "1"
            raise ValueError(f"transforms is {self.transforms}, expected {expected} for codec {self.codec!r}")
        if spectral != (self.window >= 2 * self.stft_hop and self.window % self.stft_hop == 0):
            expected = f"a multiple of hop {self.stft_hop}, twice it or more" if spectral else "0"
            raise ValueError(f"window is {self.window}, expected {expected} for codec {self.codec!r}")
        if self.latent is not None and self.latent < 1:
            raise ValueError(f"latent is {self.latent}, expected 1 or more, or null")
        if self.source and not spectral:
            raise ValueError("source is true, expected false for codec 'soundstream'")
        reach = [part for part in (self.context, self.lookahead) if part is not None]
        if reach and not (spectral and len(reach) == 2 and min(reach) >= 0):
            raise ValueError(
                f"context is {self.context} and lookahead {self.lookahead}, expected two numbers of 0 or "
                "more for codec 'spectral', or neither"
            )
        if self.state and (spectral or min(length for shape in self.state for length in shape) < 1):
            raise ValueError(f"state is {self.state}, expected lengths of 1 or more for codec 'soundstream'")

    @property
    def stft_hop(self) -> int:
        """Samples from one inverse STFT to the next."""
        return self.hop // self.transforms

    @property
    def decoder_width(self) -> int:
        """Numbers that the spectral codec's decoder predicts for a frame."""
        return self.transforms * (2 * (self.window // 2 + 1) + 2 * self.source)


@dataclass(frozen=True)
class SemanticSchema:
    """Semantic tokens: their number, how many there are in a second, and what makes them of audio."""

    vocabulary: int
    rate: int
    units: Literal["spectral", "phonetic", "hubert", "unknown"] = "unknown"

    def __post_init__(self) -> None:
        check_positive(self, "vocabulary", "rate")


@dataclass(frozen=True)
class ParallelTextSchema:
    """The parallel text stage, which has durations.

    Attributes:
        kind: Its kind.
        symbols: The phones; the id of a phone is its place among them.
        dim: Width of the hidden states.
    """

    kind: Literal["parallel"]
    symbols: tuple[str, ...]
    dim: int

    def __post_init__(self) -> None:
        check_positive(self, "dim")
        _check_symbols(self.symbols)


@dataclass(frozen=True)
class AutoregressiveTextSchema:
    """The autoregressive text stage, which has a key/value cache.

    Attributes:
        kind: Its kind.
        symbols: The phones; the id of a phone is its place among them.
        layers: Layers of the decoder.
        heads: Attention heads of a layer.
        dim_head: Width of a head.
        text_tokens: Number of ids that the stage reads, where a tokenizer makes them instead of phones.
        end: The id that follows the last one of a sentence, if any.
        alignment: Whether the bundle has the file from which the times of words are found
            (`bundle.token_alignment`).
    """

    kind: Literal["autoregressive"]
    symbols: tuple[str, ...]
    layers: int
    heads: int
    dim_head: int
    text_tokens: int | None = None
    end: int | None = None
    alignment: bool = False

    def __post_init__(self) -> None:
        check_positive(self, "layers", "heads", "dim_head")
        if self.text_tokens is None:
            _check_symbols(self.symbols)
        elif self.symbols or self.text_tokens < 1:
            raise ValueError(
                f"text_tokens is {self.text_tokens} and symbols has {len(self.symbols)} phones, "
                "expected one or the other"
            )
        if self.alignment and not self.symbols:
            raise ValueError("alignment is true, expected false for a stage that reads no phones")


TextSchema = ParallelTextSchema | AutoregressiveTextSchema


def spelling_file(text: TextSchema) -> str:
    """Return the name of the file that maps text to the ids of the text stage."""
    return LEXICON_FILE if text.symbols else TOKENIZER_FILE


def text_files(text: TextSchema) -> tuple[str, ...]:
    """Return the names of the files beside the graphs of the text stage."""
    aligned = isinstance(text, AutoregressiveTextSchema) and text.alignment
    return (spelling_file(text), *([ALIGNMENT_FILE] if aligned else []))


def text_ids(text: TextSchema) -> int:
    """Return how many ids the text stage reads."""
    if isinstance(text, AutoregressiveTextSchema) and text.text_tokens is not None:
        return text.text_tokens
    return len(text.symbols)


@dataclass(frozen=True)
class GraphSchema:
    """One graph.

    Attributes:
        file: Its ONNX file in fp32; None where the bundle has the graph in other precisions only.
        inputs: Its inputs, as in the table of graphs.
        outputs: Its outputs, as in the table of graphs.
        weights: The file with its weights, where they are not in `file`.
    """

    file: str | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    weights: str | None = None


@dataclass(frozen=True)
class FileRecord:
    """Lower-case hexadecimal SHA-256 and size in bytes of a file."""

    sha256: str
    size: int

    def __post_init__(self) -> None:
        if not 0 <= self.size <= LARGEST_FILE:
            raise ValueError(f"size is {self.size}, expected 0 to {LARGEST_FILE}")

    @classmethod
    def of(cls, path: Path) -> FileRecord:
        """Return the record of a file."""
        digest, size = hashlib.sha256(), 0
        with open_file(path) as file:
            while block := file.read(1 << 20):
                digest.update(block)
                size += len(block)
        return cls(digest.hexdigest(), size)


@dataclass(frozen=True)
class ParityReport:
    """How far the outputs of a graph are from those of PyTorch.

    Attributes:
        cases: Lengths of the symbolic axes in each comparison.
        largest_error: Largest error of the floats (`comparison.errors`).
        mean_error: Mean error of the floats.
        tolerance: Largest error that is allowed.
        agreement: Share of the integers (sampled codes, chosen tokens) that are equal; 1 without any.
    """

    cases: tuple[dict[str, int], ...]
    largest_error: float
    mean_error: float
    tolerance: float
    agreement: float


@dataclass(frozen=True)
class SpeechReport:
    """How far the speech of a variant is from that of fp32 with the same seeds.

    Attributes:
        sentences: Number of sentences compared.
        spectral_distance: Mean over frames of the root mean square difference of log-mel spectra, in dB.
        word_error_rate: Of the variant, in percent; None where no recogniser was installed.
        word_error_rate_fp32: Of fp32, in percent; None where no recogniser was installed.
    """

    sentences: int
    spectral_distance: float
    word_error_rate: float | None = None
    word_error_rate_fp32: float | None = None


@dataclass(frozen=True)
class PromptEncoderReport:
    """The prompt encoder (key `hearing` of the manifest), and how far it is from PyTorch.

    Attributes:
        level: Level of the voice's own speech, in dB of full scale (`recording.speech_level`).
        seconds: Seconds of that speech that were compared.
        equal_codes: Share of the codes that are equal to PyTorch's.
        equal_tokens: Share of the semantic tokens that are equal to PyTorch's.
        excess: By how much a code or token that is not equal is farther from its feature than PyTorch's, at
            most, relative.
    """

    level: float
    seconds: float
    equal_codes: float
    equal_tokens: float
    excess: float


@dataclass(frozen=True)
class VariantSchema:
    """The graphs of another precision, with the inputs and outputs of fp32.

    Attributes:
        graphs: ONNX file of each graph; a graph that the variant lacks is that of fp32.
        parity: Parity report of each graph.
        speech: How its speech differs from that of fp32.
        by_row: Whether a sample of a batch is computed as it is alone. The int8 of earlier exports has one
            scale for all activations of a batch.
        weights: The file with the weights of a graph, where they are not in its ONNX file; graphs share one.

    Raises:
        ValueError: `weights` names a graph that the variant lacks.
    """

    graphs: dict[str, str]
    parity: dict[str, ParityReport]
    speech: SpeechReport | None = None
    by_row: bool = False
    weights: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := self.weights.keys() - self.graphs.keys():
            raise ValueError(f"weights has {min(unknown)}, expected some of {', '.join(self.graphs)}")


def _check_symbols(symbols: tuple[str, ...]) -> None:
    if not symbols or len(set(symbols)) != len(symbols):
        raise ValueError(f"symbols has {len(symbols)} phones, expected one or more, each once")
