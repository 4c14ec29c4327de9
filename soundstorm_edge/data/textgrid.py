"""Phone times from TextGrid files, which Praat and aligners such as the Montreal Forced Aligner write."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from praatio import textgrid  # type: ignore[import-untyped]
from praatio.utilities.errors import PraatioException  # type: ignore[import-untyped]

from soundstorm_runtime.text.lexicon import PAUSE

from ..errors import CorpusError, UnusableRecordingError
from ..support.progress import progress_bar
from .recording import BYTE_ORDER_MARK, find_files
from .utterances import Utterance

TIER = "phones"
SILENCES = ("", "sil", "sp", "silence", "<eps>")
UNKNOWN = "spn"  # speech whose phones the aligner does not know
_ARPABET = re.compile(r"([A-Z]+)([0-2]?)")


def read_times(
    folder: Path,
    utterances: Sequence[Utterance],
    symbols: Collection[str],
    unusable: dict[str, str] | None = None,
) -> list[Utterance]:
    """Return the utterances with the phones and times of `<id>.TextGrid`.

    Phones are those of `symbols`, or ARPAbet, which is converted: `AH0` to `ah0` or `ax`, `IY1` to `iy1` or
    `iy`. Intervals that are missing or empty are pauses. Every utterance starts and ends with a pause, which
    may have no duration.

    Args:
        folder: of the files, at any depth.
        utterances: which.
        symbols: the known phones.
        unusable: where it is given, utterances with speech of unknown phones (`spn`) are left out, and the
            reasons are entered here by id.

    Raises:
        CorpusError: an utterance has no file, or a file cannot be read or has an unknown phone.
        UnusableRecordingError: a file has speech of unknown phones, and `unusable` is not given.
    """
    files = {path.stem: path for path in find_files(folder, "*.TextGrid")}
    if missing := [u.id for u in utterances if u.id not in files]:
        raise CorpusError(
            f"{folder} has no {missing[0]}.TextGrid ({len(missing)} of {len(utterances)} are missing); "
            "align these utterances, or remove them from the corpus"
        )
    timed = []
    for utterance in progress_bar(utterances, desc="TextGrids", unit="utterance"):
        try:
            timed.append(_with_times(utterance, files[utterance.id], symbols))
        except UnusableRecordingError as error:
            if unusable is None:
                raise
            unusable[utterance.id] = str(error)
    return timed


def _with_times(utterance: Utterance, path: Path, symbols: Collection[str]) -> Utterance:
    phones, ends = [PAUSE], [0.0]
    for label, end in _intervals(path):
        if label == UNKNOWN:
            raise UnusableRecordingError(
                f"{path} has {UNKNOWN!r} at {end:.2f} s, speech of unknown phones; add its words to the "
                "dictionary of the aligner"
            )
        phone = _phone(label, symbols)
        if phone not in symbols:
            raise CorpusError(
                f"{path} has the phone {label!r} at {end:.2f} s, expected ARPAbet or one of "
                f"{', '.join(sorted(symbols))}; align with a model of these, such as english_us_arpa"
            )
        if phone == phones[-1] == PAUSE:
            ends[-1] = end
        else:
            phones.append(phone)
            ends.append(end)
    if abs(ends[-1] - utterance.seconds) > 0.1:
        raise CorpusError(
            f"{path} ends at {ends[-1]:.2f} s, expected {utterance.seconds:.2f} s; "
            "is it of another recording?"
        )
    if phones[-1] == PAUSE:
        ends.pop()
        phones.pop()
    phones.append(_final_pause(utterance.text, symbols))
    return replace(utterance, phones=tuple(phones), ends=(*ends, utterance.seconds))


def _intervals(path: Path) -> Iterator[tuple[str, float]]:
    """Yield labels and ends of the tier `phones`, or `<speaker> - phones`."""
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
    except (PraatioException, OSError, ValueError, IndexError, AttributeError, KeyError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise CorpusError(f"{path} cannot be read as a TextGrid ({reason}); align it again") from error
    found = [name for name in grid.tierNames if name == TIER or name.endswith(f" - {TIER}")]
    if len(found) != 1:
        tiers = ", ".join(grid.tierNames) or "none"
        raise CorpusError(f"{path} has the tiers {tiers}, expected one that is named {TIER!r}")
    for interval in grid.getTier(found[0]).entries:
        yield interval.label.replace(BYTE_ORDER_MARK, "").strip(), interval.end


def _phone(label: str, symbols: Collection[str]) -> str:
    if label.lower() in SILENCES:
        return PAUSE
    arpabet = _ARPABET.fullmatch(label)
    if arpabet is None:
        return label
    if (stressed := label.lower()) in symbols:
        return stressed
    return "ax" if label == "AH0" else arpabet[1].lower()


def _final_pause(text: str, symbols: Collection[str]) -> str:
    """Return the pause after a sentence, by its mark where the phones distinguish questions."""
    mark = text.rstrip("\"')]} ")[-1:]
    return next((pause for pause in (PAUSE + mark, f"{PAUSE}.") if pause in symbols), PAUSE)
