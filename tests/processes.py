"""Processes to look at, and waiting for them without sleeping longer than they take."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psutil

T = TypeVar("T")
NOBODY = 65534


@contextmanager
def idle_child() -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that is up, and lives until its input ends."""
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


@contextmanager
def as_nobody() -> Iterator[None]:
    """Drop what root may do: root reads every file."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def result_of(work: Generator[object, None, T]) -> T:
    """Run a generator to its end; return what it returns."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def has_ended(process: int | psutil.Process) -> bool:
    """Return whether a process is gone, or a zombie that nobody has waited for.

    A number may be that of another process by then.
    """
    try:
        found = psutil.Process(process) if isinstance(process, int) else process
        return not found.is_running() or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition: Callable[[], bool], limit_s: float) -> bool:
    """Return whether the condition came to hold within the limit."""
    give_up_at = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.02)
    return True
