"""What a sweep's sampler slows a running generation by, on and off by blocks of a few steps.

    python benchmarks/self/sampling_blocks.py --pairs 300

The bundled model draws pictures of up to 1000 steps through the engine, in a process of its own as
in a sweep. After every block of steps its callback waits while this process switches the sampler;
the wait counts for no block. The two blocks of a pair, on and off, follow each other, so that what
the machine does over seconds is in both. Pairs of three arms take turns: nothing against nothing
(the baseline: what the method itself reads as a slowdown), the sampler against nothing, and one
that keeps a core busy for some percent against nothing (so that a real slowdown is seen to be
found). Which block of a pair comes first is drawn, and turned for the arm's next pair.

The ratio on / off is the median over pairs, and the sum of all blocks over the sum of all, in which
rare long stalls count too; wall time, and processor time of the model's process. Intervals of 95
percent are of a bootstrap over pairs. The pace is a sweep's unless another is asked for, the GPUs
are the tests' stand-in for two. Ends with code 0 where the slowdown is proven to be under the
limit, and with 1 where it is not.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import psutil
from model_by_blocks import Model
from sampling_cost import SLOWDOWN_LIMIT, in_stub

from diffusion_bench.bench.setup import CPU_INTERVAL_S, make_sampler
from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.sensors import Sensor, open_sensor
from diffusion_bench.records import Estimate, GpuReading

NOTHING, SWEEP, BUSY = "nothing (baseline)", "a sweep's sampler", "a busy sampler"
MOST_STEPS = 1000  # of one generation
RESAMPLES = 2000
SEED = 0
HEADINGS = ("wall, median", "wall, sum", "processor, median", "processor, sum")

Arms = Mapping[str, Sampler | None]


class Asked(NamedTuple):
    """What to measure: pairs of each arm, the sampler's pace, and what the busy one takes."""

    pairs: int = 300
    block_steps: int = 10
    interval_s: float = CPU_INTERVAL_S
    busy_percent: float = 5.0  # of a core


class Block(NamedTuple):
    """Some steps: when, processor time of the model's process and of this one, and the looks."""

    start_s: float
    end_s: float
    cpu_s: float
    watching_s: float
    looks: int

    @property
    def wall_s(self) -> float:
        """Return how long it took."""
        return self.end_s - self.start_s


class Pair(NamedTuple):
    """Two blocks after each other, in either order."""

    arm: str
    on: Block
    off: Block


class BusySensor:
    """Another sensor, that computes for `busy_s` before each look: a slowdown to be found."""

    def __init__(self, sensor: Sensor, busy_s: float) -> None:
        self._sensor = sensor
        self._busy_s = busy_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sensor, name)

    def read(self) -> tuple[GpuReading, ...]:
        """Return the other's reading, `busy_s` of this thread's processor time later."""
        until_s = time.thread_time() + self._busy_s
        while time.thread_time() < until_s:
            pass
        return self._sensor.read()


def turns(arms: Sequence[str], pairs: int, chance: random.Random) -> list[tuple[str, bool]]:
    """Return the arm of each pair and whether it begins with on: on off, off on, or the reverse."""
    on_first: dict[str, bool] = {}
    order = []
    for number in range(pairs):
        for arm in chance.sample(arms, len(arms)):
            on_first[arm] = not on_first[arm] if number % 2 else chance.random() < 0.5
            order.append((arm, on_first[arm]))
    return order


def take_block(model: Model, sampler: Sampler | None, *, on: bool, wait_s: float) -> Block:
    """Return the next block, which begins `wait_s` after the sampler was put on or left off."""
    with sampler if sampler is not None and on else nullcontext():
        time.sleep(wait_s)
        before_s = time.process_time()
        start_s, end_s, cpu_s = model.block()
        watching_s = time.process_time() - before_s
    looks = 0 if sampler is None else len(sampler.between(start_s, end_s))
    return Block(start_s, end_s, cpu_s, watching_s, looks)


def take_pairs(model: Model, arms: Arms, asked: Asked) -> Iterator[Pair]:
    """Yield the pairs of all arms, in turns; a pair lies within one picture.

    Blocks begin at any moment of the sampler's pace, so that on the whole they have as many looks
    as their length asks for, and the first, cold one of a start as seldom as it comes.
    """
    chance = random.Random(SEED)
    order = turns(list(arms), asked.pairs, chance)
    at_once = (MOST_STEPS // asked.block_steps - 1) // 2
    for first in range(0, len(order), at_once):
        part = order[first : first + at_once]
        model.begin(2 * len(part))
        for arm, on_first in part:
            taken = {}
            for on in (on_first, not on_first):
                wait_s = chance.uniform(0, asked.interval_s)
                taken[on] = take_block(model, arms[arm], on=on, wait_s=wait_s)
            yield Pair(arm, on=taken[True], off=taken[False])
        model.end()


def median_ratio(on: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Return the median of the ratios of pairs, (..., pairs) to (...)."""
    return np.median(on / off, axis=-1)


def sum_ratio(on: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Return the ratio of the sums over pairs, (..., pairs) to (...)."""
    return on.sum(axis=-1) / off.sum(axis=-1)


def estimate(figure: Any, on: Sequence[float], off: Sequence[float]) -> Estimate:
    """Return a figure of pairs and its 95 percent interval, by a seeded bootstrap over pairs."""
    each_on, each_off = np.asarray(on), np.asarray(off)
    drawn = np.random.default_rng(SEED).integers(len(on), size=(RESAMPLES, len(on)))
    low, high = np.quantile(figure(each_on[drawn], each_off[drawn]), (0.025, 0.975))
    value = float(figure(each_on, each_off))
    return Estimate(value=value, low=min(value, low), high=max(value, high), n=len(on))


def estimates(pairs: Sequence[Pair]) -> tuple[Estimate, ...]:
    """Return the figures of one arm, in the order of `HEADINGS`."""
    found = []
    for name in ("wall_s", "cpu_s"):
        on = [getattr(pair.on, name) for pair in pairs]
        off = [getattr(pair.off, name) for pair in pairs]
        found += [estimate(median_ratio, on, off), estimate(sum_ratio, on, off)]
    return tuple(found)


def verdict(baseline: Estimate, swept: Estimate, busy: Estimate) -> tuple[bool, str]:
    """Return whether the sampler is proven to be within the limit, and what the arms say, in words.

    Only where the baseline is 1 to within the limit, and the busy sampler is told from it.
    """
    most = 1 + SLOWDOWN_LIMIT
    if not 2 - most <= baseline.low <= baseline.high <= most:
        return False, f"cannot tell: nothing against nothing is {shown(baseline)} here"
    if busy.low <= baseline.high:
        return False, f"cannot tell: the busy sampler, {shown(busy)}, is not told from nothing"
    if swept.high <= most:
        return True, f"the sampler is within {most:g}: its interval ends at {swept.high:.4f}"
    if swept.low > most:
        return False, f"the sampler is NOT within {most:g}: its interval begins at {swept.low:.4f}"
    return False, f"cannot tell: the interval has {most:g} in it; more --pairs narrow it"


def shown(found: Estimate) -> str:
    """Return a figure and its interval."""
    return f"{found.value:.4f} ({found.low:.4f} to {found.high:.4f})"


def report(pairs: Sequence[Pair]) -> int:
    """Print the table, what the samplers did, and the verdict; return the exit code."""
    arms = {arm: [pair for pair in pairs if pair.arm == arm] for arm in (NOTHING, SWEEP, BUSY)}
    table = {arm: estimates(taken) for arm, taken in arms.items()}
    print(f"{'on / off':20}" + "".join(f"{heading:28}" for heading in HEADINGS))
    for arm, figures in table.items():
        print(f"{arm:20}" + "".join(f"{shown(figure):28}" for figure in figures))
    for arm, taken in arms.items():
        wall_s = sum(pair.on.wall_s for pair in taken)
        percent = 100 * sum(pair.on.watching_s for pair in taken) / wall_s
        looks = sum(pair.on.looks for pair in taken) / wall_s
        print(f"{arm}: {looks:.1f} looks a second and {percent:.2f} percent of a core while on")
    proven, words = verdict(*(table[arm][0] for arm in (NOTHING, SWEEP, BUSY)))
    print(words)
    return 0 if proven else 1


def measure(asked: Asked) -> int:
    """Take all pairs and print what they say; return the exit code."""
    with ExitStack() as stack:
        sensor = stack.enter_context(closing(open_sensor()))
        busy = BusySensor(sensor, asked.busy_percent / 100 * asked.interval_s)
        model = stack.enter_context(Model(asked.block_steps))
        each = {SWEEP: sensor, BUSY: busy}
        arms = {arm: make_sampler(one, asked.interval_s, model.pid) for arm, one in each.items()}
        print(
            f"{asked.pairs} pairs of blocks of {asked.block_steps} steps each arm; "
            f"{len(sensor.cards())} GPUs and the host at {1 / asked.interval_s:.0f} Hz; the busy "
            f"sampler takes {asked.busy_percent:g} percent of a core more; model on "
            f"{model.torch_threads} threads of {os.cpu_count()} cores, load average "
            f"{psutil.getloadavg()[0]:.1f}",
            flush=True,
        )
        pairs = list(take_pairs(model, {NOTHING: None, **arms}, asked))
    block_s = median(block.wall_s for pair in pairs for block in (pair.on, pair.off))
    print(f"a block takes {block_s:.3f} s in the median, load average {psutil.getloadavg()[0]:.1f}")
    return report(pairs)


def main(words: Sequence[str] | None = None) -> int:
    """Read the options and measure, with the stand-in for the driver's library."""
    usual = Asked()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=usual.pairs, help="an arm, 6 or more")
    parser.add_argument("--block", type=int, default=usual.block_steps, help="steps, 1 to 100")
    parser.add_argument("--hz", type=float, default=1 / usual.interval_s, help="1 to 100")
    parser.add_argument("--busy", type=float, default=usual.busy_percent, help="percent, 1 to 50")
    given = parser.parse_args(words)
    limits = {"pairs": (6, 10_000), "block": (1, 100), "hz": (1, 100), "busy": (1, 50)}
    for name, (least, most) in limits.items():
        if not least <= getattr(given, name) <= most:
            parser.error(f"--{name} {getattr(given, name):g}: {least} to {most}")
    asked = Asked(given.pairs, given.block, 1 / given.hz, given.busy)
    return in_stub(partial(measure, asked))


if __name__ == "__main__":
    sys.exit(main())
