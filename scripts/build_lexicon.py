"""Builds the lexicon of the device from flite's own pronunciations.

flite has a dictionary and letter-to-sound trees. Of 136,630 words its trees alone read 89 % as it
does, so where trees are learned from the answers of those trees, few words have to be stored.

Measured: trees learned from 126,630 words read 89.1 % of 10,000 others exactly as flite's trees
(phone error rate 1.7 %); `Lexicon.phones` on 500 random sentences of `fortunes`, whose words the
lexicon knows, differs from what flite says by a phone error rate of 0.06 %, pauses included.
"""

from __future__ import annotations

import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from tqdm import tqdm

from soundstorm_edge.data.sources.flite import run_flite
from soundstorm_edge.data.sources.fortunes import FORTUNES
from soundstorm_edge.errors import CorpusError
from soundstorm_runtime.text.letter_to_sound import LETTERS, LetterToSound
from soundstorm_runtime.text.lexicon import Lexicon

from .train_letter_to_sound import learn_rules

WORD_LIST = Path("/usr/share/dict/american-english-large")
_VOICE = "kal16"  # all voices share one front end; this one speaks fastest
_WORD = re.compile("[a-z]{1,29}")
_POSSESSIVE = re.compile(r"'(?:s|ll|ve|d)\b")
_SEPARATOR = " hh ey pau"  # what flite says at the end of "hey."
_VOWEL_LETTERS = "aeiouy"
_OTHERWISE_RULED = ("a", "the", "read", "lead")  # their context is in the runtime's code


def default_words(word_list: Path = WORD_LIST, texts: Path = FORTUNES) -> list[str]:
    """Give the words of Debian's large American word list and of `fortunes`: lower case, sorted.

    Accents are folded, possessives dropped and apostrophes taken out ("dont"), as flite looks them up.
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


def build_lexicon(words: Iterable[str]) -> Lexicon:
    """Ask flite for `words` (a to z only) and learn rules, exceptions, verbs and acronyms from them."""
    asked = sorted({*words, *LETTERS})
    rules = LetterToSound(learn_rules(rule_pronunciations(asked)))
    pronunciations = flite_pronunciations(asked)
    as_verbs = flite_pronunciations(asked, before="to", after="it")
    onsets, codas = _clusters(pronunciations, rules)
    lexicon = Lexicon(
        {letter: " ".join(pronunciations[letter]) for letter in LETTERS}, {}, rules, onsets, codas
    )
    exceptions = dict(lexicon.words)
    verbs = {}
    for word, phones in pronunciations.items():
        verb = as_verbs[word]
        if word not in _OTHERWISE_RULED and verb and verb != phones:
            verbs[word] = " ".join(verb)
        if phones and (word in verbs or lexicon.pronounce(word) != phones):
            exceptions[word] = " ".join(phones)
    return Lexicon(exceptions, {w: verbs[w] for w in verbs if w in exceptions}, rules, onsets, codas)


def flite_pronunciations(
    words: Iterable[str], *, before: str = "", after: str = ""
) -> dict[str, tuple[str, ...]]:
    """Ask flite how it speaks each word (a to z) alone, or between the words `before` and `after`."""
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
    """Ask flite how its letter-to-sound trees alone speak each word (a to z), its dictionary unused.

    An SSML alias goes to the dictionary unseen, `000#` in front makes it unknown there, and to the
    trees, which look four places to the left, it is what stands before every word anyway.
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
            raise CorpusError(f"{word!r} is no word for flite; give up to 29 letters a to z, lower case")
    return listed


def _in_batches(
    words: list[str], size: int, ask: Callable[[list[str]], list[tuple[str, ...]]], what: str
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for start in tqdm(range(0, len(words), size), desc=f"flite {what}", unit="batch", leave=False):
        batch = words[start : start + size]
        answers = ask(batch)
        if len(answers) != len(batch):
            raise CorpusError(
                f"flite gave {len(answers)} answers for {len(batch)} words from {batch[0]!r} on; "
                "use Debian's flite 2.2"
            )
        yield from zip(batch, answers, strict=True)


def _clusters(
    pronunciations: Mapping[str, tuple[str, ...]], rules: LetterToSound
) -> tuple[set[str], set[str]]:
    """Learn what may stand before the first and after the last vowel of a word not read by letter."""
    onsets, codas = {""}, {""}
    for word, phones in pronunciations.items():
        vowels = [i for i, letter in enumerate(word) if letter in _VOWEL_LETTERS]
        if vowels and len(word) > 1 and phones == rules(word):
            onsets.add(word[: vowels[0]])
            codas.add(word[vowels[-1] + 1 :])
    return onsets, codas
