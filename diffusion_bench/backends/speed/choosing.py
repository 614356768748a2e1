"""`auto`: which way of running a model is fastest here, found by trying them for some seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from diffusion_bench.backends.loading import load_pipeline
from diffusion_bench.backends.model_facts import weights_stamp
from diffusion_bench.backends.speed.candidates import (
    candidates,
    free_memory_bytes,
    free_once_unloaded_bytes,
    needed_for_memory,
    same_need,
)
from diffusion_bench.backends.speed.remembered import Choice, recall, remember
from diffusion_bench.backends.split_model import check_split_speed
from diffusion_bench.hardware.machine import cpu_name, installed_version
from diffusion_bench.records import Generation, ImageRequest, ModelDevice, Speed, digest
from diffusion_bench.records.image import STRENGTH

MIB = 2**20
STEPS = 4  # of a picture that is tried
CALLS = 5
TIME_S = 4.0  # for the calls of one speed; its first is not cut short
LIMIT = 2.0  # mean difference of 255 up to which two pictures count as equal
WORTH = 0.97  # of plain's time: a smaller gain is noise
SCHEDSTAT = Path("/proc/thread-self/schedstat")
WORTH_BF16 = 0.9  # of the best fp32's: less exact numbers must earn their place


class Drawer(Protocol):
    """A loaded model; `ImageBackend` is one."""

    def generate(self, request: ImageRequest) -> Generation:
        """Draw a request."""


Load = Callable[[ImageRequest], Drawer]
OnCall = Callable[[], None]


def ignore_call() -> None:
    """Do nothing: the callback of a caller who waits for a trial however long it is."""


class Chosen(NamedTuple):
    """A speed, and what to tell about how it came about."""

    speed: Speed
    notes: tuple[str, ...]


def choose(
    request: ImageRequest,
    device: str,
    *,
    load: Load,
    unload: Callable[[], None],
    revision: str | None = None,
    held: Speed | None = None,
    on_call: OnCall = ignore_call,
) -> Chosen:
    """Return the fastest speed for requests like this one, as remembered or measured now.

    `load` returns the model as the speed of a request wants it, and lets go of the one before;
    `unload` lets go of the last. `revision` is the commit of a hub model that is drawn with. `held`
    is the speed at which this very model is loaded now, if it is. `on_call` hears of each call and
    each loading of a trial. Raises ValueError for several cards.
    """
    check_split_speed(ModelDevice.parse(device).cards, request.speed)
    key = choice_key(request, device)
    choice, complaint = recall(key)
    if choice is not None and not _suits_now(choice, device, held, unload):
        choice, complaint = None, "there is other free memory than when it was chosen"
    if choice is not None:
        return Chosen(choice.parsed(), (_as_remembered(choice),))
    began_s = time.perf_counter()
    unload()  # what is loaded now takes memory that the trial should find free
    speeds, (from_bytes, below_bytes) = speeds_to_try(request, device, revision)
    on_call()
    choice = measure_speeds(request, speeds, load, on_call).model_copy(
        update={
            "free_from_mib": from_bytes / MIB,
            "free_below_mib": None if math.isinf(below_bytes) else below_bytes / MIB,
        }
    )
    unload()
    notes = [_why(choice, time.perf_counter() - began_s)]
    if complaint:
        notes.insert(0, f"{complaint}; measured anew")
    if (unkept := remember(key, choice)) is not None:
        notes.append(f"the choice is not remembered: {unkept}")
    return Chosen(choice.parsed(), tuple(notes))


def speeds_to_try(
    request: ImageRequest, device: str, revision: str | None = None
) -> tuple[tuple[Speed, ...], tuple[float, float]]:
    """Return the speeds to compare, and the bounds of free bytes within which they are these.

    First the one that others are compared with: diffusers' own, with what the request needs to fit
    the memory.
    """
    free_bytes = free_memory_bytes(device)  # with no model loaded, as `_suits_now` asks
    pipeline = load_pipeline(request.model, request.precision, revision)
    base = needed_for_memory(pipeline, request, device, free_bytes)
    speeds = (base, *candidates(base, device, request.precision))
    return speeds, same_need(pipeline, request, device, free_bytes)


def _suits_now(choice: Choice, device: str, held: Speed | None, unload: Callable[[], None]) -> bool:
    """Return whether a choice suits the free memory, without what is loaded where that decides."""
    if choice.suits(free_once_unloaded_bytes(device) / MIB):
        return True
    if choice.parsed() == held and not device.startswith("cuda"):
        return True  # what is lacking may be what it takes itself, which only a card tells
    unload()
    return choice.suits(free_memory_bytes(device) / MIB)


def measure_speeds(
    request: ImageRequest,
    speeds: tuple[Speed, ...],
    load: Load,
    on_call: OnCall = ignore_call,
) -> Choice:
    """Time short pictures at each speed and choose the fastest.

    A speed whose picture is not that of the first one, to `LIMIT`, is not chosen. Products in bf16
    are tried only where bf16 throughout is such a one: they are slower, and more exact.
    """
    # From noise alone: the pictures that a request may start from travel beside it.
    own = {"image": None, "mask": None, "strength": STRENGTH}
    short = request.model_copy(update={**own, "steps": min(request.steps, STEPS)})
    seconds: dict[str, float] = {}
    differences: dict[str, float] = {}
    first: Any = None
    for speed in speeds:
        if speed.compute == "bf16 products" and _is_equal_in_bf16(speeds, differences):
            continue
        tried = short.model_copy(update={"speed": speed})
        try:
            drawer = load(tried)
            on_call()
            taken_s, pixels = _time(drawer, tried, on_call)
        except (ValueError, RuntimeError):
            if first is None:
                raise  # the request itself cannot be drawn
            on_call()
            continue  # no way of running this model, or no memory for it
        seconds[str(speed)] = taken_s
        first = pixels if first is None else first
        differences[str(speed)] = float(np.abs(pixels - first).mean())
    return Choice(
        speed=str(_best(speeds, seconds, differences)),
        seconds=seconds,
        differences=differences,
        measured_utc=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def choice_key(request: ImageRequest, device: str) -> str:
    """Return the name of a choice: machine, software, model and the size of the work."""
    return digest(
        {
            "processor": _processor(device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "diffusers": installed_version("diffusers"),
            "model": request.model,
            "revision": weights_stamp(request.model),
            "precision": request.precision,
            "size": [request.width, request.height, request.batch],
            "guided": request.guidance_scale > 1,
        }
    )


def _processor(device: str) -> list[str]:
    if device.startswith("cuda"):
        return [device, torch.cuda.get_device_name(device)]
    return [device, cpu_name(), torch.backends.cpu.get_cpu_capability()]


def _time(drawer: Drawer, request: ImageRequest, on_call: OnCall) -> tuple[float, Any]:
    """Return the least seconds of a call after the first, and the (batch, ...) pixels drawn."""
    images = drawer.generate(request).images
    on_call()
    began_s = time.perf_counter()
    taken_s: list[float] = []
    while len(taken_s) < CALLS and time.perf_counter() - began_s < TIME_S:
        waited_s = _waited_s()
        wall_s = drawer.generate(request).wall_s
        taken_s.append(max(wall_s / 100, wall_s - (_waited_s() - waited_s)))
        on_call()
    return min(taken_s), np.stack([np.asarray(image, dtype=np.float32) for image in images])


def _waited_s() -> float:
    """Return how long this thread has waited for a core in all; 0 where the system keeps no count.

    On a busy machine that is most of a call, and says nothing of the speed. Linux,
    Documentation/scheduler/sched-stats.rst: the second number, in nanoseconds.
    """
    try:
        return int(SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _is_equal_in_bf16(speeds: tuple[Speed, ...], differences: dict[str, float]) -> bool:
    tried = [differences.get(str(speed)) for speed in speeds if speed.compute == "bf16"]
    return any(apart is not None and apart <= LIMIT for apart in tried)


def _best(
    speeds: tuple[Speed, ...], seconds: dict[str, float], differences: dict[str, float]
) -> Speed:
    equal = [speed for speed in speeds if differences.get(str(speed), np.inf) <= LIMIT]
    exact = [speed for speed in equal if speed.compute == "as asked"]
    best = min(exact, key=lambda speed: seconds[str(speed)])
    if seconds[str(best)] > WORTH * seconds[str(speeds[0])]:
        best = speeds[0]
    fastest = min(equal, key=lambda speed: seconds[str(speed)])
    return fastest if seconds[str(fastest)] < WORTH_BF16 * seconds[str(best)] else best


def _as_remembered(choice: Choice) -> str:
    apart = choice.differences.get(choice.speed)  # absent where the file was written by hand
    told = "" if apart is None else f"pictures {apart:.2f} of 255 apart, "
    return f"speed {choice.speed}: {told}as measured {choice.measured_utc}"


def _why(choice: Choice, took_s: float) -> str:
    first, first_s = next(iter(choice.seconds.items()))
    gain = first_s / choice.seconds[choice.speed]
    return (
        f"speed {choice.speed}: {gain:.2f} times as fast as {first}, pictures "
        f"{choice.differences[choice.speed]:.2f} of 255 apart; "
        f"{len(choice.seconds)} ways tried in {took_s:.1f} s, remembered for this machine and model"
    )
