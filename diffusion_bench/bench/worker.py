"""The process in which the model lives: `python -m diffusion_bench.bench.worker DEVICE`.

It reads one command a line from standard input and writes one event a line to standard output; what
libraries print goes to standard error. It ends when its input ends, at once, even inside a cell:
its parent is gone then, and nobody would read the result.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from queue import SimpleQueue
from typing import Literal, TextIO

from pydantic import TypeAdapter

from diffusion_bench.bench.measure import Measurement, measure
from diffusion_bench.records import ImageRequest, Record


class Command(Record):
    """What the parent asks: measure one cell."""

    request: ImageRequest
    warmups: int
    repeats: int


class Ready(Record):
    """The worker is up. `gpu_uuid` finds the device among NVML's; versions are those in use."""

    event: Literal["ready"] = "ready"
    device: str
    gpu_uuid: str | None
    cuda: str | None
    torch_threads: int


class Loaded(Record):
    """A model was loaded; `load_s` is its cost."""

    event: Literal["loaded"] = "loaded"
    load_s: float


class Repeated(Record):
    """So many timed repeats of the cell are done."""

    event: Literal["repeated"] = "repeated"
    done: int


class Measured(Record):
    """The cell is measured."""

    event: Literal["measured"] = "measured"
    measurement: Measurement


class Failed(Record):
    """The cell, or the worker's start, failed."""

    event: Literal["failed"] = "failed"
    status: Literal["oom", "failed"]
    message: str


Event = Ready | Loaded | Repeated | Measured | Failed
EVENTS: TypeAdapter[Event] = TypeAdapter(Event)


def main(asked_device: str | None) -> None:
    """Serve commands until standard input ends."""
    # Ctrl-C reaches every process of the terminal; what becomes of this one is its parent's choice.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    events = _take_standard_output()
    commands: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_read_commands, args=(commands,), daemon=True).start()
    try:
        ready = _ready(asked_device)
    except ValueError as error:
        _send(events, Failed(status="failed", message=str(error)))
        return
    _send(events, ready)
    worker = Worker(ready.device, events)
    while True:
        worker.obey(Command.model_validate_json(commands.get()))


class Worker:
    """Holds the loaded model and measures cells with it."""

    def __init__(self, device: str, events: TextIO) -> None:
        from diffusion_bench.backends.engine import Engine

        # The parent holds the device's lock for the whole sweep, so `backend` is used without it.
        self._engine = Engine(device)
        self._events = events

    def obey(self, command: Command) -> None:
        """Measure one cell and say what came of it."""
        from diffusion_bench.backends.device import is_out_of_memory

        try:
            _send(self._events, self._measure(command))
        except (RuntimeError, ValueError, MemoryError, OSError) as error:
            status: Literal["oom", "failed"] = "oom" if is_out_of_memory(error) else "failed"
            message = str(error).strip() or type(error).__name__
            _send(self._events, Failed(status=status, message=message[:4000]))

    def _measure(self, command: Command) -> Measured:
        request = command.request
        start_s = time.perf_counter()
        backend, fresh = self._engine.backend(request.model, request.precision)
        if fresh:
            _send(self._events, Loaded(load_s=time.perf_counter() - start_s))
        measurement = measure(
            request,
            backend.generate,
            warmups=command.warmups,
            repeats=command.repeats,
            clock=time.perf_counter,
            on_repeat=lambda done: _send(self._events, Repeated(done=done)),
        )
        return Measured(measurement=measurement)


def _ready(asked_device: str | None) -> Ready:
    import torch

    from diffusion_bench.backends.device import pick_device

    device = pick_device(asked_device)
    uuid = None
    if device.startswith("cuda"):
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    return Ready(
        device=device,
        gpu_uuid=uuid,
        cuda=torch.version.cuda,
        torch_threads=torch.get_num_threads(),
    )


def _take_standard_output() -> TextIO:
    """Return the real standard output and point the process's own at standard error."""
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return events


def _read_commands(commands: SimpleQueue[str]) -> None:
    for line in sys.stdin:
        commands.put(line)
    os._exit(0)


def _send(events: TextIO, event: Event) -> None:
    events.write(event.model_dump_json() + "\n")
    events.flush()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
