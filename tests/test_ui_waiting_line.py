"""First come, first served, a place given up, and one line for all that the app does."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from fake_voices import install_page_world
from ui_server import VALUES, busy_device

from diffusion_bench.backends.engine import Engine
from diffusion_bench.bench.runner import Progress
from diffusion_bench.ui.jobs import Jobs
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.pictures.drawing import Drawing
from diffusion_bench.ui.plans import SMALLEST_SWEEP, Planning
from diffusion_bench.ui.report_files import ReportFolder
from diffusion_bench.ui.sweeping import Sweeping
from diffusion_bench.ui.voice.speaking import Speaking
from diffusion_bench.ui.waiting_line import Ticket, Waiting, WaitingLine, waiting_words

LIMIT_S = 20
SPOKEN = {
    "text": "So be it.",
    "voice": "ada",
    "model": "echo",
    "sampler": "ddim",
    "steps": 2,
    "seed": 7,
}


def test_turns_are_in_the_order_of_coming_and_each_is_told_how_many_are_before():
    line, order, told = WaitingLine(), [], {1: [], 2: [], 3: []}
    waiting = {number: threading.Event() for number in told}

    def come(number):
        def on_wait(now):
            told[number].append(now.before)
            waiting[number].set()

        with line.turn(Ticket("speech"), on_wait):
            order.append(number)

    with ThreadPoolExecutor() as pool:
        with line.turn(Ticket("speech"), pytest.fail):
            jobs = []
            for number in told:
                jobs.append(pool.submit(come, number))
                assert waiting[number].wait(LIMIT_S)
        for job in jobs:
            job.result(LIMIT_S)

    assert order == [1, 2, 3]
    assert [told[number][0] for number in told] == [1, 2, 3]
    assert all(places == sorted(places, reverse=True) for places in told.values())


def test_who_gives_up_leaves_the_line():
    line = WaitingLine()

    def give_up(waiting):
        raise InterruptedError

    first, second, third = (Ticket("a picture") for _ in range(3))
    with line.turn(first, pytest.fail), pytest.raises(InterruptedError), line.turn(second, give_up):
        pytest.fail("it was not its turn")
    with line.turn(third, pytest.fail):
        pass


class Watched(Engine):
    """Remembers in which order it has drawn and spoken."""

    def __init__(self):
        super().__init__("cpu")
        self.done = []

    def look(self, *given, **options):  # as `generate` does, too
        found = super().look(*given, **options)
        self.done.append("picture")
        return found

    def speak(self, *given, **options):
        speech = super().speak(*given, **options)
        self.done.append("speech")
        return speech


class App:
    """What the tabs do, as `build` puts it together."""

    def __init__(self, jobs, folder):
        (folder / "outbox").mkdir()
        outbox, reports = Outbox(folder / "outbox"), ReportFolder(folder / "reports")
        self.engine = Watched()
        self.drawing = Drawing(self.engine, jobs, outbox, shared=False)
        self.speaking = Speaking(self.engine, jobs, outbox, shared=False)
        self.planning = Planning(self.engine, jobs, reports, pytest.fail, shared=False)
        self.sweeping = Sweeping(self.engine, jobs, outbox, reports, shared=False)


@pytest.fixture
def app(tmp_path, monkeypatch):
    install_page_world(monkeypatch, tmp_path / "bundled")
    with closing(Jobs()) as jobs:
        yield App(jobs, tmp_path)


def next_wait(views):
    """Return what is said next of a wait."""
    said = (view if isinstance(view, str) else view.status for view in views)
    return next(words for words in said if words and words.startswith("Waiting"))


def test_a_picture_speech_and_a_probe_wait_in_one_line(app):
    with busy_device():
        waiting = []
        for views in (
            app.drawing.draw(VALUES),
            app.speaking.speak(SPOKEN, None),
            app.planning.probe(SMALLEST_SWEEP),
        ):
            assert next_wait(views) == waiting_words(Waiting(len(waiting) or None, "a picture"))
            waiting.append(views)

    picture, speech, probe = (list(views)[-1] for views in waiting)
    assert picture.pictures
    assert speech.audio
    assert "a probe of a few steps" in probe
    assert app.engine.done[:2] == ["picture", "speech"]
    assert set(app.engine.done[2:]) == {"picture"}


def measuring(*given, **options):
    """Stand for a sweep's own process: it waits for the device, then measures without end."""
    yield Progress(kind="waiting", num_cells=1, num_done=0)
    while True:
        yield Progress(kind="heartbeat", num_cells=1, num_done=0)
        time.sleep(0.01)


def test_a_sweep_waits_in_the_line_and_others_wait_for_it(app, monkeypatch):
    monkeypatch.setattr("diffusion_bench.ui.sweeping.run_sweep", measuring)
    waiting = []
    for views in (
        app.sweeping.run(SMALLEST_SWEEP),
        app.drawing.draw(VALUES),
        app.sweeping.run(SMALLEST_SWEEP),
    ):
        assert next_wait(views) == waiting_words(Waiting(len(waiting) or None, "a benchmark"))
        waiting.append(views)

    sweep, picture, last = waiting
    last.close()
    sweep.close()
    assert list(picture)[-1].pictures


def measured_once(*given, **options):
    """Stand for a sweep's own process: a cell has told how long the others take."""
    yield Progress(kind="cell_started", num_cells=2, num_done=1, remaining_s=3601)
    yield from measuring()


def test_who_waits_behind_a_benchmark_is_told_so_and_what_is_left_of_it_and_nothing_else(
    app, monkeypatch
):
    monkeypatch.setattr("diffusion_bench.ui.sweeping.run_sweep", measured_once)
    with closing(app.sweeping.run(SMALLEST_SWEEP.replace("mine", "secret"))) as sweep:
        next(view for view in sweep if view.status and "1 of 2 cells done" in view.status)
        with closing(app.drawing.draw(VALUES)) as views:
            assert next_wait(views) == (
                "Waiting for the device: 1 job is before this one, "
                "a benchmark with about 1 h 00 min left."
            )


def test_the_time_left_of_a_job_goes_by_and_is_not_told_when_it_is_over():
    now_s = 100.0
    ticket = Ticket("a benchmark", clock=lambda: now_s)
    assert ticket.words() == "a benchmark"
    ticket.expect(81.0)
    assert ticket.words() == "a benchmark with about 1 min 20 s left"
    now_s += 58
    assert ticket.words() == "a benchmark with about 20 s left"
    now_s += 60
    assert ticket.words() == "a benchmark"
    ticket.expect(None)
    assert ticket.words() == "a benchmark"


def test_words_say_who_is_first():
    other, one, two = (Waiting(None), Waiting(1, "speech"), Waiting(2, "a picture"))
    assert waiting_words(other) == "Waiting for the device: another job is on it."
    assert waiting_words(one) == "Waiting for the device: 1 job is before this one, speech."
    assert waiting_words(two) == (
        "Waiting for the device: 2 jobs are before this one, the first a picture."
    )
