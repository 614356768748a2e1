"""Durations and cells in words."""

from __future__ import annotations

import pytest

from diffusion_bench.bench.wording import in_words, name_request
from diffusion_bench.records import ImageRequest


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (4.4, "4 s"),
        (59.6, "1 min 00 s"),
        (61, "1 min 01 s"),
        (3599.7, "1 h 00 min"),
        (3 * 3600 + 120, "3 h 02 min"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_cell_is_named_by_what_sweeps_vary() -> None:
    request = ImageRequest(prompt="a", steps=20, batch=4, width=96, height=64)
    assert name_request(request) == "ddim, 20 steps, 96x64, batch 4"
    one = request.model_copy(update={"steps": 1, "eta": 0.5})
    assert name_request(one).startswith("ddim")
    assert "1 step," in name_request(one)
    assert "0.5" in name_request(one)
