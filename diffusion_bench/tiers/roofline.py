"""Seconds of a call on a card: for each class of operators the larger of arithmetic and traffic.

    compute     share of the peak a class achieves, less where the card has little power for it
    memory      share of the bandwidth achieved, more where the L2 cache is large
    host        kernels a second the processor can launch; the slower of host and GPU sets the pace

Only arithmetic operators are used, so that the same lines take one card's numbers and, in
`fit.py`, numpy's columns of many. The larger of two is the 8-norm, which is smooth.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from diffusion_bench.records import PrecisionName, Record
from diffusion_bench.tiers.cards import Card
from diffusion_bench.tiers.cost import OPERATORS, StageCost, StageName, counts, value_width
from diffusion_bench.tiers.voice_cost import VoiceStageCost

SHARPNESS = 8
TURING, AMPERE = (7, 5), (8, 0)
# Where the two exponents have no effect: about an RTX 3090, by bits of a value, and an RTX 4060.
WATTS_PER_TFLOP = {16: 4.0, 32: 9.0}
L2_MIB = 6.0
# Of 16 bits the most that a card of gpus.csv has: with more, cores would go beyond their peak.
MOST_POWER = 1.8


class Rates(Record):
    """What cards achieve, fitted by `fit.py`.

    `compute`, `convolution`, `attention`: shares of the peak by class; `memory`: of the bandwidth.
    `power_exponent`: how the first three follow watts a TFLOP; `cache_exponent`: how the last
    follows the L2 cache. `turing` multiplies the 16-bit arithmetic of compute capability
    7.5, `plain` that of 32-bit values. `host_rate` is in launches a second; a web UI's host
    does `web_ui_host` times the work for each, and spends `saving_s` on each picture.
    """

    compute: float
    convolution: float
    attention: float
    memory: float
    power_exponent: float
    cache_exponent: float
    turing: float
    plain: float
    host_rate: float
    web_ui_host: float
    saving_s: float


class Pace(Record):
    """How software differs from plain PyTorch: GPU work `speed` times as fast, fewer launches."""

    speed: float = 1.0
    launches: float = 1.0


class Fit(Record):
    """What was fitted: the rates, and the pace of each kind of software but plain PyTorch's."""

    rates: Rates
    paces: dict[str, Pace]


class PaceColumns(NamedTuple):
    """The paces of many rows' software as numpy columns."""

    speed: Any
    launches: Any


class Figures(NamedTuple):
    """What of a card the time depends on: numbers, or numpy columns of as many cards.

    `peak` is in FLOP a second by class of operators, `bandwidth` in bytes a second; `power` is
    watts a TFLOP over `WATTS_PER_TFLOP`; `turing` and `plain` (32-bit values) are 0 or 1.
    """

    peak: dict[str, Any]
    bandwidth: Any
    l2_mib: Any
    power: Any
    turing: Any
    plain: Any


class Work(NamedTuple):
    """What of a call the time depends on: FLOPs and bytes by class, and launches in all."""

    flops: dict[str, Any]
    bytes_moved: dict[str, Any]
    launches: Any


def stage_bits(model: str, stage: StageName, precision: PrecisionName) -> int:
    """Return the bits of a value in a stage: some decoders work in fp32 whatever is asked."""
    return int(value_width(counts()[model], stage, precision))


def figures_of(card: Card, bits: int) -> Figures:
    """Return the figures of a card for values of 32 or 16 bits."""
    return Figures(
        peak={operator: 1e12 * _peak_tflops(card, operator, bits) for operator in OPERATORS},
        bandwidth=1e9 * card.bandwidth_gbs,
        l2_mib=card.l2_mib,
        power=_power(card, bits),
        turing=float(card.capability == TURING and bits == 16),
        plain=float(bits == 32),
    )


def _power(card: Card, bits: int) -> float:
    tflops = card.tensor_tflops if bits == 16 else card.fp32_tflops
    return min(card.tdp_w / tflops / WATTS_PER_TFLOP[bits], MOST_POWER)


def _peak_tflops(card: Card, operator: str, bits: int) -> float:
    """Return the peak torch's defaults reach: TF32 in convolutions only, and from Ampere on."""
    if bits == 16:
        return card.tensor_tflops
    if operator == "convolution" and card.capability >= AMPERE:
        return card.tensor_tflops / 2
    return card.fp32_tflops


def work_of(stage: StageCost | VoiceStageCost) -> Work:
    """Return the work of one call of a stage."""
    rows = {row.operator: row for row in stage.operators}
    return Work(
        flops={name: rows[name].flops if name in rows else 0.0 for name in OPERATORS},
        bytes_moved={name: rows[name].bytes_moved if name in rows else 0.0 for name in OPERATORS},
        launches=float(sum(row.launches for row in stage.operators)),
    )


def gpu_seconds(figures: Figures, work: Work, rates: Rates) -> Any:
    """Return the seconds the GPU needs for one call."""
    power = figures.power**rates.power_exponent
    kind = rates.turing**figures.turing * rates.plain**figures.plain
    cache = (figures.l2_mib / L2_MIB) ** rates.cache_exponent
    achieved = {"convolution": rates.convolution, "attention": rates.attention}
    total: Any = 0.0
    for name in OPERATORS:
        share = achieved.get(name, rates.compute)
        arithmetic = work.flops[name] / (figures.peak[name] * share * power * kind)
        traffic = work.bytes_moved[name] / (figures.bandwidth * rates.memory * cache)
        total = total + larger(arithmetic, traffic)
    return total


def host_seconds(work: Work, rates: Rates, web_ui: Any) -> Any:
    """Return the seconds the processor needs to launch one call's kernels; `web_ui` is 0 or 1."""
    return work.launches / rates.host_rate * rates.web_ui_host**web_ui


def larger(a: Any, b: Any) -> Any:
    """Return the larger of two times; where they are near, a little more than either."""
    return (a**SHARPNESS + b**SHARPNESS) ** (1 / SHARPNESS)


def call_seconds(
    figures: Figures, work: Work, rates: Rates, pace: Pace | PaceColumns, web_ui: Any
) -> Any:
    """Return the seconds of one call: the GPU's or the host's, whichever is the longer."""
    on_gpu = gpu_seconds(figures, work, rates) / pace.speed
    return larger(on_gpu, host_seconds(work, rates, web_ui) * pace.launches)
