"""What the live table keeps of the last minutes, and how a terminal draws them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

import pytest
from rich.console import Console
from rich.table import Table

from diffusion_bench.cli import machine_table
from diffusion_bench.cli.machine_table import BLOCKS, SPARK_WIDTH, extremes, sparkline
from diffusion_bench.cli.watching import paced, show_live
from diffusion_bench.hardware.quantities import gpu_rows, host_rows
from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.sensors import NoGpu
from diffusion_bench.records import GpuReading, HostReading, Reading


def readings(interval_s: float, last_s: float, peak_at_s: float) -> Iterator[Reading]:
    """Yield readings up to `last_s` of a processor that was busy once."""
    for tick in range(1, round(last_s / interval_s) + 1):
        at_s = tick * interval_s
        busy = abs(at_s - peak_at_s) < interval_s / 2
        yield Reading(at_s=at_s, host=HostReading(cpu_percent=100.0 if busy else 1.0))


def frames_of(given: Iterator[Reading], monkeypatch: pytest.MonkeyPatch) -> list[list[Reading]]:
    """Return the readings that each frame in a terminal is drawn from."""
    frames: list[list[Reading]] = []

    def draw(kept: Sequence[Reading], height: int, *, blocks: bool) -> Table:
        frames.append(list(kept))
        return Table()

    monkeypatch.setattr(machine_table, "fitting_table", draw)
    show_live(given, Console(file=io.StringIO(), force_terminal=True))
    return frames


def shown(given: Iterator[Reading], monkeypatch: pytest.MonkeyPatch) -> list[Reading]:
    return frames_of(given, monkeypatch)[-1]


def course(kept: Sequence[Reading]) -> str:
    return sparkline(host_rows(kept)[0], [reading.at_s for reading in kept])


@pytest.mark.parametrize("interval_s", [1.0, 0.1, 0.01])
def test_a_peak_of_100_s_ago_is_seen_at_any_pace(
    interval_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = shown(readings(interval_s, 300.0, peak_at_s=201.0), monkeypatch)
    drawn = course(kept)
    assert len(drawn) == SPARK_WIDTH
    assert drawn.count(BLOCKS[-1]) == 1
    assert drawn.index(BLOCKS[-1]) == pytest.approx(SPARK_WIDTH - 1 - 100 / 6, abs=1)


def test_what_is_older_than_the_last_minutes_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = shown(readings(1.0, 300.0, peak_at_s=100.0), monkeypatch)
    assert kept[-1].at_s - kept[0].at_s == machine_table.SHOWN_S
    assert BLOCKS[-1] not in course(kept)


def test_fast_readings_are_drawn_4_times_a_second_from_few_of_them_and_the_newest_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames = frames_of(readings(0.01, 180.0, peak_at_s=100.0), monkeypatch)
    assert 170 * 3.8 < len(frames) <= 180 * 4 + 1
    drawn_s = [frame[-1].at_s for frame in frames[:-1]]
    assert min(later - earlier for earlier, later in pairwise(drawn_s)) >= 0.25
    assert max(map(len, frames)) < 180 * 4 * 2 + 30, "not all 18,000"
    assert frames[-1][-1].at_s == pytest.approx(180.0)


def test_folded_readings_keep_the_least_and_the_most_of_each_quantity() -> None:
    def look(
        at_s: float, percent: float | None, cores: tuple[float, ...], *gpu_w: float
    ) -> Reading:
        gpus = tuple(GpuReading(index=i, power_w=power_w) for i, power_w in enumerate(gpu_w))
        host = HostReading(cpu_percent=percent, core_percents=cores, ram_used_mib=at_s)
        return Reading(at_s=at_s, host=host, gpus=gpus)

    looks = [
        look(1.0, 90.0, (9.0, 99.0), 10.0, 300.0),
        look(2.0, 5.0, (1.0, 2.0), 200.0),
        look(3.0, None, (3.0, 4.0), 20.0, 30.0),
    ]
    least, most = extremes(looks)
    assert (least.at_s, most.at_s) == (3.0, 3.0)
    for row, values in {"CPU": (5.0, 90.0), "CPU cores": (2.0, 99.0)}.items():
        assert [r.values for r in host_rows([least, most]) if r.title == row] == [values]
    for index, values in enumerate([(10.0, 200.0), (30.0, 300.0)]):
        assert [r.values for r in gpu_rows([least, most], index) if r.title == "power"] == [values]
    assert extremes(looks[:2]) == tuple(looks[:2])


def test_slow_readings_have_a_block_each_and_a_space_where_nothing_was_told() -> None:
    looks = [
        Reading(at_s=60.0 * minute, host=HostReading(cpu_percent=percent))
        for minute, percent in enumerate([0.0, None, 100.0])
    ]
    assert course(looks) == f"{BLOCKS[0]} {BLOCKS[-1]}"
    assert course(looks[1:2]) == ""


def test_the_first_reading_comes_an_interval_after_the_start() -> None:
    """Processor use is counted between two looks."""
    now_s, rests = [100.0], []

    def sleep(seconds: float) -> None:
        rests.append(seconds)
        now_s[0] += seconds

    clock = partial(now_s.__getitem__, 0)
    sampler = Sampler(NoGpu("none"), 0.5, clock=clock)
    assert len(list(paced(sampler, 0.5, 2, clock=clock, sleep=sleep))) == 2
    assert rests == pytest.approx([0.5, 0.5])
