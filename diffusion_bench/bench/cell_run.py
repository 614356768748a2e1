"""One cell, from the look at a quiet machine to the row of the report."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence

from diffusion_bench.bench.cells import Watched, failed_cell, find_gpu, measured_cell
from diffusion_bench.bench.idle_look import look_at_rest
from diffusion_bench.bench.isolation import needs_fresh_process
from diffusion_bench.bench.measure import Effort
from diffusion_bench.bench.others_on_gpu import OthersOnGpu
from diffusion_bench.bench.rounds import joined
from diffusion_bench.bench.setup import Bench
from diffusion_bench.bench.sweep import TIME_LIMIT_S
from diffusion_bench.bench.worker_messages import Event, Failed, Judged, Loaded, Measured, Repeated
from diffusion_bench.hardware.energy import tells_energy
from diffusion_bench.hardware.matching import same_gpu
from diffusion_bench.hardware.state import IDLE_S, look_before, on_battery
from diffusion_bench.hardware.stretch import Stretch
from diffusion_bench.records import Request
from diffusion_bench.reports.schema import Cell
from diffusion_bench.reports.schema_plan import Plan
from diffusion_bench.reports.sensor_reach import UTILIZATION_WINDOW_S

METERED_S = 2.0  # of calls: a card's registers move every 0.1 s or so
FORGOTTEN_S = UTILIZATION_WINDOW_S + 0.2  # then a card tells no more of the cell before


def rest_s(visits: int, *, on_gpu: bool) -> float:
    """Return the seconds that so many visits let the machine rest.

    The first visit of a process does not wait for its card, so that it is a little less.
    """
    return visits * (IDLE_S + (FORGOTTEN_S if on_gpu else 0.0))


def visits_of(calls: float, rounds: int) -> int:
    """Return in how many visits a cell makes its calls where so many rounds are left, at least 1.

    A stop rule that asks for more calls than planned has them in more visits.
    """
    return max(1, min(rounds, math.ceil(calls)))


def _calls_now(plan: Plan, earlier: Cell | None) -> int | None:
    """Return a visit's calls: what is left of them, shared out over the rounds that are left.

    Where a stop rule asks for more after those, as many as the fullest round had: a visit of fewer
    would cost its warm-up as well, and may be too short for its energy.
    """
    if plan.rounds == 1:
        return None
    done, visits = (len(earlier.samples), len(earlier.visits)) if earlier else (0, 0)
    left, rounds = plan.repeats - done, plan.rounds - visits
    if left <= 0 or rounds <= 0:
        left, rounds = plan.repeats, plan.rounds
    return math.ceil(left / rounds)


class CellRun:
    """Measures one cell of an open bench: `prepare` and `events` to their ends, then `cell`.

    `earlier` is the cell as earlier rounds left it. `clock` is the sampler's, and `rest` waits.
    """

    def __init__(
        self,
        bench: Bench,
        request: Request,
        order: int,
        earlier: Cell | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bench = bench
        self._request = request
        self._order = order
        self._earlier = earlier
        self._clock, self._rest = clock, rest
        plan = bench.header.plan
        self._effort = Effort(
            warmups=plan.warmups,
            repeats=plan.repeats,
            calls=_calls_now(plan, earlier),
            done_s=tuple(sample.wall_s for sample in earlier.samples) if earlier else (),
            stop=plan.stop,
            measured_steps=plan.measured_steps,
            sustain_s=None if earlier and earlier.sustained else plan.sustain_s,
            probed=True,
        )
        self._time_limit_s = plan.time_limit_s or TIME_LIMIT_S
        self._loaded: Loaded | None = None
        self._end: Measured | Failed | None = None
        self._judged: Judged | None = None
        self._quality = plan.quality
        self._attention: str | None = None
        self._is_new_shape = False
        self._done, self._ended_s = 0, 0.0  # calls that are timed, and the end of the last of them
        self._apart_s = [0.0]  # after that end, when readings are kept apart from those before

    def prepare(self, measured: Sequence[Cell]) -> Iterator[None]:
        """Give the cell a process of its own where it needs one, and look at the quiet machine.

        Yields while a process starts.
        """
        workers, sampler = self._bench.workers, self._bench.sampler
        if needs_fresh_process(self._request, workers.last, measured, self._total_mib()):
            workers.drop()
        yield from workers.bring_up()
        sampler.watch(workers.pid)
        if workers.last is not None and self._gpu_uuid() is not None:
            self._rest(FORGOTTEN_S)
        own = (workers.pid, os.getpid())  # an app that has drawn stays listed on the card
        look = look_at_rest(sampler, own, self._clock, self._rest)
        self._idle, self._started_utc = look.readings, look.started_utc
        self._during = Stretch(sampler, look.start_s)
        gpu_index = find_gpu(self._idle, self._gpu_uuid(), self._bench.sensor.cards)
        self._others = OthersOnGpu(self._bench.sensor, gpu_index, own, self._clock)
        cores = self._bench.header.machine.cores_logical
        self._before = look_before(
            self._idle, gpu_index, self._others.most, on_battery(), own=look.own, cores=cores
        )
        if gpu_index is not None and tells_energy(self._idle, gpu_index):
            self._effort = self._effort.model_copy(update={"metered_s": METERED_S})
            self._apart_s.append(3 * METERED_S)  # calls that took less: one begun late is over

    def events(self) -> Iterator[int]:
        """Measure; yield the number of calls done when one is, 0 where nothing is new."""
        revision = self._bench.header.plan.revision(self._request.model)
        for event in self._bench.workers.measure(
            self._request,
            self._effort,
            self._time_limit_s,
            revision,
            self._quality,
            speed=self._earlier.speed if self._earlier else None,
        ):
            if isinstance(event, Loaded):
                self._loaded = event
            elif isinstance(event, Judged):
                self._judged = event
            elif isinstance(event, Measured | Failed):
                self._take(event)
            elif self._end is None:
                self._watch(event)
            yield event.done if isinstance(event, Repeated) else 0

    def _watch(self, event: Event | None) -> None:
        """Keep what was read, what is timed, metered and sustained apart from each other."""
        self._others.ask_now_and_then()
        self._during.take()
        if not isinstance(event, Repeated):
            return
        if event.done != self._done:
            self._done, self._ended_s = event.done, self._clock()
        elif self._apart_s and self._clock() - self._ended_s >= self._apart_s[0]:
            del self._apart_s[0]
            self._during.begin_part()

    def _take(self, event: Measured | Failed) -> None:
        """Keep what a cell came to. A failure after that is one of judging its pictures."""
        if self._end is not None and isinstance(event, Failed):
            self._judged = Judged(reason=event.message[:400])
            return
        self._bench.sampler.look()  # energy needs a reading at or after the end
        self._others.ask()
        # Judging comes later: what the machine does then is no part of the cell.
        self._during.take()
        self._end = event
        workers = self._bench.workers
        self._attention = workers.attention  # of the worker there is now; judging may end it
        if isinstance(event, Measured):
            self._is_new_shape = workers.is_new_shape(self._request)

    def cell(self) -> Cell:
        """Return the row, once the events have ended."""
        assert self._end is not None
        watched = Watched(
            header=self._bench.header,
            order=self._order,
            started_utc=self._started_utc,
            before=self._before,
            idle=self._idle,
            during=self._during.readings(),
            gpu_uuid=self._gpu_uuid(),
            gpu_others=self._others.most,
        )
        now = self._row(watched, self._end)
        return joined(self._earlier, now) if self._earlier else now

    def _row(self, watched: Watched, end: Measured | Failed) -> Cell:
        """Return the row of this visit alone."""
        if isinstance(end, Failed):
            return failed_cell(self._request, watched, end)
        return measured_cell(
            self._request,
            watched,
            end.measurement,
            loaded=self._loaded,
            attention=self._attention,
            first_of_shape=self._is_new_shape,
            judged=self._judged,
        )

    def _gpu_uuid(self) -> str | None:
        return self._bench.workers.ready.gpu_uuid

    def _total_mib(self) -> float | None:
        """Return the memory the cell may have: the emulated, the GPU's, or what the host has."""
        emulated_mib = self._bench.header.plan.emulated_memory_mib
        if emulated_mib is not None:
            return emulated_mib
        uuid = self._gpu_uuid()
        if uuid is None:
            return self._bench.header.machine.ram_mib
        cards = self._bench.sensor.cards()
        return next((card.memory_total_mib for card in cards if same_gpu(card.uuid, uuid)), None)
