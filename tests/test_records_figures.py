"""How a figure is said wherever one is printed."""

from __future__ import annotations

import pytest

from diffusion_bench.records.figures import figure


@pytest.mark.parametrize(
    ("value", "digits", "words"),
    [
        (10780.0, 4, "10780"),
        (9999.6, 4, "10000"),  # four digits, until they are rounded
        (1290.4, 3, "1290"),
        (999.7, 3, "1000"),
        (120.0, 2, "120"),
        (-1290.4, 3, "-1290"),
        (0.00331649, 4, "0.003316"),
        (1.2e12, 4, "1.2e+12"),
        (None, 4, ""),
    ],
)
def test_a_figure_has_an_exponent_only_where_its_digits_would_say_less(
    value, digits, words
) -> None:
    assert figure(value, digits) == words


def test_thousands_are_parted_where_they_are_to_be() -> None:
    assert figure(1234567.0, 3, thousands=",") == "1,234,567"
