"""Runs a sweep: a worker measures, this process watches the machine and writes the report.

`run_sweep` is a generator of what happens. Closing it, at any point, ends the worker and leaves a
report that can be resumed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

from diffusion_bench.bench.cell_run import CellRun
from diffusion_bench.bench.estimate import estimate_s, timed_calls
from diffusion_bench.bench.measure import cut
from diffusion_bench.bench.progress import Kind, Progress
from diffusion_bench.bench.setup import Bench, open_bench
from diffusion_bench.bench.sweep import Sweep
from diffusion_bench.records import ImageRequest
from diffusion_bench.reports.fits import fit_lines
from diffusion_bench.reports.schema import Cell, Fit
from diffusion_bench.reports.store import finished_ids

__all__ = ["Progress", "run_sweep"]


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
        bench = yield from open_bench(
            stack, sweep, path, resume=resume, device=device, wait_s=wait_s
        )
        run = _Run(bench)
        for progress in run.events():
            if progress.cell is not None:
                bench.writer.append(progress.cell)
            if progress.kind == "done":
                for fit in run.new_fits():
                    bench.writer.append(fit)
            yield progress


class _Run:
    """The cells of a plan, one after the other."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._plan = bench.header.plan
        self._finished = finished_ids(bench.before)
        # What an interrupted run measured still says what the next cells take.
        self._cells = [cell for cell in bench.before.cells if cell.cell_id in self._finished]
        self._timed = [timed for cell in self._cells for timed in timed_calls(cell)]
        self._left = [
            cell for cell in self._plan.cells if bench.header.cell_id(cell) not in self._finished
        ]

    def events(self) -> Iterator[Progress]:
        yield self._progress("skipped" if self._finished else "ready")
        for order, request in enumerate(self._plan.cells):
            if self._bench.header.cell_id(request) not in self._finished:
                yield from self._measure(order, request)
        yield self._progress("done")

    def new_fits(self) -> list[Fit]:
        """Return the lines through all cells that the report does not hold yet."""
        return [fit for fit in fit_lines(self._cells) if fit not in self._bench.before.fits]

    def _measure(self, order: int, request: ImageRequest) -> Iterator[Progress]:
        run = CellRun(self._bench, request, order)
        run.prepare(self._cells)
        yield self._progress("cell_started", request)
        for repeat in run.events():
            kind: Kind = "repeated" if repeat else "heartbeat"
            yield self._progress(kind, request, repeat=repeat)
        cell = run.cell()
        self._cells.append(cell)
        self._timed += timed_calls(cell)
        self._left.remove(request)
        yield self._progress("cell", request, cell=cell)

    def _as_run(self, request: ImageRequest) -> ImageRequest:
        """Return a request with the steps that are really run of it."""
        steps = cut(request.steps, self._plan.measured_steps) or request.steps
        return request.model_copy(update={"steps": steps})

    def _progress(
        self,
        kind: Kind,
        request: ImageRequest | None = None,
        *,
        repeat: int = 0,
        cell: Cell | None = None,
    ) -> Progress:
        return Progress(
            kind=kind,
            num_cells=len(self._plan.cells),
            num_done=len(self._plan.cells) - len(self._left),
            request=request,
            repeat=repeat,
            cell=cell,
            remaining_s=self._remaining_s(),
        )

    def _remaining_s(self) -> float | None:
        """Return the seconds left, reckoned with as many calls a cell as there were so far."""
        if not self._timed:
            return None
        one_call_each_s = estimate_s(map(self._as_run, self._left), self._timed)
        if one_call_each_s is None:
            return None
        ended = [len(cell.samples) for cell in self._cells if cell.samples]
        sustained_s = len(self._left) * (self._plan.sustain_s or 0.0)
        return one_call_each_s * sum(ended) / len(ended) + sustained_s
