"""What watching costs: cells with the hardware sampler on, against the same cells with it off.

    python benchmarks/self/measuring_overhead.py --pairs 20

A worker measures the same cell over and over, as in a sweep, while this process reads the sensors
at a sweep's pace or does not. On and off alternate in the order on, off, off, on, so that a drift
of the machine favours neither. Ends with code 0 where the whole interval is within the limit: a
noisy machine, or few pairs, cannot tell (`sampling_blocks.py` sees more in less time).
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from diffusion_bench.bench.measure import Effort
from diffusion_bench.bench.setup import make_sampler, sample_interval_s
from diffusion_bench.bench.worker_messages import Failed, Measured
from diffusion_bench.bench.workers import Workers
from diffusion_bench.hardware.sensors import Sensor, open_sensor
from diffusion_bench.records import ImageRequest
from diffusion_bench.reports.stats import median_interval

LIMIT = 0.01  # slower, as a share
CALLS = 5  # of each block
CELL = ImageRequest(prompt="a cat on a blue background", steps=50)


def block_s(workers: Workers) -> float:
    """Return the median seconds of a block of calls in the worker."""
    effort = Effort(warmups=1, repeats=CALLS)
    *_, last = workers.measure(CELL, effort, time_limit_s=600)
    if isinstance(last, Failed):
        raise RuntimeError(last.message)
    assert isinstance(last, Measured)
    return median(call.wall_s for call in last.measurement.timed)


def watched_block_s(workers: Workers, sensor: Sensor) -> float:
    """Return the same while the sensors are read at a sweep's pace."""
    with make_sampler(sensor, sample_interval_s(workers.ready.device), workers.pid):
        return block_s(workers)


def main() -> int:
    """Print the ratio and the verdict; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20, help="blocks of each kind, at least 6")
    pairs = parser.parse_args().pairs
    if pairs < 6:
        parser.error(f"--pairs {pairs}: at least 6 are needed for an interval worth printing")
    ratios = []
    with Workers(None) as workers, closing(open_sensor()) as sensor:
        list(workers.start())
        pace_hz = 1 / sample_interval_s(workers.ready.device)
        block_s(workers)
        for pair in range(pairs):
            if pair % 2:
                off_s = block_s(workers)
                on_s = watched_block_s(workers, sensor)
            else:
                on_s = watched_block_s(workers, sensor)
                off_s = block_s(workers)
            ratios.append(on_s / off_s)
    middle = median(ratios)
    interval = median_interval(ratios)
    assert interval is not None
    within, beyond = interval.high - 1 <= LIMIT, interval.low - 1 > LIMIT
    print(f"sampler at {pace_hz:.0f} Hz on / off, {pairs} pairs of {CALLS} calls")
    print(f"ratio {middle:.4f}, interval {interval.low:.4f} to {interval.high:.4f}")
    verdict = "within" if within else "NOT within" if beyond else "cannot tell whether it is within"
    print(f"{verdict} the limit of {1 + LIMIT:g}")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
