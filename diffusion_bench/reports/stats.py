"""Statistics of a cell, computed from its raw samples whenever they are read.

The headline is the median with its interquartile range and the number of samples. No sample is
ever dropped. The interval of the median needs no assumption about the distribution: it lies
between two of the sorted samples, which ones follows from the binomial distribution.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, median, quantiles

from diffusion_bench.records import Record, Stages
from diffusion_bench.reports.schema import Cell, Sample

MAX_MISSES = 20  # one in 20 is 95 percent confidence
MIN_SAMPLES_FOR_INTERVAL = 5  # their whole range covers the median with 93.75 percent
MIN_STEPS_FOR_P95 = 59  # the fewest whose maximum lies above the 95th percentile, 95 times in 100
NOISY_ABOVE = 0.10
MIN_STEP_COUNTS = 3  # through two points any line fits


class Interval(Record):
    """An interval of a median, and the confidence it really has (0.9375 for 5 samples)."""

    low: float
    high: float
    confidence: float


class Summary(Record):
    """What the samples of one cell say. `None`: too few samples to tell.

    `images_per_s` is batch over the median of the whole call. `steps_per_s` counts a step of
    every image and divides by the denoising stage only: over the whole call it would change with
    the number of steps. `noisy` is an interquartile range above 10 percent of the median.
    """

    n: int
    median_s: float
    iqr_s: float | None
    min_s: float
    max_s: float
    interval_s: Interval | None
    noisy: bool | None
    images_per_s: float
    steps_per_s: float | None
    stages: Stages
    step_median_s: float | None
    step_p95_s: float | None
    energy_j: float | None


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
    walls = [sample.wall_s for sample in cell.samples]
    steps = [step for sample in cell.samples for step in sample.step_s]
    middle, spread = median(walls), interquartile_range(walls)
    stages = _stage_medians(cell.samples)
    image_steps = cell.request.batch * cell.request.steps
    return Summary(
        n=len(walls),
        median_s=middle,
        iqr_s=spread,
        min_s=min(walls),
        max_s=max(walls),
        interval_s=median_interval(walls),
        noisy=None if spread is None else spread > NOISY_ABOVE * middle,
        images_per_s=cell.request.batch / middle,
        steps_per_s=image_steps / stages.denoising_s if stages.denoising_s > 1e-9 else None,
        stages=stages,
        step_median_s=median(steps) if steps else None,
        step_p95_s=percentile(steps, 95) if len(steps) >= MIN_STEPS_FOR_P95 else None,
        energy_j=_energy_j(cell),
    )


def interquartile_range(values: Sequence[float]) -> float | None:
    """Return the distance of the quartiles; `None` for a single value."""
    if len(values) < 2:
        return None
    low, _, high = quantiles(values, n=4, method="inclusive")
    return high - low


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile, 1 to 99, interpolated between the two values or more it lies among."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def median_interval(values: Sequence[float]) -> Interval | None:
    """Return the narrowest symmetric order-statistic interval with 95 percent confidence or more.

    The k-th smallest and k-th largest of n values enclose the median unless fewer than k of them
    fall on one of its sides: confidence 1 - 2 P(Binomial(n, 1/2) < k). For 5 values the best there
    is has 93.75 percent; below 5 there is none.
    """
    n = len(values)
    if n < MIN_SAMPLES_FOR_INTERVAL:
        return None
    # Counted in outcomes of n coin throws, as whole numbers: floats underflow above 1000 samples.
    outcomes, outside, rank, next_term = 2**n, 2, 1, n
    while outside + 2 * next_term <= outcomes // MAX_MISSES:
        outside += 2 * next_term
        rank += 1
        next_term = next_term * (n - rank + 1) // rank
    ordered = sorted(values)
    confidence = 1 - outside / outcomes
    return Interval(low=ordered[rank - 1], high=ordered[n - rank], confidence=confidence)


def fit_steps(cells: Iterable[Cell]) -> StepFit | None:
    """Return the line through the medians of cells that differ in their steps only.

    Least squares of relative residuals, since times from 10 to 1000 steps differ a hundredfold and
    plain squares would fit the longest alone. `None` below 3 step counts. Raise ValueError for
    cells that differ in anything else.
    """
    cells = list(cells)
    if len({without_steps(cell) for cell in cells}) > 1:
        raise ValueError("a fit over steps needs cells that differ in their steps only")
    summaries = [(cell.request.steps, summarise(cell)) for cell in cells]
    points = [(steps, found.median_s) for steps, found in summaries if found]
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
    """Return the energy of one call: the samples' median, else an equal share of the whole."""
    energies = [sample.energy_j for sample in cell.samples if sample.energy_j is not None]
    if len(energies) == len(cell.samples):
        return median(energies)
    return None if cell.energy is None else cell.energy.total_j / len(cell.samples)


def _stage_medians(samples: Sequence[Sample]) -> Stages:
    """Return the median of each stage; medians need not add up to the median of the whole."""
    return Stages(
        text_encoder_s=median(sample.stages.text_encoder_s for sample in samples),
        denoising_s=median(sample.stages.denoising_s for sample in samples),
        decoder_s=median(sample.stages.decoder_s for sample in samples),
        other_s=median(sample.stages.other_s for sample in samples),
    )
