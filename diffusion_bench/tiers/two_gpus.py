"""What a second GPU buys: three answers, none of which is twice the memory.

    two jobs      each card draws its own pictures: images an hour add up
    one batch     each card draws its share of it: the call ends when the slower is done
    one model     its layers lie on both, since it fits neither: one card works while one waits

Equal or unequal cards. Memory does not pool: what must fit a card must fit each of them alone, but
for the model that is split. All three are predicted; nobody has published two GeForce cards. What
reports measured stands beside them (`charts/tiers/together.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal, get_args

from pydantic import Field

from diffusion_bench.records import Record
from diffusion_bench.tiers.figures import figure_words

MIB_PER_S_BETWEEN_CARDS = 10_000.0  # through the host, PCIe 4.0 x8 each way, no peer to peer

Seconds = Annotated[float, Field(gt=0)]
Margin = Annotated[float, Field(ge=1)]
Way = Literal["two jobs", "one batch split", "one model split"]
WAYS: tuple[Way, ...] = get_args(Way)


class Job(Record):
    """What one card takes for a batch: seconds, and weights in RAM, with the remedies it takes.

    The seconds may be off by a factor of `margin` either way, where that was told.
    """

    seconds: Seconds
    margin: Margin | None = None
    ram_gib: float = 0.0
    remedies: tuple[str, ...] = ()


JobOfBatch = Callable[[int], Job | None]


class TwoGpus(Record):
    """One way of using two cards, and what it comes to. `None`: it cannot be used, see `reason`.

    `seconds` is of the whole batch, `images_per_hour` when such batches follow one another, with
    the ends of its 80 percent interval where one was told. `speedup` is over the faster card alone,
    `None` where neither can do the whole. `share`: pictures of the batch on each. `remedies` are
    those that either card takes.
    """

    way: Way
    seconds: float | None = None
    images_per_hour: float | None = None
    images_per_hour_low: float | None = None
    images_per_hour_high: float | None = None
    speedup: float | None = None
    share: tuple[int, int] | None = None
    remedies: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def words(self) -> str:
        """Return what it comes to, or the reason, in a line."""
        if self.images_per_hour is None:
            return f"{self.way}: {self.reason}"
        share = f" ({' + '.join(map(str, self.share))} pictures)" if self.share else ""
        low, high = figure_words(self.images_per_hour_low), figure_words(self.images_per_hour_high)
        between = f" ({low} to {high})" if low and high else ""
        told = [f"{self.way}{share}: {figure_words(self.images_per_hour)} images/h{between}"]
        if self.remedies:
            told.append(f"with {' and '.join(self.remedies)}")
        if self.speedup is not None:
            told.append(f"{self.speedup:.2f} times the faster card")
        return ", ".join([*told, "predicted"])

    def within(self, margin: float | None) -> TwoGpus:
        """Return it with an interval that is a factor of `margin` to either side, if it has a rate.

        Of equal cards two predictions are off alike, and of others for the most part.
        """
        rate = self.images_per_hour
        if rate is None or margin is None:
            return self
        ends = {"images_per_hour_low": rate / margin, "images_per_hour_high": rate * margin}
        return self.model_copy(update=ends)


class SplitModel(Record):
    """A model over two cards: seconds of a call were each alone, its weights, what is handed over.

    `crossing_mib`: activations that one call of the denoiser sends there and back; `memory_mib` of
    each card, `needed_mib` what the workload needs of one, `beside_mib` what of that each of them
    holds: activations, and its context. `margin` as of a `Job`, of the faster card alone.
    """

    alone_s: tuple[Seconds, Seconds]
    margin: Margin | None = None
    calls: Annotated[int, Field(ge=1)]
    crossing_mib: Annotated[float, Field(ge=0)]
    needed_mib: Annotated[float, Field(gt=0)]
    beside_mib: Annotated[float, Field(ge=0)]
    memory_mib: tuple[float, float]


def two_jobs(
    first: Job | None, second: Job | None, batch: int, *, room_gib: float = math.inf
) -> TwoGpus:
    """Return what two cards do that each draw batches of their own; `None`: it does not fit one.

    `room_gib` of the machine's memory holds the weights that wait there.
    """
    if first is None or second is None:
        return TwoGpus(way="two jobs", reason="it does not fit each of the two cards")
    crowded = _crowded(first, second, room_gib)
    if crowded:
        return TwoGpus(way="two jobs", reason=crowded)
    alone = min(first.seconds, second.seconds)
    rate = batch / first.seconds + batch / second.seconds
    return TwoGpus(
        way="two jobs",
        seconds=alone,
        images_per_hour=3600 * rate,
        speedup=rate * alone / batch,
        share=(batch, batch),
        remedies=_remedies(first, second),
    ).within(min(first, second, key=_seconds).margin)


def one_batch(
    first: JobOfBatch, second: JobOfBatch, batch: int, *, room_gib: float = math.inf
) -> TwoGpus:
    """Return what two cards do that share one batch, split where it ends soonest.

    `first` and `second` return what a card takes for a batch of so many pictures, `None` for one
    that does not fit it. `room_gib` as of `two_jobs`.
    """
    if batch < 2:
        return TwoGpus(way="one batch split", reason="a batch of one picture cannot be split")
    share = _best_share(first, second, batch)
    mine, others = first(share), second(batch - share)
    if mine is None or others is None:
        return TwoGpus(way="one batch split", reason="no split of it fits the two cards")
    crowded = _crowded(mine, others, room_gib)
    if crowded:
        return TwoGpus(way="one batch split", reason=crowded)
    last = max(mine, others, key=_seconds)
    alone = min(_seconds(first(batch)), _seconds(second(batch)))
    return TwoGpus(
        way="one batch split",
        seconds=last.seconds,
        images_per_hour=3600 * batch / last.seconds,
        speedup=None if math.isinf(alone) else alone / last.seconds,
        share=(share, batch - share),
        remedies=_remedies(mine, others),
    ).within(last.margin)


def _best_share(first: JobOfBatch, second: JobOfBatch, batch: int) -> int:
    """Return how many pictures of a batch the first card draws where the two end soonest."""

    def ends(share: int) -> tuple[float, float]:
        return _seconds(first(share)), _seconds(second(batch - share))

    # A card's time rises with its share, so that the shorter whole is where the two times cross.
    low, high = 1, batch - 1
    while low < high:
        middle = (low + high) // 2
        first_s, second_s = ends(middle)
        low, high = (low, middle) if first_s >= second_s else (middle + 1, high)
    return min(range(max(low - 1, 1), low + 1), key=lambda share: max(ends(share)))


def _seconds(job: Job | None) -> float:
    """Return the seconds of a job; one that does not fit never ends."""
    return math.inf if job is None else job.seconds


def _crowded(first: Job, second: Job, room_gib: float) -> str:
    """Return why the machine's memory is too small for what two jobs offload, or nothing."""
    offloaded_gib = first.ram_gib + second.ram_gib
    if offloaded_gib <= room_gib:
        return ""
    return (
        f"{offloaded_gib:.0f} GiB of weights of the two would wait in RAM, "
        f"which has room for {room_gib:.0f}"
    )


def _remedies(first: Job, second: Job) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first.remedies, *second.remedies)))


def one_model(split: SplitModel, batch: int) -> TwoGpus:
    """Return what two cards do that hold a half each of a model that fits neither alone."""
    if max(split.memory_mib) >= split.needed_mib:
        return TwoGpus(way="one model split", reason="it fits one card; splitting only slows it")
    # Each card has a context of its own, and is at work in turn.
    weights = split.needed_mib - split.beside_mib
    room = [max(memory - split.beside_mib, 0) for memory in split.memory_mib]
    if sum(room) < weights:
        return TwoGpus(way="one model split", reason="it does not fit the two cards together")
    (fast_s, fast_room), (slow_s, _) = sorted(zip(split.alone_s, room, strict=True))
    part = min(fast_room / weights, 1.0)  # the faster card holds what it can
    crossing_s = split.calls * split.crossing_mib / MIB_PER_S_BETWEEN_CARDS
    seconds = part * fast_s + (1 - part) * slow_s + crossing_s
    rate = 3600 * batch / seconds
    return TwoGpus(way="one model split", seconds=seconds, images_per_hour=rate).within(
        split.margin
    )
