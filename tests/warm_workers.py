"""Workers that find torch and diffusers imported: forked from a process that has them.

Importing takes a worker four to six seconds of a processor, and the suite starts dozens. What runs
in the fork is `bench.worker.main` itself, in a process of its own, with its own memory, pipes and
end. That a worker starts from nothing is what some tests of `test_bench_worker.py` and
`test_bench_resume.py` see to: they take no warm ones.

So do the other programs that `warm_python.py` runs.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from processes import has_ended

ROOT = Path(__file__).parents[1]
STARTED = "import sys; from tests.warm_workers import serve; serve(int(sys.argv[1]))"
# For a program that starts workers itself, and is ended together with them.
START_WARM = (
    "import sys; sys.path.append({tests!r}); import warm_workers; warm_workers.use({path!r})"
)
LARGEST_MESSAGE = 1 << 20
ENDING_S = 30.0
_started: list[psutil.Process] = []  # by more than their numbers, which are used again


def running() -> list[psutil.Process]:
    """Return the warm workers that have not ended, the oldest first."""
    return [process for process in _started if not has_ended(process)]


def use(path: str) -> None:
    """Have this process start its workers warm, at another process's `WarmStart`."""
    start = WarmStart()
    start.join(path)
    start.serve_to(pytest.MonkeyPatch())


class WarmStart:
    """The process that workers are forked from; started when the first one is asked for."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()

    def join(self, path: str) -> None:
        """Take the workers from the process that listens there, which another one started."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(path)

    def serve_to(self, patch: pytest.MonkeyPatch) -> None:
        """Let the workers of this process start here, where Linux can fork them."""
        from diffusion_bench.bench import worker_process

        if sys.platform == "linux":
            popen = SimpleNamespace(Popen=self.popen, PIPE=subprocess.PIPE)
            patch.setattr(worker_process, "subprocess", popen)

    def program(self) -> str:
        """Return the first line of a program whose workers are to start warm, where they can."""
        if sys.platform != "linux":
            return ""
        with self._lock:
            self._start()
        return START_WARM.format(tests=str(ROOT / "tests"), path=self._path()) + "\n"

    def at_work(self) -> list[psutil.Process]:
        """Return the workers of all programs: each has one that minds it for a parent."""
        assert self._server is not None
        minding = psutil.Process(self._server.pid).children()
        found = []
        for each in minding:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                found += [one for one in each.children() if not has_ended(one)]
        return found

    def popen(
        self, command: list[str], *, env: dict[str, str], cwd: str | Path = ".", **_: Any
    ) -> WarmWorker:
        """Start a worker, or another program, as `subprocess.Popen` does for `WorkerProcess`."""
        with self._lock:
            self._start()
            assert self._socket is not None
            ours = [os.pipe(), os.pipe(), os.pipe(), os.pipe()]
            (asked, to_worker), (output, told), (errors, complained), (ended, end) = ours
            told_to = {"command": command, "environment": env, "folder": os.path.abspath(cwd)}
            message = json.dumps(told_to).encode()
            theirs = [asked, told, complained, end]
            socket.send_fds(self._socket, [message], theirs)
            for pipe in theirs:
                os.close(pipe)
            worker = WarmWorker(to_worker, output, errors, ended)
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended already
                _started.append(psutil.Process(worker.pid))
            return worker

    def close(self) -> None:
        """End the process; workers that are left end with their input."""
        if self._server is not None and self._socket is not None:
            self._socket.close()
            self._server.wait(timeout=60)
            assert self._folder is not None
            self._folder.cleanup()
            self._server = self._socket = None

    def _path(self) -> str:
        assert self._folder is not None
        return f"{self._folder.name}/start"

    def _start(self) -> None:
        if self._socket is not None:
            return
        self._folder = tempfile.TemporaryDirectory(prefix="warm-")  # a short path, as sockets need
        theirs = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.bind(self._path())
        theirs.listen()
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONIOENCODING": "utf-8",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        }
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-c", STARTED, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
            )
        self.join(self._path())


class WarmWorker:
    """What `WorkerProcess` uses of a `subprocess.Popen`."""

    def __init__(self, to_worker: int, output: int, errors: int, ended: int) -> None:
        self.stdin = os.fdopen(to_worker, "w", encoding="utf-8")
        self.stdout = os.fdopen(output, encoding="utf-8", errors="replace")
        self.stderr = os.fdopen(errors, encoding="utf-8", errors="replace")
        self._end = os.fdopen(ended, encoding="ascii")
        self._lock = threading.Lock()
        told = self._end.readline()
        if not told:
            for pipe in (self.stdin, self.stdout, self.stderr, self._end):
                pipe.close()
            raise RuntimeError("what forks the workers has ended; its last words are above")
        self.pid = int(told)
        self.returncode: int | None = None

    def kill(self) -> None:
        """Kill the worker, if it has not ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def poll(self) -> int | None:
        """Return the exit code as `wait` does, `None` where the worker has not ended."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, that of a signal negative, when the worker has ended."""
        with self._lock:
            if self.returncode is None:
                if timeout is not None and not select.select([self._end], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired("a warm worker", timeout)
                self.returncode = int(self._end.readline())
                self._end.close()
            return self.returncode


def serve(number: int) -> None:
    """Import what workers need, then fork one for every message, until who came first leaves."""
    _import_all()
    asking = [socket.socket(fileno=number)]
    while True:
        for one in select.select(asking, [], [])[0]:
            if one is asking[0]:
                asking.append(one.accept()[0])
            elif not _answer(one, asking):
                if one is asking[1]:
                    os._exit(0)  # taking down all that was imported would take seconds
                asking.remove(one)
                one.close()
        _bury()


def _answer(one: socket.socket, asking: list[socket.socket]) -> bool:
    """Fork the worker that is asked for; return whether any is, or the other end is closed."""
    message, pipes, _, _ = socket.recv_fds(one, LARGEST_MESSAGE, 4)
    if message and os.fork() == 0:
        for each in asking:
            each.close()
        _mind(json.loads(message), pipes)
    for pipe in pipes:
        os.close(pipe)
    return bool(message)


def _import_all() -> None:
    """Import by doing: load a model, which no list of modules would keep up with."""
    from diffusion_bench.backends import images  # noqa: F401
    from diffusion_bench.backends.engine import Engine
    from diffusion_bench.backends.voice import synthesis  # noqa: F401
    from diffusion_bench.bench import worker  # noqa: F401
    from diffusion_bench.records import BUNDLED_MODEL

    Engine("cpu").backend(BUNDLED_MODEL, "fp32")
    # Threads of loading may still be on their way out, on a busy machine.
    give_up_s = time.monotonic() + ENDING_S
    while (tasks := len(os.listdir("/proc/self/task"))) > 1 and time.monotonic() < give_up_s:
        time.sleep(0.05)
    assert tasks == 1, f"{tasks} threads: a fork would have one of them alone"
    # A worker collects garbage at each load: its own, else it looks at all, and so copies it.
    gc.collect()
    gc.freeze()


def _mind(asked: dict[str, Any], pipes: list[int]) -> None:
    """Fork the worker, tell its id, wait for it, and tell how it ended."""
    worker = os.fork()
    if worker == 0:
        os.close(pipes[3])
        _be_worker(asked, pipes[:3])
    for pipe in pipes[:3]:
        os.close(pipe)
    with contextlib.suppress(BrokenPipeError):  # who asked for it is gone
        os.write(pipes[3], f"{worker}\n".encode())
        _, status = os.waitpid(worker, 0)
        os.write(pipes[3], f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _be_worker(asked: dict[str, Any], pipes: list[int]) -> None:
    for number, pipe in enumerate(pipes):
        os.dup2(pipe, number)
        os.close(pipe)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])  # a model may be named by a path from there
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for folder in asked["environment"].get("PYTHONPATH", "").split(os.pathsep):
        if (
            folder and (Path(folder) / "sitecustomize.py").exists()
        ):  # it is run first, as by Python itself
            runpy.run_path(f"{folder}/sitecustomize.py")
    code: Any = 0
    try:
        _do(asked["command"])
    except SystemExit as ended:
        code = ended.code or 0
    except Exception:  # noqa: BLE001  (whatever it is, the worker ends with it)
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _do(command: list[str]) -> None:
    from diffusion_bench.bench.worker import main

    if main.__module__ in command:
        device, cap = command[-2:]
        main(device or None, float(cap) if cap else None)
    else:
        from warm_python import be

        be(command[1:])


def _bury() -> None:
    """Take in the children that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
