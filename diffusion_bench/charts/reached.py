"""What a step of a cell reached of what its device can do: a point under a roofline.

FLOPs and bytes are counted (`tiers/cost.py`), seconds measured. The limits are a card's
specification, or what a processor reached in two short tests when the report was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from statistics import median
from typing import Literal, NamedTuple

from diffusion_bench.records import ImageRequest, PrecisionName
from diffusion_bench.records.figures import figure
from diffusion_bench.records.speed import Speed, parse_speed
from diffusion_bench.reports.labels import card_of, is_gpu
from diffusion_bench.reports.schema import Ceiling, Cell, GpuCard, Report
from diffusion_bench.tiers.cards import find_card
from diffusion_bench.tiers.cost import OPERATORS, Attention, Guidance, StageCost, cost_of
from diffusion_bench.tiers.efficiency import shipped_efficiency
from diffusion_bench.tiers.roofline import Work, figures_of, gpu_seconds, host_seconds, work_of
from diffusion_bench.tiers.workload import guided_at, model_named

STEP = "denoising step"
# Of the ways to run a model, those that leave the counted work of a step as it is.
SAME_WORK = frozenset({"channels_last", "packed", "keep_prompts", "vae", "inference_mode"})
COUNTED = frozenset({"attention", "compute", "guidance"})  # some of their ways have counts
_cost = lru_cache(maxsize=1024)(cost_of)  # thousands of cells are of a few shapes
_kept: dict[int, tuple[tuple[Cell, ...], Ceiling | None]] = {}


class Reached(NamedTuple):
    """One denoising step: counted work, measured seconds, and the limits of the device.

    `peak_flops` is in FLOP a second, of the mix of operators; `bandwidth` in bytes a second.
    `arithmetic_s` and `traffic_s` are what either alone would take at the rates that such networks
    get, `bound_s` both together; on a processor, at the limits themselves. `host_s` is what
    launching the kernels takes, `None` where nothing is launched. `limits_from` says whose limits.
    """

    flops: float
    bytes_moved: float
    launches: float
    step_s: float
    peak_flops: float
    bandwidth: float
    arithmetic_s: float
    traffic_s: float
    bound_s: float
    host_s: float | None
    limits_from: str

    @property
    def intensity(self) -> float:
        """Return the FLOPs a byte."""
        return self.flops / self.bytes_moved

    @property
    def flops_a_second(self) -> float:
        """Return the arithmetic that was reached."""
        return self.flops / self.step_s

    @property
    def bytes_a_second(self) -> float:
        """Return the traffic that was reached, as it was counted: caches serve a part of it."""
        return self.bytes_moved / self.step_s

    @property
    def arithmetic_share(self) -> float:
        """Return the share of the limit of arithmetic."""
        return self.flops_a_second / self.peak_flops

    @property
    def traffic_share(self) -> float:
        """Return the share of the limit of traffic."""
        return self.bytes_a_second / self.bandwidth

    @property
    def explained(self) -> float:
        """Return the share of a step that its work explains, at the rates such networks get."""
        return self.bound_s / self.step_s


def reached(cell: Cell, report: Report) -> tuple[Reached | None, str]:
    """Return what a cell's steps reached, or `None` and why it cannot be told."""
    step_s = step_seconds(cell)
    if step_s is None:
        return None, "no step was timed"
    if cell.without_figures:
        return None, f"the cell is {cell.without_figures}"
    try:
        stage, precision = _counted_step(cell)
        if is_gpu(report.header):
            return _on_card(stage, step_s, precision, card_of(cell, report.header)), ""
        return _on_processor(stage, step_s, precision, report), ""
    except ValueError as error:
        return None, str(error)


def step_seconds(cell: Cell) -> float | None:
    """Return the median seconds of a denoising step, `None` where none was timed."""
    times = [step for sample in cell.samples for step in sample.step_s if step > 0]
    return median(times) if times else None


def ceiling_of(report: Report) -> Ceiling | None:
    """Return the highest of each limit that a report's processor reached, the least disturbed.

    Every cell of a report asks, so that what the last report reached is kept.
    """
    cells = report.cells
    known = _kept.get(id(cells))
    if known is None:
        known = cells, _highest(cells)  # with its cells: no other object has their id meanwhile
        _kept.clear()
        _kept[id(cells)] = known
    return known[1]


def _highest(cells: tuple[Cell, ...]) -> Ceiling | None:
    found = [cell.ceiling for cell in cells if cell.ceiling]
    if not found:
        return None
    return Ceiling(
        gflops=max(one.gflops for one in found), copy_gbs=max(one.copy_gbs for one in found)
    )


def _counted_step(cell: Cell) -> tuple[StageCost, PrecisionName]:
    """Return the work of a cell's step; raise ValueError where nobody has counted it."""
    request = cell.request
    if not isinstance(request, ImageRequest):
        raise ValueError("the work of speech is not counted")
    speed = parse_speed(cell.speed) if cell.speed else request.speed
    attention, guidance, precision = _way(request, speed)
    model = model_named(request.model)
    cost = _cost(
        model,
        width=request.width,
        height=request.height,
        batch=request.batch,
        precision=precision,
        guided=guided_at(model, request.guidance_scale),
        attention=attention,
        guidance=guidance,
    )
    return next(stage for stage in cost.stages if stage.stage == STEP), precision


def _way(
    request: ImageRequest, speed: Speed | Literal["auto"]
) -> tuple[Attention, Guidance, PrecisionName]:
    """Return what of a speed the counts know; raise ValueError for what they do not."""
    if not isinstance(speed, Speed):
        raise ValueError('which way to run it "auto" chose is not in the report')
    usual = Speed()
    changed = {name for name in Speed.model_fields if getattr(speed, name) != getattr(usual, name)}
    uncounted = changed - SAME_WORK - COUNTED
    if uncounted or speed.attention == "sliced" or speed.compute == "bf16 products":
        raise ValueError(f"the work of a step is not counted for speed {str(speed)!r}")
    precision: PrecisionName = "bf16" if speed.compute == "bf16" else request.precision
    return ("plain" if speed.attention == "plain" else "fused"), speed.guidance, precision


def _on_card(
    stage: StageCost, step_s: float, precision: PrecisionName, named: GpuCard | None
) -> Reached:
    if named is None:
        raise ValueError("the report does not name the card")
    match = find_card(named.name, memory_mib=named.memory_total_mib)
    if match.card is None:
        raise ValueError(match.reason or f"the limits of {named.name} are not known")
    bits = 32 if precision == "fp32" else 16
    figures = figures_of(match.card, bits)
    work, rates = work_of(stage), shipped_efficiency().fit.rates
    nothing = dict.fromkeys(OPERATORS, 0.0)
    ideal_s = sum(work.flops[name] / figures.peak[name] for name in OPERATORS)
    return Reached(
        **_totals(work),
        step_s=step_s,
        peak_flops=sum(work.flops.values()) / ideal_s,
        bandwidth=figures.bandwidth,
        arithmetic_s=float(gpu_seconds(figures, work._replace(bytes_moved=nothing), rates)),
        traffic_s=float(gpu_seconds(figures, work._replace(flops=nothing), rates)),
        bound_s=float(gpu_seconds(figures, work, rates)),
        host_s=float(host_seconds(work, rates, 0.0)),
        limits_from=f"specification of {match.card.name}, {bits} bits",
    )


def _on_processor(
    stage: StageCost, step_s: float, precision: PrecisionName, report: Report
) -> Reached:
    ceiling = ceiling_of(report)
    if report.header.plan.device != "cpu":
        raise ValueError(f"the limits of {report.header.plan.device} are not known")
    if ceiling is None:
        raise ValueError("what the processor can reach was not measured with this report")
    if precision != "fp32":
        raise ValueError("what the processor can reach was measured with 32-bit values only")
    work = work_of(stage)
    totals = _totals(work)
    peak, bandwidth = 1e9 * ceiling.gflops, 1e9 * ceiling.copy_gbs
    arithmetic_s, traffic_s = totals["flops"] / peak, totals["bytes_moved"] / bandwidth
    return Reached(
        **totals,
        step_s=step_s,
        peak_flops=peak,
        bandwidth=bandwidth,
        arithmetic_s=arithmetic_s,
        traffic_s=traffic_s,
        bound_s=max(arithmetic_s, traffic_s),
        host_s=None,
        limits_from="matrix product and copy, measured",
    )


def _totals(work: Work) -> dict[str, float]:
    return {
        "flops": sum(work.flops.values()),
        "bytes_moved": sum(work.bytes_moved.values()),
        "launches": work.launches,
    }


def rate(value: float, unit: str) -> str:
    """Return a rate a second in words: 1.3e12 "FLOP" is "1.3 TFLOP/s"."""
    prefixes: Sequence[tuple[float, str]] = ((1e12, "T"), (1e9, "G"), (1e6, "M"))
    if unit == "B":  # bandwidths are written in GB/s, however large
        prefixes = prefixes[1:]
    scale, prefix = next((pair for pair in prefixes if value >= pair[0]), prefixes[-1])
    return f"{figure(value / scale, 3)} {prefix}{unit}/s"
