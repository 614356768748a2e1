"""Files on their way to a browser: what a job holds stays, what is old goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from diffusion_bench.ui.outbox import KEEP_LONG_S, KEEP_S, Outbox


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def test_a_folder_stays_while_a_job_holds_it_and_its_time_begins_then(tmp_path, clock):
    outbox = Outbox(tmp_path, clock=clock)
    with outbox.lease() as folder:
        clock.now_s += 2 * KEEP_S
        outbox.place("other.csv", "a")
        assert folder.is_dir()

    clock.now_s += KEEP_S
    outbox.place("other.csv", "a")
    assert folder.is_dir()
    clock.now_s += 1
    outbox.place("other.csv", "a")
    assert not folder.exists()


def test_a_clock_that_is_set_takes_nothing_away(tmp_path, clock):
    """As it is when a machine without a battery hears the time from the network."""
    outbox = Outbox(tmp_path, clock=clock)
    with outbox.lease(long=True) as folder:
        pass
    placed = Path(outbox.place("report.csv", "a"))
    for path in (folder, placed.parent):
        os.utime(path, (0, 0))

    outbox.place("other.csv", "a")

    assert folder.is_dir()
    assert placed.is_file()


def test_what_a_visitor_may_come_back_to_is_kept_for_a_day(tmp_path, clock):
    outbox = Outbox(tmp_path, clock=clock)
    with outbox.lease(long=True) as folder:
        pass

    clock.now_s += 2 * KEEP_S
    outbox.place("other.csv", "a")
    assert folder.is_dir()
    clock.now_s += KEEP_LONG_S
    outbox.place("other.csv", "a")
    assert not folder.exists()


def test_what_passes_by_lies_where_it_is_served_from_and_goes_like_the_rest(tmp_path, clock):
    folders = tmp_path / "outbox", tmp_path / "served"
    for folder in folders:
        folder.mkdir()
    outbox = Outbox(*folders, clock=clock)
    with outbox.lease(passing=True) as folder:
        assert folder.parent == folders[1]
    assert folders[0] in Path(outbox.place("other.csv", "a")).parents
    assert folder.is_dir()

    clock.now_s += 2 * KEEP_S
    outbox.place("other.csv", "a")
    assert not folder.exists()


def test_a_job_may_remove_what_it_holds(tmp_path, clock):
    outbox = Outbox(tmp_path, clock=clock)
    with outbox.lease() as folder:
        folder.rmdir()
    assert list(tmp_path.iterdir()) == []

    clock.now_s += 2 * KEEP_S
    assert Path(outbox.place("other.csv", "a")).is_file()


@pytest.mark.parametrize("name", ["../mine.csv", "/tmp/mine.csv", "a/b/mine.csv"])
def test_a_name_is_never_a_path(tmp_path, clock, name):
    placed = Path(Outbox(tmp_path, clock=clock).place(name, "a"))
    assert placed.name == "mine.csv"
    assert placed.parent.parent == tmp_path
