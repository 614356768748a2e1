"""The readings of a stretch of time, however long, in bounded memory.

A sampler keeps its newest readings only, half an hour of them at 20 Hz. Who asks it now and then
what is new has the whole stretch: each reading, and of more than can be kept an even choice.
"""

from __future__ import annotations

from collections.abc import Sequence

from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.trace import find_peaks
from diffusion_bench.records import Reading
from diffusion_bench.records.even_choice import EvenChoice

KEPT = 36_000  # of a part, 3 KB each where there are two GPUs


class Stretch:
    """What a sampler reads after `start_s`, in parts of at most `keep` even readings each.

    `take` is to be called before the sampler forgets.
    """

    def __init__(self, sampler: Sampler, start_s: float, keep: int = KEPT) -> None:
        self._sampler = sampler
        self._taken_to_s = start_s
        self._keep = keep
        self._parts = [_Part(keep)]

    def take(self) -> None:
        """Take over what was read since the last time."""
        new = self._sampler.since(self._taken_to_s)
        if new:
            self._parts[-1].add(new)
            self._taken_to_s = new[-1].at_s

    def begin_part(self) -> None:
        """Keep apart what is read from now on: however much it is, what was before stays."""
        self.take()
        self._parts.append(_Part(self._keep))

    def readings(self) -> tuple[Reading, ...]:
        """Return what was kept, oldest first."""
        return tuple(reading for part in self._parts for reading in part.readings())


class _Part:
    """An even choice of readings, and always the peaks."""

    def __init__(self, keep: int) -> None:
        self._even: EvenChoice[Reading] = EvenChoice(keep)
        self._peaks: list[Reading] = []

    def add(self, new: Sequence[Reading]) -> None:
        for reading in new:
            self._even.add(reading)
        seen = [*self._peaks, *new]
        self._peaks = [seen[index] for index in find_peaks(seen)]

    def readings(self) -> list[Reading]:
        by_time = {one.at_s: one for one in (*self._even.kept(), *self._peaks)}
        return [by_time[at_s] for at_s in sorted(by_time)]
