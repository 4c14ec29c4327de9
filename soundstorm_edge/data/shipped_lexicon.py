"""The pronunciations that come with the package, in the file that `scripts.build_lexicon` writes."""

from __future__ import annotations

from importlib import resources

from soundstorm_runtime.text.lexicon import Lexicon


def shipped_lexicon() -> Lexicon:
    """Read the pronunciations that come with the package."""
    with resources.as_file(resources.files(__package__) / "lexicon.txt.gz") as path:
        return Lexicon.load(path)
