"""Runs of capitals: `API` by letter, `NASA` and emphasis (`NEVER`) as words, `U.S.A.`, `AT&T`, `CI/CD`.

A run of two or three capitals is spelled unless it is an English word or an acronym that people say as one; a
run of four or five is a word where English words begin and end so; a longer one is always a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..token_class import CAPITALS, LETTERS, Match, TokenClass, after, before, spell

_WORDS = frozenset(
    """
    am an as at be by do go he hi if in is it me my no of oh on or so to up us we ah ha eh ex
    ace act add ado age ago aid aim air all and ant any ape apt arc are ark arm art ash ask ate awe axe
    bad bag ban
    bar bat bay bed bee beg bet bid big bin bit boa bog boo bow box boy bra bud bug bun bus but buy bye
    cab can cap
    car cat cop cow cry cub cup cut dad dam day den dew did die dig dim dip dog dot dry due dug ear eat
    egg ego elf
    end era eve eye fan far fat fax fed fee few fig fin fit fix flu fly foe fog for fox fry fun fur gap
    gas get gem
    gin god got gum gun gut guy gym had ham has hat hay hem hen her hey hid him hip his hit hog hop hot
    how hub hug
    huh hut ice icy ill ink inn ivy jam jar jaw jet job joy jug key kid kin kit lab lad lap law lay leg
    let lid lie
    lip lit log lot low mad man map mat may men met mix mob mom mop mud mug nap net new nod nor not now
    nut oak odd
    off oil old one our out owe owl own pad pal pan paw pay pea pen pet pie pig pin pit pot pro pub put
    rag ran rap
    rat raw ray red rib rid rim rip rob rod rot row rub rug run rye sad sat saw say sea see set sew she
    shy sin sip
    sir sit six ski sky sly son soy spa spy sum sun tag tan tap tar tax tea ten the tie tin tip toe ton
    too top toy
    try tub two use van vet war was wax way web wed wet who why wig win wit won wow yes yet you zip zoo
    ram rom sim gif lan wan dos cad mac
    """.split()
)
_INITIALISMS = frozenset(
    """
    ai api ceo cfo cto coo ip eu uk un ufo faq id url cia fbi usa uae epa ioc iou vip atm diy eta gps hiv
    dna rna
    usb cpu gpu ssd led lcd tv pc dj mp ad bc pr hr ui ux qa io os ios ok ir ar vr ev ac dc uv mri ct iq gdp
    ucla usda usaf aarp ieee iaea aka omg wtf btw fyi imo rip aoc jfk rbg aol bbc
    nba nfl nhl mlb nyc lax sat gpa irs pta phd mba esg roi api sdk ide iot aws ibm hp bmw vw suv
    oecd ymca upi apa ama aba acl adhd ocd iud ivf emt er icu eeg ecg ekg oem ota eod eof
    aaa aa na ie eg cv ngo pdf
    """.split()
)
_PRONOUNCED = {"json": "jason", "jpeg": "jay peg", "ascii": "asky"}
_AMBIGUOUS = frozenset("us it am id ad er ok".split())  # words as well
_BEFORE_LETTERS = re.compile(
    r"\b(?:the|an|in|of|our|your|their|from|to|and|non|anti|pro|all|this)[ -]$", re.IGNORECASE
)
_IT = re.compile(r"[ -](?:department|dept|team|support|staff|manager|guy|guys|services?|industry|sector"
                 r"|jobs?|help|desk"
                 r"|professionals?|company|companies|systems?|infrastructure|security|consultants?"
                 r"|director|admin)\b")  # fmt: skip
_ONSET = re.compile(
    r"(?:b[lr]?|c[hlr]?|d[rw]?|f[lr]?|g[lr]?|h|j|k[nlr]?|l|m|n|p[hlr]?|qu|r|s(?:[hlmnpqtwk]|c[hr]?|t[r]|pr)?|t[hrw]?|v"
    r"|w[hr]?|y|z)?(?=[aeiouy])"
)
_CODA = re.compile(
    r"[aeiouy](?:[bdfgjklmnprstvxyz]|c[hkt]?|ft|g[hs]|l[dfklmpt]|m[pbs]|n[cdgkts]|pt|r[bcdfgklmnpst]|s[hkpst]|th|ts|ps|ks"
    r"|ll|ff|zz|tt|ck|[st]ch|ngs|nds|nts|rds|rts|lls|cks|w[nl]?s?|h)?e?s?$"
)
_VOWELS_BY_THEMSELVES = re.compile(r"[aeiou]{4}|^[aeiou]{2,3}$|[bcdfghjklmnpqrstvwxz]{4}")


def read_capitals(match: Match, is_known: Callable[[str], bool] | None) -> str:
    """Read a word of capitals, with an s of a plural or a possessive behind it."""
    run, _, ending = match[0].partition("'")
    plural = "s" if run[-1] == "s" and len(run) > 2 else ""
    word = run[: len(run) - len(plural)].lower()
    word = _PRONOUNCED.get(word, word)
    if " " in word or not _by_letter(match, word, is_known):
        if plural and is_known and is_known(word) and not is_known(f"{word}s"):
            return f"{word}'s"  # PDFs
        return word + (f"'{ending.lower()}" if ending else plural)
    letters = spell(word)
    return f"{letters}'{'s' if plural else ending.lower()}" if plural or ending else letters


def _by_letter(match: Match, word: str, is_known: Callable[[str], bool] | None) -> bool:
    if word in _AMBIGUOUS:
        return _is_ambiguous_run_spelled(match, word)
    if word in _INITIALISMS:
        return True
    if len(word) > 5 or word in _WORDS or _is_shouted(match):
        return not re.search("[aeiouy]", word)
    if is_known is not None and is_known(word):
        return False
    return len(word) < 4 or not _looks_like_a_word(word)


def _looks_like_a_word(word: str) -> bool:
    return bool(_ONSET.match(word) and _CODA.search(word)) and not _VOWELS_BY_THEMSELVES.search(word)


def _is_shouted(match: Match) -> bool:
    """Return whether a neighbour is in capitals and no initialism, as in `DO NOT PANIC`."""
    neighbours = [*re.findall(r"([A-Za-z']+)[^A-Za-z]{1,3}$", before(match, 20)),
                  *re.findall(r"^[^A-Za-z]{1,3}([A-Za-z']+)", after(match, 20))]  # fmt: skip
    return any(
        len(word) > 1
        and word.isupper()
        and (word.lower() in _WORDS or len(word) > 5 or _looks_like_a_word(word.lower()))
        and word.lower() not in _INITIALISMS
        for word in neighbours
    )


def _is_ambiguous_run_spelled(match: Match, word: str) -> bool:
    if _is_shouted(match) and word != "id":
        return False
    if word == "it":
        return bool(
            _IT.match(after(match, 16)) or re.search(r"\b(?:in|an|our|your|the|of) $", before(match, 6))
        )
    if word == "am":
        return bool(re.search(r"\d ?$", before(match, 2)))
    return word != "ok"


def _dotted(match: Match) -> str | None:
    """Read `U.S.A.` and `e.s.t.` by letter."""
    return spell(match[0])


def _joined(match: Match) -> str:
    """Read `AT&T` and `CI/CD`."""
    joined, plural = match[0].rstrip("s"), "'s" * match[0].endswith("s")
    return " and ".join(" ".join(map(_run, part.split("/"))) for part in joined.split("&")) + plural


def _run(run: str) -> str:
    return run.lower() if len(run) > 3 and _looks_like_a_word(run.lower()) else spell(run)


def _initial(match: Match) -> str:
    return spell(match[0])


def _sharp(match: Match) -> str:
    return f"{spell(match[0])} sharp"


def _letter(match: Match) -> str:
    return spell(match[0])


STARTERS = (
    "The|He|She|It|They|We|You|I|In|On|At|But|And|So|Then|This|That|These|Those|There|Here|His|Her|Its|Their|Our|My"
    "|Your|If|When|While|After|Before|As|For|From|With|Without|Now|No|Yes|Not|What|Why|Who|How|Where|Which|Is|Are|Was"
    "|Were|Do|Does|Did|Can|Could|Will|Would|Should|Has|Have|Had|Let|Please|However|Later|Today|An?|One|All|Some|Many"
    "|Most|Both|Each|Every|Nobody|Everyone|Since|Although|Though|Because|To|By|Or|Call|See|Go|Meet"
)
CLASSES = [
    TokenClass("sharp", CAPITALS, r"[A-G]#(?!\w)", _sharp),
    TokenClass(
        "dotted",
        LETTERS,
        r"(?:[A-Za-z]\.){2,8}(?:[A-Za-z](?![\w])\.?|(?=[\s,;:!?)\"']|$))"
        r"|[A-Z]\.[A-Z](?!\w)",
        _dotted,
    ),
    TokenClass(
        "joined",
        CAPITALS,
        r"[A-Z]{1,4}(?:&[A-Z]{1,4}){1,3}s?\b|[A-Z]{1,5}(?:/[A-Z]{1,5}){1,3}(?![\w/])",
        _joined,
    ),
    TokenClass(
        "initial",
        CAPITALS,
        rf"[A-HJ-Z]\.(?= [a-z])|[A-HJ-Z]\.(?= ?[A-Z])(?! (?:{STARTERS})\b)|[A-HJ-Z]\.(?=[A-Z]\.)",
        _initial,
        ends_sentence=False,
    ),
    TokenClass(
        "letter",
        CAPITALS,
        r"(?:(?<=[Vv]itamin )|(?<=[Pp]lan )|(?<=[Gg]rade )|(?<=[Tt]ype )|(?<=[Oo]ption )"
        r"|(?<=[Ss]ection )"
        r"|(?<=[Hh]epatitis )|(?<=[Gg]roup )|(?<=[Tt]eam )|(?<=[Pp]oint )|(?<=[Ee]xhibit )"
        r"|(?<=[Aa]ppendix )|(?<=[Aa]n )"
        r"|(?<=[Ll]etter )|(?<=[Cc]olumn )|(?<=[Gg]ate )|(?<=[Bb]lock )|(?<=[Uu]nit )"
        r"|(?<=[Pp]art ))A(?![\w'&])",
        _letter,
    ),
]
