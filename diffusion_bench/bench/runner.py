"""Runs a sweep: a worker measures, this process watches the machine and writes the report.

`run_sweep` is a generator of what happens. Closing it, at any point, ends the worker and leaves a
report that can be resumed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean

from diffusion_bench.bench.cell_run import METERED_S, CellRun, rest_s, visits_of
from diffusion_bench.bench.estimate import (
    call_estimates_s,
    judging_s,
    timed_call,
    timed_calls,
)
from diffusion_bench.bench.lost_cards import while_there
from diffusion_bench.bench.measure import warmup_call
from diffusion_bench.bench.progress import Kind, Progress
from diffusion_bench.bench.rounds import in_turn
from diffusion_bench.bench.setup import Bench, open_bench, without_trace
from diffusion_bench.bench.shared import run_shared
from diffusion_bench.bench.sweep import Sweep
from diffusion_bench.records import Request
from diffusion_bench.reports.fits import fit_lines
from diffusion_bench.reports.schema import Cell, Fit
from diffusion_bench.reports.unfinished import finished_ids, is_partial

__all__ = ["Progress", "run_sweep"]


def run_sweep(
    sweep: Sweep,
    path: Path,
    *,
    resume: bool = False,
    retry: bool = False,
    device: str | None = None,
    wait_s: float = 0.0,
) -> Generator[Progress]:
    """Measure a sweep into the report at `path`, yielding what happens.

    With `resume`, cells that an interrupted run finished are skipped; with `retry` too, save those
    that failed. Waits up to `wait_s` for a device that another job holds. Raises `DeviceBusy`,
    `WorkerFailed` (its `CardLost` amid a run), and ValueError for a report that exists, or that
    another machine began. A sweep of several devices names them itself.
    """
    resume = resume or retry
    if sweep.devices is not None:
        yield from run_shared(sweep, path, resume=resume, retry=retry, wait_s=wait_s)
        return
    with ExitStack() as stack:
        bench = yield from open_bench(
            stack, sweep, path, resume=resume, retry=retry, device=device, wait_s=wait_s
        )
        run = _Run(bench, retry=retry)
        uuids = [bench.workers.ready.gpu_uuid]
        for progress in while_there(run.events(), bench.sampler, bench.sensor.cards(), uuids):
            if progress.cell is not None:
                bench.writer.append(progress.cell)
            if progress.kind == "done":
                for fit in run.new_fits():
                    bench.writer.append(fit)
            yield progress


class _Run:
    """The cells of a plan, one after the other, round after round until none is left."""

    def __init__(self, bench: Bench, *, retry: bool = False) -> None:
        self._bench = bench
        self._plan = bench.header.plan
        self._finished = finished_ids(bench.before, retry=retry)
        # What an interrupted run measured is gone on with, and says what the next cells take.
        measured = (cell for cell in bench.before.cells if cell.samples)
        self._cells = {cell.cell_id: cell for cell in measured}
        self._timed = [timed for cell in self._cells.values() for timed in timed_calls(cell)]
        names = bench.header.planned_ids()  # once: a name is a digest of all of a request
        self._orders = {name: order for order, name in enumerate(names)}
        planned = zip(names, self._plan.cells, strict=True)
        self._left = {name: cell for name, cell in planned if name not in self._finished}
        # A round in which no cell has a call left is never run.
        self._rounds = visits_of(self._plan.repeats, self._plan.rounds)
        self._visits_done = self._count_visits()
        self._remaining_s: float | None = None
        self._estimate_remaining()

    def events(self) -> Iterator[Progress]:
        yield self._progress("skipped" if self._finished else "ready")
        while self._left:
            for name, request in tuple(in_turn(self._left.items(), self._rounds_done())):
                yield from self._visit(name, request)
            if self._left:
                yield self._progress("round_done", rounds_done=self._rounds_done())
        yield self._progress("done")

    def new_fits(self) -> list[Fit]:
        """Return the lines through all cells that the report does not hold yet."""
        # In one order: sums differ in their last digit by it, and a line would be another one.
        found = fit_lines(sorted(self._cells.values(), key=lambda cell: cell.order))
        return [fit for fit in found if fit not in self._bench.before.fits]

    def _visit(self, name: str, request: Request) -> Iterator[Progress]:
        earlier = self._cells.get(name)
        run = CellRun(self._bench, request, self._orders[name], earlier)
        for _ in run.prepare(tuple(self._cells.values())):
            yield self._progress("starting", request)
        yield self._progress("cell_started", request)
        for repeat in run.events():
            yield self._progress("repeated" if repeat else "heartbeat", request, repeat=repeat)
        cell = run.cell()
        self._cells[name] = without_trace(cell)
        self._timed += timed_calls(cell)[len(earlier.samples) if earlier else 0 :]
        done = not is_partial(cell, self._bench.header)
        if done:
            del self._left[name]
        self._visits_done = self._count_visits()
        self._estimate_remaining()
        yield self._progress("cell" if done else "round", request, cell=cell)

    def _progress(
        self,
        kind: Kind,
        request: Request | None = None,
        *,
        repeat: int = 0,
        rounds_done: int = 0,
        cell: Cell | None = None,
    ) -> Progress:
        return Progress(
            kind=kind,
            num_cells=len(self._plan.cells),
            num_done=len(self._plan.cells) - len(self._left),
            request=request,
            repeat=repeat,
            rounds=self._rounds,
            rounds_done=rounds_done,
            visits_done=self._visits_done,
            cell=cell,
            remaining_s=self._remaining_s,
        )

    def _rounds_done(self) -> int:
        """Return how often each cell that is left was visited; after a kill some were once more."""
        return min(self._visits_left())

    def _count_visits(self) -> int:
        rounds = self._rounds
        done = len(self._plan.cells) - len(self._left)
        return done * rounds + sum(min(visits, rounds) for visits in self._visits_left())

    def _visits_left(self) -> list[int]:
        """Return the visits that each cell had which is not done."""
        cells = map(self._cells.get, self._left)
        return [len(cell.visits) if cell else 0 for cell in cells]

    def _estimate_remaining(self) -> None:
        """Reckon the seconds left, with as many calls a cell as those had that are done.

        After a visit only: a heartbeat that fits lines would take time from what is measured.
        """
        plan, self._remaining_s = self._plan, None
        left = self._left.values()
        once = [timed_call(request, plan.measured_steps) for request in left]
        calls_s = call_estimates_s(once, self._timed)
        warmups_s = call_estimates_s(map(warmup_call, left), self._timed)
        if calls_s is None or warmups_s is None or not self._timed:
            return
        ended = [len(c.samples) for c in self._cells.values() if c.samples and c.stop_reason]
        expected = fmean(ended) if ended else float(plan.repeats)
        # Pictures are judged once a cell, after its last call, and of all its steps.
        self._remaining_s = judging_s(left, plan.quality, self._timed)
        on_gpu = plan.device.startswith("cuda")
        for name, call_s, warmup_s in zip(self._left, calls_s, warmups_s, strict=True):
            cell = self._cells.get(name)
            calls = max(1.0, expected - (len(cell.samples) if cell else 0))
            visits = visits_of(calls, plan.rounds - (len(cell.visits) if cell else 0))
            self._remaining_s += calls * call_s + visits * plan.warmups * warmup_s
            self._remaining_s += rest_s(visits, on_gpu=on_gpu)
            if on_gpu and calls / visits * call_s < METERED_S:
                self._remaining_s += METERED_S
            self._remaining_s += 0.0 if cell and cell.sustained else plan.sustain_s or 0.0
