"""How one cell is measured: warm up the shape, then time repeats of the whole call.

1. `warmups` calls of the same shape and code path, with few steps, never counted. The first
   one of a shape in a process is kept as `first_call_s`.
2. `repeats` calls, timed whole, by stage and by step, and nothing else inside the timing: no
   preview, no file, no progress bar, no reading of sensors.
"""

from __future__ import annotations

from collections.abc import Callable

from diffusion_bench.records import Generation, ImageRequest, Memory, Record, Stages

WARMUP_STEPS = 3

Generate = Callable[[ImageRequest], Generation]


class Timed(Record):
    """One timed call and when it ran, in `time.perf_counter` seconds, which processes share."""

    start_s: float
    end_s: float
    wall_s: float
    stages: Stages
    step_s: tuple[float, ...]


class Measurement(Record):
    """What the worker tells the runner of a cell."""

    warmup_s: tuple[float, ...]
    timed: tuple[Timed, ...]
    memory: Memory


def measure(
    request: ImageRequest,
    generate: Generate,
    *,
    warmups: int,
    repeats: int,
    clock: Callable[[], float],
    on_repeat: Callable[[int], None],
) -> Measurement:
    """Warm up, then time `repeats` calls of `generate`; `on_repeat` hears how many are done."""
    warmup_request = request.model_copy(update={"steps": min(request.steps, WARMUP_STEPS)})
    warmup_s = []
    for _ in range(warmups):
        start_s = clock()
        generate(warmup_request)
        warmup_s.append(clock() - start_s)
    timed, memories = [], []
    for done in range(1, repeats + 1):
        start_s = clock()
        generation = generate(request)
        end_s = clock()
        memories.append(generation.memory)
        timed.append(
            Timed(
                start_s=start_s,
                end_s=end_s,
                wall_s=generation.wall_s,
                stages=generation.stages,
                step_s=generation.step_s,
            )
        )
        on_repeat(done)
    return Measurement(
        warmup_s=tuple(warmup_s), timed=tuple(timed), memory=largest_memory(memories)
    )


def largest_memory(memories: list[Memory]) -> Memory:
    """Return the largest value of each field; one that no call could tell stays `None`."""
    largest = {}
    for name in Memory.model_fields:
        if name != "missing":
            known = [value for memory in memories if (value := getattr(memory, name)) is not None]
            largest[name] = max(known, default=None)
    missing = {
        name: reason
        for memory in memories
        for name, reason in memory.missing.items()
        if largest.get(name) is None
    }
    return Memory(**largest, missing=missing)
