"""One request on several devices at once: first each alone, then all of them from one moment on.

1. Each device alone, while the others rest: warm-ups, then `repeats` calls of the whole request.
2. Every worker has its model loaded and its part's shape warm.
3. `repeats` starts: all workers are told the same moment, a little ahead, on the clock that they
   share; each begins then, whatever the others do. What counts is from that moment to the end of
   the last. A device that fails ends the cell, and what the others measured is kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from diffusion_bench.bench.cells import find_gpu
from diffusion_bench.bench.crew import Crew, Ended, command, hear_all
from diffusion_bench.bench.idle_look import look_at_rest
from diffusion_bench.bench.others_on_gpu import OthersOnGpu, most_of
from diffusion_bench.bench.shared_cells import JobSeen, Seen, shared_cell
from diffusion_bench.bench.sharing import parts_of
from diffusion_bench.bench.sweep import TIME_LIMIT_S
from diffusion_bench.bench.worker_messages import Ready
from diffusion_bench.bench.workers import Workers
from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.sensors import Sensor
from diffusion_bench.hardware.state import look_before, on_battery
from diffusion_bench.hardware.stretch import Stretch
from diffusion_bench.records import CpuSpent, DeviceShare, ImageRequest, Reading
from diffusion_bench.reports.schema import Header, SharedCell
from diffusion_bench.reports.store import ReportWriter

LEAD_S = 0.25  # between telling the workers and the moment at which they begin


class SharedBench(NamedTuple):
    """A report that is open for writing, and what measures and watches several devices for it."""

    header: Header
    writer: ReportWriter
    crew: Crew
    ready: tuple[Ready, ...]
    sampler: Sampler
    sensor: Sensor


class SharedRun:
    """Measures one cell of an open bench: `events` to their end, then `cell`.

    `clock` is the sampler's, and `rest` waits.
    """

    def __init__(
        self,
        bench: SharedBench,
        request: ImageRequest,
        share: DeviceShare,
        order: int,
        *,
        clock: Callable[[], float] = time.perf_counter,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bench = bench
        self._request, self._share, self._order = request, share, order
        self._clock, self._rest = clock, rest
        self._plan = bench.header.plan
        self._time_limit_s = self._plan.time_limit_s or TIME_LIMIT_S
        self._revision = self._plan.revision(request.model)
        self._jobs = tuple(
            JobSeen(device=one.device, uuid=one.gpu_uuid, request=request) for one in bench.ready
        )
        self._windows: list[tuple[float, float]] = []
        self._spent: list[CpuSpent] = []
        self._others: list[OthersOnGpu] = []
        self._during: tuple[Reading, ...] = ()

    def events(self) -> Iterator[int]:
        """Measure; yield the number of starts done when one is, 0 where nothing is new."""
        yield from (0 for _ in self._fresh_processes())
        self._look_before()
        if self._share != "model":
            for index in range(len(self._jobs)):
                yield from self._alone(index)
        yield from self._warm()
        if not any(job.failed for job in self._jobs):
            self._watch_working()
        during = Stretch(self._bench.sampler, self._clock())
        for start in range(self._plan.repeats):
            if any(job.failed for job in self._jobs):
                break
            for nothing_new in self._start():
                during.take()
                self._ask_others()
                yield nothing_new
            yield start + 1
        self._bench.sampler.look()  # energy needs a reading at or after the end
        self._ask_others()
        during.take()
        self._during = during.readings()

    def cell(self) -> SharedCell:
        """Return the line of the report, once the events have ended."""
        seen = Seen(
            header=self._bench.header,
            order=self._order,
            started_utc=self._started_utc,
            looks=self._looks,
            idle=self._idle,
            during=self._during,
            windows=tuple(self._windows),
            spent=tuple(self._spent),
            gpu_others=most_of([others.most for others in self._others]),
        )
        return shared_cell(self._request, self._share, seen, self._jobs)

    def _fresh_processes(self) -> Iterator[None]:
        """Give the cell processes of its own, yielding while they start."""
        crew = self._bench.crew
        if any(workers.last for workers in (*crew.each, crew.whole)):
            crew.drop()
        for workers in crew.each:
            yield from workers.bring_up()

    def _look_before(self) -> None:
        """Look at the quiet machine."""
        crew, sampler = self._bench.crew, self._bench.sampler
        self._own_pids = {*(workers.pid for workers in crew.each), os.getpid()}
        look = look_at_rest(sampler, self._own_pids, self._clock, self._rest)
        self._idle, self._started_utc = look.readings, look.started_utc
        cores = self._bench.header.machine.cores_logical
        self._looks = []
        for job in self._jobs:
            job.gpu_index = find_gpu(self._idle, job.uuid, self._bench.sensor.cards)
            others: tuple[int | None, str] = (None, "the job runs on no GPU that can be read")
            if job.gpu_index is not None:
                others = self._bench.sensor.other_processes(job.gpu_index, self._own_pids)
            before = look_before(
                self._idle, job.gpu_index, others, on_battery(), own=look.own, cores=cores
            )
            self._looks.append(before)

    def _watch_working(self) -> None:
        """Look from now on at the first worker that is started, and at who is not one of them."""
        working = [workers.pid for workers, _ in self._working()]
        self._bench.sampler.watch(working[0])
        own = {*self._own_pids, *working}
        indexes = [job.gpu_index for job in self._jobs]
        sensor, clock = self._bench.sensor, self._clock
        self._others = [OthersOnGpu(sensor, index, own, clock) for index in indexes]

    def _ask_others(self) -> None:
        for others in self._others:
            others.ask_now_and_then()

    def _alone(self, index: int) -> Iterator[int]:
        """Time the whole request on one device. Where only its part is to fit, it may fail."""
        job, workers, ended = self._jobs[index], self._bench.crew.each[index], Ended()
        asked = command(
            self._request, self._revision, warmups=self._plan.warmups, repeats=self._plan.repeats
        )
        for _ in hear_all([(workers, asked)], [ended], self._time_limit_s):
            yield 0
        job.load_s = ended.load_s
        if ended.measured is not None:
            timed = ended.measured.measurement.timed
            job.alone_s = tuple(call.end_s - call.start_s for call in timed)
        elif self._share == "batch" and ended.failed is not None:
            job.missing["alone_s"] = f"the whole batch alone: {ended.failed.message:.300}"
        else:
            job.failed = ended.failed
        if self._share == "batch":  # what the whole batch left in the allocator is not the part's
            workers.drop()

    def _warm(self) -> Iterator[int]:
        """Load each model that is not there yet, one after the other, and warm its part's shape."""
        kinds = [self._kind(job) for job in self._jobs]
        alone_s = [job.alone_s for job in self._jobs]
        parts = parts_of(self._request, self._share, kinds, alone_s)
        for job, part in zip(self._jobs, parts, strict=True):
            job.request, job.calls = part.request, part.calls
        for workers, jobs in self._working():
            if any(job.failed for job in self._jobs):
                return
            yield from (0 for _ in workers.bring_up())
            ended = Ended()
            # No call is timed here: a warm worker waits for the common start.
            asked = command(
                jobs[0].request, self._revision, warmups=self._plan.warmups, repeats=1, calls=0
            )
            for _ in hear_all([(workers, asked)], [ended], self._time_limit_s):
                yield 0
            for job in jobs:
                job.load_s = ended.load_s if job.load_s is None else job.load_s
                job.failed = ended.failed

    def _start(self) -> Iterator[int]:
        """Have all devices begin at one moment and take in how each of them ended."""
        working = self._working()
        at_s = self._clock() + LEAD_S
        asked = [
            (
                workers,
                command(
                    jobs[0].request,
                    self._revision,
                    warmups=0,
                    repeats=jobs[0].calls,
                    calls=jobs[0].calls,
                    start_at_s=at_s,
                ),
            )
            for workers, jobs in working
        ]
        ended = [Ended() for _ in working]
        for _ in hear_all(asked, ended, self._time_limit_s):
            yield 0
        for (_, jobs), end in zip(working, ended, strict=True):
            for job in jobs:
                job.take(end, at_s)
        ends_s = [job.end_s[-1] for job in self._jobs if job.failed is None]
        self._windows.append((at_s, at_s + max(ends_s, default=0.0)))
        told = [end.measured.measurement.spent for end in ended if end.measured is not None]
        if len(told) == len(ended) and all(told):
            start_s, end_s = self._windows[-1]
            cpu_s = sum(spent[0].cpu_s for spent in told)
            self._spent.append(CpuSpent(start_s=start_s, end_s=end_s, cpu_s=cpu_s))

    def _working(self) -> list[tuple[Workers, tuple[JobSeen, ...]]]:
        """Return the workers that are started together, each with the jobs that it does."""
        if self._share == "model":
            return [(self._bench.crew.whole, self._jobs)]
        pairs = zip(self._bench.crew.each, self._jobs, strict=True)
        return [(workers, (job,)) for workers, job in pairs]

    def _kind(self, job: JobSeen) -> str:
        """Return the name of a job's hardware."""
        cards = self._bench.header.machine.gpus
        named = (card.name for card in cards if card.index == job.gpu_index)
        return next(named, job.device.partition(":")[0])
