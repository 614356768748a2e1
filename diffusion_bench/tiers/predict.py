"""Predict the seconds of a call on a card from the card's specification and the workload's cost.

    seconds = text encoder + calls x denoising step + decoder + saving the pictures

Reports correct it (`calibrate.py`), and narrow its 80 percent interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from diffusion_bench.records import PrecisionName, Record
from diffusion_bench.tiers.calibrate import Residual, correct
from diffusion_bench.tiers.cards import Card
from diffusion_bench.tiers.cost import OPERATORS, StageName, WorkloadCost, cost_of
from diffusion_bench.tiers.efficiency import Efficiency, shipped_efficiency
from diffusion_bench.tiers.roofline import (
    AMPERE,
    Figures,
    Fit,
    Pace,
    Work,
    call_seconds,
    figures_of,
    gpu_seconds,
    host_seconds,
    stage_bits,
    work_of,
)
from diffusion_bench.tiers.workload import Software, Workload

Z_80 = 1.2816  # standard deviations either side that hold 80 percent of a normal distribution
STEP: StageName = "denoising step"

Limit = Literal["processor", "arithmetic", "bandwidth"]


class Estimate(Record):
    """The seconds of one call by what they go into, from the model alone."""

    denoising_s: float
    once_s: float

    @property
    def total_s(self) -> float:
        """Return the seconds of the whole call."""
        return self.denoising_s + self.once_s


class Prediction(Record):
    """A predicted call. `low` and `high` are the ends of an 80 percent interval.

    `image_steps_per_s` is batch x steps over the whole call, or over the denoising loop where only
    that was asked. `basis` says what the figures rest on.
    """

    card: str
    workload: Workload
    software: Software
    seconds: float
    seconds_low: float
    seconds_high: float
    seconds_per_image: float
    image_steps_per_s: float
    image_steps_per_s_low: float
    image_steps_per_s_high: float
    basis: str


def estimate(card: Card, workload: Workload, software: Software, fit: Fit) -> Estimate:
    """Return the seconds of a call from the specification alone; ValueError where none can be told.

    The card's memory is not looked at: what does not fit takes no time either.
    """
    refuse_bf16(card, workload.precision)
    pace = fit.paces.get(software.name, Pace())
    seconds = {}
    for stage in _cost(workload).stages:
        bits = stage_bits(workload.model, stage.stage, workload.precision)
        figures = figures_of(card, bits)
        work = work_of(stage)
        seconds[stage.stage] = call_seconds(figures, work, fit.rates, pace, software.web_ui)
    denoising = seconds.pop(STEP) * workload.calls
    saving = fit.rates.saving_s * workload.batch if software.web_ui else 0.0
    return Estimate(denoising_s=float(denoising), once_s=float(sum(seconds.values()) + saving))


def refuse_bf16(card: Card, precision: PrecisionName) -> None:
    """Raise ValueError where a card is asked for a bf16 that it does not have."""
    if precision == "bf16" and (not card.bf16 or card.capability < AMPERE):
        raise ValueError(f"{card.name} has no bf16; it takes fp16 or fp32")


def predict(
    card: Card,
    workload: Workload,
    software: Software | None = None,
    *,
    residuals: Sequence[Residual] = (),
    loop_only: bool = False,
) -> Prediction:
    """Return the prediction for a workload on a card; raise ValueError where none can be made."""
    chosen, efficiency = software or Software(), shipped_efficiency()
    alone = estimate(card, workload, chosen, efficiency.fit)
    correction = correct(card.name, workload, residuals, efficiency.spreads)
    seconds = alone.total_s * math.exp(correction.log_ratio)
    if chosen == Software():
        seconds = _between_measured(seconds, card, workload, residuals)
    margin = math.exp(Z_80 * correction.spread)
    timed = alone.denoising_s / alone.total_s * seconds if loop_only else seconds
    rate = workload.batch * workload.steps / timed
    return Prediction(
        card=card.name,
        workload=workload,
        software=chosen,
        seconds=seconds,
        seconds_low=seconds / margin,
        seconds_high=seconds * margin,
        seconds_per_image=seconds / workload.batch,
        image_steps_per_s=rate,
        image_steps_per_s_low=rate / margin,
        image_steps_per_s_high=rate * margin,
        basis=_basis(efficiency, residuals, correction.measurements),
    )


def limit_of(card: Card, workload: Workload) -> Limit:
    """Return what sets the pace of the denoising steps, for plain PyTorch."""
    stage = next(stage for stage in _cost(workload).stages if stage.stage == STEP)
    figures = figures_of(card, stage_bits(workload.model, STEP, workload.precision))
    return limit_of_work(figures, work_of(stage))


def limit_of_work(figures: Figures, work: Work) -> Limit:
    """Return what sets the pace of one call on a card, for plain PyTorch."""
    rates, nothing = shipped_efficiency().fit.rates, dict.fromkeys(OPERATORS, 0.0)
    on_gpu = gpu_seconds(figures, work, rates)
    if host_seconds(work, rates, 0.0) > on_gpu:
        return "processor"
    arithmetic = gpu_seconds(figures, work._replace(bytes_moved=nothing), rates)
    traffic = gpu_seconds(figures, work._replace(flops=nothing), rates)
    return "arithmetic" if arithmetic > traffic else "bandwidth"


def residual_of(card: Card, workload: Workload, measured_s: float, user: str = "") -> Residual:
    """Return what a measured call says; raise ValueError for an unknown model."""
    if measured_s <= 0:
        raise ValueError(f"a call of {measured_s} s was not measured")
    alone = estimate(card, workload, Software(), shipped_efficiency().fit)
    ratio = math.log(measured_s / alone.total_s)
    return Residual(
        card=card.name, workload=workload, log_ratio=ratio, seconds=measured_s, user=user
    )


def _between_measured(
    seconds: float, card: Card, workload: Workload, residuals: Sequence[Residual]
) -> float:
    """Return seconds that contradict no measured call of the card: less work takes no longer."""
    least, most = 0.0, math.inf
    for one in residuals:
        if one.card != card.name or one.seconds is None:
            continue
        if _is_no_more(one.workload, workload):
            least = max(least, one.seconds)
        if _is_no_more(workload, one.workload):
            most = min(most, one.seconds)
    # Measurements may contradict each other by their noise.
    return min(max(seconds, least), max(most, least))


def _is_no_more(one: Workload, other: Workload) -> bool:
    """Return whether a workload is the other, or a part of what that does."""
    same = ("model", "precision", "guided")
    return (
        all(getattr(one, name) == getattr(other, name) for name in same)
        and one.batch <= other.batch
        and one.width * one.height <= other.width * other.height
        and one.calls <= other.calls
    )


def _basis(efficiency: Efficiency, residuals: Sequence[Residual], used: int) -> str:
    text = f"the card's specification and a fit to NVIDIA cards' {efficiency.rows} published speeds"
    if not residuals:
        return text
    cards = ", ".join(sorted({one.card for one in residuals}))
    counted = f"the nearest {used} of " if used < len(residuals) else ""
    return f"{text}, corrected by {counted}{len(residuals)} measurements ({cards})"


@lru_cache(maxsize=1024)
def _cost(workload: Workload) -> WorkloadCost:
    return cost_of(**workload.work)
