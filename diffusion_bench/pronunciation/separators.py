"""Numbers as other countries write them, put as English writes them: 10'000, 1.000,50, 3,5 km.

What could be either (1.000, 3,50, 1 234) stays as English reads it.
"""

from __future__ import annotations

import re

from diffusion_bench.pronunciation.units import UNIT

_SWISS = re.compile(r"(?<![\w.,'])\d{1,3}(?:'\d{3})+(?![\w'])")
_ROUND = re.compile(r"(?<=\d)[.,](?:-{1,2}|[–—])(?!\w)")  # 5,- is five and no cents
# Dots between thousands and a comma before cents; one of the two alone can be either.
_DOTTED = re.compile(r"(?<![\d.,])(\d{1,3}(?:\.\d{3})+),(\d\d)(?![\d.,]*\d)")
_GROUPED = re.compile(
    r"(?<![\w.,])[1-9]\d{0,2}"
    r"(?:(?:[. ]\d{3})+(?=(?:,\d\d)?[ ]?(?:€|EUR\b))|(?:[ ]\d{3})*[ ]000(?![ ]?\d|\w))"
)
_COMMA_CENTS = re.compile(r"(?<=[$£€])(\d+),(\d\d)(?!\d)")
_MEASURE = rf"%|(?:€|EUR|million|billion|{UNIT})(?!\w)"
_COMMA_MEASURE = re.compile(rf"(?<![\w.,])(\d+),(\d{{1,2}}|\d{{4,}})(?=[ ]?(?:{_MEASURE}))")


def english_separators(text: str) -> str:
    """Return a text whose sums and measures have no separator that is not English."""
    text = _ROUND.sub("", _SWISS.sub(lambda m: m[0].replace("'", ""), text))
    text = _DOTTED.sub(lambda m: f"{m[1].replace('.', '')}.{m[2]}", text)
    text = _GROUPED.sub(lambda m: re.sub(r"\D", "", m[0]), text)
    return _COMMA_MEASURE.sub(r"\1.\2", _COMMA_CENTS.sub(r"\1.\2", text))
