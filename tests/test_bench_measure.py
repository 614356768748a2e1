"""What is timed of a cell, and what is not: with a clock and a model that the test controls."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Any

import pytest

from diffusion_bench.bench.measure import Effort, Measurement, cut, largest_memory, measure
from diffusion_bench.records import Generation, ImageRequest, Memory, SpeedProbe, Stages
from diffusion_bench.reports.schema import StopRule

REQUEST = ImageRequest(prompt="a cat", steps=20)


class Lab:
    """A clock, and a model of which each call takes the next of `seconds`."""

    def __init__(self, seconds: list[float], memory: list[Memory] | None = None) -> None:
        self.now_s = 100.0
        self.asked: list[ImageRequest] = []
        self.cuts: list[int | None] = []
        self.heard: list[int] = []
        self._seconds = iter(seconds)
        self._memory = iter(memory or [Memory()] * len(seconds))

    def generate(self, request: ImageRequest, *, stop_after: int | None = None) -> Generation:
        seconds = next(self._seconds)
        self.now_s += seconds
        self.asked.append(request)
        self.cuts.append(stop_after)
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

    def measure(
        self, request: ImageRequest = REQUEST, *, warmups: int = 1, repeats: int = 1, **effort: Any
    ) -> Measurement:
        return measure(
            request,
            self.generate,
            Effort(warmups=warmups, repeats=repeats, **effort),
            clock=lambda: self.now_s,
            on_repeat=self.hear,
        )


def stopped(walls: Iterable[float], repeats: int = 5, **rule: float) -> tuple[str, int]:
    """Return why a cell of such calls ended and after how many of them; a call more would fail."""
    settings = {"noise": 0.05, "min_time_s": 0.0, "max_time_s": 1000.0, "max_repeats": 50}
    found = Lab([9.0, *walls]).measure(repeats=repeats, stop=StopRule(**settings | rule))
    return found.stop_reason, len(found.timed)


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


def test_without_a_rule_a_cell_has_its_fixed_count_however_noisy() -> None:
    found = Lab([9.0, 1.0, 50.0, 1.0]).measure(repeats=3)
    assert (found.stop_reason, len(found.timed)) == ("fixed count", 3)


def test_a_steady_cell_ends_at_its_least_count_and_not_before() -> None:
    assert stopped([1.0] * 5) == ("stable", 5)
    assert stopped([1.0] * 7, repeats=7) == ("stable", 7)
    # Below five calls a median has no interval, so no steadiness.
    assert stopped([1.0] * 5, repeats=1) == ("stable", 5)


def test_steady_calls_go_on_until_they_took_the_least_time_together() -> None:
    assert stopped([0.125] * 40, min_time_s=2.0) == ("stable", 16)
    assert stopped([0.125] * 40, min_time_s=0.625) == ("stable", 5)


@pytest.mark.parametrize(
    ("walls", "reason"),
    [
        ([1.0, 1.0, 1.0, 1.0, 1.0625], "stable"),  # to one side by just what is allowed
        ([1.0, 1.0, 1.0, 1.0, 1.125], "repeat cap"),
        ([1.0, 1.0, 1.0, 1.0, 0.875], "repeat cap"),
    ],
)
def test_steady_is_the_medians_interval_within_the_noise_to_either_side(
    walls: list[float], reason: str
) -> None:
    assert stopped(walls, noise=0.0625, max_repeats=5) == (reason, 5)


def test_a_cell_that_settles_ends_when_its_interval_has_narrowed() -> None:
    # A slow first call is an end of the interval until there are nine: the second of them is 1.
    reason, count = stopped([3.0] + [1.0] * 40)
    assert (reason, count) == ("stable", 9)


def test_noisy_calls_never_count_as_stable() -> None:
    noisy = itertools.cycle([1.0, 2.0])
    assert stopped(itertools.islice(noisy, 50)) == ("repeat cap", 50)


def test_the_repeat_cap_is_never_below_the_least_count() -> None:
    assert stopped([1.0, 2.0] * 4, repeats=8, max_repeats=3) == ("repeat cap", 8)


def test_no_call_begins_that_would_pass_the_time_cap() -> None:
    # After 3 calls 6 s are gone and a fourth would make 8; at 8 exactly it fits.
    assert stopped([2.0] * 3, max_time_s=7.9) == ("time cap", 3)
    assert stopped([2.0] * 4, max_time_s=8.0) == ("time cap", 4)
    # It is spent before the least count where calls are that long, but one call there is.
    assert stopped([100.0], max_time_s=5.0) == ("time cap", 1)


@pytest.mark.parametrize(
    ("steps", "measured", "after"), [(1000, 25, 25), (26, 25, 25), (25, 25, None), (9, None, None)]
)
def test_only_what_has_more_steps_is_cut_and_never_a_warm_up(
    steps: int, measured: int | None, after: int | None
) -> None:
    asked = REQUEST.model_copy(update={"steps": steps})
    assert cut(asked, measured) == after
    lab = Lab([1.0] * 3)
    lab.measure(asked, repeats=2, measured_steps=measured)
    assert lab.cuts == [None, after, after]
    assert [asked.steps for asked in lab.asked] == [3, steps, steps]


def test_calls_too_short_for_a_cards_registers_are_gone_on_with_after_the_last_of_them() -> None:
    lab = Lab([9.0, 0.5, 0.4, 0.3, 0.6, 0.7])
    lab.hear = lab.heard.append  # type: ignore[method-assign]
    found = lab.measure(repeats=2, metered_s=1.5, measured_steps=5)
    assert found.metered is not None
    assert [call.wall_s for call in found.timed] == [0.5, 0.4]
    assert found.metered.calls == 3  # until the window is as long
    assert found.metered.end_s - found.metered.start_s == pytest.approx(1.6)
    assert found.metered.start_s == found.timed[-1].end_s
    assert lab.cuts[-5:] == [5] * 5  # they do what the timed ones did
    assert lab.heard == [1, 2, 2, 2, 2, 2]


def test_calls_are_metered_once_where_they_are_short_and_the_last() -> None:
    long = Lab([9.0, 1.0, 1.0]).measure(repeats=2, metered_s=1.5)
    first = Lab([9.0, 0.1]).measure(repeats=2, calls=1, metered_s=1.5)
    unasked = Lab([9.0, 0.1]).measure(repeats=1)
    assert (long.metered, first.metered, unasked.metered) == (None, None, None)


def test_a_sustained_cell_goes_on_with_whole_calls_and_is_heard_at_each() -> None:
    """One that is silent for long would be taken for one that hangs."""
    lab = Lab([9.0, 1.0, 4.0, 3.0, 2.0])
    found = lab.measure(repeats=1, sustain_s=110.0, measured_steps=5)
    assert found.sustained is not None
    assert found.sustained.wall_s == (4.0, 3.0, 2.0)
    assert found.sustained.at_s == (0.0, 54.0, 107.0)  # 50 s of whoever hears between them
    assert lab.heard == [1, 1, 1, 1, 1]  # the second as soon as what is timed has ended
    assert lab.cuts == [None, 5, None, None, None]
    assert [call.wall_s for call in found.timed] == [1.0]


def test_the_processor_time_of_timed_calls_and_of_those_after_them_is_told_apart() -> None:
    lab = Lab([9.0, 1.0, 2.0, 3.0, 4.0])

    def busy(request: ImageRequest, *, stop_after: int | None = None) -> Generation:
        until_s = time.process_time() + 0.05
        while time.process_time() < until_s:
            pass
        return lab.generate(request, stop_after=stop_after)

    effort = Effort(warmups=1, repeats=2, sustain_s=100.0)
    found = measure(REQUEST, busy, effort, clock=lambda: lab.now_s, on_repeat=lab.hear)
    timed, after = found.spent
    assert (timed.start_s, timed.end_s) == (found.timed[0].start_s, found.timed[-1].end_s)
    assert 0.1 <= timed.cpu_s < 0.15, "two calls, without the warm-up"
    assert after.start_s > timed.end_s
    assert after.end_s == lab.now_s
    assert 0.1 <= after.cpu_s < 0.15


def test_a_round_makes_so_many_calls_and_counts_those_of_earlier_rounds() -> None:
    lab = Lab([9.0, 1.0, 1.0])
    found = lab.measure(repeats=6, calls=2, done_s=(1.0, 1.0))
    assert (len(found.timed), found.stop_reason) == (2, None)
    assert lab.heard == [3, 4]
    lab = Lab([9.0, 1.0])
    found = lab.measure(repeats=5, calls=2, done_s=(1.0,) * 4)
    assert (len(found.timed), found.stop_reason) == (1, "fixed count")


def test_the_machines_own_speed_is_looked_at_before_the_warm_ups_and_after_the_last_call() -> None:
    lab = Lab([9.0, 8.0, 1.0, 2.0])
    asked_before: list[int] = []

    def look() -> SpeedProbe:
        asked_before.append(len(lab.asked))
        lab.now_s += 70.0
        return SpeedProbe(work="some blocks", before_s=(0.1 * len(asked_before),))

    effort = Effort(warmups=2, repeats=2, probed=True)
    found = measure(
        REQUEST, lab.generate, effort, clock=lambda: lab.now_s, on_repeat=lab.hear, probe=look
    )
    assert asked_before == [0, 4]
    assert found.machine_speed == SpeedProbe(work="some blocks", before_s=(0.1,), after_s=(0.2,))
    assert found.warmup_s == (9.0, 8.0)
    assert [call.end_s - call.start_s for call in found.timed] == [1.0, 2.0]
    assert found.probed_to_s == found.timed[-1].end_s + 50.0 + 70.0
    unasked = Lab([9.0, 1.0]).measure()
    assert (unasked.machine_speed, unasked.probed_to_s) == (None, None)


def test_calls_are_sustained_only_once_no_more_are_to_be_timed() -> None:
    lab = Lab([9.0, 1.0, 9.0, 1.0, 4.0])
    first = lab.measure(repeats=2, calls=1, sustain_s=10.0)
    assert (first.stop_reason, first.sustained) == (None, None)
    last = lab.measure(repeats=2, calls=1, done_s=(1.0,), sustain_s=10.0)
    assert last.sustained is not None
    assert last.sustained.wall_s == (4.0,)


def test_the_first_timed_call_begins_at_the_moment_that_is_given_and_not_before() -> None:
    lab, at_s = Lab([1.0, 1.0]), time.perf_counter() + 0.3
    effort = Effort(warmups=1, repeats=1, start_at_s=at_s)
    found = measure(REQUEST, lab.generate, effort, clock=time.perf_counter, on_repeat=lab.hear)
    assert at_s <= found.timed[0].start_s < at_s + 5
