"""The link to a card under load: read while copies are under way."""

from __future__ import annotations

from typing import Any

from doctor_cases import IDLE

from diffusion_bench.hardware.pcie_load import read_under_load
from diffusion_bench.hardware.sensors import NoGpu
from diffusion_bench.records import GpuReading


class Copies:
    """What `read_under_load` needs of torch; `fails`: the copies raise."""

    uint8 = "uint8"

    def __init__(self, *, fails: bool = False) -> None:
        self.cuda = self
        self.in_flight = 0
        self._fails = fails

    def empty(self, *_: Any, **__: Any) -> Copies:
        return self

    def device_count(self) -> int:
        return 1

    def copy_(self, _: Any, *, non_blocking: bool) -> None:
        if self._fails:
            raise RuntimeError("CUDA out of memory")
        self.in_flight += non_blocking

    def synchronize(self) -> None:
        self.in_flight = 0


class WatchingSensor(NoGpu):
    def __init__(self, torch: Copies) -> None:
        super().__init__("")
        self._torch = torch

    def read(self) -> tuple[GpuReading, ...]:
        return (IDLE.model_copy(update={"pcie_width_now": self._torch.in_flight}),)


def test_the_link_is_read_while_copies_are_in_flight_and_not_where_they_fail() -> None:
    torch = Copies()
    (reading,) = read_under_load(WatchingSensor(torch), torch, at_work_s=0.0)
    assert reading.pcie_width_now
    assert torch.in_flight == 0
    broken = Copies(fails=True)
    assert read_under_load(WatchingSensor(broken), broken, at_work_s=0.0) == ()
