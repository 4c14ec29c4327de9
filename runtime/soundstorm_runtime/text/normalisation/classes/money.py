"""Amounts of money: `$3.50`, `-$5`, `US$10`, `5 €`, `50¢`, `USD 20`, `$5-10`, `$20/mo`, `¥30B`."""

from __future__ import annotations

import re

from ..number_words import cardinal
from ..token_class import (
    DIGITS,
    LETTERS,
    NUMBER,
    QUANTITY,
    Match,
    TokenClass,
    after,
    alternatives,
    with_point,
)
from .units import per

# Name of one, of several, and of its hundredth part (one, several; empty where there is none in use).
_DOLLAR = ("dollar", "dollars", "cent", "cents")
_SIGNS = {
    "$": _DOLLAR, "£": ("pound", "pounds", "penny", "pence"), "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "", ""), "₹": ("rupee", "rupees", "paisa", "paise"), "₩": ("won", "won", "", ""),
    "₽": ("ruble", "rubles", "kopek", "kopeks"), "₺": ("lira", "lira", "kurush", "kurush"),
    "₴": ("hryvnia", "hryvnias", "kopiyka", "kopiykas"), "₦": ("naira", "naira", "kobo", "kobo"),
    "₱": ("peso", "pesos", "centavo", "centavos"), "₫": ("dong", "dong", "", ""),
    "₪": ("shekel", "shekels", "agora", "agorot"), "฿": ("baht", "baht", "satang", "satang"),
    "₿": ("bitcoin", "bitcoins", "", ""), "₵": ("cedi", "cedis", "pesewa", "pesewas"),
    "₡": ("colon", "colones", "", ""), "₸": ("tenge", "tenge", "", ""), "₲": ("guarani", "guaranies", "", ""),
    "₭": ("kip", "kip", "", ""), "₮": ("tugrik", "tugrik", "", ""), "₾": ("lari", "lari", "tetri", "tetri"),
}  # fmt: skip


def _of(country: str, names: tuple[str, str, str, str] = _DOLLAR) -> tuple[str, str, str, str]:
    return (f"{country} {names[0]}", f"{country} {names[1]}", names[2], names[3])


_CODES = {
    "US$": _of("u s"), "USD": _of("u s"), "CA$": _of("canadian"), "C$": _of("canadian"),
    "CAD": _of("canadian"),
    "A$": _of("australian"), "AU$": _of("australian"), "AUD": _of("australian"), "HK$": _of("hong kong"),
    "HKD": _of("hong kong"), "NZ$": _of("new zealand"), "NZD": _of("new zealand"), "S$": _of("singapore"),
    "SG$": _of("singapore"), "SGD": _of("singapore"), "NT$": _of("taiwan"), "TWD": _of("taiwan"),
    "R$": ("real", "reais", "centavo", "centavos"), "BRL": ("real", "reais", "centavo", "centavos"),
    "MX$": _of("mexican", _SIGNS["₱"]), "MXN": _of("mexican", _SIGNS["₱"]), "J$": _of("jamaican"),
    "EUR": _SIGNS["€"], "GBP": _SIGNS["£"], "JPY": _SIGNS["¥"], "CNY": ("yuan", "yuan", "", ""),
    "RMB": ("yuan", "yuan", "", ""), "CN¥": ("yuan", "yuan", "", ""), "INR": _SIGNS["₹"], "Rs.": _SIGNS["₹"],
    "Rs": _SIGNS["₹"], "KRW": _SIGNS["₩"], "RUB": _SIGNS["₽"], "TRY": _SIGNS["₺"], "UAH": _SIGNS["₴"],
    "NGN": _SIGNS["₦"], "PHP": _SIGNS["₱"], "ILS": _SIGNS["₪"], "THB": _SIGNS["฿"], "BTC": _SIGNS["₿"],
    "CHF": ("swiss franc", "swiss francs", "centime", "centimes"),
    "PLN": ("zloty", "zloty", "grosz", "groszy"),
    "SEK": ("swedish krona", "swedish kronor", "", ""),
    "NOK": ("norwegian krone", "norwegian kroner", "", ""),
    "DKK": ("danish krone", "danish kroner", "", ""), "CZK": ("czech koruna", "czech korunas", "", ""),
    "HUF": ("forint", "forints", "", ""), "ZAR": ("rand", "rand", "cent", "cents"),
    "AED": ("dirham", "dirhams", "", ""), "SAR": ("riyal", "riyals", "", ""),
    "zl": ("zloty", "zloty", "grosz", "groszy"), "kr": ("krone", "kroner", "", ""),
}  # fmt: skip
_CURRENCIES = _SIGNS | _CODES
_SCALES = {
    "k": "thousand", "m": "million", "mn": "million", "mm": "million", "mil": "million", "bn": "billion",
    "b": "billion", "bil": "billion", "t": "trillion", "tn": "trillion", "tr": "trillion",
}  # fmt: skip
_SCALE = (
    r"(?:[ -]?(?:hundred|thousand|million|billion|trillion)\b"
    r"| ?(?:[kKmMbB]|mn|MM|bn|Bn|BN|tn|T|mil|bil)(?![\w']))"
)
_ANY = alternatives(_CURRENCIES)
_PREFIX = rf"[-+]?(?:{_ANY}) ?-?"
_PER = r"(?: ?/ ?[A-Za-z]{1,10}(?:\^?[23])?\b)?"
_PARTS = re.compile(
    rf"(-)?(?P<currency>{_ANY}) ?(?P<minus>-)?(?P<amount>{QUANTITY})(?P<scale>{_SCALE})?"
    r"(?:\s?/ ?(?P<per>[\w^]+))?"
)
_BEHIND = re.compile(
    rf"(?P<amount>-?{QUANTITY})(?P<scale>{_SCALE})? ?(?P<currency>{_ANY})"
    r"(?: ?/ ?(?P<per>[\w^]+))?"
)
_ATTRIBUTES = re.compile(r"[ -](?:bills?|notes?|coins?|tickets?|tip|budget|deal|fine|fee|gift)\b")


def _amount(
    number: str, scale: str | None, names: tuple[str, str, str, str], *, attribute: bool = False
) -> str:
    one, several, part, parts = names
    number = with_point(number)
    sign = "minus " if number.startswith("-") else ""
    whole, _, rest = number.lstrip("-").replace(",", "").partition(".")
    if len(rest) > 2:
        rest = rest.rstrip("0").ljust(2, "0")
    if scale:
        scale = scale.strip(" -")
        read = f"{cardinal(number)} {_SCALES.get(scale.lower(), scale.lower())}"
        return f"{read} {one if attribute else several}"
    if len(rest) > 2 or (rest.strip("0") and not part):
        return f"{cardinal(number)} {several}"
    rest = rest.ljust(2, "0") if rest else ""
    cents = f"{cardinal(str(int(rest)))} {part if int(rest) == 1 else parts}" if rest.strip("0") else ""
    if cents and not whole.strip("0"):
        return sign + cents
    words = cardinal(number.lstrip("-").partition(".")[0]) or "zero"
    return f"{sign}{words} {one if whole == '1' or attribute else several} {cents}".strip()


def _per(unit: str | None) -> str:
    if not unit:
        return ""
    bare = unit.rstrip("23").rstrip("^")
    power = {"2": "square ", "3": "cubic "}.get(unit[-1], "")
    return f" per {power}{per(bare) or bare.lower()}"


def _money(match: Match) -> str | None:
    found = _PARTS.match(match[0].lstrip("+")) or _BEHIND.match(match[0])
    if found is None:
        return None
    names = _CURRENCIES[found["currency"]]
    number = found["amount"]
    if match[0].startswith("-") or found.groupdict().get("minus"):
        number = "-" + number.lstrip("-")
    attribute = bool(_ATTRIBUTES.match(after(match, 12)))
    read = _amount(number, found["scale"], names, attribute=attribute) + _per(found["per"])
    return f"plus {read}" if match[0].startswith("+") else read


def _span(match: Match) -> str | None:
    """Read `$50.00-$100.00` and `$5-10`."""
    first, last = re.split(r" ?- ?(?=\D?\D?\D?\.?\d)", match[0], maxsplit=1)
    start, end = _PARTS.match(first), _PARTS.match(last)
    names = _CURRENCIES[start["currency"]] if start else _DOLLAR
    if start and end:
        return f"{_amount(start['amount'], start['scale'], names)} to " + _amount(
            end["amount"], end["scale"], _CURRENCIES[end["currency"]]
        )
    number = re.match(rf"({QUANTITY})({_SCALE})?", last)
    if not start or not number:
        return None
    least = cardinal(with_point(start["amount"]))
    return f"{least} to {_amount(number[1], number[2] or start['scale'], names)}"


def _cents(match: Match) -> str:
    number = match[0].rstrip("¢ ")
    return f"{cardinal(number)} cent{'' if number == '1' else 's'}"


_BEHIND_A_NUMBER = alternatives(code for code in _CODES if code.isalpha() and code != "Rs")
_STARTS = "+-" + LETTERS + "".join(_SIGNS)
_NUMBER_SCALED = rf"{QUANTITY}(?:{_SCALE})?"
CLASSES = [
    TokenClass(
        "money_span", _STARTS, rf"{_PREFIX}{_NUMBER_SCALED} ?- ?(?:{_ANY})? ?{_NUMBER_SCALED}(?![\w%])", _span
    ),
    TokenClass("money", _STARTS, rf"{_PREFIX}{_NUMBER_SCALED}{_PER}(?!\d)", _money),
    TokenClass("cents", DIGITS + ".-", rf"-?{NUMBER} ?¢", _cents),
    TokenClass(
        "money_behind",
        DIGITS + ".-",
        rf"-?{_NUMBER_SCALED} ?(?:[£€¥₹₩₽₺₴₦₱₫₪฿₿]|{_BEHIND_A_NUMBER}\b){_PER}",
        _money,
    ),
]
