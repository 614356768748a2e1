"""Files on their way to a browser: what a job holds stays, what is old goes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from diffusion_bench.ui.outbox import KEEP_LONG_S, KEEP_S, Outbox


def make_old(folder, age_s):
    then_s = time.time() - age_s
    os.utime(folder, (then_s, then_s))


def test_a_folder_stays_while_a_job_holds_it_and_its_time_begins_then(tmp_path):
    outbox = Outbox(tmp_path)
    with outbox.lease() as folder:
        make_old(folder, 2 * KEEP_S)
        outbox.place("other.csv", "a")
        assert folder.is_dir()

    outbox.place("other.csv", "a")
    assert folder.is_dir()
    make_old(folder, 2 * KEEP_S)
    outbox.place("other.csv", "a")
    assert not folder.exists()


def test_what_a_visitor_may_come_back_to_is_kept_for_a_day(tmp_path):
    outbox = Outbox(tmp_path)
    with outbox.lease(long=True) as folder:
        pass

    make_old(folder, 2 * KEEP_S)
    outbox.place("other.csv", "a")
    assert folder.is_dir()
    make_old(folder, 2 * KEEP_LONG_S)
    outbox.place("other.csv", "a")
    assert not folder.exists()


def test_what_passes_by_lies_where_it_is_served_from_and_goes_like_the_rest(tmp_path):
    folders = tmp_path / "outbox", tmp_path / "served"
    for folder in folders:
        folder.mkdir()
    outbox = Outbox(*folders)
    with outbox.lease(passing=True) as folder:
        assert folder.parent == folders[1]
    assert folders[0] in Path(outbox.place("other.csv", "a")).parents
    assert folder.is_dir()

    make_old(folder, 2 * KEEP_S)
    outbox.place("other.csv", "a")
    assert not folder.exists()


def test_a_job_may_remove_what_it_holds(tmp_path):
    outbox = Outbox(tmp_path)
    with outbox.lease() as folder:
        folder.rmdir()

    assert list(tmp_path.iterdir()) == []
