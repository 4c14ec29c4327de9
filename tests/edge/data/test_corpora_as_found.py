"""Corpora as people have them: what editors leave in files, and recordings with nothing to learn from."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundstorm_edge.data.cmu_dictionary import read_dictionary
from soundstorm_edge.data.corpus import Corpus, make_corpus
from soundstorm_edge.data.corpus_config import CorpusConfig
from soundstorm_edge.errors import CorpusError
from soundstorm_edge.training.recipe import load_recipe

RATE = 16_000
TONE = 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
DITHER = np.rint(np.random.default_rng(0).triangular(-1, 0, 1, RATE)) / 128  # silence in 8 bits


def write(path: Path, audio: np.ndarray = TONE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, RATE)


def ljspeech(folder: Path, metadata: str, **audio: np.ndarray) -> CorpusConfig:
    """Write recordings `a`, `b` and those given, with this listing."""
    for name, samples in {"a": TONE, "b": TONE, **audio}.items():
        write(folder / "wavs" / f"{name}.wav", samples)
    (folder / "metadata.csv").write_bytes(metadata.encode())
    return CorpusConfig(source="ljspeech", path=str(folder))


def texts(corpus: Corpus) -> dict[str, str]:
    return {u.id: u.text for u in corpus.utterances}


@pytest.mark.parametrize(
    "metadata",
    [
        "\ufeffa|One.\nb|Two words.\n",
        "a|One.\n\ufeffb|Two words.\n",
        "a|\ufeffOne.\nb|Two \ufeffwords.\n",
        "\n\na|One.\n  \nb|Two words.\n\n",
        "a|One.\r\n\r\nb|Two words.\r\n",
        "a|One.\nb|Two\u2028words.\n",
        "a|One.\u2029\nb|Two\x85words.",
    ],
)
def test_listings_as_editors_write_them(tmp_path: Path, metadata: str) -> None:
    config = ljspeech(tmp_path / "lj", metadata)
    assert texts(make_corpus(config, tmp_path / "corpus")) == {"a": "One.", "b": "Two words."}


def test_dictionaries_and_recipes_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("\ufeffhello HH AH0 L OW1\n", encoding="utf-8")
    assert list(read_dictionary(tmp_path / "words")) == ["hello"]
    (tmp_path / "my.toml").write_text('\ufeffname = "mine"\n', encoding="utf-8")
    assert load_recipe(str(tmp_path / "my.toml")).name == "mine"


def test_libritts_ignores_files_of_macos(tmp_path: Path) -> None:
    chapter = tmp_path / "tts" / "84" / "1"
    write(chapter / "84_1_0.wav")
    (chapter / "84_1_0.normalized.txt").write_text("\ufeffGo.\n", encoding="utf-8")
    (chapter / "._84_1_0.normalized.txt").write_bytes(b"\0\5\x16\7\xff")
    config = CorpusConfig(source="libritts", path=str(tmp_path / "tts"))
    assert texts(make_corpus(config, tmp_path / "corpus")) == {"84_1_0": "Go."}


def test_librispeech(tmp_path: Path) -> None:
    chapter = tmp_path / "LibriSpeech" / "dev-clean" / "84" / "121123"
    write(chapter / "84-121123-0000.flac")
    write(chapter / "84-121123-0001.flac")
    listing = chapter / "84-121123.trans.txt"
    listing.write_text("84-121123-0000 GIVE IT TO US\n\n84-121123-0001 I'LL GO\n")
    (chapter / "._84-121123.trans.txt").write_bytes(b"\0\5\x16\7\xff")
    config = CorpusConfig(source="librispeech", path=str(tmp_path / "LibriSpeech"))
    corpus = make_corpus(config, tmp_path / "corpus")
    assert texts(corpus) == {"84-121123-0000": "give it to us", "84-121123-0001": "i'll go"}
    assert {u.speaker for u in corpus.utterances} == {"84"}
    listing.write_text("elsewhere GO\n")
    with pytest.raises(
        CorpusError, match=r"trans\.txt:1 is 'elsewhere GO', expected '84-121123-<number> TEXT'"
    ):
        make_corpus(config, tmp_path / "other")


UNUSABLE = [
    ("", TONE, "the transcript is empty"),
    ("...", TONE, r"the transcript '\.\.\.' has no word that can be spoken"),
    ("\u4f60\u597d", TONE, "has no word that can be spoken"),
    ("Hello.", TONE * 0, "the audio is silent: peak 0.00000"),
    ("Hello.", TONE * 1e-3, "the audio is silent: peak 0.000"),
    ("Hello.", DITHER, "the audio is silent: steady noise with a peak of 0.0078"),
    ("Hello.", TONE[:800], r"the audio lasts 0\.050 s, expected at least 0\.1 s"),
    ("Hello.", TONE[:0], r"c\.wav has no samples"),
    ("Hello.", np.stack([TONE, -TONE], axis=1), "the channels have opposite phase and cancel"),
]


@pytest.mark.parametrize(("text", "audio", "reason"), UNUSABLE)
def test_unusable_recordings_are_refused_or_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, audio: np.ndarray, reason: str
) -> None:
    config = ljspeech(tmp_path / "lj", f"a|One.\nc|{text}\nb|Two.\n", c=audio)
    with pytest.raises(
        CorpusError, match=f'1 of 3 recordings cannot be used .c: .*{reason}.*unusable = "skip"'
    ):
        make_corpus(config, tmp_path / "corpus")
    skipping = CorpusConfig(source="ljspeech", path=config.path, unusable="skip")
    with caplog.at_level(logging.WARNING):
        corpus = make_corpus(skipping, tmp_path / "corpus")
    assert list(texts(corpus)) == ["a", "b"]
    assert "1 of 3 recordings cannot be used and are left out (c: " in caplog.text
    assert (tmp_path / "corpus" / "left-out.txt").read_text().startswith("c\t")
    with pytest.raises(CorpusError, match=r"lacks the recordings of its left-out\.txt"):
        make_corpus(config, tmp_path / "corpus")


def test_channels_that_differ_or_are_empty_do_not_cancel(tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, RATE))
    stereo = {"a": np.stack([TONE, 0 * TONE], axis=1), "b": noise.T}
    config = ljspeech(tmp_path / "lj", "a|One.\nb|Two.\n", **stereo)
    assert len(make_corpus(config, tmp_path / "corpus").utterances) == 2


def test_a_corpus_of_nothing_usable_is_refused(tmp_path: Path) -> None:
    config = ljspeech(tmp_path / "lj", "a|-\nb|-\n")
    skipping = CorpusConfig(source="ljspeech", path=config.path, unusable="skip")
    with pytest.raises(CorpusError, match="2 of 2 recordings cannot be used"):
        make_corpus(skipping, tmp_path / "corpus")
    assert not (tmp_path / "corpus" / "utterances.jsonl").exists()


def test_settings_of_before_the_option_still_fit(tmp_path: Path) -> None:
    config = ljspeech(tmp_path / "lj", "a|One.\n")
    settings = make_corpus(config, tmp_path / "corpus").folder / "settings.json"
    settings.write_text(settings.read_text().replace(', "unusable": "refuse"', ""))
    assert "unusable" not in settings.read_text()
    assert texts(make_corpus(config, tmp_path / "corpus")) == {"a": "One."}


def write_textgrid(path: Path, label: str) -> None:
    """Write one second of one phone in the short form of the format."""
    path.parent.mkdir(exist_ok=True)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "0", "1", "<exists>", "1"]
    lines += ['"IntervalTier"', '"phones"', "0", "1", "1", "0", "1", f'"{label}"', ""]
    path.write_text("\n".join(lines))


def test_speech_of_unknown_phones_follows_the_same_setting(tmp_path: Path) -> None:
    path = ljspeech(tmp_path / "lj", "a|One.\nb|Two.\n").path
    write_textgrid(tmp_path / "times" / "a.TextGrid", "AH1")
    write_textgrid(tmp_path / "times" / "b.TextGrid", "spn")
    config = CorpusConfig(source="ljspeech", path=path, times=str(tmp_path / "times"))
    with pytest.raises(CorpusError, match=r"1 of 2 recordings cannot be used .b: .*'spn' at 1\.00 s"):
        make_corpus(config, tmp_path / "corpus")
    corpus = make_corpus(replace(config, unusable="skip"), tmp_path / "corpus")
    assert [u.phones[1] for u in corpus.utterances] == ["ah"]
    assert (tmp_path / "corpus" / "left-out.txt").read_text().startswith("b\t")
