"""What the tab *Benchmark* does while a sweep runs: views of how far it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from diffusion_bench.backends.engine import Engine
from diffusion_bench.bench.header import utc_now
from diffusion_bench.bench.runner import Progress, run_sweep
from diffusion_bench.bench.sweep import Sweep, sweep_of
from diffusion_bench.bench.wording import in_words
from diffusion_bench.reports.labels import name_request
from diffusion_bench.ui.figures import CELL_HEADERS, Table, cell_table, draw_chart, to_table
from diffusion_bench.ui.jobs import Done, Job, Jobs
from diffusion_bench.ui.model_words import download_words
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.plans import check_plan, read_plan
from diffusion_bench.ui.report_files import ReportFolder, read_cached
from diffusion_bench.ui.waiting_line import WAIT_S, Waiting, waiting_words

SHOW_EVERY_S = 0.5
CHARTS = ("latency", "throughput", "memory")
STARTING = "Starting the process that measures."
CHARTS_SHARE = 10  # charts are drawn again after this many times of what drawing them took


class View(NamedTuple):
    """What the page shows next; `None` leaves what is there, and within a tuple takes it away."""

    done: int | None = None
    total: int = 0
    status: str | None = None
    figures: tuple[Any, ...] | None = None
    table: Table | None = None
    files: tuple[str | None, ...] | None = None  # the report and its page, to download
    kept: bool = False  # whether something is measured, which a cancel leaves


class Sweeping:
    """Runs sweeps into the reports folder."""

    def __init__(
        self, engine: Engine, jobs: Jobs, outbox: Outbox, reports: ReportFolder, *, shared: bool
    ) -> None:
        self._engine = engine
        self._jobs = jobs
        self._outbox = outbox
        self._reports = reports
        self.shared = shared

    def run(self, text: str) -> Iterator[View]:
        """Run the sweep of a TOML text into a new report."""
        sweep = read_plan(text, shared=self.shared)
        path = self._reports.new_path(sweep.name, utc_now())
        yield from self._watch(sweep, path, resume=False)

    def resume(self, name: str | None) -> Iterator[View]:
        """Go on with an unfinished report of the folder."""
        if not name:
            raise ValueError("choose the unfinished report to go on with")
        sweep = sweep_of(self._reports.read(name).header.plan)
        if self.shared:
            check_plan(sweep, shared=True)  # its owner may have begun more than is for visitors
        yield from self._watch(sweep, self._reports.path(name), resume=True)

    def _watch(self, sweep: Sweep, path: Path, *, resume: bool) -> Iterator[View]:
        count = sweep.num_cells
        yield View(done=0, total=count, status=STARTING)
        work = partial(self._work, sweep, path, resume=resume)
        latest: Progress | None = None
        charts = _Charts(path, stale=resume)
        shown_s = 0.0
        with closing(self._jobs.watch(work, SHOW_EVERY_S)) as events:
            for event in events:
                match event:
                    case Progress():
                        latest = event
                        charts.stale |= event.cell is not None
                    case str():
                        yield _begun(count)
                    case Waiting():
                        yield View(status=waiting_words(event))
                    case Done():
                        yield self._last(path, count)
                        return
                now_s = time.monotonic()
                # What is measured is shown at once: Cancel tells by it whether there is anything.
                is_cell = isinstance(event, Progress) and (event.cell or event.shared) is not None
                if is_cell or now_s - shown_s >= SHOW_EVERY_S:
                    shown_s = now_s
                    yield _view(latest, charts) if latest else View()

    def _work(self, sweep: Sweep, path: Path, job: Job, *, resume: bool) -> None:
        device = self._engine.device
        events = run_sweep(sweep, path, resume=resume, device=device, wait_s=WAIT_S)
        # Also where a sweep names other devices: what else this app did meanwhile would disturb it.
        with self._jobs.turn(job, "a benchmark") as turn, closing(events):
            job.tell(STARTING)  # it may have waited
            for progress in events:
                job.check()
                if progress.kind == "waiting":
                    turn.on_wait()
                elif progress.kind not in ("heartbeat", "starting"):
                    if progress.kind in ("ready", "skipped"):
                        # The sweep's own process loads the model; a copy here would be in its way.
                        self._engine.unload()
                    turn.expect(progress.remaining_s)
                    job.tell(progress)

    def _last(self, path: Path, count: int) -> View:
        from diffusion_bench.charts.page import to_html

        report = read_cached(path)
        failed = sum(cell.status != "ok" for cell in report.measured)
        told = f"Done: {len(report.measured)} of {count} cells measured"
        told += f", {failed} of them failed" if failed else ""
        where = "" if self.shared else f" Report: {path}"
        return View(
            done=count,
            total=count,
            status=f"{told}.{where}",
            figures=tuple(draw_chart(name, [report]).figure for name in CHARTS),
            table=cell_table([report]),
            files=(
                self._outbox.place(path.name, path.read_bytes()),
                self._outbox.place(f"{path.stem}.html", to_html([report])),
            ),
        )


class _Charts:
    """The charts of a report that grows, drawn again when it has and not all too often."""

    def __init__(self, path: Path, *, stale: bool) -> None:
        self._path = path
        self._not_before_s = 0.0
        self.stale = stale

    def draw(self) -> tuple[tuple[Any, ...] | None, Table | None]:
        """Return new figures and cells, or `None` twice while the old ones will do."""
        start_s = time.monotonic()
        if not self.stale or start_s < self._not_before_s:
            return None, None
        report = read_cached(self._path)
        figures = tuple(draw_chart(name, [report]).figure for name in CHARTS)
        table = cell_table([report])
        end_s = time.monotonic()
        self._not_before_s = end_s + CHARTS_SHARE * (end_s - start_s)
        self.stale = False
        return figures, table


def describe(progress: Progress) -> str:
    """Return how far a sweep is, in one line."""
    if progress.fetching is not None:
        return download_words(progress.fetching)
    parts = [f"{progress.num_done} of {progress.num_cells} cells done"]
    if progress.rounds > 1:
        parts[0] += " and {} of {} visits to them".format(*progress.bar)
    request = progress.request
    if request is not None and progress.kind != "cell":
        parts.append(f"now {name_request(request)}")
        if progress.repeat:
            parts.append(f"repeat {progress.repeat} measured")
    if progress.remaining_s is not None:
        parts.append(f"about {in_words(progress.remaining_s)} left")
    return "; ".join(parts) + "."


def _begun(count: int) -> View:
    """Return the view of a run whose turn it is: what is there of another one goes."""
    return View(
        done=0,
        total=count,
        status=STARTING,
        figures=(None,) * len(CHARTS),
        table=to_table(CELL_HEADERS, []),
        files=(None, None),
    )


def _view(progress: Progress, charts: _Charts) -> View:
    figures, table = charts.draw()
    done, total = progress.bar
    return View(
        done=done,
        total=total,
        status=describe(progress),
        figures=figures,
        table=table,
        kept=done > 0 and progress.fetching is None,
    )
