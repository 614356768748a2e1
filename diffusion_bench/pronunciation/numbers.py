"""Numbers in words, as they are said in American English: "one hundred twenty three".

Own code because `inflect` (MIT) takes 1.5 s to import and refuses numbers above 36 digits, and
`num2words` is LGPL.
"""

from __future__ import annotations

import re

from diffusion_bench.pronunciation.word_lists import word_list

_ONES = word_list(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS = word_list("_ _ twenty thirty forty fifty sixty seventy eighty ninety")
_SCALES = (
    "",
    *word_list(
        "thousand million billion trillion quadrillion quintillion sextillion septillion octillion "
        "nonillion decillion"
    ),
)
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_ROMAN = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_ROMAN_VALUE = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
MAX_CARDINAL_DIGITS = 36

NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
# What stands around a measure that is said as an adjective; "a 5 to 10 km run" is one too.
# Not "every 5 km" and "another $20", which are measures of their own.
_ARTICLE = re.compile(r"\ban?\s(?:[\d.,]+ to )?$", re.IGNORECASE)
_NOUN = re.compile(r"[ -][A-Za-z]|-\d")


def cardinal(value: int) -> str:
    """Return a whole number in words; digit by digit above 36 digits."""
    if value < 0:
        return f"minus {cardinal(-value)}"
    if value < 100:
        return _below_hundred(value)
    if len(str(value)) > MAX_CARDINAL_DIGITS:
        return digits(str(value))
    groups = []
    for scale in _SCALES:
        value, group = divmod(value, 1000)
        if group:
            groups.append(f"{_below_thousand(group)} {scale}".rstrip())
    return " ".join(reversed(groups))


def _below_hundred(value: int) -> str:
    if value < 20:
        return _ONES[value]
    tens, ones = divmod(value, 10)
    return f"{_TENS[tens]} {_ONES[ones]}" if ones else _TENS[tens]


def _below_thousand(value: int) -> str:
    hundreds, rest = divmod(value, 100)
    words = [f"{_ONES[hundreds]} hundred"] if hundreds else []
    return " ".join([*words, _below_hundred(rest)] if rest else words)


def ordinal(value: int) -> str:
    """Return "twenty first" for 21."""
    before, _, last = cardinal(value).rpartition(" ")
    if last in _ORDINALS:
        last = _ORDINALS[last]
    else:
        last = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return f"{before} {last}".lstrip()


def digits(text: str) -> str:
    """Return each digit of a string as a word."""
    return " ".join(_ONES[int(digit)] for digit in text)


def number(text: str) -> str:
    """Return the words of a number as `NUMBER` matches it: "1,234.50", "007", ".5".

    Read digit by digit: leading zeros, more than 15 digits, more than 36 with commas.
    """
    whole, _, fraction = text.replace(",", "").partition(".")
    spelled = len(whole) > (MAX_CARDINAL_DIGITS if "," in text else 15)
    if spelled or (whole.startswith("0") and len(whole) > 1):
        said = digits(whole)
    else:
        said = cardinal(int(whole)) if whole else ""
    return f"{said} point {digits(fraction)}".lstrip() if fraction else said


def pairs(text: str) -> str:
    """Return two to four digits as years and model names are read: 1984, 1905, 4090, 2000, 747."""
    if len(text) == 4 and text[1:3] == "00":
        return cardinal(int(text))
    if len(text) < 3 or text.startswith("0"):
        return number(text)
    first, last = text[:-2], int(text[-2:])
    return f"{cardinal(int(first))} {_pair_end(last)}"


def _pair_end(value: int) -> str:
    if value == 0:
        return "hundred"
    return f"oh {_ONES[value]}" if value < 10 else _below_hundred(value)


def plural(words: str) -> str:
    """Return the plural of a number's words: "nineteen nineties", "two thousands", "sixes"."""
    if words.endswith("y"):
        return f"{words[:-1]}ies"
    return f"{words}es" if words.endswith("x") else f"{words}s"


def roman(text: str) -> int | None:
    """Return the value of a Roman numeral in capitals up to 3999, or `None` for what is none."""
    if not text or not _ROMAN.fullmatch(text):
        return None
    values = [_ROMAN_VALUE[letter] for letter in text]
    following = [*values[1:], 0]
    return sum(-a if a < b else a for a, b in zip(values, following, strict=True))


def is_one(text: str) -> bool:
    """Return whether a number as written is exactly one, and so takes the singular."""
    return text.replace(",", "") == "1"


def is_adjective(match: re.Match[str]) -> bool:
    """Return whether a measure stands before what it measures, in the singular: "a 5 km run"."""
    start, end = match.span()
    return bool(
        _ARTICLE.search(match.string, max(0, start - 20), start) and _NOUN.match(match.string, end)
    )
