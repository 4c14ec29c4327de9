"""Postal addresses: house numbers before streets, and American states before ZIP codes."""

from __future__ import annotations

import re

from ..number_words import digits, identifier, ordinal
from ..token_class import CAPITALS, DIGITS, Match, TokenClass, after, alternatives, before

_KINDS = {
    "St": "street", "st": "street", "Ave": "avenue", "ave": "avenue", "Blvd": "boulevard", "Rd": "road",
    "rd": "road", "Dr": "drive", "Ln": "lane", "Ct": "court", "Pl": "place", "Sq": "square", "Hwy": "highway",
    "Pkwy": "parkway", "Expy": "expressway", "Ter": "terrace", "Cir": "circle", "Trl": "trail", "Way": "way",
    "Street": "street", "Avenue": "avenue", "Boulevard": "boulevard", "Road": "road", "Drive": "drive",
    "Lane": "lane", "Court": "court", "Place": "place", "Square": "square", "Highway": "highway",
    "Parkway": "parkway", "Terrace": "terrace", "Circle": "circle", "Broadway": "broadway",
}  # fmt: skip
_DIRECTIONS = {
    "N": "north", "S": "south", "E": "east", "W": "west", "NE": "northeast", "NW": "northwest",
    "SE": "southeast", "SW": "southwest",
}  # fmt: skip
STATES = {
    "AL": "alabama", "AK": "alaska", "AZ": "arizona", "AR": "arkansas", "CA": "california", "CO": "colorado",
    "CT": "connecticut", "DE": "delaware", "FL": "florida", "GA": "georgia", "HI": "hawaii", "ID": "idaho",
    "IL": "illinois", "IN": "indiana", "IA": "iowa", "KS": "kansas", "KY": "kentucky", "LA": "louisiana",
    "ME": "maine", "MD": "maryland", "MA": "massachusetts", "MI": "michigan", "MN": "minnesota",
    "MS": "mississippi", "MO": "missouri", "MT": "montana", "NE": "nebraska", "NV": "nevada",
    "NH": "new hampshire", "NJ": "new jersey", "NM": "new mexico", "NY": "new york", "NC": "north carolina",
    "ND": "north dakota", "OH": "ohio", "OK": "oklahoma", "OR": "oregon", "PA": "pennsylvania",
    "RI": "rhode island", "SC": "south carolina", "SD": "south dakota", "TN": "tennessee", "TX": "texas",
    "UT": "utah", "VT": "vermont", "VA": "virginia", "WA": "washington", "WV": "west virginia",
    "WI": "wisconsin", "WY": "wyoming", "DC": "d c", "D.C.": "d c",
}  # fmt: skip
_WORDS = frozenset(
    ["IN", "OR", "ME", "HI", "OK", "ID", "PA", "MA", "LA", "OH", "MS", "MD"]
)  # only before a ZIP code


_NO_WORDS = frozenset(["PA", "MA", "LA", "MS", "MD"])  # hardly a word behind a name and a comma
_CITY = re.compile(r"\b[A-Z][a-z]+, $")


def _street(match: Match) -> str:
    """Read `1428 Elm St.`, `1211 E Arques Ave`, `12 S 1st st`, `42nd Street`."""
    house, *parts = match[0].rstrip(".").split()
    quarter = f" {_DIRECTIONS[parts.pop()]}" if parts[-1] in _DIRECTIONS else ""
    kind = parts.pop().rstrip(".")
    read = [identifier(re.sub(r"\D", "", house)), *([house[-1].lower()] if house[-1].isalpha() else [])]
    for part in parts:
        bare = part.rstrip(".")
        if bare in _DIRECTIONS:
            read.append(_DIRECTIONS[bare])
        elif bare[0].isdigit():
            read.append(ordinal(re.sub(r"\D", "", bare)))
        else:
            read.append(bare.lower())
    return " ".join([*read, _KINDS[kind]]) + quarter


def _state_and_zip(match: Match) -> str:
    """Read `CA 95051`."""
    state, code = match[0].split()
    return f"{STATES[state]} {', '.join(digits(group) for group in code.split('-'))}"


def _state(match: Match) -> str | None:
    """Read the `NY` of `Albany, NY`, and the `MA` of `Boston, MA.`"""
    certain = match[0] not in _WORDS or (match[0] in _NO_WORDS and _CITY.search(before(match, 20)))
    return STATES[match[0]] if certain and not (match[0] in _WORDS and after(match, 1) == " ") else None


_STATE = alternatives(STATES)
CLASSES = [
    TokenClass(
        "street",
        DIGITS,
        rf"\d{{1,5}}[A-Z]? (?:(?:[NSEW]|[NS][EW])\.? )?(?:[A-Z][a-z]{{1,20}} "
        rf"|\d{{1,3}}(?:st|nd|rd|th) ){{0,3}}"
        rf"(?<=\w |\. )(?<!\d )(?:{alternatives(_KINDS)})\b(?!')"
        rf"(?:\.? (?:[NS][EW]|[NSEW])\b(?!['.])|\.(?= [a-z\d(,]|,|;|\)|$|\s[A-Z]))?",
        _street,
    ),
    TokenClass("state_and_zip", CAPITALS, rf"{_STATE} \d{{5}}(?:-\d{{4}})?(?!\w)", _state_and_zip),
    TokenClass("state", CAPITALS, rf"(?<=[a-z], ){_STATE}(?=[,.;:!?)]|$|\n| [a-z])", _state),
]
