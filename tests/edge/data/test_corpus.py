"""Corpora: the layouts people have, the offline one, resuming, and broken rows."""

import json
import shutil
import tracemalloc
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
import soundfile

from soundstorm_edge.data.corpus import Corpus, make_corpus
from soundstorm_edge.data.corpus_config import CorpusConfig
from soundstorm_edge.data.sources import SOURCES
from soundstorm_edge.data.sources.flite import speak
from soundstorm_edge.data.sources.fortunes import fortune_sentences
from soundstorm_edge.errors import CorpusError

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


def write_tone(path: Path, rate: int = 22_050, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    soundfile.write(path, np.repeat(tone[:, None], channels, axis=1), rate)


@pytest.fixture
def ljspeech(tmp_path: Path) -> Path:
    folder = tmp_path / "LJSpeech-1.1"
    for name in ("LJ001-0001", "LJ001-0002"):
        write_tone(folder / "wavs" / f"{name}.wav")
    (folder / "metadata.csv").write_text(
        "LJ001-0001|In 1992|In nineteen ninety-two\nLJ001-0002|Hello|Hello\n", encoding="utf-8"
    )
    return folder


def test_ljspeech(ljspeech: Path, tmp_path: Path) -> None:
    config = CorpusConfig(source="ljspeech", path=str(ljspeech))
    corpus = make_corpus(config, tmp_path / "corpus")
    assert [u.id for u in corpus.utterances] == ["LJ001-0001", "LJ001-0002"]
    assert corpus.utterances[0].text == "In nineteen ninety-two"
    assert corpus.utterances[0].seconds == pytest.approx(1.0, abs=1e-3)
    audio = corpus.audio(corpus.utterances[0])
    spectrum = np.abs(np.fft.rfft(audio[:16_000]))
    assert spectrum.argmax() == 440, "resampled to 16 kHz, not merely relabelled"
    assert len(corpus.audio(corpus.utterances[0], 100, 50)) == 50


def test_a_recipe_may_name_every_source() -> None:
    assert set(get_args(get_type_hints(CorpusConfig)["source"])) == set(SOURCES)


def test_libritts(tmp_path: Path) -> None:
    chapter = tmp_path / "LibriTTS" / "dev" / "84" / "121123"
    write_tone(chapter / "84_121123_000.wav", rate=24_000, channels=2)
    (chapter / "84_121123_000.normalized.txt").write_text("Go. Do you hear?\n")
    config = CorpusConfig(source="libritts", path=str(tmp_path / "LibriTTS"))
    (utterance,) = make_corpus(config, tmp_path / "corpus").utterances
    assert (utterance.speaker, utterance.text) == ("84", "Go. Do you hear?")
    assert soundfile.info(tmp_path / "corpus" / utterance.audio).channels == 1


@needs_flite
def test_flite_tells_phones_and_their_times(tmp_path: Path) -> None:
    corpus = make_corpus(CorpusConfig(utterances=2, voices=("rms", "slt")), tmp_path / "corpus")
    assert [u.speaker for u in corpus.utterances] == ["rms", "slt"] * 2
    for utterance in corpus.utterances:
        assert len(utterance.phones) == len(utterance.ends)
        assert utterance.phones[0] == utterance.phones[-1] == "pau"
        assert list(utterance.ends) == sorted(utterance.ends)
        assert utterance.ends[-1] == pytest.approx(utterance.seconds, abs=0.05)
    assert len({u.text for u in corpus.utterances}) == 4, "each voice has a part of its own"
    alone = make_corpus(CorpusConfig(utterances=2, voices=("slt",)), tmp_path / "alone")
    split = {u.text: u.held_out for u in corpus.utterances if u.speaker == "rms"}
    assert split == {u.text: u.held_out for u in alone.utterances}, "voices share the split"


@needs_flite
def test_an_unknown_voice_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="flite has no voice 'nobody'; give some of: kal,"):
        make_corpus(CorpusConfig(utterances=1, voices=("nobody",)), tmp_path / "corpus")


def test_without_flite_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CorpusError, match="apt-get install flite"):
        speak("hello", "rms")


def test_fortunes_give_clean_sentences(tmp_path: Path) -> None:
    (tmp_path / "wise").write_text(
        "A stitch in time saves nine.  Look before you leap, always!\n\t\t-- Old Saying\n%\nSHOUTING "
        "IS RUDE HERE.\n%\nMr. Smith went away.\n%\nIt costs $5 a day.\n"
    )
    assert fortune_sentences(tmp_path) == [
        "A stitch in time saves nine.",
        "Look before you leap, always!",
    ]


def test_a_killed_run_goes_on(ljspeech: Path, tmp_path: Path) -> None:
    config = CorpusConfig(source="ljspeech", path=str(ljspeech))
    folder = tmp_path / "corpus"
    whole = (make_corpus(config, folder).folder / "utterances.jsonl").read_text()
    rows = whole.splitlines(keepends=True)
    (folder / "utterances.jsonl").unlink()
    damage = "[" * 9999 + '\n{"id": 3}\nnull\n\x00\n'
    (folder / "utterances.partial.jsonl").write_text(damage + rows[0] + rows[1][:20])
    (ljspeech / "wavs" / "LJ001-0001.wav").unlink()  # done before the kill, so not needed again
    make_corpus(config, folder)
    assert (folder / "utterances.jsonl").read_text() == whole
    assert not (folder / "utterances.partial.jsonl").exists()


def test_what_was_mended_or_removed_is_no_longer_in_the_corpus(ljspeech: Path, tmp_path: Path) -> None:
    config = CorpusConfig(source="ljspeech", path=str(ljspeech))
    folder = tmp_path / "corpus"
    make_corpus(config, folder)
    (folder / "utterances.jsonl").rename(folder / "utterances.partial.jsonl")  # as alignment leaves it
    (ljspeech / "metadata.csv").write_text("LJ001-0001|In 1992|Mended.\n")
    (mended,) = make_corpus(config, folder).utterances
    assert (mended.id, mended.text) == ("LJ001-0001", "Mended.")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20_000])


def repeat(path: Path) -> None:
    path.write_text(path.read_text() * 2)


def test_the_corpus_of_other_settings_is_not_taken(ljspeech: Path, tmp_path: Path) -> None:
    config = CorpusConfig(source="ljspeech", path=str(ljspeech))
    made = make_corpus(config, tmp_path / "corpus")
    assert list(make_corpus(config, tmp_path / "corpus").utterances) == list(made.utterances)
    assert not list((tmp_path / "corpus").glob("*.partial*"))
    with pytest.raises(CorpusError, match="corpus of another recipe; remove it or choose another --run"):
        make_corpus(CorpusConfig(source="ljspeech", path=str(ljspeech), utterances=1), tmp_path / "corpus")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "metadata.csv").unlink(), r"no metadata\.csv in .*point corpus\.path at an LJSpeech"),
        (lambda f: (f / "metadata.csv").write_text("only one cell\n"), r"metadata\.csv:1 is 'only one cell'"),
        (lambda f: (f / "wavs" / "LJ001-0002.wav").unlink(), r"cannot read .*LJ001-0002\.wav"),
        (lambda f: (f / "wavs" / "LJ001-0002.wav").write_bytes(b"RIFF"), r"cannot read .*LJ001-0002\.wav"),
        (
            lambda f: cut(f / "wavs" / "LJ001-0002.wav"),
            r"LJ001-0002\.wav is truncated: 20000 bytes, expected",
        ),
        (lambda f: repeat(f / "metadata.csv"), "two recordings have the id 'LJ001-0001'"),
    ],
)
def test_broken_sources_are_named(ljspeech: Path, tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    change(ljspeech)
    with pytest.raises(CorpusError, match=message):
        make_corpus(CorpusConfig(source="ljspeech", path=str(ljspeech)), tmp_path / "corpus")
    assert not (tmp_path / "corpus" / "utterances.jsonl").exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", r"utterances\.jsonl:1 is not an utterance"),
        (json.dumps({"id": "a"}), "lacks the key 'audio'"),
        (json.dumps({"id": "a", "colour": 1}), "unknown key 'colour'"),
    ],
)
def test_broken_rows_are_named(tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "utterances.jsonl").write_text(row + "\n")
    with pytest.raises(CorpusError, match=message):
        Corpus(tmp_path)


def test_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="make one with 'soundstorm-train corpus'"):
        Corpus(tmp_path)


def rows_of(folder: Path, names: str, *, held_out: str = "") -> Path:
    folder.mkdir(parents=True)
    rows = [
        {
            "id": n,
            "audio": f"audio/{n}.flac",
            "seconds": 1.0 + i,
            "text": n,
            "speaker": "x",
            "held_out": n in held_out,
        }
        for i, n in enumerate(names)
    ]
    (folder / "utterances.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
    )
    return folder


def test_a_folder_of_corpora_is_a_corpus(tmp_path: Path) -> None:
    whole = tmp_path / "corpus"
    rows_of(whole / "00", "äb", held_out="b")
    elsewhere = rows_of(tmp_path / "elsewhere", "cde", held_out="d")
    (whole / "01").symlink_to(elsewhere)
    write_tone(elsewhere / "audio" / "c.flac", rate=16_000)
    corpus = Corpus(whole)
    assert [u.id for u in corpus.utterances] == list("äbcde")
    assert [u.id for u in corpus.select(held_out=True)] == ["b", "d"]
    assert corpus.utterances.seconds.tolist() == [1, 2, 1, 2, 3]
    assert [u.id for u in corpus.utterances[1:4]] == ["b", "c", "d"]
    assert corpus.utterances[-1].audio == "01/audio/e.flac"
    assert len(corpus.audio(corpus.utterances[2])) == 16_000


def test_an_unfinished_shard_is_named(tmp_path: Path) -> None:
    rows_of(tmp_path / "00", "ab")
    (tmp_path / "01").mkdir()
    (tmp_path / "01" / "settings.json").write_text("{}")
    with pytest.raises(CorpusError, match=r"the shard .*01 is not complete; complete or remove it"):
        Corpus(tmp_path)


def test_a_long_list_of_utterances_stays_on_disk(tmp_path: Path) -> None:
    row = {"id": "a", "audio": "a", "seconds": 1.0, "text": "x" * 20_000, "speaker": "x", "held_out": False}
    (tmp_path / "utterances.jsonl").write_text((json.dumps(row) + "\n") * 300)
    tracemalloc.start()
    corpus = Corpus(tmp_path)
    chosen = corpus.select(held_out=False)
    assert sum(len(u.text) for u in chosen) == 6_000_000
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
