"""Units of measure by their signs, with SI prefixes: `µg` is a microgram, `kWh` a kilowatt hour."""

from __future__ import annotations

_PREFIXES = {
    "P": "peta", "T": "tera", "G": "giga", "M": "mega", "k": "kilo", "K": "kilo", "h": "hecto", "c": "centi",
    "d": "deci", "m": "milli", "µ": "micro", "u": "micro", "n": "nano", "p": "pico", "Ki": "kibi",
    "Mi": "mebi",
    "Gi": "gibi", "Ti": "tebi",
}  # fmt: skip
_PREFIXED = {  # sign, name, prefixes that are in use with it
    "m": ("meter", "k c d m µ n p u"), "g": ("gram", "k m µ n u"), "L": ("liter", "m c d µ u"),
    "l": ("liter", "m c d µ u"), "W": ("watt", "k M G T m"), "Wh": ("watt hour", "k M G T m"),
    "V": ("volt", "k m µ u"), "A": ("ampere", "k m µ u"), "Ah": ("ampere hour", "m"),
    "Hz": ("hertz", "k K M G T"),
    "hz": ("hertz", "k K M G"), "Pa": ("pascal", "k h M G"), "J": ("joule", "k M G m"),
    "N": ("newton", "k m"),
    "B": ("byte", "k K M G T P Ki Mi Gi Ti"), "b": ("bit", "k K M G"), "bit": ("bit", "k K M G"),
    "s": ("second", "m µ n p u"), "Ω": ("ohm", "k M m"), "F": ("farad", "µ n p u"), "H": ("henry", "m µ"),
    "mol": ("mole", "m µ n"), "cal": ("calorie", "k"), "eV": ("electron volt", "k M G T"),
    "Bq": ("becquerel", "k M G"),
    "Sv": ("sievert", "m µ"), "T": ("tesla", "m µ"), "bar": ("bar", "m"), "lm": ("lumen", "k"),
    "lx": ("lux", "k"),
    "cd": ("candela", ""), "Gy": ("gray", "m"), "K": ("kelvin", "m"), "pc": ("parsec", "k M"),
    "Nm": ("newton meter", "k"),
    "VA": ("volt ampere", "k M"), "t": ("ton", "k M"),
}  # fmt: skip
_OTHERS = {
    "°C": ("degree celsius", "degrees celsius"), "°F": ("degree fahrenheit", "degrees fahrenheit"),
    "°": ("degree", "degrees"), "%": ("percent", "percent"), "‰": ("per mille", "per mille"),
    "ft": ("foot", "feet"), "in": ("inch", "inches"), "yd": ("yard", "yards"), "yds": ("yard", "yards"),
    "mi": ("mile", "miles"), "nmi": ("nautical mile", "nautical miles"), "lb": ("pound", "pounds"),
    "lbs": ("pound", "pounds"), "oz": ("ounce", "ounces"), "fl oz": ("fluid ounce", "fluid ounces"),
    "gal": ("gallon", "gallons"), "qt": ("quart", "quarts"), "pt": ("pint", "pints"),
    "tsp": ("teaspoon", "teaspoons"), "tbsp": ("tablespoon", "tablespoons"),
    "sq ft": ("square foot", "square feet"),
    "sq m": ("square meter", "square meters"), "sq km": ("square kilometer", "square kilometers"),
    "sq mi": ("square mile", "square miles"), "cu ft": ("cubic foot", "cubic feet"),
    "sqft": ("square foot", "square feet"),
    "ha": ("hectare", "hectares"), "mph": ("mile per hour", "miles per hour"),
    "kph": ("kilometer per hour", "kilometers per hour"),
    "kmh": ("kilometer per hour", "kilometers per hour"),
    "mpg": ("mile per gallon", "miles per gallon"), "bps": ("bit per second", "bits per second"),
    "kbps": ("kilobit per second", "kilobits per second"),
    "Kbps": ("kilobit per second", "kilobits per second"),
    "mbps": ("megabit per second", "megabits per second"),
    "Mbps": ("megabit per second", "megabits per second"),
    "gbps": ("gigabit per second", "gigabits per second"),
    "Gbps": ("gigabit per second", "gigabits per second"),
    "MBps": ("megabyte per second", "megabytes per second"), "fps": ("frame per second", "frames per second"),
    "rpm": ("revolution per minute", "revolutions per minute"),
    "bpm": ("beat per minute", "beats per minute"),
    "ppm": ("part per million", "parts per million"), "ppb": ("part per billion", "parts per billion"),
    "dpi": ("dot per inch", "dots per inch"), "ppi": ("pixel per inch", "pixels per inch"),
    "psi": ("p s i", "p s i"), "hp": ("horsepower", "horsepower"), "dB": ("decibel", "decibels"),
    "dBA": ("decibel", "decibels"), "dBm": ("d b m", "d b m"),
    "mmHg": ("millimeter of mercury", "millimeters of mercury"),
    "atm": ("atmosphere", "atmospheres"), "cc": ("c c", "c c"), "px": ("pixel", "pixels"),
    "MP": ("megapixel", "megapixels"),
    "ly": ("light year", "light years"), "kt": ("knot", "knots"), "kts": ("knot", "knots"),
    "kn": ("knot", "knots"),
    "BTU": ("b t u", "b t u"), "ct": ("carat", "carats"), "IU": ("i u", "i u"),
    "Å": ("angstrom", "angstroms"),
    "sec": ("second", "seconds"), "secs": ("second", "seconds"), "min": ("minute", "minutes"),
    "mins": ("minute", "minutes"), "h": ("hour", "hours"), "hr": ("hour", "hours"), "hrs": ("hour", "hours"),
    "wk": ("week", "weeks"), "wks": ("week", "weeks"), "mo": ("month", "months"), "mos": ("month", "months"),
    "yr": ("year", "years"), "yrs": ("year", "years"), "yo": ("year old", "year old"),
    "mil": ("mil", "mils"), "gsm": ("gram per square meter", "grams per square meter"),
    "pp": ("percentage point", "percentage points"),
    "W·h": ("watt hour", "watt hours"), "kW·h": ("kilowatt hour", "kilowatt hours"),
    "A·h": ("ampere hour", "ampere hours"), "mA·h": ("milliampere hour", "milliampere hours"),
    "N·m": ("newton meter", "newton meters"),
    "kWp": ("kilowatt peak", "kilowatts peak"),
}  # fmt: skip
_INVARIABLE = ("hertz", "lux")
_PER_ONE = {
    "s": "second", "h": "hour", "hr": "hour", "d": "day", "day": "day", "min": "minute", "mo": "month",
    "mth": "month", "wk": "week", "yr": "year", "y": "year", "a": "year", "pp": "person", "ea": "each",
    "pc": "piece", "px": "pixel", "in": "inch", "sqft": "square foot", "m": "meter",
}  # fmt: skip


def _with_prefixes() -> dict[str, tuple[str, str]]:
    units = {}
    for sign, (name, prefixes) in _PREFIXED.items():
        for prefix in ("", *prefixes.split()):
            one = _PREFIXES.get(prefix, "") + name
            one = one.replace("ooh", "oh").replace("aohm", "ohm")  # kilohm, megohm
            many = one if one.endswith(_INVARIABLE) else f"{one}s"
            units[prefix + sign] = (one, many.replace("henrys", "henries"))
    return units


UNITS: dict[str, tuple[str, str]] = _with_prefixes() | _OTHERS
"""A unit's sign to its name for one and for several."""


def per(sign: str) -> str | None:
    """Return the name of what something is counted by: `h` -> `hour`, `m` -> `meter`; None if unknown."""
    if sign in _PER_ONE:
        return _PER_ONE[sign]
    return UNITS[sign][0] if sign in UNITS else None
