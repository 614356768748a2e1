from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest
from ui_server import wait_until

from diffusion_bench.records import Cancelled
from diffusion_bench.ui.jobs import MAX_JOBS, VISITOR_JOBS, WATCHED_JOBS, Done, Jobs
from diffusion_bench.ui.waiting_line import LOOK_S, Waiting


@pytest.fixture
def jobs():
    with closing(Jobs()) as jobs:
        yield jobs


def test_what_the_work_tells_arrives_in_order_and_its_value_last(jobs):
    def work(job):
        job.tell("one")
        job.tell("two")
        return 3

    heard = [event for event in jobs.watch(work) if event is not None]

    assert heard == ["one", "two", Done(3)]


def test_a_watcher_hears_heartbeats_while_nothing_happens(jobs):
    go_on = threading.Event()
    events = jobs.watch(lambda _: go_on.wait(30), heartbeat_s=0.01)

    assert [next(events), next(events)] == [None, None]
    go_on.set()
    assert list(events)[-1] == Done(True)


def test_a_wait_is_told_once_until_it_changes(jobs):
    go_on = threading.Event()

    def first(job):
        with jobs.turn(job, "a picture"):
            job.tell("begun")
            go_on.wait(30)

    def second(job):
        with jobs.turn(job, "speech"):
            job.tell("my turn")

    with closing(jobs.watch(first)) as before, closing(jobs.watch(second)) as behind:
        assert next(event for event in before if event) == "begun"
        told = [next(event for event in behind if event)]
        time.sleep(5 * LOOK_S)
        go_on.set()
        told += [event for event in behind if event]
    assert told == [Waiting(1, "a picture"), "my turn", Done(None)]


def test_what_the_work_raises_reaches_the_watcher(jobs):
    def work(job):
        job.tell("begun")
        raise ValueError("no such thing")

    with pytest.raises(ValueError, match="no such thing"):
        list(jobs.watch(work))


def test_closing_the_watcher_stops_the_work_at_its_next_word(jobs):
    stopped = threading.Event()

    def work(job):
        try:
            while True:
                job.tell("step")
        except Cancelled:
            stopped.set()
            raise

    events = jobs.watch(work)
    next(events)
    events.close()

    assert stopped.wait(10)


def test_closing_the_jobs_ends_work_that_is_still_watched():
    jobs = Jobs()
    ended = threading.Event()

    def work(job):
        try:
            while True:
                job.check()
        finally:
            ended.set()

    events = jobs.watch(work, heartbeat_s=0.01)
    next(events)
    jobs.close()

    assert ended.is_set()
    with pytest.raises(Cancelled):
        list(events)


def test_the_end_waits_for_work_that_nobody_watches_any_more_and_tells_of_it(jobs):
    go_on, ended, told = threading.Event(), [], []
    for _ in range(2):
        watcher = jobs.watch(lambda _: ended.append(go_on.wait(30)), heartbeat_s=0.01)
        next(watcher)
        watcher.close()

    def on_wait(num_jobs):
        told.append((num_jobs, list(ended)))
        go_on.set()

    jobs.close(on_wait)

    assert told == [(2, [])]
    assert ended == [True, True]


def test_work_given_up_before_its_thread_is_free_never_begins(jobs):
    begun = []
    go_on = threading.Event()
    for _ in range(MAX_JOBS):  # given up, and still on their threads
        blocker = jobs.watch(lambda _: go_on.wait(30), heartbeat_s=0.01)
        next(blocker)
        blocker.close()

    late = jobs.watch(lambda _: begun.append("late"), heartbeat_s=0.01)
    next(late)
    late.close()
    go_on.set()
    wait_until(lambda: jobs._threads._work_queue.empty(), "the threads are idle")

    assert begun == []


class Guests:
    """An app whose visitors wait for a device, each job until it is given up."""

    def __init__(self):
        self.name = ""
        self.jobs = Jobs(lambda: self.name)

    def ask(self, name):
        """Begin a job of that visitor and return its watcher."""

        def work(job):
            while True:
                job.check()
                time.sleep(0.005)

        self.name = name
        watcher = self.jobs.watch(work, heartbeat_s=0.001)
        next(watcher)
        return watcher


@pytest.fixture
def guests():
    guests = Guests()
    with closing(guests.jobs):
        yield guests


def test_a_visitor_has_so_many_jobs_at_once_and_another_is_let_in(guests):
    mine = [guests.ask("ann") for _ in range(VISITOR_JOBS)]

    with pytest.raises(ValueError, match="you have 3 jobs on it already"):
        guests.ask("ann")
    guests.ask("ben").close()
    mine[0].close()
    guests.ask("ann").close()


def test_a_job_that_ends_or_fails_gives_its_place_back(guests):
    guests.name = "ann"
    for _ in range(2 * VISITOR_JOBS):
        assert list(guests.jobs.watch(lambda job: 3))[-1] == Done(3)
        with pytest.raises(ZeroDivisionError):
            list(guests.jobs.watch(lambda job: 1 // 0))


def test_all_jobs_together_leave_threads_for_the_page(guests):
    held = [guests.ask(f"{number}") for number in range(WATCHED_JOBS)]

    with pytest.raises(ValueError, match="this app has 24 jobs already"):
        guests.ask("the next")
    held[0].close()
    guests.ask("the next").close()


def test_an_app_that_is_not_shared_counts_jobs_and_nobodys(jobs):
    go_on = threading.Event()
    watchers = [jobs.watch(lambda job: go_on.wait(), 0.001) for _ in range(WATCHED_JOBS)]
    for watcher in watchers:
        assert next(watcher) is None  # all of them are under way at once
    with pytest.raises(ValueError, match="this app has 24 jobs already"):
        next(jobs.watch(lambda job: None))
    go_on.set()

    assert [list(watcher)[-1] for watcher in watchers] == [Done(True)] * len(watchers)
