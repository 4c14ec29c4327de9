"""What a manifest is made of: the facts of a voice, of its files, and of how near they are to PyTorch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..engines.graphs import Tensor
from ..support.serde import check_positive

LEXICON_FILE = "lexicon.txt.gz"
TOKENIZER_FILE = "tokenizer.json"

Variant = Literal["int8", "fp16", "bf16", "int8-qdq", "fp8-qdq"]
Precision = Literal["fp32", Variant]


@dataclass(frozen=True)
class AudioSchema:
    """The codec: samples per second, samples per frame, RVQ levels, codes per level.

    window, transforms: samples of the spectral codec's inverse STFT, 0 for SoundStream, and how many of them
        a frame has: `hop // transforms` samples from one to the next.
    groups: of the codec's quantizers, each with its share of the levels (`decode.level_order`).
    context, lookahead: frames before and after one that its spectrum depends on; None for SoundStream, and
        where it is not known.
    state: shapes of what SoundStream's decoder remembers; none where it cannot decode in pieces.
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

    def __post_init__(self) -> None:
        check_positive(self, "sample_rate", "hop", "levels", "codebook_size", "groups", "transforms")
        if self.levels % self.groups:
            raise ValueError(f"levels is {self.levels}, expected a multiple of groups {self.groups}")
        spectral = self.codec == "spectral"
        if self.hop % self.transforms or (self.transforms > 1 and not spectral):
            expected = f"a divisor of hop {self.hop}" if spectral else "1"
            raise ValueError(f"transforms is {self.transforms}, expected {expected} for codec {self.codec!r}")
        if spectral != (self.window >= 2 * self.stft_hop and self.window % self.stft_hop == 0):
            expected = f"a multiple of hop {self.stft_hop}, twice it or more" if spectral else "0"
            raise ValueError(f"window is {self.window}, expected {expected} for codec {self.codec!r}")
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


@dataclass(frozen=True)
class SemanticSchema:
    """Semantic tokens: how many there are, how many a second has, and what makes them of audio."""

    vocabulary: int
    rate: int
    units: Literal["spectral", "phonetic", "hubert", "unknown"] = "unknown"

    def __post_init__(self) -> None:
        check_positive(self, "vocabulary", "rate")


@dataclass(frozen=True)
class ParallelTextSchema:
    """The text stage with durations; a phone's id is its place in `symbols`."""

    kind: Literal["parallel"]
    symbols: tuple[str, ...]
    dim: int

    def __post_init__(self) -> None:
        check_positive(self, "dim")
        _check_symbols(self.symbols)


@dataclass(frozen=True)
class AutoregressiveTextSchema:
    """The text stage with a key/value cache; a phone's id is its place in `symbols`.

    text_tokens: how many ids the stage reads, where not phones but a tokenizer makes them. end: the id that
    is put after the last.
    """

    kind: Literal["autoregressive"]
    symbols: tuple[str, ...]
    layers: int
    heads: int
    dim_head: int
    text_tokens: int | None = None
    end: int | None = None

    def __post_init__(self) -> None:
        check_positive(self, "layers", "heads", "dim_head")
        if self.text_tokens is None:
            _check_symbols(self.symbols)
        elif self.symbols or self.text_tokens < 1:
            raise ValueError(
                f"text_tokens is {self.text_tokens} and symbols has {len(self.symbols)} phones, "
                "expected one or the other"
            )


TextSchema = ParallelTextSchema | AutoregressiveTextSchema


def spelling_file(text: TextSchema) -> str:
    """Name the file that tells how text is spelled for the text stage."""
    return LEXICON_FILE if text.symbols else TOKENIZER_FILE


def text_ids(text: TextSchema) -> int:
    """Return how many ids the text stage reads."""
    if isinstance(text, AutoregressiveTextSchema) and text.text_tokens is not None:
        return text.text_tokens
    return len(text.symbols)


@dataclass(frozen=True)
class GraphSchema:
    """One graph: its ONNX file, and its inputs and outputs as the table of graphs has them.

    weights: the file that holds its weights, where they are not in `file`.
    """

    file: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    weights: str | None = None


@dataclass(frozen=True)
class FileRecord:
    """What a file must be: lower-case hexadecimal SHA-256, and size in bytes."""

    sha256: str
    size: int

    @classmethod
    def of(cls, path: Path) -> FileRecord:
        """Measure a file."""
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return cls(digest.hexdigest(), path.stat().st_size)


@dataclass(frozen=True)
class ParityReport:
    """How far a graph is from PyTorch, over `cases`, each the lengths of the symbolic axes.

    agreement: share of the integers (sampled codes, chosen tokens) that are equal; 1 where there are none.
    """

    cases: tuple[dict[str, int], ...]
    largest_error: float
    mean_error: float
    tolerance: float
    agreement: float


@dataclass(frozen=True)
class SpeechReport:
    """What a variant does to speech, beside fp32 with the same seeds, over so many sentences.

    spectral_distance: mean over frames of the root mean square difference of log-mel spectra, in dB.
    word_error_rate, word_error_rate_fp32: in percent; None where no recogniser was installed.
    """

    sentences: int
    spectral_distance: float
    word_error_rate: float | None = None
    word_error_rate_fp32: float | None = None


@dataclass(frozen=True)
class PromptEncoderReport:
    """How recordings become prompts, and how near that comes to PyTorch, from samples to tokens.

    level: of the voice's own speech, in dB of full scale (`recording.speech_level`).
    seconds: of that speech, in which so large shares of codes and semantic tokens are equal. excess: how
    much further from its feature one that is not equal lies than PyTorch's, at most, relative.
    """

    level: float
    seconds: float
    equal_codes: float
    equal_tokens: float
    excess: float


@dataclass(frozen=True)
class VariantSchema:
    """The graphs of another precision: an ONNX file and a parity report for each.

    Inputs and outputs are those of fp32. A graph that the variant lacks is taken from there, too.
    """

    graphs: dict[str, str]
    parity: dict[str, ParityReport]
    speech: SpeechReport | None = None


def _check_symbols(symbols: tuple[str, ...]) -> None:
    if not symbols or len(set(symbols)) != len(symbols):
        raise ValueError(f"symbols has {len(symbols)} phones, expected one or more, each once")
