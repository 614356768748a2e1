"""Fit what cards achieve to published speeds; `refit.py` runs it.

    log speed = log of the model's speed + an offset of the source + noise

The offsets, one a source and kind of software, take what a source's machines, drivers and versions
do; they are drawn towards 0, so that the level of the whole is learnt too. The parameters are drawn
towards their priors. Least squares, outliers counting linearly, by Levenberg and Marquardt.
Nothing here is needed to predict: the result is efficiency.toml.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffusion_bench.tiers.cost import OPERATORS, StageName, WorkloadCost, cost_of
from diffusion_bench.tiers.published import PublishedSpeed
from diffusion_bench.tiers.roofline import (
    Figures,
    Fit,
    Pace,
    PaceColumns,
    Rates,
    Work,
    call_seconds,
    figures_of,
    stage_bits,
    work_of,
)

# Name: prior mean and spread; of the logarithm, but for the two exponents.
PRIORS = {
    "compute": (math.log(0.7), 0.3),
    "convolution": (0.0, 0.15),  # over compute
    "attention": (0.0, 0.15),  # over compute
    "memory": (math.log(0.5), 0.5),
    "power_exponent": (0.0, 0.15),
    "cache_exponent": (0.0, 0.15),
    "turing": (0.0, 0.3),
    "plain": (0.0, 0.3),
    "host_rate": (math.log(50_000), 0.5),
    "web_ui_host": (0.3, 0.3),
    "saving_s": (math.log(0.05), 0.7),
    "plain attention": (-0.2, 0.2),
    "compiled": (0.15, 0.2),
    "engine": (0.3, 0.3),
}
# Measured by nobody here: compiled code and engines launch fewer, larger kernels.
LAUNCHES = {"plain attention": 1.0, "compiled": 0.4, "engine": 0.4}
SOURCE_SPREAD = 0.25
NOISE = 0.08
PLAIN_WEIGHT = 0.05  # fp32 is to set `plain`, not to pull at what 16 bits achieve
OUTLIER = 2.0
Vector = NDArray[Any]


class Columns(NamedTuple):
    """Published rows as numpy columns; the figures and the work by stage."""

    figures: dict[StageName, Figures]
    work: dict[StageName, Work]
    calls: Vector
    batch: Vector
    image_steps: Vector
    whole: Vector
    web_ui: Vector
    software: Vector
    group: Vector
    weight: Vector
    log_speed: Vector

    def only(self, mask: Vector) -> Columns:
        """Return the rows where `mask` is true."""
        return Columns(*(_only(column, mask) for column in self))


def columns_of(rows: Sequence[PublishedSpeed]) -> Columns:
    """Return published rows as columns; rows of one card and source share a weight."""
    costs = [_cost(row) for row in rows]
    stages = [stage.stage for stage in costs[0].stages]
    figures, work = {}, {}
    for stage in stages:
        bits = [stage_bits(row.workload.model, stage, row.workload.precision) for row in rows]
        each = [figures_of(row.card, b) for row, b in zip(rows, bits, strict=True)]
        figures[stage] = Figures(*_stack(each))
        found = [next(s for s in cost.stages if s.stage == stage) for cost in costs]
        work[stage] = Work(*_stack([work_of(one) for one in found]))
    pairs = [(row.group, row.card.name) for row in rows]
    return Columns(
        figures=figures,
        work=work,
        calls=np.array([row.workload.calls for row in rows], float),
        batch=np.array([row.workload.batch for row in rows], float),
        image_steps=np.array([row.workload.batch * row.workload.steps for row in rows], float),
        whole=np.array([not row.loop_only for row in rows], float),
        web_ui=np.array([row.software.web_ui for row in rows], float),
        software=np.array([row.software.name for row in rows]),
        group=np.array(["|".join(offset_group(row)) for row in rows]),
        weight=np.array([_weight(row, pairs.count(p)) for row, p in zip(rows, pairs, strict=True)]),
        log_speed=np.log([row.image_steps_per_s for row in rows]),
    )


def offset_group(row: PublishedSpeed) -> tuple[str, str, str]:
    """Return what shares an offset: a source's rows of one model by one kind of software."""
    return row.group, row.software.name, row.workload.model


def log_speeds(columns: Columns, fit: Fit) -> Vector:
    """Return the logarithm of the image-steps a second the model gives each row."""
    pace = _paces(columns, fit)
    seconds = {
        stage: call_seconds(columns.figures[stage], work, fit.rates, pace, columns.web_ui)
        for stage, work in columns.work.items()
    }
    once = sum(column for stage, column in seconds.items() if stage != "denoising step")
    once = columns.whole * (once + columns.web_ui * fit.rates.saving_s * columns.batch)
    rate: Vector = columns.image_steps / (columns.calls * seconds["denoising step"] + once)
    return np.asarray(np.log(rate))


def _paces(columns: Columns, fit: Fit) -> PaceColumns:
    plain = Pace()
    speed = np.full_like(columns.calls, plain.speed)
    launches = np.full_like(columns.calls, plain.launches)
    for name, pace in fit.paces.items():
        mask = columns.software == name
        speed[mask], launches[mask] = pace.speed, pace.launches
    return PaceColumns(speed, launches)


def fit_of(vector: Vector) -> Fit:
    """Return the fit that a vector of parameters, in the order of `PRIORS`, stands for."""
    given = dict(zip(PRIORS, map(float, vector), strict=True))
    compute = math.exp(given["compute"])
    rates = Rates(
        compute=compute,
        convolution=compute * math.exp(given["convolution"]),
        attention=compute * math.exp(given["attention"]),
        memory=math.exp(given["memory"]),
        power_exponent=given["power_exponent"],
        cache_exponent=given["cache_exponent"],
        turing=math.exp(given["turing"]),
        plain=math.exp(given["plain"]),
        host_rate=math.exp(given["host_rate"]),
        web_ui_host=math.exp(given["web_ui_host"]),
        saving_s=math.exp(given["saving_s"]),
    )
    paces = {
        name: Pace(speed=math.exp(given[name]), launches=launches)
        for name, launches in LAUNCHES.items()
    }
    return Fit(rates=rates, paces=paces)


def fit_rows(columns: Columns) -> Fit:
    """Return the fit to these rows."""
    means = np.array([mean for mean, _ in PRIORS.values()])
    spreads = np.array([spread for _, spread in PRIORS.values()])
    groups = np.unique(columns.group, return_inverse=True)[1]
    scale = np.sqrt(columns.weight) / NOISE

    def residuals(vector: Vector) -> Vector:
        error = columns.log_speed - log_speeds(columns, fit_of(vector))
        told = np.bincount(groups, scale**2)
        offset = np.bincount(groups, scale**2 * error) / (told + SOURCE_SPREAD**-2)
        rows = tamed((error - offset[groups]) * scale)
        return np.concatenate([rows, offset / SOURCE_SPREAD, (vector - means) / spreads])

    return fit_of(least_squares(residuals, means))


def least_squares(residuals: Any, start: Vector, rounds: int = 60) -> Vector:
    """Return the vector with the least sum of squares, by Levenberg and Marquardt."""
    vector, damping = start.copy(), 1e-2
    error = residuals(vector)
    for _ in range(rounds):
        steps = np.eye(len(vector)) * 1e-4
        slope = np.stack([(residuals(vector + step) - error) / 1e-4 for step in steps], axis=1)
        normal = slope.T @ slope + damping * np.eye(len(vector))
        tried = vector - np.linalg.solve(normal, slope.T @ error)
        after = residuals(tried)
        gain = error @ error - after @ after
        if gain <= 0:
            damping *= 4
            continue
        settled = gain < 1e-7 * (error @ error)
        vector, error, damping = tried, after, damping / 3
        if settled:
            break
    return vector


def tamed(error: Vector) -> Vector:
    """Return errors whose squares grow linearly beyond `OUTLIER`, after Huber."""
    far = np.abs(error) > OUTLIER
    linear = np.sqrt(np.maximum(2 * OUTLIER * np.abs(error) - OUTLIER**2, 0))
    return np.where(far, np.sign(error) * linear, error)


def _weight(row: PublishedSpeed, alike: int) -> float:
    """Return how much a row counts: many of a card in a source tell little more than a few."""
    return (PLAIN_WEIGHT if row.workload.precision == "fp32" else 1) / math.sqrt(alike)


def _cost(row: PublishedSpeed) -> WorkloadCost:
    asked = row.workload
    return cost_of(
        asked.model,
        width=asked.width,
        height=asked.height,
        batch=asked.batch,
        precision=asked.precision,
        guided=asked.guided,
    )


def _stack(tuples: Sequence[Any]) -> list[Any]:
    """Return the fields of many named tuples as columns, fields by class as columns by class."""
    return [
        {name: np.array([value[name] for value in values]) for name in OPERATORS}
        if isinstance(values[0], dict)
        else np.array(values, float)
        for values in zip(*tuples, strict=True)
    ]


def _only(column: Any, mask: Vector) -> Any:
    if isinstance(column, dict):
        return {key: _only(value, mask) for key, value in column.items()}
    if isinstance(column, tuple):
        return type(column)(*(_only(value, mask) for value in column))
    return column[mask]
