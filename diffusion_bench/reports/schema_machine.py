"""The machine and its software, as the header of a report names them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from diffusion_bench.records import Record

Short = Annotated[str, Field(max_length=500)]
MOST = 100_000  # cards or cores of one machine: no machine has so many, and an index counts them


class GpuCard(Record):
    """One GPU of the machine. `uuid_hash` tells two equal cards apart without naming them.

    `power_method` is how its power is read: "instant", or "average" of about the last second.
    `memory_method` is how its memory in use is: "nvml v2" (without what the driver keeps),
    "nvml v1" (with it), or that of the host, which a chip may share.
    """

    index: Annotated[int, Field(ge=0, le=MOST)]
    name: Short
    uuid_hash: Short | None = None
    memory_total_mib: float | None = None
    power_limit_w: float | None = None
    power_limit_default_w: float | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    display_active: bool | None = None
    driver: Short | None = None
    power_method: Short | None = None
    memory_method: Short | None = None
    ecc_enabled: bool | None = None
    mig_enabled: bool | None = None


class Machine(Record):
    """The hardware and operating system a report was measured on."""

    os: Short
    architecture: Short
    cpu: Short
    cores_physical: Annotated[int, Field(ge=0, le=MOST)] | None = None
    cores_logical: Annotated[int, Field(ge=1, le=MOST)]
    ram_mib: float
    gpus: tuple[GpuCard, ...] = ()
    no_gpu: Short | None = None

    def identity(self) -> dict[str, Any]:
        """Return as JSON what makes it this machine.

        A screen that sleeps makes no other, nor does another way to read a card, nor the few KiB or
        MiB by which what the system takes for itself differs from one start to the next. ECC and
        MIG do where they take memory of the card or make an instance of it, which its memory and
        name tell: older reports do not hold whether they are on.
        """
        told = {"display_active", "power_method", "memory_method", "ecc_enabled", "mig_enabled"}
        same = self.model_dump(mode="json", exclude={"ram_mib": True, "gpus": {"__all__": told}})
        return same | {"ram_gib": round(self.ram_mib / 1024)}


class Software(Record):
    """The versions and settings that decide speed.

    `torch_threads` is the number of CPU threads torch used, `flags` torch's switches (TF32, cuDNN's
    search, the allocator's settings).
    """

    python: Short
    torch: Short | None = None
    cuda: Short | None = None
    diffusers: Short | None = None
    transformers: Short | None = None
    torch_threads: int | None = None
    flags: dict[str, str] = {}
