"""The pronunciations that come with the package: one file for each way of writing phones.

`flite` has the phones of Debian's flite, without stress; `cmu` those of the CMU Pronouncing Dictionary
with stress (its licence: `lexicon-cmu-LICENSE.txt`).
"""

from __future__ import annotations

from importlib import resources
from typing import Literal

from soundstorm_runtime.text.lexicon import Lexicon
from soundstorm_runtime.text.lexicon_file import load_lexicon

LexiconName = Literal["flite", "cmu"]
_FILES = {"flite": "lexicon.txt.gz", "cmu": "lexicon-cmu.txt.gz"}


def shipped_lexicon(name: LexiconName = "flite") -> Lexicon:
    """Read pronunciations that come with the package."""
    with resources.as_file(resources.files(__package__) / _FILES[name]) as path:
        return load_lexicon(path)
