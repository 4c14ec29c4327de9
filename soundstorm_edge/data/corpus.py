"""A corpus: speech with its text as FLAC files of one sample rate, and a list of utterances.

    corpus/utterances.jsonl    one `Utterance` per line
    corpus/audio/*.flac        mono, 16 bit
    corpus/settings.json       the `CorpusConfig` it was made with
    corpus/left-out.txt        the recordings that could not be used, and why, where there are any

The recordings come from a source: see `soundstorm_edge.data.sources`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import soxr

from soundstorm_runtime.support.atomic import write_file
from soundstorm_runtime.support.files import parse_json
from soundstorm_runtime.text.lexicon import Lexicon

from ..errors import ConfigError, CorpusError, UnusableRecordingError
from ..support.config import from_dict, to_dict
from ..support.progress import progress_bar
from .corpus_config import CorpusConfig
from .recording import Recording, check_transcript, mono
from .shipped_lexicon import LexiconName, shipped_lexicon
from .sources import recordings
from .utterances import LISTING, Utterance, Utterances, find_listings

LEFT_OUT = "left-out.txt"
_NAMED = 10  # recordings that a message names

_log = logging.getLogger(__name__)


class Corpus:
    """A complete corpus on disk: its utterances, and their audio on demand.

    A folder of corpus folders, or of links to them, is a corpus in shards.

    Args:
        folder: the corpus.

    Raises:
        CorpusError: there is no corpus in the folder, or a shard of it is incomplete.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.utterances = Utterances(folder, find_listings(folder))

    def select(self, *, held_out: bool) -> Utterances:
        """Return the utterances for training, or the held-out ones."""
        return self.utterances.where(self.utterances.held_out == held_out)

    def at_least(self, seconds: float, *, held_out: bool) -> Utterances:
        """Return the utterances of at least this duration; raises `CorpusError` where there are none."""
        part = self.select(held_out=held_out)
        chosen = part.where(part.seconds >= seconds)
        if not len(chosen):
            name = "held-out" if held_out else "training"
            raise CorpusError(f"no {name} utterance lasts {seconds:.2f} s; shorten the crops or add speech")
        return chosen

    def audio(self, utterance: Utterance, start: int = 0, samples: int = -1) -> np.ndarray:
        """Read the audio of an utterance.

        Args:
            utterance: which one.
            start: the first sample to read.
            samples: how many; -1 reads to the end.

        Returns:
            float32 `[samples]`, in -1 to 1.

        Raises:
            CorpusError: the file cannot be read, or is shorter than the list of utterances states.
        """
        path = self.folder / utterance.audio
        try:
            audio, rate = soundfile.read(path, dtype="float32", start=start, frames=samples)
        except (OSError, RuntimeError) as error:
            raise CorpusError(f"cannot read {path} ({error}); make the corpus again") from error
        expected = samples if samples >= 0 else round(utterance.seconds * rate) - start
        if len(audio) != expected:
            raise CorpusError(
                f"cannot read {path} ({len(audio)} samples from sample {start}, expected {expected}); "
                "make the corpus again"
            )
        return audio


Outcome = Utterance | UnusableRecordingError
MakeUtterances = Callable[[Sequence[Recording], CorpusConfig, Path], Iterator[Outcome]]


def in_threads(found: Sequence[Recording], config: CorpusConfig, folder: Path) -> Iterator[Outcome]:
    """Make the utterances of recordings, in their order, on this machine.

    Threads suffice: synthesizers, libsndfile and soxr work outside Python's lock.
    """
    with ThreadPoolExecutor() as pool:
        yield from pool.map(lambda recording: try_utterance(recording, config, folder), found)


def make_corpus(
    config: CorpusConfig,
    folder: Path,
    lexicon: LexiconName = "flite",
    make_utterances: MakeUtterances = in_threads,
) -> Corpus:
    """Make the corpus in `folder`, or complete it: an interrupted run resumes where it stopped.

    Args:
        config: its settings.
        folder: of the corpus.
        lexicon: whose phones are aligned with recordings that come without, where `config.times` asks for it.
        make_utterances: makes the utterances of recordings, in their order.

    Raises:
        CorpusError: the folder holds a corpus of other settings, or a recording cannot be read, or cannot be
            used and `config.unusable` is "refuse".
    """
    listing, settings = folder / LISTING, folder / "settings.json"
    if settings.exists() and not _is_of(config, settings):
        raise CorpusError(f"{folder} holds the corpus of another recipe; remove it or choose another --run")
    if listing.exists():
        if config.unusable == "refuse" and (folder / LEFT_OUT).exists():
            raise CorpusError(f"{folder} lacks the recordings of its {LEFT_OUT}; remove it to refuse them")
        return Corpus(folder)
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    write_file(settings, json.dumps(to_dict(config)))
    partial = folder / "utterances.partial.jsonl"
    found = list(recordings(config))
    if twice := [name for name, count in Counter(r.id for r in found).items() if count > 1]:
        raise CorpusError(f"two recordings have the id {twice[0]!r}, expected each once; rename one of them")
    done = _keep_valid_rows(partial, {recording.id: recording.text for recording in found})
    missing = [recording for recording in found if recording.id not in done]
    unusable: dict[str, str] = {}
    with partial.open("a") as rows:
        made = make_utterances(missing, config, folder)
        progress = progress_bar(made, total=len(missing), desc="corpus", unit="utterance")
        for recording, utterance in zip(missing, progress, strict=True):
            if isinstance(utterance, Utterance):
                rows.write(json.dumps(dataclasses.asdict(utterance)) + "\n")
            else:
                unusable[recording.id] = str(utterance)
    if config.unusable == "refuse":
        _report(unusable, len(found), config, folder)
    if len(unusable) < len(found):
        _add_times(config, folder, partial, shipped_lexicon(lexicon), unusable)
    _report(unusable, len(found), config, folder)
    partial.rename(listing)
    return Corpus(folder)


def _is_of(config: CorpusConfig, settings: Path) -> bool:
    """Whether a corpus has the settings `config`, whatever is done with unusable recordings."""
    try:
        kept = from_dict(CorpusConfig, parse_json(settings.read_bytes()), str(settings))
    except (ConfigError, ValueError):
        return False
    return dataclasses.replace(kept, unusable=config.unusable) == config


def _report(unusable: Mapping[str, str], count: int, config: CorpusConfig, folder: Path) -> None:
    """Refuse the recordings that cannot be used, or warn that they are left out, by name."""
    (folder / LEFT_OUT).unlink(missing_ok=True)
    if not unusable:
        return
    named = "; ".join(f"{name}: {reason}" for name, reason in list(unusable.items())[:_NAMED])
    more = f"; and {len(unusable) - _NAMED} more" if len(unusable) > _NAMED else ""
    what = f"{len(unusable)} of {count} recordings cannot be used"
    if config.unusable == "refuse" or len(unusable) == count:
        raise CorpusError(
            f"{what} ({named}{more}); correct or remove them, or leave them out with "
            "'unusable = \"skip\"' in [corpus]"
        )
    write_file(folder / LEFT_OUT, "".join(f"{name}\t{reason}\n" for name, reason in unusable.items()))
    _log.warning("%s and are left out (%s%s); %s lists all", what, named, more, folder / LEFT_OUT)


def _add_times(
    config: CorpusConfig, folder: Path, partial: Path, lexicon: Lexicon, unusable: dict[str, str]
) -> None:
    """Replace the phones and end times in the listing as `config.times` says.

    Utterances whose times show that they cannot be used leave the listing and enter `unusable`.
    """
    if not config.times:
        return
    from .forced_alignment import align
    from .textgrid import read_times

    utterances = list(Utterances(folder, [partial]))
    if config.times == "align":

        def load(utterance: Utterance) -> np.ndarray:
            return soundfile.read(folder / utterance.audio, dtype="float32")[0]

        timed = align(utterances, load, config.sample_rate, lexicon)
    else:
        timed = read_times(Path(config.times), utterances, lexicon.symbols, unusable)
        if config.unusable == "refuse" and unusable:
            return
    write_file(partial, "".join(json.dumps(dataclasses.asdict(utterance)) + "\n" for utterance in timed))


def try_utterance(recording: Recording, config: CorpusConfig, folder: Path) -> Outcome:
    """Load a recording and write its audio into the corpus; return the reason where it cannot be used."""
    try:
        return _make_utterance(recording, config, folder)
    except UnusableRecordingError as error:
        return error


def _make_utterance(recording: Recording, config: CorpusConfig, folder: Path) -> Utterance:
    """Load a recording and write its audio into the corpus."""
    check_transcript(recording.text)
    sound = recording.load()
    audio = mono(sound)
    if sound.rate != config.sample_rate:
        audio = soxr.resample(audio, sound.rate, config.sample_rate)
    name = f"audio/{recording.id}.flac"
    soundfile.write(folder / name, audio, config.sample_rate, subtype="PCM_16")
    return Utterance(
        id=recording.id,
        audio=name,
        seconds=len(audio) / config.sample_rate,
        text=recording.text,
        speaker=recording.speaker,
        held_out=_is_held_out(recording.text, config.held_out_percent),
        phones=sound.phones,
        ends=sound.ends,
        pitch=sound.pitch,
    )


def _is_held_out(text: str, percent: int) -> bool:
    """Decide by the text alone, so that no speaker trains on a sentence that another holds out."""
    digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return digest % 100 < percent


def _keep_valid_rows(partial: Path, texts: Mapping[str, str]) -> set[str]:
    """Drop incomplete and outdated rows of an interrupted run; return the ids of the others.

    Args:
        partial: the listing that the run was writing.
        texts: the text of each recording of the source, by id.
    """
    if not partial.exists():
        return set()
    rows = {}
    for row in partial.read_bytes().split(b"\n")[:-1]:
        try:
            found = from_dict(Utterance, parse_json(row), str(partial))
        except ValueError:  # cut or damaged: the recording is read again
            continue
        if texts.get(found.id) == found.text:
            rows[found.id] = row.decode()
    write_file(partial, "".join(f"{row}\n" for row in rows.values()))
    return set(rows)
