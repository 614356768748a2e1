"""Statistics of a cell, computed from its raw samples whenever they are read.

The headline is the median with its interquartile range and the number of samples. No sample is
ever dropped. The interval of the median needs no assumption about the distribution: it lies
between two of the sorted samples, which ones follows from the binomial distribution, and is as wide
as visits differ (`between_visits.py`). Cells timed on fewer steps than they ask for have the
statistics of their extrapolated totals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, median

from diffusion_bench.records import Record, Stages, VoiceRequest, VoiceStages
from diffusion_bench.reports.between_visits import interval_over_visits
from diffusion_bench.reports.extrapolate import total_interval, total_s, total_stages
from diffusion_bench.reports.intervals import (
    MIN_SAMPLES_FOR_INTERVAL,
    Interval,
    interquartile_range,
    median_interval,
)
from diffusion_bench.reports.schema import Cell

__all__ = [
    "FEW_SAMPLES",
    "MIN_SAMPLES_FOR_INTERVAL",
    "Interval",
    "StepFit",
    "Summary",
    "fit_steps",
    "interquartile_range",
    "median_interval",
    "summarise",
    "totals",
    "without_steps",
]

NOISY_ABOVE = 0.10
FEW_SAMPLES = "too few samples for an interval:"
SHORTEST_S = 1e-9  # of a stage that was there at all
FRAMES_ABOVE = 1.02  # of the denoising: steps of more seconds hold other work too
MIN_STEP_COUNTS = 3  # through two points any line fits


class Summary(Record):
    """What the samples of one cell say. `None`: too few samples to tell, or not of its kind.

    `images_per_s` is batch over the median of the whole call. Of speech there are instead the
    seconds of sound of one call's candidates together, the `real_time_factor`, which is the median
    of the call's time over them, and the median time until the first sound. `steps_per_s` counts a
    step of every image and divides by the denoising stage only: over the whole call it would change
    with the number of steps. Of speech it counts the steps of all chunks, and is `None` where a
    model's steps are not of its denoising, or there are several candidates. `noisy` is an
    interquartile range above 10 percent of the median. `energy_j` is of one call, `net_energy_j`
    that less the idle power, `energy_uncertainty_j` bounds the error of the first: shares of what
    all calls together took, as measured, before dividing by the batch (`cost.py`). Where
    `extrapolated`, the times are of whole calls that were timed in part, and so is the energy, in
    proportion to the time.
    """

    n: int
    median_s: float
    iqr_s: float | None
    min_s: float
    max_s: float
    interval_s: Interval | None
    noisy: bool | None
    images_per_s: float | None
    steps_per_s: float | None
    stages: Stages | VoiceStages
    energy_j: float | None
    net_energy_j: float | None = None
    energy_uncertainty_j: float | None = None
    audio_s: float | None = None
    real_time_factor: float | None = None
    first_audio_s: float | None = None
    extrapolated: bool = False
    warnings: tuple[str, ...] = ()


class StepFit(Record):
    """Time as `fixed_s` + `per_step_s` x steps, and how far it is from the medians it is fitted to.

    `worst_residual` is the largest distance as a share of the measured median.
    """

    fixed_s: float
    per_step_s: float
    worst_residual: float
    points: int


def summarise(cell: Cell) -> Summary | None:
    """Return the statistics of a cell; `None` for one that did not end well or has no samples."""
    if cell.status != "ok" or not cell.samples:
        return None
    walls, extrapolated = totals(cell), cell.extrapolation is not None
    middle, spread = median(walls), interquartile_range(walls)
    noisy = None if spread is None else spread > NOISY_ABOVE * middle
    stages = _stage_medians(cell)
    return Summary(
        n=len(walls),
        median_s=middle,
        iqr_s=spread,
        min_s=min(walls),
        max_s=max(walls),
        interval_s=interval_over_visits(
            total_interval(cell) if extrapolated else median_interval(walls), cell, walls
        ),
        noisy=noisy,
        images_per_s=None if _is_speech(cell) else cell.request.batch / middle,
        steps_per_s=_steps_per_s(cell, stages),
        stages=stages,
        energy_j=_energy_j(cell),
        net_energy_j=_share_j(cell, cell.energy.net_j if cell.energy else None),
        energy_uncertainty_j=_share_j(cell, cell.energy.uncertainty_j if cell.energy else None),
        **_speech(cell, middle),
        extrapolated=extrapolated,
        warnings=_warnings(cell, noisy),
    )


def median_s(cell: Cell) -> float | None:
    """Return the median that `summarise` returns, alone: a fit asks for it of every cell, often."""
    return median(totals(cell)) if cell.status == "ok" and cell.samples else None


def totals(cell: Cell) -> list[float]:
    """Return the seconds of each timed call, extrapolated where only a part of it was timed."""
    if cell.extrapolation is None:
        return [sample.wall_s for sample in cell.samples]
    return [total_s(sample, cell.whole_steps) for sample in cell.samples]


def fit_steps(cells: Iterable[Cell]) -> StepFit | None:
    """Return the line through the medians of cells that differ in their steps only.

    Least squares of relative residuals, since times from 10 to 1000 steps differ a hundredfold and
    plain squares would fit the longest alone. `None` below 3 step counts. Raise ValueError for
    cells that differ in anything else.
    """
    cells = list(cells)
    if len({without_steps(cell) for cell in cells}) > 1:
        raise ValueError("a fit over steps needs cells that differ in their steps only")
    medians = [(cell.request.steps, median_s(cell)) for cell in cells]
    points = [(steps, found_s) for steps, found_s in medians if found_s is not None]
    if len({steps for steps, _ in points}) < MIN_STEP_COUNTS:
        return None
    fixed_s, per_step_s = _weighted_line(points)
    residuals = [abs(fixed_s + per_step_s * steps - time) / time for steps, time in points]
    return StepFit(
        fixed_s=fixed_s,
        per_step_s=per_step_s,
        worst_residual=max(residuals),
        points=len(points),
    )


def without_steps(cell: Cell) -> str:
    """Return a name that cells share which differ in their steps only."""
    return cell.request.model_copy(update={"steps": 1}).workload_id()


def _weighted_line(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Return intercept and slope, every point weighted by 1 / y**2."""
    weights = [1 / y**2 for _, y in points]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    covariance = fmean(
        w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points, strict=True)
    )
    variance = fmean(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    slope = covariance / variance
    return mean_y - slope * mean_x, slope


def _energy_j(cell: Cell) -> float | None:
    """Return the energy of one call: an equal share of the whole, else the samples' median.

    Of the whole, so that it goes with the net energy and the uncertainty, which are of that too.
    """
    if cell.energy is not None:
        return _share_j(cell, cell.energy.total_j)
    energies = [sample.energy_j for sample in cell.samples if sample.energy_j is not None]
    return median(energies) * _untimed_factor(cell) if len(energies) == len(cell.samples) else None


def _share_j(cell: Cell, whole_j: float | None) -> float | None:
    if whole_j is None:
        return None
    metered = cell.energy.calls if cell.energy else None
    return whole_j / (metered or len(cell.samples)) * _untimed_factor(cell)


def _untimed_factor(cell: Cell) -> float:
    """Return how much longer the whole calls are than what was timed of them; 1 for most cells."""
    return sum(totals(cell)) / sum(sample.wall_s for sample in cell.samples)


def _steps_per_s(cell: Cell, stages: Stages | VoiceStages) -> float | None:
    if stages.denoising_s < SHORTEST_S:
        return None
    if not _is_speech(cell):
        return cell.request.batch * cell.whole_steps / stages.denoising_s
    # A step may be a frame, with more than its denoising, or of one candidate after another.
    rates = [
        len(sample.step_s) / sample.stages.denoising_s
        for sample in cell.samples
        if 0 < sum(sample.step_s) <= FRAMES_ABOVE * sample.stages.denoising_s
    ]
    whole = cell.request.batch == 1 and len(rates) == len(cell.samples)
    return median(rates) if whole else None


def _is_speech(cell: Cell) -> bool:
    return isinstance(cell.request, VoiceRequest)


def _speech(cell: Cell, median_s: float) -> dict[str, float | None]:
    """Return the figures that only speech has, where its samples tell them."""
    seconds = [sample.audio_s for sample in cell.samples if sample.audio_s is not None]
    first = [sample.first_audio_s for sample in cell.samples if sample.first_audio_s is not None]
    if not _is_speech(cell) or not seconds:
        return {}
    audio_s = median(seconds) * cell.request.batch
    return {
        "audio_s": audio_s,
        "real_time_factor": median_s / audio_s,
        "first_audio_s": median(first) if first else None,
    }


def _stage_medians(cell: Cell) -> Stages | VoiceStages:
    """Return the median of each stage; medians need not add up to the median of the whole."""
    stages = [sample.stages for sample in cell.samples]
    if cell.extrapolation is not None:
        stages = [total_stages(sample, cell.whole_steps) for sample in cell.samples]
    kind = VoiceStages if isinstance(stages[0], VoiceStages) else Stages
    return kind(
        **{name: median(getattr(each, name) for each in stages) for name in kind.model_fields}
    )


def _warnings(cell: Cell, noisy: bool | None) -> tuple[str, ...]:
    """Return what a reader must know before trusting the figures, a few words each."""
    found: list[str] = [*cell.labels]
    if cell.extrapolation is not None and "extrapolated" not in found:
        found.insert(0, "extrapolated")
    if noisy:
        found.append(f"noisy: the middle half spreads over {NOISY_ABOVE:.0%} of the median")
    if len(cell.samples) < MIN_SAMPLES_FOR_INTERVAL and cell.extrapolation is None:
        found.append(f"{FEW_SAMPLES} {len(cell.samples)}")
    return (*found, *cell.notes)
