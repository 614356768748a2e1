"""Quantities with a unit: 5 km, 20 °C, 3.5 GHz, 60 mph, 120 km/h, 30 m^2."""

from __future__ import annotations

import re

from diffusion_bench.pronunciation.numbers import NUMBER, is_adjective, is_one

# The singular; the plural where it is not the singular with an s. Case counts: mW is not MW.
_SIMPLE = {
    "mmHg": "millimeter of mercury",
    "mm": "millimeter", "cm": "centimeter", "CM": "centimeter", "km": "kilometer",
    "kms": "kilometer", "Km": "kilometer", "KM": "kilometer", "nm": "nanometer",
    "µm": "micrometer", "m": "meter", "ft": "foot", "yd": "yard", "yds": "yard", "mi": "mile",
    "kg": "kilogram", "Kg": "kilogram", "KG": "kilogram",
    "g": "gram", "mg": "milligram", "µg": "microgram", "lb": "pound",
    "lbs": "pound", "oz": "ounce", "ml": "milliliter", "mL": "milliliter", "cl": "centiliter",
    "l": "liter", "L": "liter", "gal": "gallon", "qt": "quart", "fl oz": "fluid ounce",
    "ha": "hectare",
    "s": "second", "sec": "second", "secs": "second", "ms": "millisecond", "µs": "microsecond",
    "us": "microsecond", "ns": "nanosecond", "min": "minute", "mins": "minute", "h": "hour",
    "hr": "hour", "hrs": "hour", "wk": "week", "wks": "week", "yr": "year", "yrs": "year",
    "hz": "hertz", "khz": "kilohertz", "mhz": "megahertz", "ghz": "gigahertz",
    "Hz": "hertz", "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz", "THz": "terahertz",
    "tbsp": "tablespoon", "tsp": "teaspoon",
    "kB": "kilobyte", "KB": "kilobyte", "MB": "megabyte", "GB": "gigabyte",
    "TB": "terabyte", "PB": "petabyte", "KiB": "kibibyte", "MiB": "mebibyte", "GiB": "gibibyte",
    "TiB": "tebibyte", "kbit": "kilobit", "Mbit": "megabit", "Gbit": "gigabit",
    "kb": "kilobyte", "Mb": "megabit", "Gb": "gigabit", "mb": "megabyte", "gb": "gigabyte",
    "tb": "terabyte",
    "W": "watt", "mW": "milliwatt", "kW": "kilowatt", "MW": "megawatt", "GW": "gigawatt",
    "TW": "terawatt", "Wh": "watt hour", "kWh": "kilowatt hour", "MWh": "megawatt hour",
    "J": "joule", "kJ": "kilojoule", "MJ": "megajoule", "V": "volt", "mV": "millivolt",
    "kV": "kilovolt", "A": "amp", "mA": "milliamp", "mAh": "milliamp hour", "Ah": "amp hour",
    "ohm": "ohm", "kohm": "kiloohm", "Mohm": "megaohm", "angstrom": "angstrom",
    "N": "newton", "Pa": "pascal", "kPa": "kilopascal", "cal": "calorie", "kcal": "kilocalorie",
    "dB": "decibel", "px": "pixel", "MP": "megapixel", "FLOPS": "flops", "GFLOPS": "gigaflops",
    "TFLOPS": "teraflops", "PFLOPS": "petaflops", "hp": "horsepower",
    "mph": "mile per hour", "kph": "kilometer per hour", "kmh": "kilometer per hour",
    "kbps": "kilobit per second", "Mbps": "megabit per second", "Gbps": "gigabit per second",
    "mpg": "mile per gallon", "rpm": "revolution per minute", "bpm": "beat per minute",
    "fps": "frame per second", "dpi": "dot per inch", "psi": "pound per square inch",
    "°C": "degree celsius", "°F": "degree fahrenheit", "°": "degree",
}  # fmt: skip
_SAME_IN_PLURAL = ("hertz", "flops", "horsepower")
_WHOLE_WORDS = {"foot": "feet", "fluid ounce": "fluid ounces"}
# Too short to be told from other things without the space or the digit right before them.
UNIT = "|".join(sorted(map(re.escape, _SIMPLE), key=len, reverse=True))
_POWER = r"\^[23] ?|(?<=m)[23](?!\w)"  # m^2, m2
_EACH = "day|week|month|year|hour|minute|second|person|serving|dose"
_QUANTITY = re.compile(
    rf"(?<![\w.,])(?P<amount>{NUMBER})(?P<gap>[ -]?)(?P<unit>{UNIT})"
    rf"(?P<power>{_POWER})?"
    rf"(?:/(?P<per>{UNIT})(?P<per_power>{_POWER})?|/(?P<each>{_EACH}))?(?![\w^'])"
    r"(?:\.(?=,|\s+[a-z\d]))?"
)
_INCHES = re.compile(
    rf"(?<![\w.,])(?P<amount>{NUMBER})"
    r"(?:[ -]?in\.(?:(?=\s+[a-z\d])|(?P<ends>(?=\s+[A-Z]|$)))|-?in(?![\w.-]))"
)
_PART = re.compile(r"(?P<whole>\d[ -])?(?P<over>\d{1,2})/$")
_PARTS = ("2", "3", "4", "5", "6", "8", "10", "16", "32", "64")  # of an inch, a mile, a pound
_NAMED = re.compile(r"[A-Z]-$")  # B-52s
_QUOTE = re.compile(r"(\d)?\"")
_MORE_INCHES = re.compile(r"(?<=\d)([ -]?(?:ft|foot|feet)\.? \d{1,2}) in\b(?!\.)")
_SQUARE = re.compile(r"(?<=\d)[ -](sq|cu)\.? ?(ft|m|km|cm|mi|yd)\b(?:\.(?=\s+[a-z\d]))?")
# 3 m x 4 m, 10x15 cm: said before words take the place of the units; not 1920x1080 px.
_BY = re.compile(
    rf"(?<=\d)(?:(?P<unit>[ -]?(?:{UNIT}|in\b)\.?) ?x ?|(?<!\b0)(?<!\d{{3}}) ?x ?)"
    rf"(?={NUMBER}[ -]?(?:{UNIT}|in)(?!\w))"
)
_CLOCKED = (
    (re.compile(r"\b(\d+) ?h ?(\d+) ?m\b"), r"\1 h \2 min"),
    (re.compile(r"\b(\d+) ?m(?:in)? ?(\d+) ?s\b"), r"\1 min \2 s"),
)
_KELVIN = re.compile(rf"(?<![\w.,])(?P<amount>{NUMBER}) K(?!\w)")
_FEET = re.compile(r"(?<![\w.])(\d{1,3})'(?= (?:tall|long|wide|deep|high)\b)")
_HEIGHT = re.compile(r"(?<![\w.])(\d)'[ ]?(\d{1,2})\"")
# Without a number before them: "dollars per kg", "in km/h".
_PER = re.compile(rf"\bper ({UNIT})\b")
_ALONE = re.compile(r"\b(km|m|mi|kB|MB|GB|TB|Mbit|Gbit)/(h|s|min)\b")
_POWERS = {"2": "square ", "3": "cubic "}


def say_units(text: str) -> str:
    """Return a text with the units of its quantities in words; the numbers stay as they are."""
    text = _FEET.sub(r"\1 ft", text)
    text = _MORE_INCHES.sub(r"\1 inches", _HEIGHT.sub(r"\1 foot \2", text))
    text = _BY.sub(r"\g<unit> by ", _with_inches(text))
    for pattern, written in _CLOCKED:
        text = pattern.sub(written, text)
    text = _SQUARE.sub(lambda m: f" {m[2]}^{2 if m[1] == 'sq' else 3} ", text)
    text = _INCHES.sub(_inches, text)
    text = _KELVIN.sub(lambda m: f"{m['amount']} kelvin", text)
    text = _QUANTITY.sub(_say, text)
    text = _PER.sub(lambda m: f"per {_SIMPLE[m[1]]}", text)
    return _ALONE.sub(lambda m: f"{_plural(_SIMPLE[m[1]])} per {_SIMPLE[m[2]]}", text)


def _with_inches(text: str) -> str:
    """Return a text with "in" for its inch marks: a mark after a digit that closes no quotation."""
    is_open = False

    def written(match: re.Match[str]) -> str:
        nonlocal is_open
        if match[1] and not is_open:
            return f"{match[1]}in"
        is_open = not is_open
        return match[0]

    return _QUOTE.sub(written, text)


def _inches(match: re.Match[str]) -> str:
    said = "inch" if _is_singular(match) else "inches"
    return f"{match['amount']} {said}{'' if match['ends'] is None else '.'}"


def _say(match: re.Match[str]) -> str:
    unit, per = match["unit"], match["per"]
    if match["gap"] == "-" and len(unit) == 1 and unit not in "mgVWsh":
        return match[0]
    if (
        unit == "s"
        and match["gap"] == ""
        and _NAMED.search(match.string, max(0, match.start() - 2), match.start())
    ):
        return match[0]
    singular = match["gap"] == "-" or _is_singular(match)
    said = _SIMPLE[unit] if singular else _plural(_SIMPLE[unit])
    words = f"{match['amount']} {_power(match['power'])}{said}"
    if match["each"]:
        return f"{words} per {match['each']}"
    return f"{words} per {_per(_SIMPLE[per], match['per_power'])}" if per else words


def _is_singular(match: re.Match[str]) -> bool:
    """Return whether a unit stands after one, before what it measures, or after a part of one."""
    amount = match["amount"]
    part = _PART.search(match.string, max(0, match.start() - 8), match.start())
    if part and not part["whole"] and amount in _PARTS and int(part["over"]) < int(amount):
        return True  # 1/2 inch, not 2 1/2 inches
    return is_one(amount) or is_adjective(match)


def _per(unit: str, power: str | None) -> str:
    """Return "second squared" as of an acceleration, "square meter" as of a pressure."""
    if power and unit.endswith("second"):
        return f"{unit} {'squared' if '2' in power else 'cubed'}"
    return f"{_power(power)}{unit}"


def _power(text: str | None) -> str:
    return _POWERS[text.strip(" ^")] if text else ""


def _plural(unit: str) -> str:
    """Return the plural of a unit: "degrees celsius", "miles per hour", "watt hours", "feet"."""
    if unit in _SAME_IN_PLURAL or unit.endswith("hertz") or unit.endswith("flops"):
        return unit
    if unit in _WHOLE_WORDS:
        return _WHOLE_WORDS[unit]
    first, space, rest = unit.partition(" ")
    return f"{unit}s" if rest == "hour" else f"{first}s{space}{rest}"
