"""Previews take a bounded share of the time, whatever one costs."""

from __future__ import annotations

import pytest
from PIL import Image

from diffusion_bench.records import Step
from diffusion_bench.ui.pictures import previews
from diffusion_bench.ui.pictures.previews import (
    PREVIEW_EVERY_S,
    PREVIEW_KEEP_S,
    PREVIEW_SHARE,
    PREVIEW_SIDE,
    Previews,
)


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self):
        self.now_s = 100.0

    def monotonic(self):
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(previews, "time", clock)
    return clock


def run(watched, clock, *, step_s, cost_s, steps=100, size=(8, 8)):
    """Return how many previews were made and the share of time they took."""
    made = 0

    def preview():
        nonlocal made
        made += 1
        clock.now_s += cost_s
        return [Image.new("RGB", size)]

    start_s = clock.now_s
    for index in range(steps):
        clock.now_s += step_s
        step = Step(index=index, num_steps=steps, timestep=0.0, elapsed_s=0.0, preview=preview)
        watched.after(step)
    return made, made * cost_s / (clock.now_s - start_s)


def test_cheap_previews_come_at_a_steady_pace(clock, tmp_path):
    made, share = run(Previews(tmp_path, live=True), clock, step_s=0.1, cost_s=0.001)

    assert made == pytest.approx(100 * 0.1 / PREVIEW_EVERY_S, rel=0.25)
    assert share < PREVIEW_SHARE


def test_dear_previews_come_seldom(clock, tmp_path):
    made, share = run(Previews(tmp_path, live=True), clock, step_s=0.1, cost_s=1.0)

    assert made >= 1
    assert share < PREVIEW_SHARE + 1.0 / (100 * 0.1 + made)


def test_a_long_drawing_leaves_the_small_previews_of_its_last_minute(clock, tmp_path):
    made, _ = run(Previews(tmp_path, live=True), clock, step_s=1.0, cost_s=0.0, size=(1024, 512))

    files = list(tmp_path.iterdir())
    assert made == 99
    assert len(files) == PREVIEW_KEEP_S + 1
    with Image.open(files[0]) as shown:
        assert shown.size == (PREVIEW_SIDE, PREVIEW_SIDE // 2)


def test_a_later_preview_never_takes_the_name_of_an_earlier_one(clock, tmp_path):
    watched = Previews(tmp_path, live=True)

    for _ in range(2):  # rounds
        run(watched, clock, step_s=1.0, cost_s=0.0, steps=3)

    assert len(list(tmp_path.iterdir())) == 4


def test_none_is_made_where_they_are_off_or_after_the_last_step(clock, tmp_path):
    assert run(Previews(tmp_path, live=False), clock, step_s=1.0, cost_s=0.0)[0] == 0
    assert run(Previews(tmp_path, live=True), clock, step_s=1.0, cost_s=0.0, steps=1)[0] == 0
    assert list(tmp_path.iterdir()) == []
