"""A card, its worker and the time in which they work, all made up; what watches them is real."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from fakes import make_header

from diffusion_bench.bench.measure import Measurement, Metered, Timed
from diffusion_bench.bench.setup import GPU_INTERVAL_S, Bench
from diffusion_bench.bench.worker_messages import Command, Event, Loaded, Measured, Ready, Repeated
from diffusion_bench.bench.workers import HEARTBEAT_S, Workers
from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.sensors import GpuInfo, NoGpu
from diffusion_bench.records import CpuSpent, GpuReading, HostReading, Memory, Request, Stages
from diffusion_bench.reports.schema import Report, Sustained

UUID = "GPU-0f1e2d3c-aaaa-bbbb-cccc-1234567890ab"
IDLE_W, BUSY_W = 30.0, 200.0
WINDOW_S = 1.0  # of the card's utilisation


class Card(NoGpu):
    """A card whose utilisation is the mean of the last second, with a clock that tests move.

    `others_percent` is what another program keeps it busy, `hot` whether heat slows it.
    """

    def __init__(self, keep: int = 36_000) -> None:
        super().__init__("")
        self.reason = None
        self.now_s = 1000.0
        self.busy: list[tuple[float, float]] = []
        self.others_percent = 0.0
        self.hot = False
        self.used_mib = 2000.0
        self.host = Host()
        self.sampler = Sampler(self, GPU_INTERVAL_S, clock=self.clock, host=self.host, keep=keep)

    def clock(self) -> float:
        return self.now_s

    def pass_time(self, seconds: float) -> None:
        """Let time pass; the sampler looks at its pace."""
        for _ in range(round(seconds / GPU_INTERVAL_S)):
            self.now_s += GPU_INTERVAL_S
            self.sampler.look()

    def read(self) -> tuple[GpuReading, ...]:
        spans = [(max(a, self.now_s - WINDOW_S), min(b, self.now_s)) for a, b in self.busy[-30:]]
        own_s = sum(max(0.0, end_s - start_s) for start_s, end_s in spans)
        works = any(start_s < self.now_s <= end_s for start_s, end_s in self.busy[-1:])
        return (
            GpuReading(
                index=0,
                uuid=UUID,
                utilization_percent=min(100.0, 100 * own_s / WINDOW_S + self.others_percent),
                memory_used_mib=self.used_mib,
                power_w=BUSY_W if works else IDLE_W,
                throttle_reasons=("hw_thermal",) if self.hot else (),
            ),
        )

    def cards(self) -> tuple[GpuInfo, ...]:
        return (GpuInfo(index=0, name="A", uuid=UUID, memory_total_mib=24_000.0),)

    def other_processes(self, gpu_index: int, own_pids: Collection[int]) -> tuple[int | None, str]:
        return 0, ""


class Host:
    """A processor that is as busy as tests say, by other programs alone."""

    percent = 1.0

    def read(self, process: Any = None) -> HostReading:
        return HostReading(cpu_percent=self.percent)


class OnCard(Workers):
    """Workers that keep the card busy for `call_s` a call; `started` counts their processes."""

    pid = 1  # there is always a process of that number

    def __init__(self, card: Card, call_s: float = 2.0) -> None:
        super().__init__("cuda:0")
        self._card, self._call_s = card, call_s
        self.started = 0
        self._ready = Ready(
            pid=self.pid, device="cuda:0", gpu_uuid=UUID, cuda="13", torch_threads=1, flags={}
        )

    def bring_up(self) -> Iterator[None]:
        return iter(())

    def begin(self, command: Command) -> None:
        self._command = command

    def events(self, time_limit_s: float) -> Iterator[Event | None]:
        request, effort = self._command.request, self._command.effort
        if self.last is None:
            self.started += 1
            yield Loaded(load_s=1.0, attention="any")
        self.last = request
        if effort.start_at_s is not None:
            self._card.pass_time(effort.start_at_s - self._card.now_s)
        timed = []
        calls = effort.repeats if effort.calls is None else effort.calls
        for done in range(1, calls + 1):
            start_s = self._card.now_s
            yield from self._work()
            timed.append(self._timed(request, start_s))
            yield Repeated(done=done)
        metered = sustained = None
        if effort.metered_s and timed[-1].end_s - timed[0].start_s < effort.metered_s:
            yield Repeated(done=effort.repeats)
            more, began_s = 0, self._card.now_s
            while self._card.now_s < began_s + effort.metered_s:
                yield from self._work()
                more += 1
                yield Repeated(done=effort.repeats)
            metered = Metered(start_s=began_s, end_s=self._card.now_s, calls=more)
        if effort.sustain_s is not None:
            yield Repeated(done=effort.repeats)
            starts = []
            began_s = self._card.now_s
            while (start_s := self._card.now_s) < began_s + effort.sustain_s:
                yield from self._work()
                starts.append(start_s - began_s)
                yield Repeated(done=effort.repeats)
            sustained = Sustained(at_s=tuple(starts), wall_s=(self._call_s,) * len(starts))
        measurement = Measurement(
            warmup_s=(1.0,),
            timed=tuple(timed),
            stop_reason="fixed count",
            memory=Memory(),
            metered=metered,
            sustained=sustained,
            spent=tuple(
                CpuSpent(start_s=call.start_s, end_s=call.end_s, cpu_s=0.0) for call in timed
            ),
        )
        yield Measured(measurement=measurement)

    def _work(self) -> Iterator[None]:
        card = self._card
        card.busy.append((card.now_s, card.now_s + self._call_s))
        for _ in range(round(self._call_s / HEARTBEAT_S)):
            card.pass_time(HEARTBEAT_S)
            yield None

    def _timed(self, request: Request, start_s: float) -> Timed:
        call_s = self._card.now_s - start_s
        stages = Stages(text_encoder_s=0, denoising_s=call_s, decoder_s=0, other_s=0)
        return Timed(
            start_s=start_s,
            end_s=self._card.now_s,
            wall_s=call_s,
            stages=stages,
            step_s=(call_s / request.steps,) * request.steps,
        )


def open_bench(card: Card, *cells: Request, call_s: float = 2.0, **plan: Any) -> Bench:
    """Return a bench of those cells on the card; nothing is written by it."""
    header = make_header(cells=cells, gpu="A")
    header = header.model_copy(update={"plan": header.plan.model_copy(update=plan)})
    workers = OnCard(card, call_s)
    return Bench(header, None, Report(header=header), workers, card.sampler, card)
