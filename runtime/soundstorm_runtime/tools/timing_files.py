"""Word and phone times as files: JSON, subtitles (SubRip, WebVTT) and Praat's TextGrid."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..support.atomic import write_file
from ..support.files import parse_json, read_text, reason
from ..synthesis.word_times import MarkTime, PhoneTime, WordTime

CUE_CHARACTERS = 80  # of a subtitle, at most: two lines
CUE_PAUSE = 0.5  # seconds without a word that end a subtitle

_LARGEST = 64 << 20  # bytes of a file that is read: days of speech
_TOLERANCE = 0.1  # seconds by which speech and its times may differ in length: formats pad what they encode
_MARKS = '.,;:!?…"“”‘’()[]'
_SENTENCE_END = re.compile(r"[.!?…]|\n\s*\n")


@dataclass(frozen=True)
class _Cue:
    """A subtitle: the stretch of the original text that is spoken from `start` to `end`, in seconds."""

    start: float
    end: float
    text: str


def write_times(path: Path, text: str, words: Sequence[WordTime], duration: float) -> None:
    """Write the times of words to a file, in the format that its suffix names.

    Args:
        path: A name that ends in .json, .srt, .vtt or .TextGrid.
        text: The text that was spoken; the spans of the words refer to it.
        words: The words in order.
        duration: Seconds of the audio.

    Raises:
        OptionError: The suffix is another, or the file cannot be written.
    """
    _write(path, _format(path)(text, words, duration))


def write_json(path: Path, data: Mapping[str, object]) -> None:
    """Write times as JSON to a file. Raises `OptionError` where it cannot be written."""
    _write(path, json.dumps(data, ensure_ascii=False, indent=1) + "\n")


def _write(path: Path, content: str) -> None:
    try:
        write_file(path, content)
    except OSError as error:
        raise OptionError(
            f"cannot write {path}: {error.strerror}; choose a folder that can be written"
        ) from error


def read_times(path: Path, seconds: float) -> tuple[WordTime, ...]:
    """Read the times of words from JSON: what `write_times` writes, or an aligner.

    Each word has `word`, `start` and `end`, and may have `span`, `phones` and `marks`. Capitals, and
    punctuation around a word, are removed; punctuation by itself is no word.

    Args:
        path: The file.
        seconds: Length of the speech, which is that of the file where it states one.

    Raises:
        OptionError: The file cannot be read, has no such words in order, or is of other speech.
    """
    try:
        data = parse_json(read_text(path, _LARGEST))
        if not isinstance(data, dict) or not isinstance(data.get("words"), list):
            raise ValueError("it has no list 'words'")
        words = tuple(word for place, own in enumerate(data["words"], 1) if (word := _word(place, own)))
        length = float(data.get("duration", seconds))
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise OptionError(
            f"{path} has no times of words ({reason(error)}); expected JSON as of soundstorm say --times"
        ) from error
    if not abs(length - seconds) <= _TOLERANCE:
        raise OptionError(
            f"{path} is of speech of {length:.2f} s, but this has {seconds:.2f} s; give the times of this "
            "speech"
        )
    for before, after in pairwise(words):
        if after.start < before.start:
            raise OptionError(f"{path} has {after.word!r} after {before.word!r}, which starts later; sort it")
    return words


def _word(place: int, data: Mapping[str, Any]) -> WordTime | None:
    """Return the word in a place of the list; None for punctuation by itself."""
    try:
        word, start, end = (
            data["word"].strip().strip(_MARKS).lower(),
            float(data["start"]),
            float(data["end"]),
        )
        first, last = map(int, data.get("span", (0, 0)))
        phones = [PhoneTime(p["phone"], float(p["start"]), float(p["end"])) for p in data.get("phones", ())]
        marks = [MarkTime(mark["name"], float(mark["time"])) for mark in data.get("marks", ())]
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"word {place} is {repr(data)[:60]}, expected 'word', 'start' and 'end'") from error
    if not 0 <= start <= end < float("inf"):
        raise ValueError(f"{data['word']!r} is from {start:g} to {end:g} s")
    return WordTime(word, start, end, (first, last), tuple(phones), tuple(marks)) if word else None


def check_json_path(path: Path | None) -> None:
    """Raise `OptionError` for a name that does not end in .json."""
    if path is not None and path.suffix.lower() != ".json":
        raise OptionError(f"cannot write times to {path}: expected a name that ends in .json")


def check_times_path(path: Path) -> None:
    """Raise `OptionError` for a name whose suffix is not that of a format."""
    _format(path)


def _format(path: Path) -> Callable[[str, Sequence[WordTime], float], str]:
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise OptionError(f"cannot write times to {path}: expected a name that ends in {', '.join(_FORMATS)}")
    return _FORMATS[suffix]


def _json(text: str, words: Sequence[WordTime], duration: float) -> str:
    data = {"duration": round(duration, 4), "words": [word.to_json(text) for word in words]}
    return json.dumps(data, ensure_ascii=False, indent=1) + "\n"


def _srt(text: str, words: Sequence[WordTime], duration: float) -> str:
    return "".join(
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{cue.text}\n\n"
        for number, cue in enumerate(_cues(text, words), 1)
    )


def _vtt(text: str, words: Sequence[WordTime], duration: float) -> str:
    escaped = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
    cues = (
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{cue.text.translate(escaped)}\n\n"
        for cue in _cues(text, words)
    )
    return "WEBVTT\n\n" + "".join(cues)


def _cues(text: str, words: Sequence[WordTime]) -> Iterator[_Cue]:
    """Group words into subtitles: one ends with a sentence, before a long pause, or when it is full."""
    group: list[WordTime] = []
    for word in words:
        if group and _starts_cue(text, group, word):
            yield _cue(text, group, word.span[0])
            group = []
        group.append(word)
    if group:
        yield _cue(text, group, len(text))


def _starts_cue(text: str, group: Sequence[WordTime], word: WordTime) -> bool:
    last = group[-1]
    if word.span[0] < last.span[1]:  # both were read from the same stretch of text, which is not cut
        return False
    full = word.span[1] - group[0].span[0] > CUE_CHARACTERS
    between = text[last.span[1] : word.span[0]]
    return full or word.start - last.end >= CUE_PAUSE or bool(_SENTENCE_END.search(between))


def _cue(text: str, group: Sequence[WordTime], following: int) -> _Cue:
    """Return the subtitle of some words with the marks around them, up to the next word at `following`."""
    start, end = group[0].span[0], max(word.span[1] for word in group)
    while start > 0 and not text[start - 1].isspace() and not text[start - 1].isalnum():
        start -= 1
    while end < following and not text[end].isspace():
        end += 1
    return _Cue(group[0].start, group[-1].end, " ".join(text[start:end].split()))


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _text_grid(text: str, words: Sequence[WordTime], duration: float) -> str:
    """Write interval tiers `words` and `phones`, and a tier of points for marks, in Praat's long format.

    Silence has an empty label.
    """
    tiers = {
        "words": [(word.start, word.end, word.word) for word in words],
        "phones": [(phone.start, phone.end, phone.phone) for word in words for phone in word.phones],
    }
    marks = [mark for word in words for mark in word.marks]
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {duration:.4f}",
        "tiers? <exists>",
        f"size = {len(tiers) + bool(marks)}",
        "item []:",
    ]
    for number, (name, labels) in enumerate(tiers.items(), 1):
        intervals = list(_with_silence(labels, duration))
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f'        name = "{name}"',
            "        xmin = 0",
            f"        xmax = {duration:.4f}",
            f"        intervals: size = {len(intervals)}",
        ]
        for place, (start, end, label) in enumerate(intervals, 1):
            lines += [
                f"        intervals [{place}]:",
                f"            xmin = {start:.4f}",
                f"            xmax = {end:.4f}",
                f'            text = "{_quoted(label)}"',
            ]
    return "\n".join([*lines, *(_points(len(tiers) + 1, marks, duration) if marks else [])]) + "\n"


def _points(number: int, marks: Sequence[MarkTime], duration: float) -> Iterator[str]:
    """Return the lines of the tier of marks."""
    yield f"    item [{number}]:"
    yield '        class = "TextTier"'
    yield '        name = "marks"'
    yield "        xmin = 0"
    yield f"        xmax = {duration:.4f}"
    yield f"        points: size = {len(marks)}"
    for place, mark in enumerate(marks, 1):
        yield f"        points [{place}]:"
        yield f"            number = {mark.time:.4f}"
        yield f'            mark = "{_quoted(mark.name)}"'


def _quoted(label: str) -> str:
    return label.replace('"', '""')


def _with_silence(
    labels: Sequence[tuple[float, float, str]], duration: float
) -> Iterator[tuple[float, float, str]]:
    """Fill what lies between labelled intervals, so that they cover all of the audio."""
    last = 0.0
    for start, end, label in [*labels, (duration, duration, "")]:
        if start - last > 5e-5:  # what four digits show
            yield last, start, ""
        if end > start:
            yield start, end, label
        last = end


_FORMATS: dict[str, Callable[[str, Sequence[WordTime], float], str]] = {
    ".json": _json,
    ".srt": _srt,
    ".vtt": _vtt,
    ".textgrid": _text_grid,
}
