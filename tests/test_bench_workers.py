"""One worker at a time: a hang ends in time, a crash is told, and waiting costs next to nothing."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from processes import has_ended
from warm_workers import WarmStart

from diffusion_bench.backends.device import CACHE_VARIABLE
from diffusion_bench.bench import workers as workers_module
from diffusion_bench.bench.measure import Effort
from diffusion_bench.bench.worker_messages import Failed, Loaded, Measured
from diffusion_bench.bench.workers import Workers
from diffusion_bench.records import ImageRequest

pytestmark = [
    pytest.mark.usefixtures("warm_workers"),
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
]

EFFORT = Effort(warmups=1, repeats=1)
LIMIT_S = 120.0


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory, warm_workers: WarmStart) -> Iterator[Workers]:
    """For the tests of this file, which take up the worker where the one before left it."""
    with pytest.MonkeyPatch.context() as patch, Workers("cpu") as started:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield started


def ask(**settings: object) -> ImageRequest:
    return ImageRequest(**{"prompt": "a cat", "steps": 2, **settings})


def test_a_worker_that_hangs_is_ended_within_the_limit_and_that_is_a_result(
    workers: Workers,
) -> None:
    pid = workers.pid
    os.kill(pid, signal.SIGSTOP)
    start_s = time.monotonic()
    *nothing, failed = workers.measure(ask(), EFFORT, 0.7)
    assert 0.7 <= time.monotonic() - start_s < 5
    assert set(nothing) == {None}
    assert isinstance(failed, Failed)
    assert failed.status == "timeout"
    assert failed.message == "no call or loading ended within 0.7 s (time_limit_s)"
    assert has_ended(pid)


def test_the_next_cell_has_a_new_worker_and_a_shape_is_new_to_it_once(workers: Workers) -> None:
    events = [event for event in workers.measure(ask(), EFFORT, LIMIT_S) if event is not None]
    assert isinstance(events[0], Loaded)
    assert isinstance(events[-1], Measured), events[-1]
    assert workers.attention == events[0].attention != ""
    shapes = [ask(), ask(steps=9), ask(batch=2), ask(guidance_scale=1.0), ask(batch=2, seed=4)]
    assert [workers.is_new_shape(shape) for shape in shapes] == [True, False, True, True, False]


def test_waiting_for_a_worker_burns_no_core_and_a_crash_names_its_signal(workers: Workers) -> None:
    pid = workers.pid
    began_s, cpu_s = time.monotonic(), time.process_time()
    crashed_after_s = None
    failed = None
    for event in workers.measure(ask(steps=1000), EFFORT, LIMIT_S):
        failed = event
        if crashed_after_s is None and time.monotonic() - began_s >= 2.0:
            crashed_after_s = time.process_time() - cpu_s
            os.kill(pid, signal.SIGSEGV)
    assert crashed_after_s is not None
    assert crashed_after_s < 0.3
    assert isinstance(failed, Failed)
    assert (failed.status, failed.stage, failed.asked_mib) == ("crashed", None, None)
    assert f"crashed with signal {signal.SIGSEGV.value}" in failed.message
    assert has_ended(pid)
    assert workers.attention is None
    assert workers.is_new_shape(ask())  # what a worker that is gone has seen counts no more


def test_a_worker_that_ended_with_nothing_to_do_is_no_cells_result(workers: Workers) -> None:
    for _ in workers.bring_up():
        pass
    pid = workers.pid
    os.kill(pid, signal.SIGKILL)
    assert workers._process is not None
    while not workers._process.has_ended:  # a warm one's end is told by who forked it
        time.sleep(0.01)
    for _ in workers.bring_up():  # as before a cell
        pass
    assert workers.pid != pid
    assert not has_ended(workers.pid)


def test_a_pause_of_all_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-Z stops who listens as well, and so does a machine that goes to sleep."""
    turns = iter([0.0, 0.2, 0.4, 4000.0, 4000.2, *(4000.0 + 0.2 * turn for turn in range(2, 999))])
    said = iter([None, None, None, None, Measured.model_construct(judging=False)])
    listening = Workers("cpu")
    listening._process = SimpleNamespace(hear=lambda _: next(said))  # type: ignore[assignment]
    monkeypatch.setattr(workers_module, "time", SimpleNamespace(monotonic=lambda: next(turns)))
    *_, last = listening.events(1800.0)
    assert isinstance(last, Measured), last
