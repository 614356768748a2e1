"""What a second GPU buys: three answers, none of which is twice the memory.

    two jobs      each card draws its own pictures: images an hour add up
    one batch     each card draws its share of it: the call ends when the slower is done
    one model     its layers lie on both, since it fits neither: one card works while one waits

Equal or unequal cards. Memory does not pool: what must fit a card must fit each of them alone, but
for the model that is split. All three are predicted; nobody has published two GeForce cards. What
reports measured stands beside them (`charts/tier_together.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from diffusion_bench.records import Record

MIB_PER_S_BETWEEN_CARDS = 10_000.0  # through the host, PCIe 4.0 x8 each way, no peer to peer

Seconds = Annotated[float, Field(gt=0)]
SecondsOfBatch = Callable[[int], float]


class TwoGpus(Record):
    """One way of using two cards, and what it comes to. `None`: it cannot be used, see `reason`.

    `seconds` is of the whole batch, `images_per_hour` when such batches follow one another,
    `speedup` over the faster card alone. `share`: pictures of the batch on each.
    """

    way: Literal["two jobs", "one batch split", "one model split"]
    seconds: float | None = None
    images_per_hour: float | None = None
    speedup: float | None = None
    share: tuple[int, int] | None = None
    reason: str | None = None


class SplitModel(Record):
    """A model over two cards: seconds of a call were each alone, its weights, what is handed over.

    `crossing_mib`: activations that one call of the denoiser sends there and back; `memory_mib` of
    each card, `needed_mib` what the workload needs of one.
    """

    alone_s: tuple[Seconds, Seconds]
    calls: Annotated[int, Field(ge=1)]
    crossing_mib: Annotated[float, Field(ge=0)]
    needed_mib: Annotated[float, Field(gt=0)]
    activations_mib: Annotated[float, Field(ge=0)]
    memory_mib: tuple[float, float]


def two_jobs(
    first_s: float,
    second_s: float,
    batch: int,
    *,
    offloaded_gib: float = 0.0,
    room_gib: float = math.inf,
) -> TwoGpus:
    """Return what two cards do that each draw batches of their own, in seconds a batch.

    `offloaded_gib`: weights of both jobs that wait in the machine's memory, which has `room_gib`.
    """
    if offloaded_gib > room_gib:
        reason = (
            f"{offloaded_gib:.0f} GiB of weights of the two would wait in RAM, "
            f"which has room for {room_gib:.0f}"
        )
        return TwoGpus(way="two jobs", reason=reason)
    alone = min(first_s, second_s)
    rate = batch / first_s + batch / second_s
    return TwoGpus(
        way="two jobs",
        seconds=alone,
        images_per_hour=3600 * rate,
        speedup=rate * alone / batch,
        share=(batch, batch),
    )


def one_batch(first: SecondsOfBatch, second: SecondsOfBatch, batch: int) -> TwoGpus:
    """Return what two cards do that share one batch, split where it ends soonest.

    `first` and `second` return a card's seconds for a batch of so many pictures.
    """
    if batch < 2:
        return TwoGpus(way="one batch split", reason="a batch of one picture cannot be split")
    # A card's time rises with its share, so that the shorter whole is where the two times cross.
    low, high = 1, batch - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if first(middle) >= second(batch - middle) else (middle + 1, high)
    near = range(max(low - 1, 1), low + 1)
    seconds, share = min((max(first(n), second(batch - n)), n) for n in near)
    alone = min(first(batch), second(batch))
    return TwoGpus(
        way="one batch split",
        seconds=seconds,
        images_per_hour=3600 * batch / seconds,
        speedup=alone / seconds,
        share=(share, batch - share),
    )


def one_model(split: SplitModel, batch: int) -> TwoGpus:
    """Return what two cards do that hold a half each of a model that fits neither alone."""
    if max(split.memory_mib) >= split.needed_mib:
        return TwoGpus(way="one model split", reason="it fits one card; splitting only slows it")
    # The activations are needed on whichever card is at work.
    weights = split.needed_mib - split.activations_mib
    room = [max(memory - split.activations_mib, 0) for memory in split.memory_mib]
    if sum(room) < weights:
        return TwoGpus(way="one model split", reason="it does not fit the two cards together")
    part = min(room[0] / weights, 1.0)
    crossing_s = split.calls * split.crossing_mib / MIB_PER_S_BETWEEN_CARDS
    seconds = part * split.alone_s[0] + (1 - part) * split.alone_s[1] + crossing_s
    return TwoGpus(way="one model split", seconds=seconds, images_per_hour=3600 * batch / seconds)
