"""Words that are written alike and spoken differently: which way a sentence means, by the words beside it.

`is_verb` tells nouns and adjectives from verbs (the use, to use). `meant` knows words whose ways differ by
meaning (a bow and arrow, take a bow). Both see one phrase, from pause to pause.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import dropwhile, pairwise
from typing import NamedTuple

from .lexicon import PREPOSITIONS


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_POSSESSIVES = _words("my your his her its our their whose")
_ARTICLES = _words("a an the no every another this") | _POSSESSIVES
_DETERMINERS = _ARTICLES | _words("some any all each both neither either those these many what such")
_OBJECTS = (_DETERMINERS - {"what", "whose"}) | _words(
    "it me you him them us mine something myself yourself himself herself itself ourselves themselves"
)
_BE = _words(
    "is are was were am be been being isn't aren't wasn't weren't it's that's he's she's there's what's "
    "who's i'm you're we're they're seem seems seemed feel feels felt look looks looked remain remains stay "
    "stays stayed become becomes became"
)
_ASKING = _words("is are was were am isn't aren't wasn't weren't")
_HAVE = _words(
    "have has had having haven't hasn't hadn't i've you've we've they've could've should've would've"
)
_AUXILIARIES = _words(
    "to will would may might can could shall should must cannot can't couldn't won't wouldn't shouldn't "
    "don't doesn't didn't do does did let's please i'll you'll we'll they'll he'll she'll i'd you'd we'd "
    "they'd"
)
_SUBJECTS = _words("i you we they who people")
_THIRD_PERSONS = _words("he she it")
_SUBJECTS_IN_S = _words("he she it who that which everybody everyone nobody somebody someone")
_INVERTED = _words("do does did will would can could should")
_QUESTION_WORDS = _words("when where why how what who which")
_LETTING = _words("let help make makes made watch hear see")
_DEGREES = _words("so very quite more most too rather")
_ADVERBS = _DEGREES | _words(
    "not never always also really just only ever still often usually already sometimes now even then"
)
_BEFORE_READ = _ADVERBS | _SUBJECTS | _THIRD_PERSONS
_USUALLY_VERBS = _words("use uses insert")
_JOINING = _words("and or as but than if while that because")
_NOT_AFTER_VERBS = _BE | PREPOSITIONS | _JOINING | _AUXILIARIES | _HAVE | {""}
_NUMBERS = _words("two three four five six seven eight nine ten several few")
_LATER = _words("yesterday ago earlier once")
_LAST_TIMES = _words("night week month year time monday tuesday wednesday thursday friday saturday sunday")


class Sense(NamedTuple):
    """A way of speaking a word that is not its usual one.

    Args:
        phones: Of the word.
        before: Words of which one stands directly before it; empty for any.
        after: Words of which one stands directly after it, the empty word for the end of the phrase; empty
            for any.
        not_before: Words that do not.
        second: Words of which one stands before the word before it; empty for any.
    """

    phones: str
    before: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()
    not_before: frozenset[str] = frozenset()
    second: frozenset[str] = frozenset()


_IS_OR_ENDS = _words("is was were are and or in") | {""}
_PLACES = _words(
    "in here there with near alone on at by across next upstairs downstairs nearby abroad under among above "
    "below off far down up"
)
SENSES: dict[str, tuple[Sense, ...]] = {
    "live": (
        Sense("l ay1 v", before=_BE | _words("a an the our your another go goes going went watch air airs")),
        Sense(
            "l ay1 v",
            after=_words(
                "music show shows audience audiences broadcast broadcasts stream streams concert concerts "
                "wire performance performances event events tv television coverage video feed ammunition "
                "band chat recording album demo wires updates"
            ),
        ),
    ),
    "lives": (
        Sense(
            "l ih1 v z",
            after=_PLACES,
            not_before=_ARTICLES | _DETERMINERS | _NUMBERS
            | _words("of lost saved save saves lose human other past daily private and") | {""},
        ),
    ),
    "lead": (
        Sense(
            "l eh1 d",
            after=_words(
                "pipe pipes poisoning paint paints acid weight weights bullet bullets ore crystal ions atoms "
                "battery batteries apron solder contamination exposure balloon pencil pencils shot"
            ),
        ),
        Sense(
            "l eh1 d", before=_words("of contains containing contain molten liquid like"), after=_IS_OR_ENDS
        ),
    ),
    "wind": (Sense("w ay1 n d", after=_words("up down"), not_before=_ARTICLES | _words("of strong")),),
    "winds": (
        Sense(
            "w ay1 n d z",
            after=_words("through around along past its"),
            not_before=_ARTICLES | _words("strong high cold warm heavy fierce trade and of with") | {""},
        ),
    ),
    "tear": (
        Sense("t ih1 r", after=_words("gas duct ducts drop drops stained")),
        Sense("t eh1 r", before=_ARTICLES, after=_words("in on")),
        Sense("t ih1 r", before=_ARTICLES | _words("single")),
    ),
    "tears": (Sense("t eh1 r z", after=_words("up apart"), not_before=_ARTICLES | _words("in of")),),
    "bow": (
        Sense("b ow1", after=_words("tie ties string hunting")),
        Sense("b aw1", before=_ARTICLES, second=_words("take takes took taking")),
        Sense("b aw1", before=_ARTICLES, after=_words("of")),
        Sense("b ow1", before=_ARTICLES | _words("with violin cross")),
    ),
    "minute": (
        Sense(
            "m ay0 n uw1 t",
            after=_words(
                "detail details amount amounts quantity quantities trace traces difference differences "
                "particle particles fraction variations organisms crystals grains doses scale"
            ),
            not_before=_NUMBERS | _words("last one per"),
        ),
    ),
    "content": (
        Sense("k ah0 n t eh1 n t", before=_BE, after=_words("with to and as just") | {""}),
    ),
    "refuse": (
        Sense("r eh1 f y uw2 s", before=_ARTICLES | _words("household garden of")),
        Sense("r eh1 f y uw2 s", after=_words("collection collector collectors bin bins disposal heap dump")),
    ),
    "produce": (
        Sense(
            "p r ow1 d uw2 s",
            before=_ARTICLES | _words("fresh local organic seasonal farm of dairy sell sells selling buy"),
        ),
        Sense("p r ow1 d uw2 s", after=_words("aisle section department stand market stall")),
    ),
    "wound": (
        Sense("w aw1 n d", before=_words("i you he she it we they who was were is are been")),
        Sense("w aw1 n d", after=_words("up around down through"), not_before=_ARTICLES | {"to"}),
    ),
    "dove": (
        Sense("d ow1 v", before=_words("i you he she it we they who and then")),
        Sense("d ow1 v", after=_words("into off under right deep headfirst overboard"), not_before=_ARTICLES),
    ),
    "does": (Sense("d ow1 z", before=_NUMBERS, after=_words("and or with in") | {""}),),
    "sow": (Sense("s aw1", before=_ARTICLES | _words("old")),),
    "resume": (Sense("r eh1 z ah0 m ey2", before=_ARTICLES | _words("updated new good short impressive")),),
    "polish": (
        Sense("p ow1 l ih0 sh", before=_BE | _words("in speak speaks speaking spoke learn learning half")),
        Sense(
            "p ow1 l ih0 sh",
            after=_words(
                "army government people man woman men women language border prime president food city "
                "citizen citizens sausage immigrants parliament authorities capital town american americans"
            ),
        ),
    ),
    "job": (Sense("jh ow1 b", before=_words("of"), second=_words("book patience")),),
    "bass": (
        Sense("b ae1 s", after=_words("fishing fisherman boat lake")),
        Sense("b ae1 s", before=_words("sea striped largemouth")),
        Sense("b ae1 s", before=_ARTICLES, second=_words("caught catch catches catching")),
    ),
    "learned": (
        Sense(
            "l er1 n ah0 d",
            before=_ARTICLES,
            after=_words(
                "man men woman women scholar scholars judge professor friend "
                "society counsel people"
            ),
        ),
    ),
    "blessed": (Sense("b l eh1 s ah0 d", before=_words("the a this that every"), not_before=_BE),),
    "aged": (
        Sense(
            "ey1 jh ah0 d",
            before=_ARTICLES,
            after=_words("man men woman women mother father parents people couple aunt uncle population"),
        ),
    ),
}  # fmt: skip


def meant(word: str, before: Sequence[str], after: Sequence[str]) -> str | None:
    """Return the phones of a word as it is meant; None for its usual way.

    Args:
        word: In lower case.
        before: The words of the phrase before it, the nearest first.
        after: The words of the phrase after it.
    """
    if word == "read":
        return "r eh1 d" if _is_past(before, after) else "r iy1 d"
    if word == "used" and after[:1] == ["to"]:
        is_tool = before[:1] and before[0] in _ASKING and not _is_habit(after)
        return "y uw1 z d" if is_tool else "y uw1 s t"
    if word == "live" and any(near in _ASKING for near in before[1:2]) and before[0] in _SUBJECTS:
        return "l ay1 v"  # are you live?
    nearest = [near for near in before if near not in _ADVERBS] if word == "content" else before
    near, second, following = [*nearest, ""][0], [*nearest, "", ""][1], [*after, ""][0]
    for sense in SENSES.get(word, ()):
        if (
            (not sense.before or near in sense.before)
            and (not sense.after or following in sense.after)
            and (not sense.second or second in sense.second)
            and near not in sense.not_before
            and not (sense.not_before and near.endswith("'s"))
        ):
            return sense.phones
    return None


def is_verb(word: str, before: Sequence[str], after: Sequence[str]) -> bool:
    """Return whether a word that is also a noun or an adjective is a verb; takes what `meant` takes."""
    nearest = list(dropwhile(_ADVERBS.__contains__, before))
    near, second, following = [*nearest, "", ""][0], [*nearest, "", ""][1], [*after, ""][0]
    if word.endswith("s") and not word.endswith("ss"):
        if near in _SUBJECTS_IN_S:
            return second not in _ASKING
        if following in _OBJECTS:
            return near not in _DETERMINERS | _BE | PREPOSITIONS | {""}
        return near not in _DETERMINERS and _is_usually_verb(word, following)
    if near in _BE or (near.endswith("'s") and near not in _AUXILIARIES):
        return False
    if before and before[0] in _DEGREES and following not in _OBJECTS:
        return False
    if before and not nearest and before[0] in ("never", "always"):
        return True
    if near in _AUXILIARIES:
        return near == "to" or following != "of"
    if near in _SUBJECTS:
        return second not in _ASKING
    if near in ("me", "us", "him", "her", "them") and second in _LETTING:
        return True
    if near in _DETERMINERS or near in PREPOSITIONS:
        return False
    if _is_asked(nearest):
        return True
    if following in _OBJECTS:
        return second not in _DETERMINERS or near.endswith("s")
    return _is_usually_verb(word, following)


def _is_usually_verb(word: str, following: str) -> bool:
    """Return whether a word is one that as a noun hardly ever stands before another noun, and does so."""
    return word in _USUALLY_VERBS and following not in _NOT_AFTER_VERBS


def _is_asked(before: Sequence[str]) -> bool:
    """Return whether what stands before a word is the start of a question: did Mary, when does the store."""
    return any(
        before[place] in _INVERTED
        and _QUESTION_WORDS.issuperset(before[place + 1 :])
        and (place == 1 or before[1] in _DETERMINERS)
        for place in range(1, min(3, len(before)))
    )


def _is_past(before: Sequence[str], after: Sequence[str]) -> bool:
    """Return whether `read` is a past tense or a participle."""
    for place, near in enumerate(before):
        if near in _HAVE or near in _BE:
            return True
        if near in _AUXILIARIES or near in _LETTING:
            return False
        if near not in _BEFORE_READ:
            is_participle = place == 0 and near in ("well", "widely")
            return is_participle or _is_about_the_past(before, after)
    is_singular = any(near in _THIRD_PERSONS for near in before)
    return is_singular or _is_about_the_past(before, after)


def _is_about_the_past(before: Sequence[str], after: Sequence[str]) -> bool:
    words = [*reversed(before), *after]
    return any(word in _LATER for word in words) or any(
        word == "last" and time in _LAST_TIMES for word, time in pairwise(words)
    )


def _is_habit(after: Sequence[str]) -> bool:
    """Return whether `used to` goes on as in "I am used to it", and not as in "it is used to open cans"."""
    return len(after) > 1 and (after[1] in _OBJECTS or after[1].endswith("ing"))
