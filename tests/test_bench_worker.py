"""The worker process: it says only events, dies with its parent, and no noise hangs it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from processes import has_ended, result_of, wait_until
from warm_workers import WarmStart

from diffusion_bench.bench import worker_process
from diffusion_bench.bench.measure import Effort
from diffusion_bench.bench.worker import Worker
from diffusion_bench.bench.worker_messages import (
    EVENTS,
    Alive,
    Command,
    Event,
    Failed,
    Loaded,
    Measured,
    Ready,
    Repeated,
)
from diffusion_bench.bench.worker_process import WorkerFailed, WorkerProcess
from diffusion_bench.records import ImageRequest

ROOT = Path(__file__).parents[1]
LIMIT_S = 60.0

NOISE = """
import os, sys, threading, time
def chatter():
    while "torch" not in sys.modules:
        time.sleep(0.01)
    while True:
        print("a library says hello")
        os.write(1, b"so does its C code\\n")
        time.sleep(0.01)
threading.Thread(target=chatter, daemon=True).start()
"""

ABORT_LATER = """
import os, pathlib, threading, time
def abort():
    while not pathlib.Path({flag!r}).exists():
        time.sleep(0.01)
    os.abort()
threading.Thread(target=abort, daemon=True).start()
"""

GARBAGE_LATER = """
import os, pathlib, sys, threading, time
def spoil(pipe=os.dup(1)):
    while not pathlib.Path({flag!r}).exists():
        time.sleep(0.01)
    os.write(pipe, b'{{"event": "measured", "\\xff\\n')
threading.Thread(target=spoil, daemon=True).start()
"""

# A parent that waits for ever in the middle of a cell of a thousand repeats.
PARENT = """
import sys, time
from diffusion_bench.bench.measure import Effort
from diffusion_bench.bench.worker import Command, Repeated
from diffusion_bench.bench.worker_process import WorkerProcess
from diffusion_bench.records import ImageRequest
with WorkerProcess("cpu") as worker:
    list(worker.come_up())
    request = ImageRequest(prompt="a cat", steps=1000)
    short = request.model_copy(update={"steps": 4})
    worker.tell(Command(request=short, effort=Effort(warmups=1, repeats=1)))
    while not isinstance(worker.hear(60), Repeated):
        pass
    worker.tell(Command(request=request, effort=Effort(warmups=1, repeats=1000)))
    print(worker.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that has the worker run a program before anything else."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return lambda program: (tmp_path / "sitecustomize.py").write_text(program) and None


@pytest.fixture
def warm(warm_start: WarmStart, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worker of a test start warm: how it starts is not what the test is about."""
    warm_start.serve_to(monkeypatch)


def ask(**settings: object) -> Command:
    request = ImageRequest(**{"prompt": "a cat", "steps": 2, **settings})
    return Command(request=request, effort=Effort(warmups=1, repeats=2))


def hear_until(worker: WorkerProcess, *kinds: type) -> list[Event]:
    """Return the events up to one of those kinds; fail where none comes."""
    heard: list[Event] = []
    give_up_at = time.monotonic() + LIMIT_S
    while not heard or not isinstance(heard[-1], kinds):
        assert time.monotonic() < give_up_at, heard
        event = worker.hear(0.1)
        if event is not None:
            heard.append(event)
    return heard


def test_a_cell_is_measured_and_what_libraries_print_corrupts_nothing(
    at_start: Callable[[str], None],
) -> None:
    at_start(NOISE)
    with WorkerProcess("cpu") as worker:
        ready = result_of(worker.come_up())
        assert (ready.device, ready.gpu_uuid, ready.torch_threads) == ("cpu", None, 1)
        worker.tell(ask())
        loaded, warm, *repeats, measured = hear_until(worker, Measured, Failed)
        assert isinstance(loaded, Loaded)
        assert loaded.load_s > 0
        assert warm == Alive()
        assert repeats == [Repeated(done=1), Repeated(done=2)]
        assert isinstance(measured, Measured), measured
        timed = measured.measurement.timed
        assert len(timed) == 2
        assert all(0 < call.wall_s <= call.end_s - call.start_s for call in timed)
        assert timed[-1].end_s <= time.perf_counter()  # the two processes share the clock
        assert timed[0].end_s <= timed[1].start_s
        worker.tell(ask(steps=1))
        assert not any(isinstance(event, Loaded) for event in hear_until(worker, Measured))
        assert "hello" in worker.last_words() or "C code" in worker.last_words()
    assert has_ended(worker.pid)


@pytest.mark.usefixtures("warm")
def test_what_the_environment_sets_of_kernels_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each makes a machine slower, or faster and less exact, and is in none of torch's switches."""
    told = ("PYTORCH_MPS_FAST_MATH", "CUDA_LAUNCH_BLOCKING", "NVIDIA_TF32_OVERRIDE")
    amds = "TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL"
    for name in (*told, "ATEN_CPU_CAPABILITY"):
        monkeypatch.setenv(name, "default" if "CPU" in name else "1")
    monkeypatch.delenv(amds, raising=False)
    with WorkerProcess("cpu") as worker:
        flags = result_of(worker.come_up()).flags
    assert [flags[name] for name in told] == ["1"] * 3
    assert (flags["ATEN_CPU_CAPABILITY"], amds in flags) == ("default", False)


@pytest.mark.usefixtures("warm")
def test_what_is_no_event_is_a_failure_and_not_a_silence(
    at_start: Callable[[str], None], tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    at_start(GARBAGE_LATER.format(flag=str(flag)))
    with WorkerProcess("cpu") as worker:
        assert isinstance(result_of(worker.come_up()), Ready)
        flag.touch()
        (failed,) = hear_until(worker, Failed)
        assert isinstance(failed, Failed)
        assert failed.status == "failed"
        assert 'the worker wrote what is no event: \'{"event": "measured"' in failed.message
        worker.tell(ask(model="nope"))  # the pipe is still drained
        assert "unknown model 'nope'" in hear_until(worker, Failed)[-1].message


def test_a_worker_that_cannot_start_says_why(at_start: Callable[[str], None]) -> None:
    for program, words in (
        ("import os\nos.write(1, b'banner\\n')", "wrote what is no event: 'banner"),
        (
            "import os, sys\nsys.stderr.write('no luck\\n\\n')\nsys.stderr.flush()\nos._exit(3)",
            "the worker ended with code 3. Its last words: no luck",
        ),
        ("import os\nos._exit(4)", "the worker ended with code 4. It printed nothing."),
    ):
        at_start(program)
        with WorkerProcess("cpu") as worker, pytest.raises(WorkerFailed) as caught:
            result_of(worker.come_up())
        assert words in str(caught.value)


@pytest.mark.usefixtures("warm")
def test_a_device_that_is_not_here_is_told_by_the_worker() -> None:
    with (
        WorkerProcess("cuda:99") as worker,
        pytest.raises(WorkerFailed, match=r"device .cuda:99. cannot be used here; usable: .*cpu"),
    ):
        result_of(worker.come_up())


@pytest.mark.skipif(sys.platform == "win32", reason="there it is so without a script")
def test_a_worker_is_who_draws_and_not_the_python_that_starts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows a virtual environment's python.exe starts another one, which does the work."""
    starter = tmp_path / "python"
    starter.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\nexit $?\n')
    starter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(starter))
    with WorkerProcess("cpu") as worker:
        started = psutil.Process(worker.pid)
        result_of(worker.come_up())
        (at_work,) = started.children()
        assert worker.pid == at_work.pid
        at_work.kill()  # as Windows does, where it holds both in one job
        hear_until(worker, Failed)


@pytest.mark.usefixtures("warm")
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_signals_to_end_are_the_parents_business_and_a_kill_is_told() -> None:
    """They reach the worker too; that must not look like a cell that failed."""
    # Under a shell's `&` these tests would ignore it already, and the worker with them.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with WorkerProcess("cpu") as worker:
        result_of(worker.come_up())
        signal.signal(signal.SIGINT, before)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(worker.pid, number)
        worker.tell(ask(model="nope"))
        assert "unknown model 'nope'" in hear_until(worker, Failed)[-1].message
        os.kill(worker.pid, signal.SIGKILL)
        assert wait_until(lambda: has_ended(worker.pid), 5)
        worker.tell(ask())  # a broken pipe is not the parent's end
        (failed,) = hear_until(worker, Failed)
        assert failed.status == "crashed"  # not "oom": the system has counted no such kill
        assert "was killed from outside; the system counts no kill for want" in failed.message


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("before", "after", "status", "words"),
    [
        (7, 8, "oom", "was killed by the system for want of memory"),
        (7, 7, "crashed", "was killed from outside"),
        (None, None, "crashed", "this system does not tell"),
    ],
)
def test_only_a_kill_that_the_system_counted_is_for_want_of_memory(
    before: int | None,
    after: int | None,
    status: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = iter([before, after])
    monkeypatch.setattr(worker_process, "_oom_kills", lambda: next(counts))
    with WorkerProcess("cpu") as worker:
        os.kill(worker.pid, signal.SIGKILL)
        (failed,) = hear_until(worker, Failed)
        assert isinstance(failed, Failed)
        assert failed.status == status
        assert words in failed.message


@pytest.mark.skipif(sys.platform != "linux", reason="Linux counts them")
def test_linux_tells_how_many_processes_it_killed_for_want_of_memory() -> None:
    assert worker_process._oom_kills() is not None


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_worker_dies_with_its_parent_in_the_middle_of_a_long_cell(warm_start: WarmStart) -> None:
    program = warm_start.program() + PARENT
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        busy = psutil.Process(pid)
        before_s = busy.cpu_times().user
        # It is drawing: the model was loaded by the cell before.
        assert wait_until(lambda: busy.cpu_times().user > before_s + 0.2, LIMIT_S)
        parent.kill()
        parent.wait()
        assert wait_until(lambda: has_ended(pid), 3)


@pytest.mark.parametrize(
    "event",
    [
        Ready(
            pid=7,
            device="cpu",
            gpu_uuid=None,
            cuda=None,
            torch_threads=1,
            flags={"mkldnn": "True"},
        ),
        Loaded(load_s=1.5, attention="AttnProcessor2_0"),
        Repeated(done=3),
        Failed(status="oom", message="é\n" * 10, stage="decoder", asked_mib=1.5),
    ],
)
def test_an_event_is_one_line_and_comes_back(event: Event) -> None:
    line = event.model_dump_json()
    assert "\n" not in line
    assert EVENTS.validate_json(line) == event


NO_THREAD_LATER = """
import os, pathlib, threading, time
def end():
    while not pathlib.Path({flag!r}).exists():
        time.sleep(0.01)
    os.write(2, b"\\nlibgomp: Thread creation failed: Resource temporarily unavailable\\n")
    os._exit(1)
threading.Thread(target=end, daemon=True).start()
"""


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("end", [NO_THREAD_LATER, ABORT_LATER], ids=["openmp", "abort"])
def test_an_end_under_a_cap_of_memory_is_out_of_memory_and_without_one_a_crash(
    end: str, at_start: Callable[[str], None], tmp_path: Path
) -> None:
    """OpenMP that finds no stack ends the process: a search for a limit met it below the edge."""
    for cap_mib, status in ((4000.0, "oom"), (None, "crashed")):
        flag = tmp_path / status
        at_start(end.format(flag=str(flag)))
        with WorkerProcess("cpu", cap_mib) as worker:
            result_of(worker.come_up())
            flag.touch()
            failed = hear_until(worker, Failed, Measured)[-1]
            assert isinstance(failed, Failed)
            assert failed.status == status, failed.message
            assert ("under the cap of 4000 MiB" in failed.message) == (cap_mib is not None)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA")
def test_a_cap_that_leaves_no_room_to_load_is_out_of_memory() -> None:
    """It is met in an import, before a model is at work."""
    with WorkerProcess("cpu", 600.0) as worker:
        result_of(worker.come_up())
        worker.tell(ask())
        failed = hear_until(worker, Failed, Measured)[-1]
        assert isinstance(failed, Failed)
        assert failed.status == "oom", failed.message


@pytest.mark.parametrize(
    ("is_capped", "error", "status"),
    [
        (True, RuntimeError("can't start new thread"), "oom"),
        (False, RuntimeError("can't start new thread"), "failed"),
        (True, ValueError("no such size"), "failed"),
    ],
)
def test_a_thread_without_a_stack_is_out_of_memory_under_a_cap_only(
    is_capped: bool, error: Exception, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Worker, command: Command) -> None:
        raise error

    monkeypatch.setattr(Worker, "_measure", fail)
    events = io.StringIO()
    Worker("cpu", events, is_capped=is_capped).obey(ask())
    assert EVENTS.validate_json(events.getvalue()).status == status


@pytest.mark.parametrize(("is_at_cap", "status"), [(True, "oom"), (False, "failed")])
def test_what_a_library_cannot_do_at_a_cap_of_memory_is_out_of_memory(
    is_at_cap: bool, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Worker, command: Command) -> None:
        raise RuntimeError("could not create a primitive")  # oneDNN's only words

    monkeypatch.setattr(Worker, "_measure", fail)
    monkeypatch.setattr("diffusion_bench.backends.device.is_at_memory_cap", lambda: is_at_cap)
    events = io.StringIO()
    Worker("cpu", events, is_capped=True).obey(ask())
    assert EVENTS.validate_json(events.getvalue()).status == status


@pytest.mark.parametrize(
    ("error", "refused", "status"),
    [
        (RuntimeError("FIND was unable to find an engine to execute this computation"), 1, "oom"),
        (
            RuntimeError("FIND was unable to find an engine to execute this computation"),
            0,
            "failed",
        ),
        (ValueError("no such size"), 1, "failed"),
    ],
)
@pytest.mark.parametrize("device", ["cuda:1", "cuda:0,cuda:1"])
def test_what_cudnn_cannot_do_where_the_card_refused_memory_is_out_of_memory(
    device: str,
    error: Exception,
    refused: int,
    status: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """torch tries a convolution's engines in turn, and lets go of the error of each."""

    def fail(self: Worker, command: Command) -> None:
        raise error

    counts = {"cuda:0": {}, "cuda:1": {"num_ooms": refused}}  # a card not used yet tells nothing
    monkeypatch.setattr(Worker, "_measure", fail)
    monkeypatch.setattr("torch.cuda.memory_stats", counts.__getitem__)
    events = io.StringIO()
    Worker(device, events).obey(ask())
    assert EVENTS.validate_json(events.getvalue()).status == status


def test_a_file_of_the_working_folder_is_none_of_the_workers_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("queue", "torch"):
        (tmp_path / f"{module}.py").write_text("raise ValueError('not this one')")
    monkeypatch.chdir(tmp_path)
    with WorkerProcess("cpu") as worker:
        assert isinstance(result_of(worker.come_up()), Ready)


CHILD_WITH_A_PIPE = """
import subprocess
subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
"""


@pytest.mark.usefixtures("warm")
@pytest.mark.skipif(sys.platform == "win32", reason="no command sleep")
@pytest.mark.timeout(50)
def test_a_worker_is_ended_also_while_a_child_of_it_has_its_standard_error(
    at_start: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a compiler has that torch.compile started."""
    monkeypatch.setattr(worker_process, "DRAIN_LIMIT_S", 0.2)
    at_start(CHILD_WITH_A_PIPE)
    with WorkerProcess("cpu") as worker:
        result_of(worker.come_up())
        children = psutil.Process(worker.pid).children()
    assert has_ended(worker.pid)
    assert children
    for child in children:
        assert not has_ended(child)
        child.kill()


@pytest.mark.usefixtures("warm")
@pytest.mark.timeout(50)
def test_a_worker_that_no_signal_ends_is_left_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system lets no process go that waits in a driver which hangs."""
    with WorkerProcess("cpu") as worker:
        result_of(worker.come_up())
        with monkeypatch.context() as patch:
            for limit in ("END_LIMIT_S", "DRAIN_LIMIT_S"):
                patch.setattr(worker_process, limit, 0.2)
            patch.setattr(worker._process, "kill", lambda: None)
            worker.end()
        assert not has_ended(worker.pid)
    assert has_ended(worker.pid)
