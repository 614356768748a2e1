"""How several devices share a request: the part of each, and how often it is called in one start.

jobs     each draws the whole request; a faster device is called more often, so that all of
         them are at work about as long
batch    each draws its part of the batch, with the seeds that those pictures have in the whole
model    every card has a part in each picture
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from diffusion_bench.records import DeviceShare, ImageRequest

MAX_CALLS = 100  # of the fastest device in one start
ALIGNED = 0.1  # how much sooner than the last a device may be done
SLOWEST_CALLS = 4


class Part(NamedTuple):
    """What one device draws in one start: so many calls of a request."""

    request: ImageRequest
    calls: int = 1


def parts_of(
    request: ImageRequest,
    share: DeviceShare,
    kinds: Sequence[str],
    alone_s: Sequence[Sequence[float]],
) -> tuple[Part, ...]:
    """Return the part of each device. `kinds` name its hardware; equal ones have equal parts.

    `alone_s` are the seconds of the whole request on each alone, by which unequal ones share it;
    where one of them is not known the parts are equal too.
    """
    known = [median(seconds) for seconds in alone_s if seconds]
    equal = len(set(kinds)) == 1 or len(known) < len(kinds)
    if share == "jobs":
        calls = (1,) * len(kinds) if equal else calls_each(known)
        return tuple(Part(request, count) for count in calls)
    if share == "model":
        return (Part(request),) * len(kinds)
    counts = split_batch(request.batch, [1.0] * len(kinds) if equal else [1 / s for s in known])
    begins = [sum(counts[:index]) for index in range(len(counts))]
    return tuple(
        Part(request.of_picture(begin).model_copy(update={"batch": count}))
        for begin, count in zip(begins, counts, strict=True)
    )


def calls_each(seconds: Sequence[float]) -> tuple[int, ...]:
    """Return how often to call each device so that all end at about the same time.

    As few calls as come within a tenth of that, at most four of the slowest.
    """
    slowest = max(seconds)
    tried = []
    for count in range(1, SLOWEST_CALLS + 1):
        whole = count * slowest
        calls = [min(max(round(whole / one), 1), MAX_CALLS) for one in seconds]
        ends = [n * one for n, one in zip(calls, seconds, strict=True)]
        tried.append((1 - min(ends) / max(ends), tuple(calls)))
    aligned = [calls for apart, calls in tried if apart <= ALIGNED]
    return aligned[0] if aligned else min(tried)[1]


def split_batch(batch: int, speeds: Sequence[float]) -> tuple[int, ...]:
    """Return the pictures of each device by its speed, at least one, a whole batch together.

    Raises ValueError for fewer pictures than devices.
    """
    if batch < len(speeds):
        raise ValueError(f"a batch of {batch} cannot be split over {len(speeds)} devices")
    counts = [1] * len(speeds)
    for _ in range(batch - len(speeds)):
        # The next picture goes to whoever would be done with one more the soonest.
        ends = [(count + 1) / speed for count, speed in zip(counts, speeds, strict=True)]
        counts[ends.index(min(ends))] += 1
    return tuple(counts)
