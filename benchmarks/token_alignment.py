"""How well semantic tokens are aligned with phones where the text stage has no durations.

    python -m benchmarks.token_alignment build/voice

The word times of an autoregressive text stage are estimated from its tokens (`bundle.token_alignment`). Here
the estimate is made for a voice with a parallel text stage, whose durations are known and are not used: it is
learned from the same sentences of random words as in an export, and the borders that it finds in other
sentences are compared with the true ones. The tokens are those that the semantic units make of the voice's
audio, as in the corpus that an autoregressive stage learns from, or with `--predicted` those of the text
stage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from soundstorm_export.alignment_training import fit_alignment, random_sentences
from soundstorm_runtime.bundle.manifest_schema import text_ids
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.bundle.token_alignment import TokenAlignment
from soundstorm_runtime.support.command import run
from soundstorm_runtime.synthesis.prompt_encoder import PromptEncoder
from soundstorm_runtime.synthesis.sentence_reader import Part
from soundstorm_runtime.voice import Voice

from .report import RESULTS, Circumstances, circumstances, table, write_result
from .sentences import read_sentences, take_evenly
from .word_times import Errors, errors


@dataclass(frozen=True)
class Alignments:
    """The result.

    Attributes:
        circumstances: Machine and versions.
        voice: The bundle.
        tokens: Whether the tokens were "heard" in the voice's audio, or "predicted" by its text stage.
        learned_from: Sentences of random words.
        sentences: Sentences that were compared.
        phones: Errors of the starts of phones.
        words: Errors of the starts of words.
    """

    circumstances: Circumstances
    voice: str
    tokens: str
    learned_from: int
    sentences: int
    phones: Errors
    words: Errors


class Reader:
    """Reads texts as a voice does, and returns their tokens, predicted or heard."""

    def __init__(self, voice: Voice, encoder: PromptEncoder | None) -> None:
        self._voice, self._encoder = voice, encoder

    def parts(self, text: str) -> Iterator[tuple[Part, np.ndarray]]:
        """Yield the parts of a text with their tokens."""
        for sentence in self._voice.sentences(text):
            for part in self._voice._reader.read(sentence, np.random.SeedSequence(0)):
                yield part, self._heard(part.tokens) if self._encoder else part.tokens

    def ids(self, part: Part) -> np.ndarray:
        """Return the ids of the phones of a part, int64 [phones]."""
        symbols = self._voice._manifest.text.symbols  # type: ignore[union-attr]
        return np.array([symbols.index(unit.text) for unit in part.units])

    def _heard(self, tokens: np.ndarray) -> np.ndarray:
        assert self._encoder is not None
        audio = self._voice.speak_tokens(tokens, seed=0)
        return self._encoder.tokenize(audio).semantic_tokens[: len(tokens)]


def differences(reader: Reader, alignment: TokenAlignment, text: str) -> Iterator[tuple[float, bool]]:
    """Yield by how many tokens each phone starts too late, and whether a word starts with it."""
    for part, tokens in reader.parts(text):
        assert part.counts is not None
        found = alignment.counts(reader.ids(part), tokens)
        late = np.cumsum(found)[:-1] - np.cumsum(part.counts)[:-1]
        words = [unit.word for unit in part.units]
        for place, difference in enumerate(late, 1):
            yield float(difference), words[place] is not None and words[place] != words[place - 1]


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--sentences", "count", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--predicted", is_flag=True, help="Align the tokens of the text stage itself.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=RESULTS / "token_alignment.json", show_default=True
)
def main(bundle: Path, count: int, predicted: bool, out: Path) -> None:
    """Align the semantic tokens of the voice in the folder BUNDLE without its durations."""
    read, voice = read_bundle(bundle), Voice.load(bundle, threads=1, provider="cpu")
    if not voice.has_times or read.manifest.text is None:
        raise click.ClickException("the voice has no durations to compare with")
    reader = Reader(voice, None if predicted else PromptEncoder(read))
    readings = [
        (reader.ids(part), tokens) for text in random_sentences(read) for part, tokens in reader.parts(text)
    ]
    vocabulary = read.manifest.semantic.vocabulary
    alignment = fit_alignment(readings, text_ids(read.manifest.text), vocabulary)
    texts = [sentence.text for sentence in take_evenly(read_sentences(), count)]
    found = [pair for text in texts for pair in differences(reader, alignment, text)]
    token = voice._acoustics.samples(1) / voice.sample_rate
    result = Alignments(
        circumstances=circumstances("token_alignment"),
        voice=bundle.name,
        tokens="predicted" if predicted else "heard",
        learned_from=len(readings),
        sentences=len(texts),
        phones=errors(token * np.array([late for late, _ in found])),
        words=errors(token * np.array([late for late, starts in found if starts])),
    )
    write_result(out, result)
    rows = [["starts of", "median, ms", "95 %, ms", "mean offset, ms"]]
    for name, own in (("phones", result.phones), ("words", result.words)):
        rows.append([name, f"{own.median:.1f}", f"{own.percentile_95:.1f}", f"{own.mean_offset:+.1f}"])
    click.echo(table(rows))


if __name__ == "__main__":
    run(main)
