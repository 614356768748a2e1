"""From written to spoken English: only words, letters to be named, and the marks `, . ? !`.

    characters > addresses > separators > ranges > dates > money > years, numbers > units
        > abbreviations > models > signs > figures > capitals > marks

Each step takes the text and says what it knows; what it says holds no digits, and so is left alone
by the steps after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from diffusion_bench.pronunciation.abbreviations import say_abbreviations
from diffusion_bench.pronunciation.addresses import say_addresses
from diffusion_bench.pronunciation.capitals import say_capitals, say_models
from diffusion_bench.pronunciation.characters import plain
from diffusion_bench.pronunciation.dates import say_dates, say_years
from diffusion_bench.pronunciation.figures import say_figures, say_ranges
from diffusion_bench.pronunciation.initials import LETTER, unmark
from diffusion_bench.pronunciation.money import say_money
from diffusion_bench.pronunciation.ranges import mark_ranges
from diffusion_bench.pronunciation.separators import english_separators
from diffusion_bench.pronunciation.units import say_units

Step = Callable[[str], str]

_SIGNS = (
    (re.compile(r"\.{2,}(?=\s+[a-z])"), ","),
    (re.compile(r"\band/or\b", re.IGNORECASE), "and or"),
    (re.compile(r"\bw/o\b"), "without"),
    (re.compile(r"\bw/(?=\s?\w)"), "with "),
    (re.compile(r"\bN/A\b", re.IGNORECASE), "not applicable"),
    (re.compile(r"\bWW(?:II|2)\b"), "world war two"),
    (re.compile(r"\bWW[I1]\b"), "world war one"),
    (re.compile(r"(?<=\w)\+\+(?!\+)"), " plus plus"),
    (re.compile(r"\b([CF])#"), r"\1 sharp"),
    (re.compile(r"(?<=\w)\s?'n'\s?(?=\w)"), " and "),
    (re.compile(r"\bWi-?Fi\b", re.IGNORECASE), "wifi"),
    (re.compile(r"\bc/o\b"), "care of"),
    (re.compile(r"&"), " and "),
    (re.compile(r"(?<=[\w)])\s?>=\s?(?=[\w-])|>=\s?(?=\d)"), " at least "),
    (re.compile(r"(?<=[\w)])\s?<=\s?(?=[\w-])|<=\s?(?=\d)"), " at most "),
    (re.compile(r"(?<=[\w)])\s?!=\s?(?=[\w-])"), " is not "),
    (re.compile(r"(?<=[\w)])\s?[-=]>\s?(?=[\w(])"), " to "),
    (re.compile(r"(?<=[\w)])\*\*(?=-?\d)|(?<=\d) \*\* (?=-?\d)"), "^"),
    (re.compile(r"(?<=\d)\s?\*\s?(?=\d)"), " times "),
    (re.compile(r"(?<=[\w)])\s?\+\s?(?=[\w(])|\+(?=\d)"), " plus "),
    (re.compile(r"(?<=\w)\+(?!\w)"), " plus "),
    (re.compile(r"(?<=[\w)])\s?==?\s?(?=[\w(-])"), " equals "),
    (re.compile(r"(?<=[\w)])\s?<\s?(?=\d)|(?<![<>=-])<(?=\d)"), " less than "),
    (re.compile(r"(?<=[\w)])\s?>\s?(?=\d)|(?<![<>=-])>(?=\d)"), " greater than "),
    (re.compile(r"(?<![\w~])~\s?(?=[\d$])"), "about "),
    (re.compile(r"(?<=\d)\s?%"), " percent"),
    (re.compile(r"%"), " percent "),
    (re.compile(r"@"), " at "),
    (re.compile(r"#\s?(?=\d)"), "number "),
)
_SLASH = re.compile(r"(?<=\w)\s?/\s?(?=\w)")
_DOTTED_WORD = re.compile(r"(?<=[A-Za-z\d])\.(?=[A-Za-z]{2})(?![A-Z][a-z])|(?<=[A-Za-z])\.(?=\d)")
_MARKS = (
    (re.compile(r"(?<=\w)–(?=\w)"), " to "),
    (re.compile(r"\.{2,}"), "."),
    (re.compile(r"[;:()\[\]{}—]|(?<=\s)[-–]+(?=\s)|--+"), ","),
    (re.compile(rf"[^A-Za-z',.?!\s{LETTER[0]}]"), " "),
    (re.compile(r"(?<![A-Za-z])'(?!(?:em|tis|twas|til|cause|bout|round)\b)|(?<=[.,?!\s])'$"), " "),
    (re.compile(r"'(?![A-Za-z])"), " "),
    (re.compile(r"\s+([,.?!])"), r"\1"),
    (re.compile(r",(?:\s*,)+"), ","),
    (re.compile(r",\s*([.?!])"), r"\1"),
    (re.compile(r"([.?!])\s*,"), r"\1"),
    (re.compile(r"([,.?!])(?=[^\s,.?!])"), r"\1 "),
    (re.compile(r"^[\s,.?!]+|[\s,]+$"), ""),
)


_BEFORE_SIGNS: tuple[Step, ...] = (
    english_separators,
    mark_ranges,
    say_dates,
    say_money,
    say_years,
    say_ranges,
    say_units,
    say_abbreviations,
    say_models,
)


def normalise(text: str) -> str:
    """Return the words to say in small letters, a letter to be named as a capital, and marks.

    The result is empty when there is nothing to say.
    """
    text = say_addresses(plain(text))
    for step in _BEFORE_SIGNS:
        text = step(text)
    text = _DOTTED_WORD.sub(" dot ", text)
    for pattern, said in _SIGNS:
        text = pattern.sub(said, text)
    text = _SLASH.sub(" slash ", say_figures(text))
    text = say_capitals(text)
    for pattern, said in _MARKS:
        text = pattern.sub(said, text)
    return " ".join(unmark(text).split())
