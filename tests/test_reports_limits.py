"""Limits in words: both sides of the edge, and what tells one search from another."""

from __future__ import annotations

import pytest
from fakes import make_header

from diffusion_bench.records import ImageRequest
from diffusion_bench.reports.limits import limit_lines
from diffusion_bench.reports.schema import Limit, Report


def lines(*limits: Limit) -> list[str]:
    return limit_lines(Report(header=make_header(), limits=limits))


def limit(fits: int | None, misfits: int | None, axis: str = "batch", **asked: object) -> Limit:
    request = ImageRequest(**{"prompt": "a cat", "model": "m", "width": 64, "height": 32, **asked})
    return Limit.model_validate(
        {"axis": axis, "request": request, "largest_fit": fits, "smallest_misfit": misfits}
    )


@pytest.mark.parametrize(
    ("fits", "misfits", "words"),
    [
        (8, 9, "the largest batch that fits is 8 (9 does not fit)"),
        (64, None, "the largest batch that fits is 64 (the largest that is tried)"),
        (None, 1, "no batch fits; 1 does not"),
    ],
)
def test_a_limit_is_told_with_both_its_sides(
    fits: int | None, misfits: int | None, words: str
) -> None:
    assert lines(limit(fits, misfits)) == [f"m, fp32, 64x32: {words}"]


def test_limits_name_what_was_held_fixed_and_the_guidance_where_it_differs() -> None:
    found = [
        limit(8, 9, guidance_scale=1.0),
        limit(4, 5, guidance_scale=7.5),
        limit(2, 3, guidance_scale=7.5, width=128),
        limit(512, 576, axis="resolution", guidance_scale=7.5, batch=2),
    ]
    assert [line.partition(": ")[0] for line in lines(*found)] == [
        "m, fp32, 64x32, guidance 1",
        "m, fp32, 64x32, guidance 7.5",
        "m, fp32, 128x32, guidance 7.5",
        "m, fp32, batch 2, guidance 7.5",
    ]
    assert "guidance" not in "".join(lines(*found[1:]))
