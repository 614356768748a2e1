"""The bundled model in a process of its own, which stops after every few steps until told to go on.

Not a benchmark itself: `sampling_blocks.py` changes something between the blocks of one picture.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from diffusion_bench.backends.engine import Engine
from diffusion_bench.bench.measure import WARMUP_STEPS
from diffusion_bench.records import ImageRequest, Step

REQUEST = ImageRequest(prompt="a cat on a blue background")
WAIT_S = 600.0  # for the device
GO_ON = "go on"


def draw(pipe: Connection, block_steps: int) -> None:
    """Draw a picture of as many blocks as told, again and again, waiting after each block.

    Runs in the model's process, until it is told 0 or its parent is gone.
    """
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is its parent's to answer
    engine = Engine("cpu")
    engine.generate(REQUEST.model_copy(update={"steps": WARMUP_STEPS}), wait_s=WAIT_S)
    start = (time.perf_counter(), time.process_time())

    def step_ended(step: Step) -> None:
        nonlocal start
        if (step.index + 1) % block_steps == 0:
            now_s, cpu_s = time.perf_counter(), time.process_time()
            pipe.send((start[0], now_s, cpu_s - start[1]))
            pipe.recv()
            start = (time.perf_counter(), time.process_time())

    with suppress(EOFError, BrokenPipeError):
        pipe.send(torch.get_num_threads())
        while blocks := pipe.recv():
            request = REQUEST.model_copy(update={"steps": blocks * block_steps})
            engine.generate(request, step_ended, wait_s=WAIT_S)


class Model:
    """The model in a process of its own. Use as a context manager: leaving it ends the process."""

    def __init__(self, block_steps: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=draw, args=(theirs, block_steps), daemon=True)
        self._process.start()
        theirs.close()  # or its end would not be noticed
        self.torch_threads: int = self._hear()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(10)
        self._process.kill()
        self._process.join()

    def begin(self, blocks: int) -> None:
        """Begin a picture of so many blocks and one more before them, which is to warm up."""
        self._tell(blocks + 1)
        self._hear()

    def block(self) -> tuple[float, float, float]:
        """Return start and end of the next block on `time.perf_counter`, and its processor time."""
        self._tell(GO_ON)
        found: tuple[float, float, float] = self._hear()
        return found

    def end(self) -> None:
        """Let the picture end after its last block."""
        self._tell(GO_ON)

    def _tell(self, what: int | str) -> None:
        with suppress(OSError):  # a process that has ended is found out by `_hear`
            self._pipe.send(what)

    def _hear(self) -> Any:
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            raise RuntimeError("the model's process has ended; its own words are above") from None
