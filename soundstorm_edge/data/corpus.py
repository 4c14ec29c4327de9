"""Speech with its text, brought into one form: FLAC files at one sample rate and a list of utterances.

    corpus/utterances.jsonl    one `Utterance` a line
    corpus/audio/*.flac        mono, 16 bit
    corpus/settings.json       what it was made of

Three sources: `flite` speaks English text that Debian carries (offline, with exact phone times), and
the layouts of LJSpeech and LibriTTS are read from disk.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from ..errors import CorpusError
from ..support.config import to_dict
from .utterances import LISTING, Utterance, Utterances, find_listings

UNKNOWN_SIZE = 0xFFFFFFFF  # what a WAV that was streamed has for its size


@dataclass(frozen=True)
class CorpusConfig:
    """Where the speech comes from: `path` is the corpus folder of LJSpeech or LibriTTS."""

    source: Literal["flite", "ljspeech", "libritts"] = "flite"
    path: str = ""
    voices: tuple[str, ...] = ("rms",)
    sample_rate: int = 16_000
    utterances: int = 0  # at most this many of every voice; 0 takes all
    held_out_percent: int = 2
    times: str = ""  # "align" finds phone times, a folder holds TextGrid files; empty takes the source's


@dataclass(frozen=True)
class Recording:
    """An utterance before its audio is made or read: `load` gives audio, sample rate, phones, ends."""

    id: str
    text: str
    speaker: str
    load: Callable[[], tuple[np.ndarray, int, tuple[str, ...], tuple[float, ...]]]


class Corpus:
    """A corpus folder that is complete: its utterances, and their audio on demand.

    A folder of such folders, or of links to them, is a corpus too: one that is made or kept in shards.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.utterances = Utterances(folder, find_listings(folder))

    def select(self, *, held_out: bool) -> Utterances:
        """Give the utterances for training, or those that no training sees."""
        return self.utterances.where(self.utterances.held_out == held_out)

    def lasting(self, seconds: float, *, held_out: bool) -> Utterances:
        """Give those that last at least so long. Raises `CorpusError` where there are none."""
        part = self.select(held_out=held_out)
        chosen = part.where(part.seconds >= seconds)
        if not len(chosen):
            name = "held-out" if held_out else "training"
            raise CorpusError(f"no {name} utterance lasts {seconds:.2f} s; shorten the crops or add speech")
        return chosen

    def audio(self, utterance: Utterance, start: int = 0, samples: int = -1) -> np.ndarray:
        """Read float32 `[samples]` in -1 to 1, from sample `start` on."""
        path = self.folder / utterance.audio
        try:
            audio, rate = soundfile.read(path, dtype="float32", start=start, frames=samples)
        except (OSError, RuntimeError) as error:
            raise CorpusError(f"cannot read {path} ({error}); make the corpus again") from error
        expected = samples if samples >= 0 else round(utterance.seconds * rate) - start
        if len(audio) != expected:
            raise CorpusError(
                f"cannot read {path} ({len(audio)} samples from {start} on, expected {expected}); "
                "make the corpus again"
            )
        return audio


def make_corpus(config: CorpusConfig, folder: Path) -> Corpus:
    """Make or complete the corpus in `folder`; a killed run goes on where it stopped.

    Raises `CorpusError` where the folder holds the corpus of other settings.
    """
    listing, settings = folder / LISTING, folder / "settings.json"
    if settings.exists() and json.loads(settings.read_text()) != to_dict(config):
        raise CorpusError(f"{folder} holds the corpus of another recipe; remove it or choose another --run")
    if listing.exists():
        return Corpus(folder)
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    new = settings.with_suffix(".partial")
    new.write_text(json.dumps(to_dict(config)))
    new.replace(settings)
    partial = folder / "utterances.partial.jsonl"
    found = list(_recordings(config))
    done = _mend_partial(partial, {recording.id: recording.text for recording in found})
    recordings = [recording for recording in found if recording.id not in done]
    if twice := [name for name, count in Counter(r.id for r in recordings).items() if count > 1]:
        raise CorpusError(f"two recordings have the id {twice[0]!r}, expected each once; rename one of them")
    # Threads, because the work is in flite, libsndfile and soxr, all outside Python's lock.
    with ThreadPoolExecutor() as pool, partial.open("a") as rows:
        made = pool.map(lambda recording: _make_utterance(recording, config, folder), recordings)
        for utterance in tqdm(made, total=len(recordings), desc="corpus", unit="utterance"):
            rows.write(json.dumps(dataclasses.asdict(utterance)) + "\n")
    _add_times(config, folder, partial)
    partial.rename(listing)
    return Corpus(folder)


def _add_times(config: CorpusConfig, folder: Path, partial: Path) -> None:
    """Write the phones and their end times into the listing, where the recordings came without them."""
    if not config.times:
        return
    from .forced_alignment import align
    from .shipped_lexicon import shipped_lexicon
    from .textgrid import read_times

    utterances, lexicon = list(Utterances(folder, [partial])), shipped_lexicon()
    if config.times == "align":

        def load(utterance: Utterance) -> np.ndarray:
            return soundfile.read(folder / utterance.audio, dtype="float32")[0]

        timed = align(utterances, load, config.sample_rate, lexicon)
    else:
        timed = read_times(Path(config.times), utterances, lexicon.symbols)
    new = partial.with_suffix(".timed")
    new.write_text("".join(json.dumps(dataclasses.asdict(utterance)) + "\n" for utterance in timed))
    new.replace(partial)


def _recordings(config: CorpusConfig) -> Iterator[Recording]:
    from .flite import flite_recordings

    if config.source == "flite":
        found: Iterable[Recording] = flite_recordings(config.voices)
    elif config.source == "ljspeech":
        found = ljspeech_recordings(Path(config.path))
    else:
        found = libritts_recordings(Path(config.path))
    spoken: dict[str, int] = {}
    for recording in found:
        spoken[recording.speaker] = spoken.get(recording.speaker, 0) + 1
        if not config.utterances or spoken[recording.speaker] <= config.utterances:
            yield recording
    if not spoken:
        raise CorpusError(f"no utterance found in {config.path or config.source}")


def _make_utterance(recording: Recording, config: CorpusConfig, folder: Path) -> Utterance:
    audio, rate, phones, ends = recording.load()
    if audio.ndim > 1:
        audio = audio.mean(axis=1)
    if rate != config.sample_rate:
        audio = soxr.resample(audio, rate, config.sample_rate)
    name = f"audio/{recording.id}.flac"
    soundfile.write(folder / name, audio, config.sample_rate, subtype="PCM_16")
    # The split hangs on the text alone, so that no voice trains on what another holds out.
    digest = int.from_bytes(hashlib.sha256(recording.text.encode()).digest()[:8], "big")
    held_out = digest % 100 < config.held_out_percent
    seconds = len(audio) / config.sample_rate
    return Utterance(recording.id, name, seconds, recording.text, recording.speaker, held_out, phones, ends)


def ljspeech_recordings(folder: Path) -> Iterator[Recording]:
    """LJSpeech: `metadata.csv` with `id|text|normalised text`, and `wavs/<id>.wav`."""
    listing = folder / "metadata.csv"
    if not listing.is_file():
        raise CorpusError(f"no metadata.csv in {folder}; point corpus.path at an LJSpeech folder")
    for number, line in enumerate(_read_text(listing).splitlines(), 1):
        cells = line.split("|")
        if len(cells) not in (2, 3) or not cells[0] or "/" in cells[0] or not cells[-1].strip():
            raise CorpusError(f"{listing}:{number} is {line[:60]!r}, expected 'id|text|normalised text'")
        yield _file_recording(cells[0], cells[-1].strip(), "lj", folder / "wavs" / f"{cells[0]}.wav")


def libritts_recordings(folder: Path) -> Iterator[Recording]:
    """LibriTTS: `<speaker>/<chapter>/<id>.wav` beside `<id>.normalized.txt`, at any depth below."""
    for text in sorted(folder.rglob("*.normalized.txt")):
        name = text.name.removesuffix(".normalized.txt")
        speaker = text.parent.parent.name
        yield _file_recording(name, _read_text(text).strip(), speaker, text.with_name(f"{name}.wav"))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path} is not UTF-8 ({error.reason} at byte {error.start}); convert it"
        ) from error


def _file_recording(name: str, text: str, speaker: str, path: Path) -> Recording:
    def load() -> tuple[np.ndarray, int, tuple[str, ...], tuple[float, ...]]:
        try:
            _check_whole(path)
            audio, rate = soundfile.read(path, dtype="float32")
        except (OSError, RuntimeError) as error:
            raise CorpusError(f"cannot read {path} ({error}); remove its row or restore the file") from error
        if not len(audio) or not np.isfinite(audio).all():
            fault = "samples that are not finite" if len(audio) else "no samples"
            raise CorpusError(f"{path} has {fault}; remove its row or restore the file")
        return audio, rate, (), ()

    return Recording(name, text, speaker, load)


def _check_whole(path: Path) -> None:
    """Raise `CorpusError` for a WAV that ends before its header says; libsndfile reads it without a word."""
    with path.open("rb") as file:
        head = file.read(8)
    if len(head) < 8 or not head.startswith(b"RIFF"):
        return  # libsndfile knows other forms, and says what it does not know
    size, found = struct.unpack("<I", head[4:])[0], path.stat().st_size
    if found + 1 < size + 8 < UNKNOWN_SIZE:  # some writers leave out the last padding byte
        raise CorpusError(f"{path} is truncated: {found} bytes, expected {size + 8}; restore the file")


def _mend_partial(partial: Path, texts: Mapping[str, str]) -> set[str]:
    """Drop what a killed run left half written, or is no longer so; tell which utterances are there.

    texts: what is said in the recordings as they are now, by id.
    """
    if not partial.exists():
        return set()
    rows = {}
    for row in partial.read_text().split("\n")[:-1]:
        fields = json.loads(row)
        if texts.get(fields["id"]) == fields["text"]:
            rows[fields["id"]] = row
    partial.write_text("".join(f"{row}\n" for row in rows.values()))
    return set(rows)
