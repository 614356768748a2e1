"""A stretch longer than a sampler remembers: all of it is there, evenly, in bounded memory."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.sensors import NoGpu
from diffusion_bench.hardware.stretch import Stretch
from diffusion_bench.records import GpuReading, HostReading

PEAKS = {3777.0: {"power_w": 999.0}, 4111.0: {"memory_used_mib": 999.0}}


class Still:
    """A host that tells nothing."""

    def read(self, process: Any = None) -> HostReading:
        return HostReading()


class Ticking(NoGpu):
    """A card that is looked at once a second; power and memory each peak for one look."""

    def __init__(self) -> None:
        super().__init__("")
        self.now_s = 0.0
        self.sampler = Sampler(self, 1.0, clock=self.tick, host=Still(), keep=20)

    def tick(self) -> float:
        self.now_s += 1.0
        return self.now_s

    def read(self) -> tuple[GpuReading, ...]:
        usual = {"power_w": 50.0, "memory_used_mib": 10.0}
        return (GpuReading(index=0, **usual | PEAKS.get(self.now_s, {})),)

    def look(self, count: int, stretch: Stretch) -> None:
        """Look so often; of every ten looks the stretch is told once."""
        for number in range(1, count + 1):
            self.sampler.look()
            if number % 10 == 0:
                stretch.take()


def times(stretch: Stretch) -> list[float]:
    return [reading.at_s for reading in stretch.readings()]


def test_what_the_sampler_has_forgotten_is_kept_and_what_was_before_is_not_taken() -> None:
    card = Ticking()
    card.look(5, Stretch(card.sampler, 0.0))
    stretch = Stretch(card.sampler, card.now_s)
    card.look(300, stretch)
    assert len(card.sampler.history()) == 20
    assert times(stretch) == [float(second) for second in range(6, 306)]


def test_of_more_than_can_be_kept_an_even_choice_is_with_the_peaks_and_the_newest() -> None:
    card = Ticking()
    stretch = Stretch(card.sampler, 0.0, keep=100)
    card.look(9990, stretch)
    kept = times(stretch)
    assert 50 <= len(kept) <= 100 + 4
    assert {1.0, 3777.0, 4111.0, 9990.0} <= set(kept)
    even = [at_s for at_s in kept if at_s not in (3777.0, 4111.0, 9990.0)]
    assert {later - earlier for earlier, later in pairwise(even)} == {128.0}


def test_the_longest_time_without_a_look_is_kept_too() -> None:
    card = Ticking()
    stretch = Stretch(card.sampler, 0.0, keep=10)
    card.sampler._paced_from_s = 0.0  # as the sampler's own thread has it
    card.look(150, stretch)
    card.now_s += 3.0  # a hang
    late = card.sampler.look()
    card.look(150, stretch)
    assert late in stretch.readings()


def test_what_comes_later_takes_no_reading_from_a_part_that_has_ended() -> None:
    card = Ticking()
    stretch = Stretch(card.sampler, 0.0, keep=100)
    card.look(95, stretch)
    stretch.begin_part()
    card.look(9990, stretch)
    kept = times(stretch)
    assert kept[:95] == [float(second) for second in range(1, 96)]
    assert kept[95] == 96.0, "the first after it: an energy needs one at or after its end"
    assert len(kept) <= 95 + 100 + 4
