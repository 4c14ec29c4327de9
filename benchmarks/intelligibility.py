"""How well a voice is understood, and where understanding is lost on the way from text to sound.

Four roads lead to the same sentence, each one stage longer than the last:

    teacher          flite speaks it, in the voice that the corpus was made with
    codec            the codec's reconstruction of the teacher
    soundstorm       SoundStorm from the teacher's semantic tokens, then the codec
    text to speech   the exported bundle, from text alone

A recogniser writes down what it hears on each; its word error rate is the score.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import soxr
import torch
from tqdm import tqdm

from soundstorm_edge.checkpoint import VoiceModels, load_voice
from soundstorm_edge.flite import speak
from soundstorm_runtime.command import run
from soundstorm_runtime.manifest import FileFacts
from soundstorm_runtime.text import normalise
from soundstorm_runtime.voice import Voice

from .recognition import WordErrors, count_errors, reference_words, transcribe
from .report import RESULTS, Circumstances, circumstances, table, write_result
from .sentences import Sentence, read_sentences, take_evenly

ROADS = ("teacher", "codec", "soundstorm", "text to speech")


@dataclass(frozen=True)
class Utterance:
    """One sentence: what was to be heard, and by road what was heard and how many seconds it lasted."""

    kind: str
    text: str
    expected: str
    heard: dict[str, str]
    lasted: dict[str, float]


@dataclass(frozen=True)
class Intelligibility:
    """The result.

    checkpoint: its SHA-256; teacher: the voice of flite; word_errors: by road; word_errors_by_kind: by
    kind of sentence, then by road; duration_ratio: seconds of text to speech over those of the teacher;
    seconds: of computing, by road, and of the recognition of all.
    """

    circumstances: Circumstances
    checkpoint: str
    voice: str
    teacher: str
    sentences: int
    word_errors: dict[str, WordErrors]
    word_errors_by_kind: dict[str, dict[str, WordErrors]]
    duration_ratio: float
    seconds: dict[str, float]
    utterances: tuple[Utterance, ...]


class Roads:
    """The four ways to speak a sentence, all at the codec's sample rate, float32 `[samples]`."""

    def __init__(self, models: VoiceModels, bundle: Path, teacher: str, seed: int) -> None:
        self.sample_rate = models.codec.sample_rate
        self._models = models
        self._voice = Voice.load(bundle, provider="cpu")
        self._teacher = teacher
        self._seed = seed

    def teacher(self, text: str) -> np.ndarray:
        """Let flite speak the words as the front end spells them out: all roads say the same."""
        audio, rate, _ = speak(normalise(text), self._teacher)
        return _resample(audio, rate, self.sample_rate)

    def codec(self, taught: np.ndarray) -> np.ndarray:
        """Encode and decode the teacher's audio."""
        codec = self._models.codec
        return _decode(self._models, codec.tokenize(torch.from_numpy(taught)[None]))

    def soundstorm(self, taught: np.ndarray) -> np.ndarray:
        """Generate codes for the teacher's semantic tokens, as the voice is best decoded."""
        models = self._models
        heard = torch.from_numpy(_resample(taught, self.sample_rate, models.units.sample_rate))
        tokens = models.units.tokenize(heard[None])
        per_token = self.sample_rate // (models.codec.hop * models.units.rate)
        aligned = tokens.repeat_interleave(per_token, dim=1)
        return _decode(models, models.soundstorm.generate(aligned, models.config.decode, seed=self._seed))

    def text_to_speech(self, text: str) -> np.ndarray:
        """Speak with the bundle."""
        return self._voice.speak(text, seed=self._seed)


def _decode(models: VoiceModels, codes: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return models.codec.decode_from_codebook_indices(codes)[0].numpy()


def _resample(audio: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    return audio if rate == wanted else soxr.resample(audio, rate, wanted)


def speak_all(roads: Roads, texts: Sequence[str]) -> tuple[dict[str, list[np.ndarray]], dict[str, float]]:
    """Speak all texts on every road; gives the audio, and the seconds that it took, by road."""
    speech: dict[str, list[np.ndarray]] = {}
    seconds: dict[str, float] = {}

    def take(
        road: str, function: Callable[..., np.ndarray], inputs: Sequence[str] | list[np.ndarray]
    ) -> None:
        started = time.perf_counter()
        speech[road] = [function(item) for item in tqdm(inputs, desc=road)]
        seconds[road] = round(time.perf_counter() - started, 2)

    take("teacher", roads.teacher, texts)
    take("codec", roads.codec, speech["teacher"])
    take("soundstorm", roads.soundstorm, speech["teacher"])
    take("text to speech", roads.text_to_speech, texts)
    return speech, seconds


def score(utterances: Sequence[Utterance]) -> dict[str, WordErrors]:
    """Count the errors on each road."""
    expected = [utterance.expected for utterance in utterances]
    return {road: count_errors(expected, [u.heard[road] for u in utterances]) for road in ROADS}


def score_by_kind(utterances: Sequence[Utterance]) -> dict[str, dict[str, WordErrors]]:
    """Count the errors on each road, by kind of sentence."""
    kinds = dict.fromkeys(utterance.kind for utterance in utterances)
    return {kind: score([u for u in utterances if u.kind == kind]) for kind in kinds}


def measure(
    sentences: Sequence[Sentence], roads: Roads, jobs: int
) -> tuple[tuple[Utterance, ...], dict[str, float]]:
    """Speak and recognise all sentences; gives what was heard, and the seconds that each part took."""
    speech, seconds = speak_all(roads, [sentence.text for sentence in sentences])
    started = time.perf_counter()
    heard = transcribe([audio for road in ROADS for audio in speech[road]], roads.sample_rate, jobs)
    seconds["recognition"] = round(time.perf_counter() - started, 2)
    count = len(sentences)
    utterances = tuple(
        Utterance(
            sentence.kind,
            sentence.text,
            reference_words(sentence.text),
            {road: heard[number * count + place] for number, road in enumerate(ROADS)},
            {road: round(len(speech[road][place]) / roads.sample_rate, 2) for road in ROADS},
        )
        for place, sentence in enumerate(sentences)
    )
    return utterances, seconds


def show(result: Intelligibility) -> str:
    """Lay out the word error rates in percent, and what the text stage does to durations."""
    groups = {**result.word_errors_by_kind, "all": result.word_errors}
    rows = [["word error rate, %", "words", *ROADS]]
    for name, errors in groups.items():
        words = errors["teacher"].words
        rows.append([name, str(words), *(f"{errors[road].rate:.1f}" for road in ROADS)])
    return f"{table(rows)}\ntext to speech lasts {result.duration_ratio:.3f} of the teacher's time"


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--bundle", type=click.Path(path_type=Path), help="Exported from CHECKPOINT.  [default: export now]"
)
@click.option("--sentences", "count", type=int, default=50, show_default=True, help="Evenly from all kinds.")
@click.option("--voice", "teacher", default="rms", show_default=True, help="Voice of flite to compare with.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True, help="Recognisers at once.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=RESULTS / "intelligibility.json", show_default=True
)
def main(
    checkpoint: Path, bundle: Path | None, count: int, teacher: str, seed: int, jobs: int, out: Path
) -> None:
    """Measure how well the voice in CHECKPOINT is understood, stage by stage."""
    sentences = take_evenly(read_sentences(), count)
    models = load_voice(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        if bundle is None:
            from soundstorm_export.bundle import export_bundle

            bundle = export_bundle(
                models, Path(folder) / "bundle", lambda line: click.echo(line, err=True)
            ).path
        utterances, seconds = measure(sentences, Roads(models, bundle, teacher, seed), jobs)
    lasted = {road: sum(utterance.lasted[road] for utterance in utterances) for road in ROADS}
    result = Intelligibility(
        circumstances=circumstances("intelligibility"),
        checkpoint=FileFacts.of(checkpoint).sha256,
        voice=models.config.name,
        teacher=teacher,
        sentences=len(utterances),
        word_errors=score(utterances),
        word_errors_by_kind=score_by_kind(utterances),
        duration_ratio=round(lasted["text to speech"] / lasted["teacher"], 4),
        seconds=seconds,
        utterances=utterances,
    )
    write_result(out, result)
    click.echo(show(result))


if __name__ == "__main__":
    run(main)
