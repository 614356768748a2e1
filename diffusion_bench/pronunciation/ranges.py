"""Ranges between amounts that have a sign or a word each: 9am-5pm, Jan 5-10, 5%-10%, 5kg-10kg.

Their hyphen would be lost, or read as a minus, once a later rule has put words in place of a side;
so it becomes an en dash first, which is said as "to" in the end.
"""

from __future__ import annotations

import re

from diffusion_bench.pronunciation.dates import MONTH_NAME
from diffusion_bench.pronunciation.money import COUNTRIES, MAGNITUDES, SIGNS
from diffusion_bench.pronunciation.numbers import NUMBER, ordinal
from diffusion_bench.pronunciation.units import UNIT

_JOIN = r"(?:[-–]|[ ][-–][ ])"
_HALF = r"[ ]?[AaPp](?:\.[ ]?[Mm]\b\.?|[Mm]\b)"
_HOUR = r"(?:1[0-2]|0?[1-9])"
_TIME = rf"(?:(?:[01]?\d|2[0-3]|24(?=:00)):[0-5]\d(?::[0-5]\d)?(?:{_HALF})?|{_HOUR}{_HALF})"
_SCALE = rf"(?:[ ]?(?:{MAGNITUDES})\b)?"
_CURRENCY = rf"(?P<currency>(?:{COUNTRIES})?[{SIGNS}])"
_COUNT = rf"{NUMBER}[ ]?(?:k|K|M|mn|bn|B|tn)"
_ORDINAL = r"\d{1,15}(?:st|nd|rd|th)\b"
# What stands before the join, and what has to follow it.
_SIDES = (
    (_TIME, rf"{_TIME}(?![\d:])"),
    (_HOUR, rf"{_HOUR}(?::[0-5]\d)?{_HALF}"),
    (rf"{NUMBER}[ ]?%", rf"{NUMBER}[ ]?%"),
    (rf"{NUMBER}[ ]?°[ ]?[CF]?", rf"{NUMBER}[ ]?°"),
    (rf"{_CURRENCY}{NUMBER}{_SCALE}", rf"(?P=currency){NUMBER}"),
    (rf"{NUMBER}{_SCALE}[ ]?{_CURRENCY}", rf"{NUMBER}{_SCALE}[ ]?(?P=currency)"),
    (_COUNT, rf"{_COUNT}(?!\w)"),
    (_ORDINAL, _ORDINAL),
    # Of one unit: an adapter of 12V-5A is no range.
    (rf"{NUMBER}[ ]?(?P<unit>{UNIT})(?:/(?:{UNIT}))?", rf"{NUMBER}[ ]?(?P=unit)(?![\w^])"),
)
_RANGES = tuple(
    re.compile(rf"(?<![\w.,:/])(?P<low>{low}){_JOIN}(?={high})") for low, high in _SIDES
)
_DATE = rf"{MONTH_NAME}[ ](?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_DATES = re.compile(rf"\b(?P<low>{_DATE}){_JOIN}(?={_DATE}(?!\w))")
_DAYS = re.compile(
    rf"\b(?P<low>{_DATE}){_JOIN}(?P<day>0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
    r"(?!\w|-\d|[.:/]\d|[ ]?%)"
)


def mark_ranges(text: str) -> str:
    """Return a text with an en dash between two times, days, shares, sums, counts or quantities."""
    if "-" not in text and "–" not in text:
        return text
    for pattern in (*_RANGES, _DATES):
        text = pattern.sub(r"\g<low>–", text)
    return _DAYS.sub(lambda m: f"{m['low']}–{ordinal(int(m['day']))}", text)
