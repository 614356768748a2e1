"""What a run needs: a worker that is up, the device, an open report, a sampler of the machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple, TypeVar

import psutil

from diffusion_bench.backends.catalog import find_model
from diffusion_bench.backends.device import DeviceBusy, hold_device
from diffusion_bench.backends.voice.catalog import find_voice_model
from diffusion_bench.bench.fetching import fetch_models, fetch_scorers
from diffusion_bench.bench.header import make_header
from diffusion_bench.bench.progress import Progress
from diffusion_bench.bench.sweep import Sweep
from diffusion_bench.bench.worker_messages import Ready
from diffusion_bench.bench.worker_process import HEARTBEAT_S
from diffusion_bench.bench.workers import Workers
from diffusion_bench.hardware.host import HostSensor
from diffusion_bench.hardware.machine import torch_build
from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.sensors import Sensor, open_sensor
from diffusion_bench.records import ModelDevice, Request, Trace, VoiceRequest
from diffusion_bench.reports.read import read_report
from diffusion_bench.reports.schema import Cell, Header, Report, SharedCell
from diffusion_bench.reports.store import ReportWriter, refuse_another_sweep, refuse_taken
from diffusion_bench.reports.unfinished import finished_ids

# Where the model runs on the processor a look takes the model's own time: see "What watching costs"
# in docs/methodology.md. A GPU goes on meanwhile.
CPU_INTERVAL_S, GPU_INTERVAL_S = 0.1, 0.05
HIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
STARTING = Progress(kind="starting", num_cells=0, num_done=0)
AnyCell = TypeVar("AnyCell", Cell, SharedCell)


class Bench(NamedTuple):
    """A report that is open for writing, and what measures and watches for it."""

    header: Header
    writer: ReportWriter
    before: Report
    workers: Workers
    sampler: Sampler
    sensor: Sensor


def open_bench(
    stack: ExitStack,
    sweep: Sweep,
    path: Path,
    *,
    resume: bool,
    retry: bool = False,
    device: str | None,
    wait_s: float,
    cells: Sequence[Request] | None = None,
    host_share: float | None = None,
) -> Generator[Progress, None, Bench]:
    """Start a worker, fetch models, wait for the device, open the report; all ends with `stack`.

    Yields all the while, and once more before there is a report.
    `cells` are those of the plan, if not the sweep's. On a CPU `host_share` caps the worker at that
    share of the memory that is free, where the sweep emulates no memory. Raises ValueError for
    several cards: their cells would be read as those of the processor. Raises what `check_models`
    raises.
    """
    _refuse_several(device)
    check_sweep(sweep, path, resume=resume)
    sensor = stack.enter_context(closing(open_sensor()))
    refuse_busy([device], sensor, wait_s)
    workers = stack.enter_context(Workers(device, sweep.emulated_memory_mib))
    for _ in workers.start():
        yield STARTING
    ready = workers.ready
    yield from fetch(sweep, path, (ready, sensor), resume=resume, retry=retry)
    yield from hold(stack, ready.device, wait_s)
    stack.callback(workers.drop)  # before the lock goes: who waits for it finds memory free
    if host_share is not None and ready.device == "cpu" and sweep.emulated_memory is None:
        for _ in workers.cap(host_share * psutil.virtual_memory().available / 2**20):
            yield STARTING
        ready = workers.ready
    header = make_header(sweep, ready, sensor, cells=cells)
    yield STARTING  # who gives up by now has no report
    writer, before = open_report(stack, path, header, resume=resume)
    sampler = stack.enter_context(make_sampler(sensor, sample_interval_s(ready.device)))
    # A report that is gone on with names its cells as it began.
    return Bench(before.header, writer, before, workers, sampler, sensor)


def check_sweep(sweep: Sweep, path: Path, *, resume: bool) -> None:
    """Raise, before a process or a download, what could be raised after all the work."""
    check_models(sweep)
    if not resume:
        refuse_taken(path)


def fetch(
    sweep: Sweep, path: Path, here: tuple[Ready, Sensor], *, resume: bool, retry: bool
) -> Iterator[Progress]:
    """Fetch what is not here, of a report that is gone on with for its cells to come.

    `here` is what a worker and the sensors tell of this machine. Raises ValueError, before any
    download, for a report that another sweep or machine began.
    """
    begun = resume and path.exists() and (not path.is_file() or path.stat().st_size > 0)
    cells: Sequence[Request] = sweep.requests()
    if begun:
        report = read_report(path)
        # What is not here has no revision yet; once it is, it is held against the report's.
        refuse_another_sweep(report, make_header(sweep, *here, models=report.header.plan.models))
        cells = _to_come(report, retry=retry)
    yield from fetch_models(cells)
    if sweep.quality is not None:  # speech is measured without weights
        yield from fetch_scorers(cells, sweep.quality)


def _to_come(report: Report, *, retry: bool) -> list[Request]:
    """Return the cells that a report plans and that need another run."""
    plan, done = report.header.plan, finished_ids(report, retry=retry)
    shares = plan.devices.share if plan.devices else (None,)
    cells = (cell for cell in plan.cells for _ in shares)
    named = zip(report.header.planned_ids(), cells, strict=True)
    return list(dict.fromkeys(cell for name, cell in named if name not in done))


def check_models(sweep: Sweep) -> None:
    """Raise `UnknownModel`, before any work, for a model of a sweep that is none.

    One that is known and cannot be loaded is found out by its cells, which say why.
    """
    for spoken, name in dict.fromkeys(
        (isinstance(cell, VoiceRequest), cell.model) for cell in sweep.requests()
    ):
        find = find_voice_model if spoken else find_model
        find(name)


def sample_interval_s(device: str) -> float:
    """Return how far apart the looks of a sweep on a device are."""
    return CPU_INTERVAL_S if device == "cpu" else GPU_INTERVAL_S


def make_sampler(sensor: Sensor, interval_s: float, pid: int | None = None) -> Sampler:
    """Return the sampler of a sweep: of the host it asks only what a report keeps."""
    return Sampler(sensor, interval_s, pid, host=HostSensor(slow=False))


def _refuse_several(device: str | None) -> None:
    if device is not None and ModelDevice.parse(device).is_several:
        raise ValueError(
            f"cells are measured on one device, not on {device}; a sweep lays a model on several "
            'cards where its table [devices] names them, with share = ["model"]'
        )


def open_report(
    stack: ExitStack, path: Path, header: Header, *, resume: bool
) -> tuple[ReportWriter, Report]:
    """Return a writer of the report at `path`, and what that already holds, without its traces."""
    if resume and path.exists():
        writer, before = ReportWriter.resume(path, header)
    else:
        writer, before = ReportWriter.create(path, header), Report(header=header)
    stack.enter_context(writer)
    bare = {name: tuple(map(without_trace, getattr(before, name))) for name in ("cells", "shared")}
    return writer, before.model_copy(update=bare)


def without_trace(cell: AnyCell) -> AnyCell:
    """Return a cell without its readings, which are most of its memory and of no use to others."""
    return cell.model_copy(update={"trace": Trace()})


def refuse_busy(devices: Iterable[str | None], sensor: Sensor, wait_s: float) -> None:
    """Raise `DeviceBusy` where nobody waits, before a worker imports torch only to hear it.

    It only looks: a sweep has its device from `hold` on. `None` is the one that torch prefers.
    """
    if wait_s > 0:
        return
    for asked in devices:
        device = asked or likely_device(sensor)
        if device is not None:
            with hold_device(device):
                pass


def likely_device(sensor: Sensor) -> str | None:
    """Return what torch prefers here, unasked: `None` where a variable may hide GPUs from it.

    A GPU need not work with this torch: then nobody holds it, and a worker finds out.
    """
    if any(name in os.environ for name in HIDING):
        return None
    if platform.system() == "Darwin":
        return "mps"
    is_for_gpus = torch_build("cuda") is not None or torch_build("hip") is not None
    return "cuda" if is_for_gpus and sensor.reason is None else "cpu"


def hold(stack: ExitStack, device: str, wait_s: float) -> Iterator[Progress]:
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
