"""Totals of cells that were timed on fewer steps than they ask for, and how sure they are. Pure.

    total = what comes once + first step + (steps - 1) x mean of the other steps

The steps are those that a whole call takes, with some samplers more than were asked for.
What comes once (text encoder, decoder, the rest) was timed whole in every call. The first step of
a call is slower than the others where caches are cold, so it is counted once.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from diffusion_bench.records import Stages, VoiceStages
from diffusion_bench.reports.intervals import Interval, mean_reach, median_interval
from diffusion_bench.reports.schema import Cell, Sample

# Clocks, heat and neighbours change the pace between the steps that were timed and those that were
# not, which no spread among the timed ones shows: 2 percent is what such drift is granted.
DRIFT_SHARE = 0.02
MIN_CALLS = 3  # fewer say nothing of how calls differ
BLOCKS = 8  # steps in a row are alike, so blocks of them are compared and not single steps
CONFIDENCE = 0.95


def total_s(sample: Sample, steps: int) -> float:
    """Return the seconds of a call of `steps` steps, of which the sample holds the first ones."""
    return sample.wall_s + _steps_left_s(sample, steps)


def total_stages(sample: Sample, steps: int) -> Stages | VoiceStages:
    """Return the stages of the whole call: denoising grows, all else was timed whole."""
    denoising_s = sample.stages.denoising_s + _steps_left_s(sample, steps)
    return sample.stages.model_copy(update={"denoising_s": denoising_s})


def total_interval(cell: Cell) -> Interval | None:
    """Return an interval of the median total; `None` where too few steps were timed for one.

    The order-statistic interval of the calls' totals, where there are enough of them, widened to
    Student's interval of the mean step times the steps, and by `DRIFT_SHARE` of the total. The
    spread of the mean step is taken between calls, or between blocks of steps below 3 calls.
    """
    steps = cell.whole_steps
    totals = [total_s(sample, steps) for sample in cell.samples]
    paces = _paces(cell.samples)
    if not totals or len(paces) < MIN_CALLS:
        return None
    middle = median(totals)
    reach = max(steps * mean_reach(paces), 0.0) + DRIFT_SHARE * middle
    ranked = median_interval(totals)
    low = min(middle - reach, ranked.low if ranked else middle)
    high = max(middle + reach, ranked.high if ranked else middle)
    return Interval(low=max(low, 0.0), high=high, confidence=CONFIDENCE)


def _steps_left_s(sample: Sample, steps: int) -> float:
    """Return the seconds of the steps that were not timed, at the pace of those after the first."""
    left = steps - len(sample.step_s)
    if left <= 0 or not sample.step_s:
        return 0.0
    return left * fmean(_after_first(sample))


def _after_first(sample: Sample) -> tuple[float, ...]:
    return sample.step_s[1:] or sample.step_s


def _paces(samples: Sequence[Sample]) -> list[float]:
    """Return mean steps to compare: a call each, or a block of consecutive steps each."""
    timed = [_after_first(sample) for sample in samples if sample.step_s]
    if len(timed) >= MIN_CALLS:
        return [fmean(steps) for steps in timed]
    paces = []
    for steps in timed:
        size = max(1, len(steps) // BLOCKS)
        paces += [fmean(steps[start : start + size]) for start in range(0, len(steps), size)]
    return paces
