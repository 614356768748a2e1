"""What the live table keeps of the last minutes, and how a terminal draws them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import pytest
from rich.console import Console
from rich.table import Table

from diffusion_bench.cli import machine_table
from diffusion_bench.cli.machine_table import BLOCKS, SPARK_WIDTH, sparkline
from diffusion_bench.cli.watching import show_live
from diffusion_bench.hardware.quantities import host_rows
from diffusion_bench.records import HostReading, Reading


def readings(interval_s: float, last_s: float, peak_at_s: float) -> Iterator[Reading]:
    """Yield readings up to `last_s` of a processor that was busy once."""
    for tick in range(1, round(last_s / interval_s) + 1):
        at_s = tick * interval_s
        busy = abs(at_s - peak_at_s) < interval_s / 2
        yield Reading(at_s=at_s, host=HostReading(cpu_percent=100.0 if busy else 1.0))


def shown(given: Iterator[Reading], monkeypatch: pytest.MonkeyPatch) -> tuple[Reading, ...]:
    """Return the readings that the last frame in a terminal is drawn from."""
    frames: list[tuple[Reading, ...]] = []

    def draw(kept: Sequence[Reading], height: int, *, blocks: bool) -> Table:
        frames[:] = [tuple(kept)]
        return Table()

    monkeypatch.setattr(machine_table, "fitting_table", draw)
    show_live(given, Console(file=io.StringIO(), force_terminal=True))
    return frames[-1]


def course(kept: Sequence[Reading]) -> str:
    return sparkline(host_rows(kept)[0], [reading.at_s for reading in kept])


@pytest.mark.parametrize("interval_s", [1.0, 0.1])
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


def test_slow_readings_have_a_block_each_and_a_space_where_nothing_was_told() -> None:
    looks = [
        Reading(at_s=60.0 * minute, host=HostReading(cpu_percent=percent))
        for minute, percent in enumerate([0.0, None, 100.0])
    ]
    assert course(looks) == f"{BLOCKS[0]} {BLOCKS[-1]}"
    assert course(looks[1:2]) == ""
