"""What reading the sensors costs: by a thread, by a process of its own, and not at all.

    python benchmarks/self/sampling_cost.py --pairs 30
    python benchmarks/self/sampling_cost.py --rest     only the share of a core, in 20 s

Whole generations are too long for a ratio to within a percent on a machine that others use too:
for the first arrangement `sampling_blocks.py` has it, by blocks of steps.

Two GPUs that are not there (the tests' stand-in for the driver's library) and the host are read 10
times a second, as a sweep reads them. Printed: the processor time of the sampler as percent of one
core; what it slows a generation by, paired with the same generation without it; and how far the
looks are from their pace meanwhile. Three arrangements: a thread in the process that runs a sweep,
with the model in another (what sweeps do); a thread beside the model (what the app does, once a
second); a child that reads and hands each reading to the model's process. Ends with code 1 where
the first costs more than the limits.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import psutil
from nvml_fake import build_stub, stub_environment, why_no_stub

from diffusion_bench.backends.engine import Engine
from diffusion_bench.bench.measure import Effort
from diffusion_bench.bench.setup import make_sampler
from diffusion_bench.bench.worker_messages import Failed, Measured
from diffusion_bench.bench.workers import Workers
from diffusion_bench.hardware.sensors import open_sensor
from diffusion_bench.records import ImageRequest, Reading
from diffusion_bench.reports.stats import median_interval

ROOT = Path(__file__).resolve().parents[2]
INTERVAL_S = 0.1
CPU_LIMIT_PERCENT = 2.0  # of one core
SLOWDOWN_LIMIT = 0.01  # as a share
REST_S = 20.0  # of sampling beside nothing, for the processor time
IN_STUB = "DIFFUSION_BENCH_IN_STUB"
REQUEST = ImageRequest(prompt="a cat on a blue background", steps=20)

CHILD = """
import pickle, sys, time
from diffusion_bench.bench.setup import make_sampler
from diffusion_bench.hardware.sampler import next_tick
from diffusion_bench.hardware.sensors import open_sensor
interval_s, pid = float(sys.argv[1]), int(sys.argv[2])
sampler = make_sampler(open_sensor(), interval_s, pid)
start_s, tick = time.perf_counter(), 0
while True:
    pickle.dump(sampler.look(), sys.stdout.buffer)
    sys.stdout.buffer.flush()
    tick = next_tick(tick, start_s, interval_s, time.perf_counter())
    time.sleep(max(0.0, start_s + tick * interval_s - time.perf_counter()))
"""

Seconds = tuple[float, float]  # wall, processor
Watch = Callable[[list[Reading]], AbstractContextManager[None]]


@contextmanager
def nothing(kept: list[Reading]) -> Iterator[None]:
    """Sample nothing: what two equal generations differ by."""
    yield


@contextmanager
def thread(kept: list[Reading]) -> Iterator[None]:
    """Sample in a thread of this process."""
    sensor = open_sensor()
    with closing(sensor), make_sampler(sensor, INTERVAL_S, os.getpid()) as sampler:
        yield
        kept += sampler.history()


@contextmanager
def process(kept: list[Reading]) -> Iterator[None]:
    """Sample in a child; a thread here takes in what it sends."""
    command = [sys.executable, "-c", CHILD, str(INTERVAL_S), str(os.getpid())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    kept.append(pickle.load(child.stdout))  # it is up

    def take_in() -> None:
        assert child.stdout is not None
        with contextlib.suppress(EOFError, pickle.UnpicklingError):
            while True:
                kept.append(pickle.load(child.stdout))

    taker = threading.Thread(target=take_in)
    taker.start()
    try:
        yield
    finally:
        child.kill()
        taker.join()
        child.wait()
        child.stdout.close()


def cpu_percent(readings: list[Reading]) -> float:
    """Return the processor time of a thread that samples beside nothing, in percent of a core."""
    with thread(readings):
        time.sleep(1.0)
        cpu_s, wall_s = time.process_time(), time.monotonic()
        time.sleep(REST_S)
        return 100 * (time.process_time() - cpu_s) / (time.monotonic() - wall_s)


def offsets_ms(readings: Sequence[Reading]) -> list[float]:
    """Return how far each look was from the pace of the first, in milliseconds."""
    if not readings:
        return []
    first_s = readings[0].at_s
    late = ((reading.at_s - first_s) % INTERVAL_S for reading in readings[1:])
    return sorted(1000 * min(off_s, INTERVAL_S - off_s) for off_s in late)


def generate_here(engine: Engine, calls: int) -> Seconds:
    """Generate in this process; return wall seconds and all processor seconds, children's too."""
    start_s, before_s = time.perf_counter(), used_s(psutil.Process())
    for _ in range(calls):
        engine.generate(REQUEST, wait_s=600.0)
    return time.perf_counter() - start_s, used_s(psutil.Process()) - before_s


def generate_apart(workers: Workers, calls: int) -> Seconds:
    """Generate in the worker of a sweep; return its own wall and processor seconds."""
    worker = psutil.Process(workers.pid)
    before_s = used_s(worker)
    *_, last = workers.measure(REQUEST, Effort(warmups=0, repeats=calls), time_limit_s=600)
    if isinstance(last, Failed):
        raise RuntimeError(last.message)
    assert isinstance(last, Measured)
    return sum(call.wall_s for call in last.measurement.timed), used_s(worker) - before_s


def used_s(process: psutil.Process) -> float:
    """Return the processor seconds of a process and of its children."""
    each = [one.cpu_times() for one in (process, *process.children())]
    return float(sum(times.user + times.system for times in each))


class Cost(NamedTuple):
    """What sampling cost in each pair, and how far each look was from its pace, in order."""

    wall_ratios: list[float]
    cpu_ratios: list[float]
    offsets_ms: list[float]


def slowdown(generate: Callable[[], Seconds], watch: Watch, pairs: int) -> Cost:
    """Return the ratios on / off of each pair, of wall and of processor time.

    On a machine that others use too the first is the noisier.
    """
    cost = Cost([], [], [])
    for pair in range(pairs):
        kept: list[Reading] = []
        taken: dict[bool, Seconds] = {}
        for on in (True, False) if pair % 2 else (False, True):
            with watch(kept) if on else nullcontext():
                taken[on] = generate()
        cost.wall_ratios.append(taken[True][0] / taken[False][0])
        cost.cpu_ratios.append(taken[True][1] / taken[False][1])
        cost.offsets_ms.extend(offsets_ms(kept))
    cost.offsets_ms.sort()
    return cost


def middle(name: str, ratios: list[float]) -> str:
    """Return a line of a median and its interval."""
    interval = median_interval(ratios)
    assert interval is not None
    return f"{name} {median(ratios):.4f} ({interval.low:.4f} to {interval.high:.4f})"


def report(name: str, cost: Cost) -> None:
    """Print the figures of one way of sampling."""
    offsets = cost.offsets_ms
    ratios = (middle("wall", cost.wall_ratios), middle("processor", cost.cpu_ratios))
    print(f"{name}: {', '.join(ratios)}", flush=True)
    if not offsets:
        return
    print(
        f"    looks off their pace: median {median(offsets):.2f} ms, 99 percent within "
        f"{offsets[int(0.99 * len(offsets))]:.2f} ms, worst {offsets[-1]:.2f} ms, n {len(offsets)}"
    )


def measure_rest() -> float:
    """Print and return the percent of one core that sampling takes beside nothing."""
    resting: list[Reading] = []
    percent = cpu_percent(resting)
    gpus = len(resting[-1].gpus)
    print(f"{gpus} GPUs and the host at {1 / INTERVAL_S:.0f} Hz: {percent:.2f} percent of one core")
    return percent


def measure(pairs: int, calls: int) -> int:
    """Print all figures; return the exit code."""
    percent = measure_rest()
    print(f"on / off, {pairs} pairs of {calls} generations of {REQUEST.steps} steps", flush=True)
    with Workers("cpu") as workers:
        list(workers.start())
        apart = partial(generate_apart, workers, calls)
        apart()
        report("nothing, model apart", slowdown(apart, nothing, pairs))
        swept = slowdown(apart, thread, pairs)
        report("a thread, model apart", swept)
    here = partial(generate_here, Engine("cpu"), calls)
    here()
    report("nothing, model here", slowdown(here, nothing, pairs))
    report("a thread beside the model", slowdown(here, thread, pairs))
    report("a process, handing over to the model's", slowdown(here, process, pairs))
    within = percent <= CPU_LIMIT_PERCENT and median(swept.wall_ratios) - 1 <= SLOWDOWN_LIMIT
    print(
        f"the sweep's thread is {'within' if within else 'NOT within'} the limits of "
        f"{CPU_LIMIT_PERCENT:g} percent of one core and a wall ratio of {1 + SLOWDOWN_LIMIT:g}"
    )
    return 0 if within else 1


def in_stub(measured: Callable[[], int]) -> int:
    """Start this program again with the stand-in for the driver's library, and measure there."""
    if IN_STUB in os.environ:
        return measured()
    if reason := why_no_stub():
        print(f"cannot tell: {reason}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        environment = {**stub_environment(build_stub(Path(folder))), IN_STUB: "1"}
        return subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode


def main() -> int:
    """Read the options and measure, with the stand-in for the driver's library."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=30, help="of generations, at least 6")
    parser.add_argument("--calls", type=int, default=1, help="generations of a block")
    parser.add_argument("--rest", action="store_true", help="no generations at all")
    arguments = parser.parse_args()
    if arguments.rest:
        return in_stub(lambda: int(measure_rest() > CPU_LIMIT_PERCENT))
    if arguments.pairs < 6:
        parser.error(f"--pairs {arguments.pairs}: at least 6 are needed for an interval")
    return in_stub(partial(measure, arguments.pairs, arguments.calls))


if __name__ == "__main__":
    sys.exit(main())
