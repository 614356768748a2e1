"""How a figure of a prediction or a measurement is said, in words and in a table."""

from __future__ import annotations


def figure_words(value: float | None) -> str:
    """Return a value with three digits, all of them from 1000 on, or nothing."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table_words(value: float) -> str:
    """Return a value with four digits, all of them where an exponent would stand in their place."""
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e9 else f"{value:.4g}"
