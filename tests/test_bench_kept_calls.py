"""A cell that is sustained for hours: what is kept of its calls can be read, and says the same."""

from __future__ import annotations

from itertools import pairwise
from statistics import median

import pytest
from fakes import make_cell

from diffusion_bench.bench.kept_calls import KEPT, KeptCalls
from diffusion_bench.bench.measure import Effort, Measurement, measure
from diffusion_bench.records import Generation, ImageRequest, Memory, Stages
from diffusion_bench.reports.compact import why_unreadable
from diffusion_bench.reports.read import MAX_VALUES
from diffusion_bench.reports.store import to_line
from diffusion_bench.reports.sustained import burst_and_sustained

REQUEST = ImageRequest(prompt="a cat", steps=1)
HOURS_S = 8000.0  # of calls of a hundredth of a second: more of them than a line may hold
COLD_S, WARM_S = 0.01, 0.0125


def call(wall_s: float) -> Generation:
    stages = Stages(text_encoder_s=0, denoising_s=wall_s, decoder_s=0, other_s=0)
    return Generation(
        request=REQUEST,
        images=(),
        device="cpu",
        wall_s=wall_s,
        stages=stages,
        step_s=(wall_s,),
        memory=Memory(),
    )


def go_on(for_s: float) -> Measurement:
    """Measure a card that is warm after five minutes, on a clock that its calls alone move."""
    now_s, cold, warm = 0.0, call(COLD_S), call(WARM_S)

    def generate(request: ImageRequest, *, stop_after: int | None = None) -> Generation:
        nonlocal now_s
        drawn = cold if now_s < 300 else warm
        now_s += drawn.wall_s
        return drawn

    effort = Effort(warmups=1, repeats=1, sustain_s=for_s)
    return measure(REQUEST, generate, effort, clock=lambda: now_s, on_repeat=lambda done: None)


def test_hours_of_short_calls_are_a_line_that_is_read_with_the_speeds_that_they_had() -> None:
    found = go_on(HOURS_S).sustained
    assert found is not None
    cell = make_cell().model_copy(update={"sustained": found})
    assert why_unreadable(to_line(cell)) == ""
    assert found.calls == pytest.approx(300 / COLD_S + (HOURS_S - 300) / WARM_S, abs=5)
    assert 2 * found.calls > MAX_VALUES
    assert list(found.at_s) == sorted(found.at_s)
    burst = sum(at_s < 60 for at_s in found.at_s)
    assert burst == pytest.approx(60 / COLD_S, abs=2), "each of the first minute"
    assert found.at_s[-1] + found.wall_s[-1] == pytest.approx(HOURS_S, abs=2 * WARM_S)
    speeds, _ = burst_and_sustained(cell)
    assert speeds is not None
    assert (speeds.burst_s, speeds.sustained_s) == (COLD_S, WARM_S)
    assert speeds.sustained_calls > 5000


def test_calls_that_a_report_can_hold_are_each_kept() -> None:
    found = go_on(250.0).sustained
    assert found is not None
    assert len(found.at_s) == pytest.approx(25_000, abs=2)
    assert found.calls is None


def test_what_is_kept_leaves_room_for_the_longest_cell() -> None:
    longest = 1000 * 1000  # a thousand repeats of a thousand steps
    assert longest + 4 * (KEPT + 1) < 0.98 * MAX_VALUES


def test_of_too_many_calls_an_even_choice_is_kept_and_always_the_last() -> None:
    calls = KeptCalls(keep=100)
    for index in range(10_007):
        calls.add(60.0 + index, 1.0 + index % 3)
    found = calls.sustained()
    assert found.calls == 10_007
    assert 50 <= len(found.at_s) <= 101
    *even, last = found.at_s
    assert len({later - at_s for at_s, later in pairwise(even)}) == 1
    assert last == 10_066.0
    assert median(found.wall_s) == 2.0
