"""How a figure of a prediction or a measurement is said, in words and in a table."""

from __future__ import annotations

from diffusion_bench.records.figures import figure


def figure_words(value: float | None) -> str:
    """Return a value with three digits, all of them from 1000 on, or nothing."""
    return figure(value, 3, thousands=",")


def table_words(value: float) -> str:
    """Return a value with four digits, all of them where an exponent would stand in their place."""
    return figure(value, thousands=",")
