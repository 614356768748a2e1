"""Runs a sweep: a worker measures, this process watches the machine and writes the report.

`run_sweep` is a generator of what happens. Closing it, at any point, ends the worker and leaves a
report that can be resumed.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Literal

from diffusion_bench.backends.device import DeviceBusy, hold_device
from diffusion_bench.bench.cells import failed_cell, measured_cell
from diffusion_bench.bench.estimate import TimedRequest, estimate_s
from diffusion_bench.bench.header import make_header, utc_now
from diffusion_bench.bench.sweep import Sweep
from diffusion_bench.bench.worker import Command, Failed, Loaded, Measured, Ready, Repeated
from diffusion_bench.bench.worker_process import WorkerProcess
from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.sensors import open_sensor
from diffusion_bench.records import ImageRequest, Record
from diffusion_bench.reports.schema import Cell, Plan
from diffusion_bench.reports.store import ReportWriter, finished_ids

HEARTBEAT_S = 0.2
SAMPLE_INTERVAL_S = 0.05

Kind = Literal[
    "waiting", "ready", "skipped", "cell_started", "repeated", "cell", "heartbeat", "done"
]


class Progress(Record):
    """What just happened. `heartbeat` is nothing new, so that a watcher can look up.

    `waiting` is for the device; the number of cells is not told before it is had.

    `remaining_s` is `None` until a cell of every model and precision has been timed.
    """

    kind: Kind
    num_cells: int
    num_done: int
    request: ImageRequest | None = None
    repeat: int = 0
    cell: Cell | None = None
    remaining_s: float | None = None


def run_sweep(
    sweep: Sweep,
    path: Path,
    *,
    resume: bool = False,
    device: str | None = None,
    wait_s: float = 0.0,
) -> Generator[Progress]:
    """Measure a sweep into the report at `path`, yielding what happens.

    With `resume`, cells that an interrupted run finished are skipped. Waits up to `wait_s` for a
    device that another job holds. Raises `DeviceBusy`, `WorkerFailed`, and ValueError for a report
    that exists, or that another machine began.
    """
    with ExitStack() as stack:
        sensor = stack.enter_context(closing(open_sensor()))
        worker = stack.enter_context(_Workers(device))
        ready = worker.start()
        yield from _hold(stack, ready.device, wait_s)
        stack.callback(worker.drop)  # before the lock goes: who waits for it finds memory free
        header = make_header(sweep, ready, sensor)
        finished: frozenset[str] = frozenset()
        if resume and path.exists():
            writer, report = ReportWriter.resume(path, header)
            finished = frozenset(finished_ids(report))
        else:
            writer = ReportWriter.create(path, header)
        stack.enter_context(writer)
        sampler = stack.enter_context(Sampler(sensor, interval_s=SAMPLE_INTERVAL_S))
        run = _Run(header.plan, worker, sampler, finished)
        for progress in run.events():
            if progress.cell is not None:
                writer.append(progress.cell)
            yield progress


def _hold(stack: ExitStack, device: str, wait_s: float) -> Iterator[Progress]:
    """Hold the device until the stack ends, yielding while another job has it."""
    give_up_at_s = time.monotonic() + wait_s
    while True:
        try:
            stack.enter_context(hold_device(device))
        except DeviceBusy:
            if time.monotonic() >= give_up_at_s:
                raise
            yield Progress(kind="waiting", num_cells=0, num_done=0)
            time.sleep(HEARTBEAT_S)
        else:
            return


class _Workers:
    """One worker at a time; a new one after a cell that failed, so that memory is clean."""

    def __init__(self, device: str | None) -> None:
        self._device = device
        self._process: WorkerProcess | None = None
        self.ready: Ready | None = None

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def start(self) -> Ready:
        self.drop()
        self._process = WorkerProcess(self._device)
        self.ready = self._process.wait_ready()
        return self.ready

    def drop(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None

    @property
    def process(self) -> WorkerProcess:
        if self._process is None:
            self.start()
        assert self._process is not None
        return self._process


class _Run:
    """The cells of a plan, one after the other."""

    def __init__(
        self, plan: Plan, workers: _Workers, sampler: Sampler, finished: frozenset[str]
    ) -> None:
        self._plan = plan
        self._workers = workers
        self._sampler = sampler
        self._finished = finished
        self._timed: list[TimedRequest] = []
        self._left = [cell for cell in plan.cells if cell.workload_id() not in finished]
        self._shapes_seen: set[tuple[object, ...]] = set()

    def events(self) -> Iterator[Progress]:
        yield self._progress("skipped" if self._finished else "ready")
        for order, request in enumerate(self._plan.cells):
            if request.workload_id() not in self._finished:
                yield from self._measure(order, request)
        yield self._progress("done")

    def _measure(self, order: int, request: ImageRequest) -> Iterator[Progress]:
        process = self._workers.process
        self._sampler.watch(process.pid)
        started_utc, start_s = utc_now(), time.perf_counter()
        idle = self._sampler.latest()
        yield self._progress("cell_started", request)
        process.tell(
            Command(request=request, warmups=self._plan.warmups, repeats=self._plan.repeats)
        )
        load_s = None
        while True:
            event = process.hear(HEARTBEAT_S)
            if isinstance(event, Loaded):
                load_s = event.load_s
            elif isinstance(event, Repeated):
                yield self._progress("repeated", request, repeat=event.done)
            elif isinstance(event, Measured | Failed):
                break
            else:
                yield self._progress("heartbeat", request)
        if isinstance(event, Failed):
            self._workers.drop()
            self._shapes_seen.clear()
            cell = failed_cell(request, order, started_utc, event)
        else:
            assert self._workers.ready is not None
            self._sampler.look()  # energy needs a reading at or after the end
            cell = measured_cell(
                request,
                order,
                started_utc,
                event.measurement,
                readings=self._sampler.between(start_s, time.perf_counter()),
                idle=idle,
                gpu_uuid=self._workers.ready.gpu_uuid,
                load_s=load_s,
                first_of_shape=self._is_new_shape(request),
            )
            self._timed += [TimedRequest(request, sample.wall_s) for sample in cell.samples]
        self._left.remove(request)
        yield self._progress("cell", request, cell=cell)

    def _is_new_shape(self, request: ImageRequest) -> bool:
        shape = (
            request.model,
            request.precision,
            request.width,
            request.height,
            request.batch,
            request.guidance_scale > 1,
        )
        new = shape not in self._shapes_seen
        self._shapes_seen.add(shape)
        return new

    def _progress(
        self,
        kind: Kind,
        request: ImageRequest | None = None,
        *,
        repeat: int = 0,
        cell: Cell | None = None,
    ) -> Progress:
        left = estimate_s(self._left, self._timed) if self._timed else None
        return Progress(
            kind=kind,
            num_cells=len(self._plan.cells),
            num_done=len(self._plan.cells) - len(self._left),
            request=request,
            repeat=repeat,
            cell=cell,
            remaining_s=None if left is None else left * self._plan.repeats,
        )
