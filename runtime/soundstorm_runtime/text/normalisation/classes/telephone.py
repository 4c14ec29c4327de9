"""Numbers that are read digit by digit in groups: telephones, IP addresses, cards, ISBNs, codes."""

from __future__ import annotations

import re

from ..number_words import cardinal, digits
from ..token_class import DIGITS, LETTERS, Match, TokenClass, after, before, spell

_CODE = re.compile(
    r"(?:\b(?:pin|otp|code|passcode|password|ext|extension|zip|postcode|ending in|ends in|account|acct"
    r"|a/c|flight"
    r"|serial|confirmation|reference|ref|case|ticket|tracking|routing)\b(?:'s)?(?: number| no)?(?: is"
    r"| was|:|\.| #)*"
    r"|\b(?:dial|call|text|sms|press)) $",
    re.IGNORECASE,
)


def _groups(match: Match) -> str:
    """Read `+1 (555) 123-4567`; a group such as 800 is read as hundreds."""
    sign = "plus " if match[0].startswith("+") else ""
    groups = re.findall(r"\d+", match[0])
    tollfree = groups[:1] == ["1"] and not sign
    read = [
        f"{digits(g[0])} hundred" if tollfree and place == 1 and g in ("800", "900") else digits(g)
        for place, g in enumerate(groups)
    ]
    extension = re.search(r"(?:x|ext\.?) ?\d+$", match[0])
    if extension:
        read[-1] = f"extension {read[-1]}"
    return sign + ", ".join(read)


def _vanity(match: Match) -> str:
    """Read `1-800-GO-2-HAUL`."""
    groups = match[0].split("-")
    read = [
        f"{digits(g[0])} hundred" if g in ("800", "900") else digits(g) if g.isdigit() else g.lower()
        for g in groups
    ]
    return ", ".join([*read[:2], " ".join(read[2:])])


def _ip(match: Match) -> str:
    return re.sub(r"[.:/]", lambda m: {".": " dot ", ":": " colon ", "/": " slash "}[m[0]],
                  re.sub(r"\d+", lambda m: digits(m[0]), match[0]))  # fmt: skip


def _version(match: Match) -> str | None:
    """Read `1.2.3` as a version."""
    if match[0][0] in "vV" and before(match, 1)[-1:].isalnum():
        return None
    if re.fullmatch(r"[1-9]\d{0,2}(?:\.\d{3}){2,5}", match[0]):  # as thousands are grouped in much of Europe
        if re.match(r",\d{1,2}(?!\d)", after(match, 4)):  # with a decimal comma
            return None
        return cardinal(match[0].replace(".", ","))
    parts = match[0].lstrip("vV").split(".")
    read = " point ".join(
        cardinal(part) if len(part) < 3 and part != "00" else digits(part) for part in parts
    )
    return f"version {read}" if match[0][0] in "vV" else read


def _code(match: Match) -> str | None:
    """Read a number behind `PIN`, `code`, `ending in` or `dial` digit by digit."""
    if not _CODE.search(before(match, 30)):
        return None
    return " ".join(digits(c) if c.isdigit() else spell(c) for c in match[0])


CLASSES = [
    TokenClass("ip", DIGITS, r"(?:\d{1,3}\.){3}\d{1,3}(?:[:/]\d{1,5})?(?![\w.]\w)", _ip),
    TokenClass(
        "vanity", DIGITS, r"1-\d{3}-(?=[A-Z\d-]*[A-Z])[A-Z\d]{1,7}(?:-[A-Z\d]{1,7}){0,3}(?!\w)", _vanity
    ),
    TokenClass(
        "telephone",
        DIGITS + "+(",
        r"(?:\+\d{1,3}[ .-]?|1[ .-])?(?:\(\d{3}\) ?"
        r"|\d{3}[ .-])\d{3}[ .-]\d{4}(?:-\d{1,4}|,? ?(?:x|ext\.?) ?\d{1,5})?(?![\w-])"
        r"|\+1?\(\d{3}\) ?\d{3}-\d{4}(?![\w-])",
        _groups,
    ),
    TokenClass("international", "+", r"\+\d{1,3}(?:[ .-]?\(?\d{1,5}\)?){2,6}(?![\w,]\d)", _groups),
    TokenClass(
        "groups_with_spaces",
        DIGITS + "(",
        r"(?:\d{4} \d{3} \d{3,4}|0\d{1,4} \d{3,4} \d{3,4}|0\d{3,4} \d{5,7}"
        r"|\(0\d{1,4}\) ?\d{3,4}[ -]\d{3,4}|\d{4}(?:[ -]\d{4}){2,3})(?![\w,]\d|\d| \d)",
        _groups,
    ),
    TokenClass("local", DIGITS, r"\d{3}-\d{4}(?![\w-])", _groups),
    TokenClass("groups", DIGITS, r"\d{1,15}(?:-\d{1,15}){2,8}(?![\w-])", _groups),
    TokenClass(
        "version",
        LETTERS + DIGITS,
        r"[vV]\d{1,4}(?:\.\d{1,6}){1,5}(?!\w)|\d{1,4}(?:\.\d{1,6}){2,5}(?!\w)",
        _version,
    ),
    TokenClass("code", LETTERS + DIGITS, r"(?=[A-Za-z]{0,9}\d)[A-Za-z\d]{3,16}(?![\w.,/:-]\w|%|\w)", _code),
]
