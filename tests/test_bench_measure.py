"""What is timed of a cell, and what is not: with a clock and a model that the test controls."""

from __future__ import annotations

import pytest

from diffusion_bench.bench.measure import Measurement, largest_memory, measure
from diffusion_bench.records import Generation, ImageRequest, Memory, Stages

REQUEST = ImageRequest(prompt="a cat", steps=20)


class Lab:
    """A clock, and a model of which each call takes the next of `seconds`."""

    def __init__(self, seconds: list[float], memory: list[Memory] | None = None) -> None:
        self.now_s = 100.0
        self.asked: list[ImageRequest] = []
        self.heard: list[int] = []
        self._seconds = iter(seconds)
        self._memory = iter(memory or [Memory()] * len(seconds))

    def generate(self, request: ImageRequest) -> Generation:
        seconds = next(self._seconds)
        self.now_s += seconds
        self.asked.append(request)
        return Generation(
            request=request,
            images=(),
            device="cpu",
            wall_s=seconds,
            stages=Stages(text_encoder_s=0, denoising_s=seconds, decoder_s=0, other_s=0),
            step_s=(seconds / request.steps,) * request.steps,
            memory=next(self._memory),
        )

    def hear(self, done: int) -> None:
        self.heard.append(done)
        self.now_s += 50.0  # whoever listens is slow

    def measure(self, request: ImageRequest, *, warmups: int, repeats: int) -> Measurement:
        return measure(
            request,
            self.generate,
            warmups=warmups,
            repeats=repeats,
            clock=lambda: self.now_s,
            on_repeat=self.hear,
        )


def test_each_repeat_is_timed_on_its_own_and_warm_ups_are_not_counted() -> None:
    lab = Lab([9.0, 8.0, 1.0, 2.0, 3.0])
    found = lab.measure(REQUEST, warmups=2, repeats=3)
    assert found.warmup_s == (9.0, 8.0)
    assert [timed.wall_s for timed in found.timed] == [1.0, 2.0, 3.0]
    assert [timed.end_s - timed.start_s for timed in found.timed] == [1.0, 2.0, 3.0]
    assert [timed.stages.denoising_s for timed in found.timed] == [1.0, 2.0, 3.0]
    assert [len(timed.step_s) for timed in found.timed] == [20, 20, 20]


def test_the_time_of_whoever_hears_of_a_repeat_belongs_to_none() -> None:
    lab = Lab([1.0, 1.0, 1.0])
    found = lab.measure(REQUEST, warmups=1, repeats=2)
    assert lab.heard == [1, 2]
    assert found.timed[1].start_s - found.timed[0].end_s == 50.0


@pytest.mark.parametrize(("steps", "warmup_steps"), [(1000, 3), (3, 3), (2, 2), (1, 1)])
def test_a_warm_up_is_the_cell_itself_with_three_steps_at_most(
    steps: int, warmup_steps: int
) -> None:
    lab = Lab([1.0, 1.0])
    request = REQUEST.model_copy(update={"steps": steps, "batch": 4, "width": 96})
    lab.measure(request, warmups=1, repeats=1)
    assert lab.asked == [request.model_copy(update={"steps": warmup_steps}), request]


def test_the_memory_kept_is_the_largest_of_the_timed_calls() -> None:
    peaks = [Memory(rss_mib=rss) for rss in (900.0, 500.0, 700.0, 600.0)]
    found = Lab([1.0] * 4, peaks).measure(REQUEST, warmups=1, repeats=3)
    assert found.memory.rss_mib == 700.0


def test_what_no_call_could_tell_keeps_its_reason_and_what_one_could_loses_it() -> None:
    blind = Memory(missing={"rss_mib": "not this time", "nvml_used_mib": "no GPU"})
    seeing = Memory(rss_mib=5.0, missing={"nvml_used_mib": "no GPU"})
    assert largest_memory([blind, seeing, blind]) == seeing
    assert largest_memory([blind]) == blind
