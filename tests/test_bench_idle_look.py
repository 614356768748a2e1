"""The half second before a cell: what is read in it, and whose the processor's time was."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from diffusion_bench.bench.idle_look import look_at_rest
from diffusion_bench.hardware.host import processor_s
from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.sensors import NoGpu

# It ends by itself, should the test be killed.
BUSY = "import time\nprint(flush=True)\nend_s = time.time() + 60\nwhile time.time() < end_s: pass"


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that keeps a core busy."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child
        child.kill()


def wait_for_processor(pid: int, seconds: float) -> None:
    """Wait until a process has taken so much of the processor, however busy the machine is."""
    before_s, give_up_s = processor_s([pid]), time.monotonic() + 30
    assert before_s is not None
    while (processor_s([pid]) or 0) - before_s < seconds:
        assert time.monotonic() < give_up_s
        time.sleep(0.01)


def test_the_processor_time_of_every_process_named_counts_and_of_no_other(busy) -> None:
    def rest(seconds: float) -> None:
        time.sleep(seconds)
        wait_for_processor(busy.pid, 0.2)

    with Sampler(NoGpu("no GPU"), 0.05) as sampler:
        ours = look_at_rest(sampler, (busy.pid, os.getpid()), time.perf_counter, rest)
        mine = look_at_rest(sampler, (os.getpid(),), time.perf_counter, time.sleep)
    assert ours.own is not None
    assert mine.own is not None
    assert 0.2 <= ours.own.cpu_s <= 2 * (ours.own.end_s - ours.own.start_s)
    assert mine.own.cpu_s < 0.2, "this process slept"
    assert len(ours.readings) >= 2
    assert ours.own.start_s <= ours.readings[0].at_s <= ours.readings[-1].at_s <= ours.start_s


def test_a_process_that_is_gone_tells_no_time(busy) -> None:
    with Sampler(NoGpu("no GPU"), 0.05) as sampler:

        def rest(seconds: float) -> None:
            time.sleep(seconds)
            busy.kill()
            busy.wait()

        look = look_at_rest(sampler, (busy.pid,), time.perf_counter, rest)
    assert look.own is None
    assert look.readings
