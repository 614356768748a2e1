"""Predict the cells a machine has not measured from those it has, whatever machine it is.

    seconds = once + calls x step
    step    = host + arithmetic + attention + traffic     each a rate times what was counted
    once    = constant + arithmetic + traffic             of the text encoder and the decoder

On a GPU launching kernels is done beside the work, so that a step may take the larger of host and
the rest instead of their sum; the form that fits better is taken, and how far the other is from it
widens the interval. The rates are this machine's own, so no specification is needed: it may be a
processor. What they leave over is smoothed between near cells (`calibrate.py`). The interval is of
both: how well the rates are known, after Gauss and Newton, which is badly where nothing like the
cell was measured, and of what is left over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffusion_bench.records import PrecisionName, Record
from diffusion_bench.tiers.calibrate import CardSpreads, Residual, Spreads, correct, shared
from diffusion_bench.tiers.cost import cost_of
from diffusion_bench.tiers.fit import least_squares, tamed
from diffusion_bench.tiers.roofline import SHARPNESS
from diffusion_bench.tiers.workload import TimedCell, Workload

MIN_CELLS = 4  # different workloads of one precision
MAX_CELLS = 120  # fitted to; more are thinned evenly
Z_80 = 1.2816
NOISE = 0.015  # of a quiet machine's medians
NOISE_SHARES = (0.0, 0.1, 0.3, 0.6, 0.9)  # of the square of what a law leaves over
LOOSE = 2.0  # spread of the logarithm of a rate before anything is measured
SAMPLERS_DIFFER = 0.5
LEAST_SPREAD = 0.02  # of what the form of the law may miss, far from every cell
SHARPNESSES = (1, SHARPNESS)
HERE = "this machine"
NO_CARD = CardSpreads(card=0.0, workload=0.0)  # all cells are of one
NEARNESS = Spreads(source=0.0, workload=1.0, geforce=NO_CARD, others=NO_CARD, noise=0.0)
Vector = NDArray[Any]


class CellPrediction(Record):
    """A cell predicted from `cells` others, with an 80 percent interval."""

    workload: Workload
    seconds: float
    seconds_low: float
    seconds_high: float
    cells: int


class _Counts(NamedTuple):
    """What was counted of cells: a row a cell. `host` has a column a sampler, 0 or 1."""

    host: Vector
    step: Vector
    once: Vector
    calls: Vector


class _Fit(NamedTuple):
    """The logarithms of the rates with their covariance, the law's form, and how badly it fits."""

    vector: Vector
    covariance: Vector
    sharpness: int
    cost: float


class OwnLaw(NamedTuple):
    """A machine's rates at one precision, and what they leave over."""

    precision: PrecisionName
    samplers: tuple[str, ...]
    fit: _Fit
    other: _Fit
    residuals: tuple[Residual, ...]
    spreads: Spreads


def fit_cells(cells: Sequence[TimedCell], *, on_gpu: bool) -> OwnLaw:
    """Return the law of a machine's cells, all of one precision.

    Raises ValueError for fewer than `MIN_CELLS` different workloads or several precisions.
    """
    if len({cell.workload.precision for cell in cells}) > 1:
        raise ValueError("cells of several precisions have no one law")
    if len({cell.workload for cell in cells}) < MIN_CELLS:
        raise ValueError(f"fewer than {MIN_CELLS} different cells were measured")
    chosen = _thinned(cells, MAX_CELLS)
    samplers = tuple(sorted({cell.workload.sampler for cell in chosen}))
    counted = _counts_of([cell.workload for cell in chosen], samplers)
    forms = SHARPNESSES if on_gpu else SHARPNESSES[:1]
    fits = sorted((_fit(chosen, counted, form) for form in forms), key=lambda one: one.cost)
    best, other = fits[0], fits[-1]
    whole = _seconds_of(best.vector, counted, best.sharpness)[0]
    left = [math.log(cell.seconds / s) for cell, s in zip(chosen, whole, strict=True)]
    residuals = tuple(
        Residual(card=HERE, workload=cell.workload, log_ratio=value)
        for cell, value in zip(chosen, left, strict=True)
    )
    return OwnLaw(
        precision=chosen[0].workload.precision,
        samplers=samplers,
        fit=best,
        other=other,
        residuals=residuals,
        spreads=_spreads_of(residuals, len(best.vector)),
    )


def predict_cell(law: OwnLaw, workload: Workload) -> CellPrediction:
    """Return the prediction of a cell; ValueError for another precision or an uncounted model."""
    if workload.precision != law.precision:
        raise ValueError(f"only cells in {law.precision} were measured")
    counted = _counts_of([workload], law.samplers)

    def log_seconds(vector: Vector, fit: _Fit = law.fit) -> Vector:
        return np.log(_seconds_of(vector, counted, fit.sharpness)[0])

    correction = correct(HERE, workload, law.residuals, law.spreads)
    slope = _slope(log_seconds, law.fit.vector)[0]
    forms = log_seconds(law.other.vector, law.other) - log_seconds(law.fit.vector)
    # The other form counts for as much as it fits.
    apart = float(forms[0]) * law.fit.cost / law.other.cost
    variance = correction.spread**2 + float(slope @ law.fit.covariance @ slope) + apart**2
    seconds = math.exp(float(log_seconds(law.fit.vector)[0]) + correction.log_ratio)
    margin = math.exp(Z_80 * math.sqrt(variance))
    return CellPrediction(
        workload=workload,
        seconds=seconds,
        seconds_low=seconds / margin,
        seconds_high=seconds * margin,
        cells=len(law.residuals),
    )


def _counts_of(workloads: Sequence[Workload], samplers: Sequence[str]) -> _Counts:
    rows = [_count(workload) for workload in workloads]
    known = [[float(w.sampler == name) for name in samplers] for w in workloads]
    # A sampler that was not measured is taken for the mean of those that were.
    host = [row if any(row) else [1 / len(samplers)] * len(samplers) for row in known]
    return _Counts(
        host=np.array(host),
        step=np.array([row[0] for row in rows]),
        once=np.array([row[1] for row in rows]),
        calls=np.array([float(w.calls) for w in workloads]),
    )


def _count(workload: Workload) -> tuple[list[float], list[float]]:
    """Return what a step and what comes once takes: tera-FLOPs and tera-bytes."""
    cost = cost_of(**workload.work)
    step, once = [0.0] * 3, [1.0, 0.0, 0.0]
    for stage in cost.stages:
        for row in stage.operators:
            if stage.stage == "denoising step":
                step[1 if row.operator == "attention" else 0] += row.flops / 1e12
                step[2] += row.bytes_moved / 1e12
            else:
                once[1] += row.flops / 1e12
                once[2] += row.bytes_moved / 1e12
    return step, once


def _fit(cells: Sequence[TimedCell], counted: _Counts, sharpness: int) -> _Fit:
    """Return the rates that fit best, drawn a little towards equal shares of the middle cell."""
    whole = np.log([cell.seconds for cell in cells])
    steps = np.log([cell.denoising_s for cell in cells])
    num_samplers = counted.host.shape[1]
    start = _start(cells, counted, num_samplers)

    def residuals(vector: Vector) -> Vector:
        ours = _seconds_of(vector, counted, sharpness)
        off = [
            tamed((np.log(seconds) - told) / NOISE)
            for seconds, told in zip(ours, (whole, steps), strict=True)
        ]
        apart = vector[:num_samplers] - np.mean(vector[:num_samplers])
        return np.concatenate([*off, apart / SAMPLERS_DIFFER, (vector - start) / LOOSE])

    found = least_squares(residuals, start)
    off, slope = residuals(found), _slope(residuals, found)
    # Two residuals a cell, of which the second is nearly the first again.
    misfit = max(float(off @ off) / max(len(cells), 1) / 2, 1.0)
    return _Fit(found, np.linalg.inv(slope.T @ slope) * misfit, sharpness, float(off @ off))


def _slope(function: Any, vector: Vector) -> Vector:
    """Return the derivatives of a function's values, a row a value."""
    here = function(vector)
    steps = np.eye(len(vector)) * 1e-4
    return np.stack([(function(vector + step) - here) / 1e-4 for step in steps], axis=1)


def _start(cells: Sequence[TimedCell], counted: _Counts, num_samplers: int) -> Vector:
    """Return rates at which each part takes an equal share of the middle cell."""
    step = np.median([c.denoising_s / n for c, n in zip(cells, counted.calls, strict=True)])
    once = np.median([max(c.seconds - c.denoising_s, 1e-4 * c.seconds) for c in cells])
    shares = [step / 4 / max(float(np.median(column)), 1e-12) for column in counted.step.T]
    rest = [once / 3 / max(float(np.median(column)), 1e-12) for column in counted.once.T]
    return np.asarray(np.log([*[step / 4] * num_samplers, *shares, *rest]))


def _seconds_of(vector: Vector, counted: _Counts, sharpness: int) -> tuple[Vector, Vector]:
    """Return the seconds of whole calls and of their denoising."""
    rates, samplers = np.exp(vector), counted.host.shape[1]
    host = counted.host @ rates[:samplers]
    work = counted.step @ rates[samplers : samplers + 3]
    once = counted.once @ rates[samplers + 3 :]
    denoising = counted.calls * (host**sharpness + work**sharpness) ** (1 / sharpness)
    return denoising + once, denoising


def _spreads_of(residuals: Sequence[Residual], num_rates: int) -> Spreads:
    """Return the spreads under which the residuals are likeliest: smooth between cells, or noise.

    A steady machine leaves what the law misses, which near cells share; a busy one leaves noise.
    """
    values = np.array([one.log_ratio for one in residuals])
    # The rates were fitted to these cells, and took a part of what they differ by.
    free = max(len(values) - num_rates, 2)
    total = max(math.sqrt(float(values @ values) / free), LEAST_SPREAD)
    tried = [_spreads(total, share) for share in NOISE_SHARES]
    nearness = np.array([[shared(a, b, NEARNESS) for b in residuals] for a in residuals])
    return max(tried, key=lambda spreads: _log_likelihood(values, nearness, spreads))


def _spreads(total: float, noise_share: float) -> Spreads:
    """Return spreads of so much in all, a share of whose square is noise."""
    return Spreads(
        source=0.2 * total,
        workload=total * math.sqrt(1 - noise_share),
        geforce=NO_CARD,
        others=NO_CARD,
        noise=max(total * math.sqrt(noise_share), NOISE),
    )


def _log_likelihood(values: Vector, nearness: Vector, spreads: Spreads) -> float:
    """Return the logarithm of the residuals' density, but for a constant."""
    covariance = spreads.source**2 + spreads.workload**2 * nearness
    covariance = covariance + spreads.noise**2 * np.eye(len(values))
    logarithm = float(np.linalg.slogdet(covariance)[1])
    return -0.5 * (float(values @ np.linalg.solve(covariance, values)) + logarithm)


def _thinned(values: Sequence[Any], most: int) -> list[Any]:
    """Return at most so many of the values, spread evenly over them."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]
