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
from diffusion_bench.ui.drawing import Drawing
from diffusion_bench.ui.jobs import Jobs
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.plans import SMALLEST_SWEEP, Planning
from diffusion_bench.ui.report_files import ReportFolder
from diffusion_bench.ui.speaking import Speaking
from diffusion_bench.ui.sweeping import Sweeping
from diffusion_bench.ui.waiting_line import WaitingLine, waiting_words

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
        def on_wait(before):
            told[number].append(before)
            waiting[number].set()

        with line.turn(on_wait):
            order.append(number)

    with ThreadPoolExecutor() as pool:
        with line.turn(pytest.fail):
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

    def give_up(before):
        raise InterruptedError

    with line.turn(pytest.fail), pytest.raises(InterruptedError), line.turn(give_up):
        pytest.fail("it was not its turn")
    with line.turn(pytest.fail):
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
            assert next_wait(views) == waiting_words(len(waiting) or None)
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
        assert next_wait(views) == waiting_words(len(waiting) or None)
        waiting.append(views)

    sweep, picture, last = waiting
    last.close()
    sweep.close()
    assert list(picture)[-1].pictures


def test_words_say_who_is_first():
    assert waiting_words(None) == "Waiting for the device: another job is on it."
    assert waiting_words(1) == "Waiting for the device: 1 job is before this one."
    assert waiting_words(2) == "Waiting for the device: 2 jobs are before this one."
