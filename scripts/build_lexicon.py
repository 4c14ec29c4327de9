"""Builds the lexicon without stress from flite's pronunciations.

    python -m scripts.build_lexicon soundstorm_edge/data/lexicon.txt.gz

flite has a dictionary and letter-to-sound trees. Its trees alone pronounce 89 % of 136,630 words as the
dictionary does; so trees are learned from the output of those trees, and only the other words are stored.

Measured: trees learned from 126,630 words pronounce 89.1 % of 10,000 other words exactly as flite's trees
(phone error rate 1.7 %). On 500 random sentences of `fortunes`, whose words the lexicon knows,
`Lexicon.phones` has a phone error rate of 0.06 % against flite's speech, pauses included.
"""

from __future__ import annotations

import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click
from tqdm import tqdm

from soundstorm_edge.data.sources.flite import run_flite
from soundstorm_edge.data.sources.fortunes import FORTUNES
from soundstorm_edge.errors import CorpusError
from soundstorm_runtime.support.command import run
from soundstorm_runtime.text.flite_lexicon import FliteLexicon
from soundstorm_runtime.text.letter_to_sound import LETTERS, LetterToSound

from .train_letter_to_sound import learn_clusters, learn_rules

WORD_LIST = Path("/usr/share/dict/american-english-large")
_VOICE = "kal16"  # all voices share one front end; this one is the fastest
_WORD = re.compile("[a-z]{1,29}")
_POSSESSIVE = re.compile(r"'(?:s|ll|ve|d)\b")
_SEPARATOR = " hh ey pau"  # the phones of "hey."
_BY_CONTEXT = ("a", "the", "read", "lead")  # the runtime's code handles their context


def default_words(word_list: Path = WORD_LIST, texts: Path = FORTUNES) -> list[str]:
    """Return the words of Debian's large American word list and of `fortunes`, in lower case, sorted.

    Accents, possessives and apostrophes are removed ("dont"), as flite does before it looks words up.

    Raises:
        CorpusError: the word list or the texts are not installed.
    """
    if not word_list.is_file():
        raise CorpusError(f"no word list {word_list}; install it with 'apt-get install wamerican-large'")
    files = sorted(path for path in texts.glob("*") if path.is_file() and not path.suffix)
    if not files:
        raise CorpusError(f"no text in {texts}; install it with 'apt-get install fortunes'")
    words = set(LETTERS)
    for path in (word_list, *files):
        text = unicodedata.normalize("NFKD", path.read_text(encoding="utf-8", errors="replace")).lower()
        plain = "".join(c for c in text if not unicodedata.combining(c)).replace("’", "'")
        words.update(re.findall("[a-z]+", _POSSESSIVE.sub("", plain).replace("'", "")))
    return sorted(word for word in words if _WORD.fullmatch(word))


def build_lexicon(words: Iterable[str]) -> FliteLexicon:
    """Learn rules, exceptions, verbs and acronyms from flite's pronunciations of `words` (a to z only)."""
    asked = sorted({*words, *LETTERS})
    rules = LetterToSound(learn_rules(rule_pronunciations(asked)))
    pronunciations = flite_pronunciations(asked)
    as_verbs = flite_pronunciations(asked, before="to", after="it")
    onsets, codas = learn_clusters(pronunciations, rules)
    lexicon = FliteLexicon(
        {letter: " ".join(pronunciations[letter]) for letter in LETTERS}, {}, rules, onsets, codas
    )
    exceptions = dict(lexicon.words)
    verbs = {}
    for word, phones in pronunciations.items():
        verb = as_verbs[word]
        if word not in _BY_CONTEXT and verb and verb != phones:
            verbs[word] = " ".join(verb)
        if phones and (word in verbs or lexicon.pronounce(word) != phones):
            exceptions[word] = " ".join(phones)
    return FliteLexicon(exceptions, {w: verbs[w] for w in verbs if w in exceptions}, rules, onsets, codas)


def flite_pronunciations(
    words: Iterable[str], *, before: str = "", after: str = ""
) -> dict[str, tuple[str, ...]]:
    """Return the phones that flite speaks for each word (a to z), alone or between two other words."""
    around = [_spoken_line(word) for word in (before, after)]
    skip, keep = len(around[0]), -len(around[1]) or None

    def ask(batch: list[str]) -> list[tuple[str, ...]]:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            # A blank line ends an utterance, and flite prints one line for each.
            file.write("".join(f"{before} {word} {after}".strip() + ".\n\n" for word in batch))
            file.flush()
            printed = run_flite("-voice", _VOICE, "-ps", "-f", file.name, "none")
        return [_without_pauses(line)[skip:keep] for line in printed.splitlines()]

    return dict(_in_batches(_checked(words), 1000, ask, "words"))


def rule_pronunciations(words: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the phones of each word (a to z) by flite's letter-to-sound trees, without its dictionary.

    An SSML alias is looked up in the dictionary without any check, and the prefix `000#` makes it unknown
    there; to the trees, which read four places to the left, the prefix is the padding before every word.
    """

    def ask(batch: list[str]) -> list[tuple[str, ...]]:
        spoken = " ".join(f"<sub alias='000#{word}'>x'y</sub> hey." for word in batch)
        printed = run_flite("-voice", _VOICE, "-ssml", "-ps", "-t", f"<speak>{spoken}</speak>", "none")
        return [_without_pauses(part) for part in " ".join(printed.split()).split(_SEPARATOR)[:-1]]

    return dict(_in_batches(_checked(words), 30, ask, "rules"))


def _spoken_line(word: str) -> tuple[str, ...]:
    return _without_pauses(run_flite("-voice", _VOICE, "-ps", "-t", f"{word}.", "none")) if word else ()


def _without_pauses(printed: str) -> tuple[str, ...]:
    return tuple(phone for phone in printed.split() if phone != "pau")


def _checked(words: Iterable[str]) -> list[str]:
    listed = list(words)
    for word in listed:
        if not _WORD.fullmatch(word):
            raise CorpusError(f"{word!r} is not a word for flite; give up to 29 letters a to z, lower case")
    return listed


def _in_batches(
    words: list[str], size: int, ask: Callable[[list[str]], list[tuple[str, ...]]], what: str
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for start in tqdm(range(0, len(words), size), desc=f"flite {what}", unit="batch", leave=False):
        batch = words[start : start + size]
        answers = ask(batch)
        if len(answers) != len(batch):
            raise CorpusError(
                f"flite returned {len(answers)} answers for {len(batch)} words after {batch[0]!r}; "
                "use Debian's flite 2.2"
            )
        yield from zip(batch, answers, strict=True)


@click.command(context_settings={"show_default": True})
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--words",
    "word_list",
    type=click.Path(path_type=Path),
    default=WORD_LIST,
    help="Word list, one word a line.",
)
@click.option(
    "--texts", type=click.Path(path_type=Path), default=FORTUNES, help="Folder of texts with more words."
)
def main(output: Path, word_list: Path, texts: Path) -> None:
    """Build the lexicon of flite's pronunciations and write it to OUTPUT. Takes about ten minutes.

    Example: python -m scripts.build_lexicon soundstorm_edge/data/lexicon.txt.gz
    """
    lexicon = build_lexicon(default_words(word_list, texts))
    lexicon.save(output)
    click.echo(f"{output}: {len(lexicon.words)} exceptions, {len(lexicon.verbs)} verbs")


if __name__ == "__main__":
    run(main)
