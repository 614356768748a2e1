"""How long cells will take, from those that have been timed.

    seconds of one call = per_step * steps + per_pixel * steps * passes * pixels

Of speech, characters stand for the pixels. The first term is the fixed cost of a step (launches,
small layers), the second grows with the work. Both are fitted to what was timed, per model,
precision and speed, and apart where a model's own sampler draws: it may call the network twice a
step. Steps are those asked for, not those that a sampler makes of them (39 of 20).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median
from typing import NamedTuple

import numpy as np

from diffusion_bench.bench.measure import cut
from diffusion_bench.records import (
    AnyQualityPlan,
    ImageRequest,
    QualityPlan,
    Request,
    VoiceRequest,
)
from diffusion_bench.reports.schema import Cell


class TimedRequest(NamedTuple):
    """A request and the wall seconds of one call of it."""

    request: Request
    wall_s: float


def timed_calls(cell: Cell) -> list[TimedRequest]:
    """Return the timed calls of a cell, those that were cut with the steps that were run of them.

    A whole call has the steps it was asked for, however many its sampler made of them.
    """
    return [
        TimedRequest(
            _of_steps(cell.request, len(sample.step_s)) if cell.extrapolation else cell.request,
            sample.wall_s,
        )
        for sample in cell.samples
        if sample.step_s
    ]


def timed_call(request: Request, measured_steps: int | None) -> Request:
    """Return a request with the steps of a timed call of it, cut after `measured_steps`."""
    return _of_steps(request, cut(request, measured_steps) or request.steps)


def _of_steps(request: Request, steps: int) -> Request:
    return request.model_copy(update={"steps": steps})


def step_work(request: Request) -> float:
    """Return the pixels, or characters, that pass the denoiser in a call: twice with guidance."""
    passes = 2 if request.guidance_scale > 1 else 1
    return float(request.steps * passes * request.batch * request.amount)


def estimate_s(requests: Iterable[Request], timed: Iterable[TimedRequest]) -> float | None:
    """Return the seconds one call of each request will take together.

    `None` when a `family` among them has never been timed.
    """
    each = call_estimates_s(requests, timed)
    return None if each is None else sum(each)


def call_estimates_s(
    requests: Iterable[Request], timed: Iterable[TimedRequest]
) -> list[float] | None:
    """Return the seconds of one call of each request; `None` as for `estimate_s`."""
    by_family: dict[tuple[str, ...], list[TimedRequest]] = {}
    for known in timed:
        by_family.setdefault(family(known.request), []).append(known)
    costs = {each: _fit(calls) for each, calls in by_family.items()}
    seconds = []
    for request in requests:
        if family(request) not in costs:
            return None
        per_step, per_pixel = costs[family(request)]
        seconds.append(per_step * request.steps + per_pixel * step_work(request))
    return seconds


def judging_s(
    requests: Iterable[Request], plan: AnyQualityPlan | None, timed: Iterable[TimedRequest]
) -> float:
    """Return the seconds in which pictures or speech of each request are made to be judged.

    0 where there is no plan, or a model that was never timed. What judging itself takes is not in
    it.
    """
    if plan is None:
        return 0.0
    counted = [call for request in requests for call in _judging_calls(request, plan)]
    each_s = call_estimates_s([call for call, _ in counted], timed) or [0.0] * len(counted)
    return sum(count * call_s for (_, count), call_s in zip(counted, each_s, strict=True))


def _judging_calls(request: Request, plan: AnyQualityPlan) -> Iterator[tuple[Request, float]]:
    """Yield the calls that are made of a request to be judged, and how many of each."""
    batch = plan.batch or request.batch
    call = request.model_copy(update={"batch": batch})
    if isinstance(plan, QualityPlan):
        yield call, plan.pictures / batch
        return
    yield call, plan.candidates / batch
    if isinstance(call, VoiceRequest) and not plan.why_no_parallel(call):
        assert plan.against_steps is not None
        yield call.with_more_steps(plan.against_steps), plan.candidates / batch


def family(request: Request) -> tuple[str, str, str, str]:
    """Return what requests share whose times follow from each other's.

    It is model, precision, speed, and "native" where the model's own sampler draws: the others call
    the network once a step, that one (Heun) may do so twice.
    """
    how = str(request.speed) if isinstance(request, ImageRequest) else ""
    own = request.sampler if request.sampler == "native" else ""
    return request.model, request.precision, how, own


def _fit(timed: list[TimedRequest]) -> tuple[float, float]:
    """Return the two costs by least squares on relative error; one of them 0 if it would be < 0."""
    work = np.array([[known.request.steps, step_work(known.request)] for known in timed])
    seconds = np.array([known.wall_s for known in timed])
    scaled = work / seconds[:, None]
    (per_step, per_pixel), *_ = np.linalg.lstsq(scaled, np.ones(len(timed)), rcond=None)
    if per_step >= 0 and per_pixel >= 0:
        return float(per_step), float(per_pixel)
    only_pixels = median(seconds / work[:, 1])
    only_steps = median(seconds / work[:, 0])
    return (0.0, float(only_pixels)) if per_step < 0 else (float(only_steps), 0.0)
