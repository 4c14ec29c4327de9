"""The quality of a voice: word error rates, and the loss of each stage from text to audio.

Every held-out sentence is spoken with the pipelines of `benchmarks.pipelines` in every requested voice. Each
measured sentence is saved at once, so that a run that was stopped continues.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import click
from tqdm import tqdm

from soundstorm_edge.checkpoint import VoiceModels, load_voice
from soundstorm_edge.data.sources.fortunes import fortune_sentences
from soundstorm_edge.errors import CheckpointError
from soundstorm_runtime.bundle.manifest import FileRecord
from soundstorm_runtime.bundle.reader import MANIFEST_FILE
from soundstorm_runtime.support.command import run
from soundstorm_runtime.support.serde import from_dict, to_dict

from .listening import Listener, Measured, teacher_timbre
from .pipelines import CODEC, SOUNDSTORM, TEACHER, TEXT, prompts_of
from .recognition import SHIFTS
from .report import RESULTS, circumstances, manifest_digest, markdown, write_result
from .scoring import Confusion, Score, Speaker, confusions, score_speaker
from .sentences import SENTENCES, Sentence, read_sentences, take_evenly
from .work import WORK, exported, fingerprint, read_rows

TAUGHT = 100  # sentences of each voice that the speaker classifier learns from

_listener: Listener | None = None  # of a worker process: loading takes longer than measuring


def measure_all(
    checkpoint: Path, bundle: Path, voices: Sequence[str], sentences: Sequence[Sentence], seed: int, jobs: int
) -> dict[str, list[Measured]]:
    """Measure every sentence in every voice, in `jobs` processes; returns the measurements by voice."""
    facts = [FileRecord.of(path).sha256 for path in (checkpoint, bundle / MANIFEST_FILE)]
    partial_results = WORK / f"{fingerprint(facts, seed)}.jsonl"
    measured = (from_dict(Measured, row, place) for place, row in read_rows(partial_results))
    found = {(m.voice, m.text): m for m in measured}
    missing = [(v, s) for s in sentences for v in voices if (v, s.text) not in found]
    if missing:
        WORK.mkdir(parents=True, exist_ok=True)
        # Spawned and not forked: the parent's threads of PyTorch and ONNX Runtime do not survive a fork.
        pool = ProcessPoolExecutor(
            jobs, mp_context=get_context("spawn"), initializer=_listen, initargs=(checkpoint, bundle, seed)
        )
        with pool, partial_results.open("a") as file:
            rows = pool.map(_measure, *zip(*missing, strict=True))
            for row in tqdm(rows, initial=len(found), total=len(found) + len(missing), desc="score"):
                file.write(json.dumps(to_dict(row)) + "\n")
                file.flush()
                found[row.voice, row.text] = row
    return {voice: [found[voice, sentence.text] for sentence in sentences] for voice in voices}


def _listen(checkpoint: Path, bundle: Path, seed: int) -> None:
    global _listener
    _listener = Listener(checkpoint, bundle, seed)


def _measure(voice: str, sentence: Sentence) -> Measured:
    if _listener is None:
        raise RuntimeError("this process has no listener; it was not started by measure_all")
    return _listener.measure(voice, sentence)


def teach_classifier(voices: Sequence[str], jobs: int) -> dict[str, list[list[float]]]:
    """Return timbres of every voice of flite in sentences of its corpus, for the speaker classifier."""
    if len(voices) < 2:
        return {}
    texts = fortune_sentences()[:TAUGHT]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        return {
            voice: list(tqdm(pool.map(partial(teacher_timbre, voice), texts), total=TAUGHT, desc=voice))
            for voice in voices
        }


def show(score: Score) -> str:
    """Format the score as Markdown tables."""
    first = next(iter(score.speakers.values()))
    errors = [["word error rate, % [95 %]", *score.speakers]]
    for pipeline in first.pipelines:
        cells = [speaker.pipelines[pipeline] for speaker in score.speakers.values()]
        shown = (f"{r.word_errors.rate:.1f} [{r.interval[0]:.1f}, {r.interval[1]:.1f}]" for r in cells)
        errors.append([pipeline, *shown])
    rest = [[f"over {len(first.sentences)} sentences", *score.speakers]]
    rest += [[name, *values] for name, values in _rows(list(score.speakers.values()))]
    tables = [markdown(errors), markdown(rest)]
    tables += [
        _confusion(pipeline, c) for pipeline, c in score.confusion.items() if pipeline in (TEACHER, TEXT)
    ]
    return "\n\n".join(tables)


def _rows(speakers: Sequence[Speaker]) -> Iterator[tuple[str, list[str]]]:
    yield "codec beside the teacher: STOI", [f"{speaker.stoi:.3f}" for speaker in speakers]
    yield (
        "codec beside the teacher: PESQ",
        ["not measured" if s.pesq is None else f"{s.pesq:.2f}" for s in speakers],
    )
    for pipeline in (CODEC, SOUNDSTORM, TEXT):
        yield (
            f"{pipeline}: mel-cepstral distance, dB",
            [f"{s.pipelines[pipeline].distance:.1f}" for s in speakers],
        )
    yield (
        "text to speech: seconds over the teacher's",
        [f"{s.pipelines[TEXT].duration_ratio:.3f}" for s in speakers],
    )
    for pipeline in (SOUNDSTORM, TEXT):
        slipped = [f"{s.pipelines[pipeline].slipped} of {s.pipelines[pipeline].judged}" for s in speakers]
        yield f"{pipeline}: sentences with skipped or added words", slipped
    yield "text to speech: ended by the length limit", [str(s.pipelines[TEXT].cut_off) for s in speakers]


def _confusion(pipeline: str, confusion: Confusion) -> str:
    rows = [
        [f"{pipeline}, {confusion.accuracy:.1f} % right", *(f"taken for {s}" for s in confusion.speakers)]
    ]
    rows += [[s, *map(str, c)] for s, c in zip(confusion.speakers, confusion.counts, strict=True)]
    return markdown(rows)


def _voices(models: VoiceModels, named: str | None) -> tuple[str, ...]:
    """Return the voices of flite to score: those that are named, else all that have a prompt."""
    voices = tuple(named.split(",")) if named else tuple(prompts_of(models))
    if not voices:
        raise CheckpointError(
            f"{models.config.name!r} has one voice, whose teacher is not known; name it: --voices rms"
        )
    return voices


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--bundle", type=click.Path(path_type=Path), help="Bundle of CHECKPOINT.  [default: export now]"
)
@click.option("--sentences", "count", type=int, help="How many, evenly from all kinds.  [default: all]")
@click.option("--from", "source", type=click.Path(path_type=Path), default=SENTENCES, help="Other sentences.")
@click.option("--voices", "named", help="Voices of flite, such as rms,slt.  [default: all of the checkpoint]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True, help="Processes at once.")
@click.option("--out", type=click.Path(path_type=Path), help="[default: benchmarks/results/score-NAME.json]")
def main(
    checkpoint: Path,
    bundle: Path | None,
    count: int | None,
    source: Path,
    named: str | None,
    seed: int,
    jobs: int,
    out: Path | None,
) -> None:
    """Score the voice in CHECKPOINT, stage by stage."""
    started = time.perf_counter()
    models = load_voice(checkpoint)
    everything = read_sentences(source)
    sentences = take_evenly(everything, len(everything) if count is None else count)
    voices = _voices(models, named)
    bundle = bundle or exported(models, checkpoint)
    measured = measure_all(checkpoint, bundle, voices, sentences, seed, jobs)
    frame = models.codec.hop / models.codec.sample_rate
    score = Score(
        circumstances=circumstances("score"),
        hearings=len(SHIFTS),
        checkpoint=FileRecord.of(checkpoint).sha256,
        bundle=manifest_digest(bundle),
        voice=models.config.name,
        seed=seed,
        seconds=round(time.perf_counter() - started, 1),
        speakers={voice: score_speaker(rows) for voice, rows in measured.items()},
        prompt_seconds={v: round(len(p.codes) * frame, 2) for v, p in prompts_of(models).items()},
        confusion=confusions(teach_classifier(voices, jobs), measured),
    )
    write_result(out or RESULTS / f"score-{models.config.name}.json", score)
    click.echo(show(score))


if __name__ == "__main__":
    run(main)
