"""Numbers that no other rule has taken: ranges, fractions, ordinals, versions, decimals."""

from __future__ import annotations

import re

from diffusion_bench.pronunciation.initials import initials
from diffusion_bench.pronunciation.numbers import (
    NUMBER,
    cardinal,
    digits,
    is_one,
    number,
    ordinal,
    pairs,
    plural,
)

_LONG = re.compile(r"\d{37,}")
_RANGE = re.compile(rf"(?<![\w.,–-])({NUMBER})\s?[-–]\s?({NUMBER})(?![\d–-]|[.,/]\d)")
# 5 - 3 = 2, 3 x 4 = 12 and 6 / 2 are sums, and no ranges or sizes.
_DIFFERENCE = re.compile(r"(?<=\d) [-–] (?=[\d.,]+(?: [-+–] [\d.,]+){0,8} ?=)")
_QUOTIENT = re.compile(r"(?<=\d) / (?=\d)")
_PRODUCT = re.compile(r"(?<=\d) ?x ?(?=[\d.,]+(?: ?x ?[\d.,]+){0,8} ?=)")
# Paragraphs of American law, known by their names.
_PLAN = re.compile(r"(?<![\w.])(401|403|457|501|503|529)(?:\(([a-zA-Z])\)|(?<=401)([kK]))(?!\w)")
_MINUS = re.compile(r"(?<![\w)\]%°–-])[-–](?=\.?\d)")
_SCIENTIFIC = re.compile(r"(?<![\w.])(\d(?:\.\d+)?)[eE]([+-]?\d{1,3})\b")
_POWER = re.compile(r"(?<=[\w)])\^\s?(-?\w+)")
_RATIO = re.compile(r"(?<![\d:.])(\d+):(\d+)(?![\d:])")
_TIMES_TEN = re.compile(r"(?<=\d) ?x ?(?=10\^)")  # 6.02×10^23
_TIMES = re.compile(rf"(?<![\w.,])(?!0x)({NUMBER})(?: x |x(?=\d))({NUMBER})(?![\d])")
_FOLD = re.compile(
    rf"(?<![\w.,])({NUMBER}(?=x)|\d{{1,3}}(?=X))[xX](?!\w| (?:plus|minus|times|equals)\b)"
)
_OUT_OF = re.compile(r"(?<![\w.,])(\d{1,3}\.\d)/(?=\d{1,3}(?![\w/]|[.,]\d))")
_FRACTION = re.compile(
    r"(?<![\w/.,])(?:(\d{1,6})[ -])?(\d{1,3})/(10{3,6}|\d{1,3})(?:(?:st|nd|rd|th)s?)?"
    r"(?![\w/]|[.,]\d)"
)
_PAIRED = {
    "24/7": "twenty four seven",
    "9/11": "nine eleven",
    "50/50": "fifty fifty",
    "20/20": "twenty twenty",
}
_MAGNITUDE = re.compile(rf"(?<![\w.,])(?<!\w-)({NUMBER})[ ]?(k|K|M|mn|bn|B|tn)(?!\w)")
_MAGNITUDES = {"k": "thousand", "M": "million", "mn": "million", "bn": "billion", "B": "billion"}
_ORDINAL = re.compile(r"(?<![\w.,])(\d{1,3}(?:,\d{3})+|\d{1,15})(?:st|nd|rd|th)\b", re.IGNORECASE)
_VERSION = re.compile(r"\b(?:v(?:\.\s?)?(?=\d)|V(?=\d+\.\d))(\d{1,9}(?:\.\d{1,9})*)\b")
_CHAIN = re.compile(r"(?<![\w.,])\d{1,9}(?:\.\d{1,9}){2,}(?!\w)")
_NUMBER = re.compile(rf"(?<![\w.,]){NUMBER}(?!\w|\.\d)|(?<!\w)\.\d+(?!\w)")
_POINT = re.compile(
    r"(?<=[A-Za-z\d]\d)\.(?P<end>\d+)(?!\w)|(?<![\w.])(?P<begin>\d{1,15})\.(?=\d+[A-Za-z])"
)
_REST = re.compile(r"(?<![A-Za-z\d])\d+(?![A-Za-z\d])")


def say_ranges(text: str) -> str:
    """Return a text with "to" in its ranges and "minus" before negative numbers."""
    text = _LONG.sub(lambda m: f" {digits(m[0])} ", text)
    text = _QUOTIENT.sub(" divided by ", text)
    text = _PRODUCT.sub(" times ", _DIFFERENCE.sub(" minus ", text))
    return _MINUS.sub(" minus ", _RANGE.sub(_range, text))


def say_figures(text: str) -> str:
    """Return a text with its numbers in words, but for those mixed with letters."""
    text = _PLAN.sub(lambda m: f"{pairs(m[1])} {initials(m[2] or m[3])} ", text)
    text = _SCIENTIFIC.sub(lambda m: f"{number(m[1])} times ten to the {_signed(m[2])}", text)
    text = _POWER.sub(_power, _TIMES_TEN.sub(" times ", text))
    text = _RATIO.sub(r"\1 to \2", text)
    text = _FOLD.sub(r"\1 times", _TIMES.sub(_by, text))
    text = _FRACTION.sub(_fraction, _OUT_OF.sub(r"\1 out of ", text))
    text = _MAGNITUDE.sub(_magnitude, text)
    text = _ORDINAL.sub(lambda m: ordinal(int(m[1].replace(",", ""))), text)
    text = _VERSION.sub(lambda m: f"version {_chain(m[1])}", text)
    text = _CHAIN.sub(lambda m: _chain(m[0]), text)
    text = _NUMBER.sub(lambda m: number(m[0]), text)
    text = _POINT.sub(_pointed, text)
    return _REST.sub(lambda m: f" {number(m[0])} ", text)


def _range(match: re.Match[str]) -> str:
    """Return "5 to 10"; shares of a hundred, as 60-40 and 50-50, are said without "to"."""
    low, high = match.groups()
    shares = low.isdigit() and high.isdigit() and int(low) >= int(high) > 0
    return f"{low}{' ' if shares and int(low) + int(high) == 100 else ' to '}{high}"


def _pointed(match: re.Match[str]) -> str:
    """Return the point, and what is not mixed with letters, of PM2.5 and 802.11ax."""
    if match["end"]:
        return f" point {digits(match['end'])}"
    return f"{number(match['begin'])} point "


def _signed(text: str) -> str:
    value = int(text)
    return cardinal(value)


def _by(match: re.Match[str]) -> str:
    """Return a size, 1920x1080 as screens are called."""
    if all(len(side) in (3, 4) and side.isdigit() for side in match.groups()):
        return f"{pairs(match[1])} by {pairs(match[2])}"
    return f"{match[1]} by {match[2]}"


def _power(match: re.Match[str]) -> str:
    named = {"2": " squared", "3": " cubed"}
    exponent = match[1].replace("-", "minus ")
    return named.get(match[1], f" to the {exponent}")


def _fraction(match: re.Match[str]) -> str:
    whole, over, under = match[1], int(match[2]), int(match[3])
    if match[0] in _PAIRED:
        return _PAIRED[match[0]]
    if over == under or (under == 100 and over > 9):  # 98/100 of a test
        return f"{cardinal(over)} out of {cardinal(under)}"
    if not 0 < over < under or (under > 100 and under % 1000):
        joined = f"{cardinal(over)} over {cardinal(under)}"
        return f"{cardinal(int(whole))} {joined}" if whole else joined
    said = f"{cardinal(over)} {_part(over, under)}"
    if not whole:
        return said
    return f"{cardinal(int(whole))} and {'a' if over == 1 else cardinal(over)} {_part(over, under)}"


def _part(over: int, under: int) -> str:
    if under == 2:
        return "half"
    one = "quarter" if under == 4 else ordinal(under)
    return one if over == 1 else plural(one)


def _magnitude(match: re.Match[str]) -> str:
    amount, scale = match[1], match[2]
    # 4K is a resolution and 7B a model's size or a room; 1.5K and 1.5B are counts.
    if scale == "B" and "." not in amount:
        return match[0]
    if scale == "K" and "." not in amount and not is_one(amount) and len(amount) < 2:
        return match[0]
    return f"{number(amount)} {_MAGNITUDES.get(scale, 'thousand' if scale == 'K' else 'trillion')}"


def _chain(text: str) -> str:
    """Return "two point one point three" of a version 2.1.3."""
    return " point ".join(number(part) for part in text.split("."))
