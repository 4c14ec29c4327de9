"""Abbreviations and titles, with and without a full stop: `Dr. Hill`, `Mr Hill`, `vs`, `approx. 5`."""

from __future__ import annotations

import re

from ..token_class import CAPITALS, LETTERS, Match, TokenClass, after, alternatives, before

_TITLES = {
    "Mr": "mister", "Mrs": "missus", "Ms": "miz", "Messrs": "messers", "Mx": "mix", "Prof": "professor",
    "Lt": "lieutenant", "Sgt": "sergeant", "Capt": "captain", "Cpt": "captain", "Col": "colonel",
    "Gen": "general",
    "Maj": "major", "Cpl": "corporal", "Pvt": "private", "Cmdr": "commander", "Adm": "admiral",
    "Rev": "reverend",
    "Fr": "father", "Hon": "honorable", "Gov": "governor", "Sen": "senator", "Rep": "representative",
    "Pres": "president", "Supt": "superintendent", "Mt": "mount", "Ft": "fort", "Sr": "sister",
    "Dr": "doctor",
    "St": "saint", "Ste": "sainte", "Det": "detective", "Insp": "inspector",
}  # fmt: skip
_WITHOUT_STOP = (
    "Mr Mrs Ms Messrs Dr Prof Lt Sgt Capt Col Gen Maj Rev Gov Sen Rep St Mt Ft Cpl Cmdr Adm Hon Pres"
).split()
_ALWAYS = {"Mr": "mister", "Mrs": "missus", "Ms": "miz"}  # even by themselves
_WITH_STOP = {
    "Jr": "junior", "Sr": "senior", "vs": "versus", "v": "versus", "etc": "etcetera",
    "approx": "approximately",
    "dept": "department", "Dept": "department", "Inc": "inc", "Ltd": "limited", "Co": "company",
    "Corp": "corporation",
    "Bros": "brothers", "Ave": "avenue", "Blvd": "boulevard", "Rd": "road", "Ln": "lane", "Hwy": "highway",
    "Fig": "figure", "fig": "figure", "Figs": "figures", "figs": "figures", "Eq": "equation",
    "eq": "equation",
    "Sec": "section", "sec": "section", "Ch": "chapter", "ch": "chapter", "Vol": "volume", "vol": "volume",
    "p": "page", "pp": "pages", "ed": "edition", "eds": "editors", "est": "established", "Est": "established",
    "Univ": "university", "Assn": "association", "Assoc": "associates", "govt": "government",
    "Govt": "government",
    "max": "maximum", "Max": "maximum", "min": "minimum", "Min": "minimum", "tel": "telephone",
    "Tel": "telephone",
    "ext": "extension", "Ext": "extension", "apt": "apartment", "Apt": "apartment", "temp": "temperature",
    "incl": "including", "excl": "excluding", "misc": "miscellaneous", "cf": "compare", "al": "al",
    "ca": "circa",
    "Mon": "monday", "Tue": "tuesday", "Tues": "tuesday", "Wed": "wednesday", "Thu": "thursday",
    "Thur": "thursday", "Thurs": "thursday", "Fri": "friday", "Sat": "saturday", "Sun": "sunday",
    "Mass": "massachusetts", "Calif": "california", "Penn": "pennsylvania", "Conn": "connecticut",
    "Esq": "esquire", "Mfg": "manufacturing", "Intl": "international", "Natl": "national",
    "attn": "attention",
    "Attn": "attention", "sq": "square", "Sq": "square", "avg": "average",
    "yr": "year", "yrs": "years", "hr": "hour", "hrs": "hours", "mins": "minutes", "secs": "seconds",
    "wk": "week",
    "ft": "feet", "oz": "ounces", "lb": "pounds", "lbs": "pounds", "tbsp": "tablespoons", "tsp": "teaspoons",
}  # fmt: skip
_BEFORE_A_NUMBER = frozenset(
    "Fig fig Figs figs Eq eq Sec sec Ch ch Vol vol p pp ext Ext apt Apt temp ed max Max min Min".split()
)
_BEHIND_A_NUMBER = frozenset("yr yrs hr hrs mins secs wk ft oz lb lbs tbsp tsp min sec sq".split())
_WORDS_WITHOUT_STOP = {
    "vs": "versus",
    "etc": "etcetera",
    "approx": "approximately",
    "Jr": "junior",
    "dept": "department",
    "Ctrl": "control", "ctrl": "control",
}  # fmt: skip
_PHRASES = {
    "w/": "with", "w/o": "without", "b/c": "because", "c/o": "care of", "and/or": "and or", "N/A": "n ay",
    "n/a": "n ay", "i.e.": "i e", "e.g.": "e g", "Ph.D.": "p h d", "Ph.D": "p h d", "PhD": "p h d",
    "a.k.a.": "ay k ay",
    "WWI": "world war one", "WWII": "world war two", "p.s.": "p s",
    "OK": "okay", "ok": "okay", "Ok": "okay", "pH": "p h", "B.Sc.": "b s c", "M.Sc.": "m s c",
    "TL;DR": "t l d r", "tl;dr": "t l d r", "et al.": "et al", "km/h": "kilometers per hour",
}  # fmt: skip


def _title(match: Match) -> str | None:
    """Read a title before a name; `St.` and `Dr.` behind a name are a street and a drive."""
    title = match[0].rstrip(".")
    name = re.match(r" [A-Z]", after(match, 2))
    if name and not (
        title == "St"
        and re.match(r" (?:It|He|She|They|We|The|In|On|At|But|And|This|That)\b", after(match, 6))
    ):
        return _TITLES[title]
    if title in ("St", "Dr"):
        return (
            "street"
            if title == "St"
            else ("drive" if re.search(r"[A-Z]\w+ $", before(match, 20)) else "doctor")
        )
    if title == "Sr":
        return "senior"
    return _TITLES[title] if match[0].endswith(".") or title in _ALWAYS else None


def _abbreviation(match: Match) -> str | None:
    """Read an abbreviation with its full stop, unless the word just ends a sentence (`at a min. So`)."""
    word = match[0].rstrip(".")
    following = after(match, 3)
    if word in _BEHIND_A_NUMBER and re.search(r"\d ?$", before(match, 2)):
        return _WITH_STOP[word]
    if word in _BEFORE_A_NUMBER and not re.match(r" ?(?:[\d(]|[IVX]+\b)", following):
        return None
    if word in ("al",) and not before(match, 3).endswith("et "):
        return None
    if word in (
        "Sun",
        "Sat",
        "Mon",
        "Wed",
        "Max",
        "Min",
        "Mass",
        "Penn",
        "Sec",
        "est",
        "p",
        "v",
        "Sr",
        "Co",
    ) and not re.match(r",? ?[\dA-Z(]|,", following):
        return None if word not in ("Sr", "Co") else _WITH_STOP[word]
    return _WITH_STOP[word]


def _word(match: Match) -> str:
    return _WORDS_WITHOUT_STOP[match[0]]


def _phrase(match: Match) -> str:
    return _PHRASES[match[0]]


def _days(match: Match) -> str:
    """Read `Mon-Fri`."""
    return " to ".join(_WITH_STOP[day[:3]] for day in match[0].split("-"))


_DAY = r"(?:Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun)"
CLASSES = [
    TokenClass("days", CAPITALS, rf"{_DAY}-{_DAY}(?!\w)", _days),
    TokenClass("day", CAPITALS, rf"{_DAY}(?=,? (?:[A-Z][a-z]{{2,8}}\.? \d|\d\d? [A-Z]|\d\d?/\d))", _days),
    TokenClass(
        "phrase", LETTERS, rf"{alternatives(_PHRASES)}(?!\w)|(?:e\.g|i\.e)\.(?=[A-Za-z]{{2}})", _phrase
    ),
    TokenClass(
        "title",
        CAPITALS,
        rf"{alternatives(_TITLES)}(?:\.(?!\w)|\.(?=[A-Z][a-z]))"
        rf"|{alternatives(_WITHOUT_STOP)}(?= [A-Z][a-z])|(?:Mrs?|Ms)(?!\w)",
        _title,
        ends_sentence=False,
    ),
    TokenClass("abbreviation", LETTERS, rf"{alternatives(_WITH_STOP)}\.(?!\w)", _abbreviation),
    TokenClass("no", LETTERS, r"[Nn]o\.(?= ?\d)", lambda match: "number"),
    TokenClass("before_a_number", CAPITALS, r"(?:Apt|Fig|Vol|Ch|Sec|Ext)(?= \d)", _abbreviation),
    TokenClass("word_without_stop", LETTERS, rf"{alternatives(_WORDS_WITHOUT_STOP)}(?![\w'])", _word),
]
