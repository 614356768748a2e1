"""The largest resolution or batch that fits, found by trying: doubling, then halving the gap.

Each value is tried in a process of its own, under a cap on a CPU, where a machine would otherwise
slow to a halt before it refuses.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from diffusion_bench.bench.cell_run import CellRun
from diffusion_bench.bench.lost_cards import while_there
from diffusion_bench.bench.progress import Progress
from diffusion_bench.bench.setup import Bench, open_bench
from diffusion_bench.bench.sweep import Sweep
from diffusion_bench.records import MAX_SIDE, ImageRequest, VoiceRequest
from diffusion_bench.reports.labels import is_gpu
from diffusion_bench.reports.memory_fit import fit_verdict
from diffusion_bench.reports.schema import Cell, Limit

Axis = Literal["resolution", "batch"]

MAX_BATCH = 64
SIDE_STEP = 64  # pixels; what every latent model's sides are a multiple of
PROBE_STEPS = 2  # memory does not grow with them
HOST_SHARE = 0.8  # of the memory that is free, for a search on a CPU


class SearchFailed(ValueError):
    """A value failed for another reason than memory, so no limit can be found."""


def search(values: Sequence[int]) -> Generator[int, bool, tuple[int | None, int | None]]:
    """Yield the values to try, be sent whether each fits, and return the edge.

    `values` ascend, and what does not fit is followed by nothing that does. Returns the largest
    that fits and the smallest that does not, `None` where there is none.
    """
    fits, misfits, stride = -1, len(values), 1
    while fits + 1 < misfits:
        ahead = fits + stride
        # Past the first misfit, or the end, the gap is halved.
        index = ahead if misfits == len(values) and ahead < misfits else (fits + misfits) // 2
        if (yield values[index]):
            fits, stride = index, stride * 2
        else:
            misfits = index
    return (
        values[fits] if fits >= 0 else None,
        values[misfits] if misfits < len(values) else None,
    )


def run_limit(
    sweep: Sweep, path: Path, axis: Axis, *, device: str | None = None
) -> Generator[Progress]:
    """Find the limit of each model and precision of a sweep into a new report at `path`.

    The first cell of each gives the rest of the work. Raises what `run_sweep` raises, and
    `SearchFailed` when a value fails for another reason than memory; its cell is kept.
    """
    if sweep.devices is not None:
        raise ValueError("a limit is looked for on one device; leave out the table [devices]")
    bases = _bases(sweep, axis)
    plan = sweep.model_copy(
        update={
            "repeats": 1,
            "rounds": 1,
            "stop": None,
            "measured_steps": None,
            "sustain_s": None,
            "quality": None,
        }
    )
    with ExitStack() as stack:
        bench = yield from open_bench(
            stack,
            plan,
            path,
            resume=False,
            device=device,
            wait_s=0.0,
            cells=(),
            host_share=HOST_SHARE,
        )
        uuids = [bench.workers.ready.gpu_uuid]
        events = _search_each(bench, bases, axis)
        cards, then = bench.sensor.cards(), "search anew"
        for progress in while_there(events, bench.sampler, cards, uuids, then=then):
            found = progress.cell or progress.limit
            if found is not None:
                bench.writer.append(found)
            yield progress


def _bases(sweep: Sweep, axis: Axis) -> list[ImageRequest]:
    """Return the first request of each model, precision, speed, use of guidance and other axis."""
    found: dict[tuple[object, ...], ImageRequest] = {}
    for request in sweep.requests():
        if isinstance(request, VoiceRequest):
            raise ValueError("a limit is looked for in sweeps of pictures, not of speech")
        fixed = (request.batch,) if axis == "resolution" else (request.width, request.height)
        family = (request.model, request.precision, request.speed, request.guidance_scale > 1)
        steps = min(request.steps, PROBE_STEPS)
        found.setdefault((*family, *fixed), request.model_copy(update={"steps": steps}))
    return list(found.values())


def _search_each(bench: Bench, bases: Sequence[ImageRequest], axis: Axis) -> Iterator[Progress]:
    yield Progress(kind="ready", num_cells=len(bases), num_done=0)
    order = 0
    for done, base in enumerate(bases):
        order = yield from _search_one(bench, base, axis, (done, len(bases)), order)
    yield Progress(kind="done", num_cells=len(bases), num_done=len(bases))


def _search_one(
    bench: Bench, base: ImageRequest, axis: Axis, progress: tuple[int, int], order: int
) -> Generator[Progress, None, int]:
    """Search from one request; return the order of the next cell."""
    looking = search(_values(axis))
    value = next(looking)
    while True:
        request = _with(base, axis, value)
        cell = yield from _probe(bench, request, order, progress)
        order += 1
        yield _told(progress, "cell", request, cell=cell)
        # A GPU that spills may never end; a processor that does not is only slow.
        of_memory = ("ok", "oom", "timeout") if is_gpu(bench.header) else ("ok", "oom")
        if cell.status not in of_memory:
            raise SearchFailed(f"{axis} {value} {cell.status}: {cell.message}")
        try:
            value = looking.send(_fits(cell, bench))
        except StopIteration as edge:
            largest, smallest = edge.value
            limit = Limit(axis=axis, request=base, largest_fit=largest, smallest_misfit=smallest)
            yield _told((progress[0] + 1, progress[1]), "limit", base, limit=limit)
            return order


def _probe(
    bench: Bench, request: ImageRequest, order: int, progress: tuple[int, int]
) -> Generator[Progress, None, Cell]:
    bench.workers.drop()
    run = CellRun(bench, request, order)
    for _ in run.prepare(()):
        yield _told(progress, "starting", request)
    yield _told(progress, "cell_started", request)
    for _ in run.events():
        yield _told(progress, "heartbeat", request)
    return run.cell()


def _told(progress: tuple[int, int], kind: str, request: ImageRequest, **what: object) -> Progress:
    return Progress.model_validate(
        {"kind": kind, "num_done": progress[0], "num_cells": progress[1], "request": request} | what
    )


def _fits(cell: Cell, bench: Bench) -> bool:
    """Return whether a value fits: one that spilled into the host's memory does not."""
    return cell.status == "ok" and fit_verdict(cell, bench.header).verdict != "spilled"


def _values(axis: Axis) -> Sequence[int]:
    return range(1, MAX_BATCH + 1) if axis == "batch" else range(SIDE_STEP, MAX_SIDE + 1, SIDE_STEP)


def _with(base: ImageRequest, axis: Axis, value: int) -> ImageRequest:
    change = {"batch": value} if axis == "batch" else {"width": value, "height": value}
    return base.model_copy(update=change)
