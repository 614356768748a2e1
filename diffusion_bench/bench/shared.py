"""Runs a sweep of several devices at once; `shared_run.py` measures one cell of it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from diffusion_bench.bench.crew import Crew
from diffusion_bench.bench.header import make_header
from diffusion_bench.bench.lost_cards import while_there
from diffusion_bench.bench.progress import Kind, Progress
from diffusion_bench.bench.setup import (
    STARTING,
    check_sweep,
    fetch,
    hold,
    make_sampler,
    open_report,
    refuse_busy,
    sample_interval_s,
)
from diffusion_bench.bench.shared_run import SharedBench, SharedRun
from diffusion_bench.bench.sweep import Sweep
from diffusion_bench.hardware.sensors import open_sensor
from diffusion_bench.records import DeviceShare, ImageRequest
from diffusion_bench.reports.schema import Report
from diffusion_bench.reports.unfinished import finished_ids


def run_shared(
    sweep: Sweep,
    path: Path,
    *,
    resume: bool = False,
    retry: bool = False,
    wait_s: float = 0.0,
) -> Generator[Progress]:
    """Measure a sweep of several devices into the report at `path`, as `runner.run_sweep` does.

    Raises what that raises; `WorkerFailed` also where the machine lacks one of the devices.
    """
    with ExitStack() as stack:
        bench, before = yield from _open(
            stack, sweep, path, resume=resume, retry=retry, wait_s=wait_s
        )
        run = _Run(bench, sweep, before, retry=retry)
        uuids = [one.gpu_uuid for one in bench.ready]
        for progress in while_there(run.events(), bench.sampler, bench.sensor.cards(), uuids):
            if progress.shared is not None:
                bench.writer.append(progress.shared)
            yield progress


class _Run:
    """The cells of a plan that are not finished, one after the other, each measured once."""

    def __init__(self, bench: SharedBench, sweep: Sweep, before: Report, *, retry: bool) -> None:
        self._bench = bench
        self._num_cells = sweep.num_cells
        finished = finished_ids(before, retry=retry)
        header = bench.header
        assert header.plan.devices is not None
        cells = [
            (cell, share)
            for cell in header.plan.cells
            for share in header.plan.devices.share
            if isinstance(cell, ImageRequest)
        ]
        self._left = [
            (order, cell, share)
            for order, (cell, share) in enumerate(cells)
            if header.shared_id(cell, share) not in finished
        ]

    def events(self) -> Iterator[Progress]:
        """Yield what happens until no cell is left."""
        yield self._told("ready" if len(self._left) == self._num_cells else "skipped")
        for order, request, share in tuple(self._left):
            run = SharedRun(self._bench, request, share, order)
            yield self._told("cell_started", request, share)
            for start in run.events():
                kind: Kind = "repeated" if start else "heartbeat"
                yield self._told(kind, request, share).model_copy(update={"repeat": start})
            self._left.remove((order, request, share))
            yield self._told("cell", request, share).model_copy(update={"shared": run.cell()})
        yield self._told("done")

    def _told(
        self, kind: Kind, request: ImageRequest | None = None, share: DeviceShare | None = None
    ) -> Progress:
        return Progress(
            kind=kind,
            num_cells=self._num_cells,
            num_done=self._num_cells - len(self._left),
            request=request,
            share=share,
        )


def _open(
    stack: ExitStack, sweep: Sweep, path: Path, *, resume: bool, retry: bool, wait_s: float
) -> Generator[Progress, None, tuple[SharedBench, Report]]:
    """Do as `open_bench`, with a worker and a lock for each device."""
    assert sweep.devices is not None
    check_sweep(sweep, path, resume=resume)
    sensor = stack.enter_context(closing(open_sensor()))
    refuse_busy(sweep.devices.names, sensor, wait_s)
    crew = stack.enter_context(Crew(sweep.devices, sweep.emulated_memory_mib))
    for _ in crew.start():
        yield STARTING
    ready = tuple(workers.ready for workers in crew.each)
    yield from fetch(sweep, path, (ready[0], sensor), resume=resume, retry=retry)
    # In `hold_device`'s order, so that two sweeps never wait for each other's cards.
    for device in sorted(set(sweep.devices.names)):
        yield from hold(stack, device, wait_s)
    stack.callback(crew.drop)  # before the locks go: who waits for them finds memory free
    header = make_header(sweep, ready[0], sensor)
    yield STARTING  # who gives up by now has no report
    writer, before = open_report(stack, path, header, resume=resume)
    sampler = stack.enter_context(make_sampler(sensor, sample_interval_s(ready[0].device)))
    return SharedBench(before.header, writer, crew, ready, sampler, sensor), before
