"""The measurement of what the sampler slows a generation by: its arithmetic, and that it runs."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from processes import has_ended

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "self"))

import sampling_blocks
from model_by_blocks import Model
from sampling_blocks import (
    BUSY,
    NOTHING,
    SWEEP,
    Asked,
    Block,
    BusySensor,
    Pair,
    estimate,
    median_ratio,
    report,
    sum_ratio,
    take_pairs,
    turns,
    verdict,
)

from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.sensors import NoGpu
from diffusion_bench.records import Estimate

BLOCK_STEPS = 3
TRIAL = Asked(pairs=2, block_steps=BLOCK_STEPS, interval_s=0.01)


def block(wall_s: float, looks: int = 0) -> Block:
    return Block(start_s=5.0, end_s=5.0 + wall_s, cpu_s=wall_s, watching_s=0.0, looks=looks)


def noisy_pairs(slower: float, arm: str = SWEEP, n: int = 200) -> list[Pair]:
    """Return pairs on a machine whose speed doubles and halves, 1 percent apart within a pair."""
    chance = random.Random(f"{arm} {slower}")
    pairs = []
    for _ in range(n):
        machine = chance.uniform(0.5, 2.0)
        on, off = (machine * share * chance.gauss(1, 0.01) for share in (slower, 1.0))
        pairs.append(Pair(arm, block(on), block(off)))
    return pairs


def walls(pairs: list[Pair]) -> tuple[list[float], list[float]]:
    return [pair.on.wall_s for pair in pairs], [pair.off.wall_s for pair in pairs]


def within(low: float, high: float) -> Estimate:
    return Estimate(value=(low + high) / 2, low=low, high=high, n=100)


@pytest.mark.parametrize("slower", [1.0, 1.01, 1.05])
def test_a_slowdown_is_found_to_within_half_a_percent_whatever_the_machine_does(
    slower: float,
) -> None:
    found = estimate(median_ratio, *walls(noisy_pairs(slower)))
    assert found.low <= slower <= found.high
    assert found.high - found.low < 0.01
    assert found.n == 200


def test_a_stall_in_few_blocks_shows_in_the_sum_and_not_in_the_median() -> None:
    on, off = [1.0] * 100, [1.0] * 100
    on[:4] = [2.0] * 4
    assert estimate(median_ratio, on, off).value == 1.0
    summed = estimate(sum_ratio, on, off)
    assert summed.value == pytest.approx(1.04)
    assert 1.0 <= summed.low < 1.04 < summed.high
    assert estimate(sum_ratio, [1.0, 4.0], [1.0, 2.0]).value == pytest.approx(5 / 3)


def test_each_arm_begins_as_often_with_on_as_with_off() -> None:
    order = turns([NOTHING, SWEEP, BUSY], 40, random.Random(1))
    assert [arm for arm, _ in order[:3]] != [arm for arm, _ in order[3:6]]
    for start in range(0, len(order), 3):
        assert {arm for arm, _ in order[start : start + 3]} == {NOTHING, SWEEP, BUSY}
    for arm in (NOTHING, SWEEP, BUSY):
        first = [on for each, on in order if each == arm]
        assert all(a is not b for a, b in zip(first[::2], first[1::2], strict=True))
        assert len(set(first[::2])) == 2, "which half begins is drawn"


class Counted:
    """Takes the place of the model; says how many blocks each picture was to have, and had."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.taken: list[int] = []

    def begin(self, blocks: int) -> None:
        self.begun.append(blocks)
        self.taken.append(0)

    def block(self) -> tuple[float, float, float]:
        self.taken[-1] += 1
        return 0.0, 1.0, 1.0

    def end(self) -> None:
        assert self.taken[-1] == self.begun[-1]


def test_a_pair_lies_within_one_picture_and_no_picture_has_more_steps_than_it_may() -> None:
    model = Counted()
    asked = Asked(pairs=10, block_steps=100, interval_s=1e-6)
    pairs = list(take_pairs(model, {NOTHING: None}, asked))
    assert len(pairs) == 10
    assert model.taken == model.begun == [8, 8, 4]
    assert all((blocks + 1) * 100 <= sampling_blocks.MOST_STEPS for blocks in model.begun)


def test_a_verdict_needs_a_still_baseline_and_a_slowdown_that_was_found() -> None:
    still, found = within(0.997, 1.003), within(1.03, 1.06)
    assert verdict(still, within(0.999, 1.008), found)[0]
    cases = {
        "NOT within": (still, within(1.02, 1.03), found),
        "narrow it": (still, within(0.999, 1.011), found),
        "nothing against nothing": (within(0.985, 1.001), within(0.999, 1.008), found),
        "not told from nothing": (still, within(0.999, 1.008), within(1.002, 1.06)),
    }
    for words, arms in cases.items():
        proven, said = verdict(*arms)
        assert not proven, words
        assert words in said


def test_the_table_names_its_baseline_and_the_code_is_that_of_the_verdict(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nothing, busy = noisy_pairs(1.0, NOTHING), noisy_pairs(1.05, BUSY)
    assert report([*nothing, *noisy_pairs(1.001), *busy]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:20].strip() for line in lines[1:4]] == [NOTHING, SWEEP, BUSY]
    assert lines[3].count("1.05") >= 2
    assert report([*nothing, *noisy_pairs(1.03), *busy]) == 1
    assert "NOT within" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pairs", "5"], "--pairs 5: 6 to 10000"),
        (["--block", "101"], "--block 101: 1 to 100"),
        (["--hz", "0"], "--hz 0: 1 to 100"),
        (["--busy", "nan"], "--busy nan: 1 to 50"),
    ],
)
def test_what_it_cannot_measure_is_refused_in_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        sampling_blocks.main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(said)


def test_a_busy_sensor_computes_before_each_look_and_is_else_the_other_one() -> None:
    sensor = BusySensor(NoGpu("there is none"), busy_s=0.01)
    before_s = time.thread_time()
    assert sensor.read() == ()
    assert time.thread_time() - before_s >= 0.01
    assert sensor.reason == "there is none"


@pytest.fixture(scope="module")
def model(own_cache: None) -> Iterator[Model]:
    with Model(BLOCK_STEPS) as model:
        yield model


def test_a_block_begins_when_the_model_is_told_to_go_on(model: Model) -> None:
    model.begin(2)
    for _ in range(2):
        told_s = time.perf_counter()
        start_s, end_s, cpu_s = model.block()
        assert told_s <= start_s < end_s <= time.perf_counter()
        assert cpu_s > 0
    model.end()


def test_within_a_real_generation_the_sampler_looks_in_the_blocks_that_are_on(
    model: Model,
) -> None:
    sensor = NoGpu("for a trial")
    busy = BusySensor(sensor, busy_s=0.002)
    arms = {
        NOTHING: None,
        SWEEP: Sampler(sensor, TRIAL.interval_s, model.pid),
        BUSY: Sampler(busy, TRIAL.interval_s, model.pid),
    }
    pairs = list(take_pairs(model, arms, TRIAL))
    assert sorted(pair.arm for pair in pairs) == sorted([NOTHING, SWEEP, BUSY] * TRIAL.pairs)
    blocks = sorted(block for pair in pairs for block in (pair.on, pair.off))
    assert all(a.end_s <= b.start_s for a, b in pairwise(blocks))
    assert all(block.cpu_s > 0 for block in blocks)
    for arm in (SWEEP, BUSY):
        assert all(pair.off.looks == 0 for pair in pairs if pair.arm == arm)
        assert sum(pair.on.looks for pair in pairs if pair.arm == arm) >= TRIAL.pairs
    assert all(pair.on.looks == pair.off.looks == 0 for pair in pairs if pair.arm == NOTHING)


def test_a_model_that_dies_is_one_line_and_one_that_is_left_ends(model: Model) -> None:
    psutil.Process(model.pid).kill()
    with pytest.raises(RuntimeError, match="the model's process has ended"):
        model.begin(1)
    model.__exit__()
    assert has_ended(model.pid)
