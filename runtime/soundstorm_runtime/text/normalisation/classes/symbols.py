"""Signs that have a name: `≠`, `√2`, `α`, `x^2`, `C#`, `->`."""

from __future__ import annotations

import re

from ..number_words import cardinal
from ..token_class import SMALL, Match, TokenClass, after, alternatives, before, spell

GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ϵ": "epsilon", "ζ": "zeta",
    "η": "eta", "θ": "theta", "ϑ": "theta", "ι": "iota", "κ": "kappa", "λ": "lambda", "µ": "mu", "ν": "nu",
    "ξ": "xi", "ο": "omicron", "π": "pi", "ρ": "rho", "σ": "sigma", "ς": "sigma", "τ": "tau", "υ": "upsilon",
    "φ": "phi", "ϕ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega", "Α": "alpha", "Β": "beta", "Γ": "gamma",
    "Δ": "delta", "Ε": "epsilon", "Ζ": "zeta", "Η": "eta", "Θ": "theta", "Ι": "iota", "Κ": "kappa",
    "Λ": "lambda", "Μ": "mu", "Ν": "nu", "Ξ": "xi", "Ο": "omicron", "Π": "pi", "Ρ": "rho", "Σ": "sigma",
    "Τ": "tau", "Υ": "upsilon", "Φ": "phi", "Χ": "chi", "Ψ": "psi", "Ω": "omega",
}  # fmt: skip
NAMES = GREEK | {
    "≠": "not equal to", "≮": "not less than", "≯": "not greater than", "≤": "less than or equal to",
    "≥": "greater than or equal to", "≦": "less than or equal to", "≧": "greater than or equal to",
    "≰": "not less than or equal to", "≱": "not greater than or equal to", "≪": "much less than",
    "≫": "much greater than", "≈": "approximately", "≉": "not approximately", "≅": "congruent to",
    "≡": "identical to", "≢": "not identical to", "∼": "about", "≃": "approximately", "∝": "proportional to",
    "×": "times", "÷": "divided by", "·": "times", "±": "plus or minus", "∓": "minus or plus",
    "√": "square root of", "∛": "cube root of", "∜": "fourth root of", "∞": "infinity", "∂": "partial",
    "∇": "nabla", "∫": "integral of", "∏": "product of", "∈": "in", "∉": "not in", "∋": "contains",
    "⊂": "subset of", "⊆": "subset of or equal to", "⊄": "not a subset of", "⊃": "superset of",
    "⊇": "superset of or equal to", "∪": "union", "∩": "intersection", "∅": "empty set", "∀": "for all",
    "∃": "there exists", "∄": "there does not exist", "∧": "and", "∨": "or", "¬": "not", "⊕": "plus",
    "∴": "therefore", "∵": "because", "∠": "angle", "⊥": "perpendicular to", "∥": "parallel to",
    "→": "to", "⇒": "implies", "⇔": "if and only if", "↔": "to and from", "←": "from", "↑": "up", "↓": "down",
    "°": "degrees", "%": "percent", "‰": "per mille", "§": "section", "¶": "paragraph", "©": "copyright",
    "®": "registered", "™": "trademark", "£": "pounds", "€": "euros", "¥": "yen", "₹": "rupees", "₩": "won",
    "₽": "rubles", "₺": "lira", "₴": "hryvnias", "₦": "naira", "₱": "pesos", "₫": "dong", "₪": "shekels",
    "฿": "baht", "₿": "bitcoin", "¢": "cents", "₵": "cedis", "₡": "colones", "₲": "guaranies", "₸": "tenge",
    "₭": "kip", "₮": "tugrik", "₾": "lari", "¤": "currency", "♯": "sharp", "♭": "flat", "♮": "natural",
    "ℓ": "liters", "ℏ": "h bar", "℮": "estimated", "¦": ",",
    "$": "dollar", "&": "and", "@": "at", "+": "plus", "=": "equals", "/": "slash", "<": "less than",
    ">": "greater than", "\\": "backslash", "#": "hash",
}  # fmt: skip
_TYPED = {
    "!=": "not equal to", "=/=": "not equal to", "==": "equals", "===": "equals",
    "<=": "less than or equal to",
    ">=": "greater than or equal to", "->": "to", "-->": "to", "=>": "implies", "<->": "to and from",
    "&&": "and", "||": "or", "+/-": "plus or minus", "+-": "plus or minus", "<>": "not equal to",
    ":=": "equals", "~=": "approximately", "<<": "much less than", ">>": "much greater than",
}  # fmt: skip
_TYPED_STARTS = "".join({sign[0] for sign in _TYPED})
_POWERS = {"2": "squared", "3": "cubed", "0": "to the power of zero"}
_OPERATORS = {"*": "times", "-": "minus", "~": "about", "|": ",", "^": "to the power of"}


def power(exponent: str) -> str:
    """Read an exponent: `2` -> `squared`, `-6` -> `to the power of minus six`, `n` -> `to the power of n`."""
    if exponent[-1].isalpha():
        return f"to the power of {'minus ' * exponent.startswith('-')}{spell(exponent)}"
    return _POWERS.get(exponent) or f"to the power of {cardinal(exponent)}"


def _exponent(match: Match) -> str:
    return power(match[0].strip("^(){}").replace("+", ""))


def _typed(match: Match) -> str:
    return _TYPED[match[0]]


def _named(match: Match) -> str:
    name = NAMES[match[0]]
    if match[0] in "$£€¥₹" and before(match, 1)[:1].isalpha():
        return name.removesuffix("s")
    return name


def _operator(match: Match) -> str | None:
    """Read `a * b`, `x - 1`, `~5`; the same signs are silent where they join nothing."""
    sign, last, following = match[0], before(match, 2), after(match, 2)
    spaced = last.endswith(" ") and following.startswith(" ")
    glued = last[-1:].isalnum() and following[:1].isalnum()
    if sign == "~":
        return "about" if following[:1].isdigit() or (following[:1] in "$£€" and following) else ""
    if sign == "*":
        return "times" if spaced or glued else ""
    if sign == "|":
        return "," if spaced else ""
    return _OPERATORS[sign] if spaced or glued else ""


def _minus(match: Match) -> str:
    """Read `y = x - 1` and `a - b = c`; between other words a dash is a pause."""
    near = before(match, 12) + after(match, 12)
    terms = match.string[match.start() - 2 : match.start()].strip(), after(match, 2).strip()
    mathematical = any(sign in near for sign in "=+*×÷^√<>≤≥≠") and all(terms)
    return "minus" if mathematical else "," if before(match, 1) == " " else ""


def _root(match: Match) -> str:
    kind = {"√": "square", "∛": "cube", "∜": "fourth"}[match[0]]
    return f"the {kind} root of" if not before(match, 5).lower().endswith("the ") else f"{kind} root of"


def _function(match: Match) -> str:
    """Read `f(x)`."""
    return " of ".join(spell(letter) for letter in re.findall("[a-z]", match[0]))


FUNCTION = TokenClass("function", SMALL, r"[a-z]\([a-z]\)", _function)


def _per(_: Match) -> str:
    """Read `7 days/week`."""
    return "per"


CLASSES = [
    TokenClass(
        "per", "/", r"(?<=[a-z]s)/(?=(?:second|minute|hour|day|week|month|year|person|night)\b)", _per
    ),
    TokenClass("exponent", "^", r"\^\(?\{?[-+]?(?:\d{1,4}|[a-z])\b\}?\)?", _exponent),
    TokenClass("root", "√∛∜", r"[√∛∜]", _root),
    TokenClass("typed", _TYPED_STARTS, alternatives(_TYPED), _typed),
    TokenClass("minus", "-", r"-(?= )", _minus),
    TokenClass("operator", "*~|^", r"[*~|^]", _operator),
    TokenClass("sign", "".join(NAMES), "[" + re.escape("".join(NAMES)) + "]", _named),
]
