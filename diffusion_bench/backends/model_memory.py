"""Whether a model fits this machine at a size: its predicted peak against the memory that is free.

The prediction is that of the tiers (`tiers/memory.py`): weights by precision, activations traced on
the networks, factors fitted on published measurements of GPUs.
"""

from __future__ import annotations

import inspect
import json
from typing import Any, Literal

from diffusion_bench.backends.catalog import ModelEntry, cached_folder
from diffusion_bench.backends.first_import import import_libraries
from diffusion_bench.backends.model_sizes import denoiser_settings
from diffusion_bench.records import PrecisionName, Record
from diffusion_bench.tiers.cost import short_name
from diffusion_bench.tiers.memory import CONTEXT_MIB, RAM_SHARE, MemoryNeed, memory_of

MIB = 2**20
GIB_MIB = 1024
# What the app can do about it, the cheaper one first.
OFFLOADS: tuple[frozenset[str], ...] = (
    frozenset({"model offload", "VAE slicing", "VAE tiling"}),
    frozenset({"sequential offload", "VAE slicing", "VAE tiling"}),
)

Verdict = Literal["fits", "tight", "fits with offload", "does not fit", "cannot tell"]


class FreeMemory(Record):
    """What is free now: of the device that draws, and of the machine, where networks can wait."""

    device: str
    device_mib: float | None
    ram_mib: float
    missing: str | None = None


class MemoryAsked(Record):
    """The size a prediction is for."""

    width: int
    height: int
    batch: int = 1
    precision: PrecisionName = "fp32"
    guided: bool = True


class ModelRoom(Record):
    """Whether a model fits, with the numbers, all predicted. `offload` names what it takes.

    fits               even the high end of the prediction is free
    fits with offload  it does with networks, or single layers, waiting in the machine's memory
    tight              what is free lies inside the prediction
    does not fit       not even the low end is free
    cannot tell        `words` says why
    """

    verdict: Verdict
    device: str
    need_mib: float | None = None
    low_mib: float | None = None
    high_mib: float | None = None
    free_mib: float | None = None
    offload: tuple[str, ...] = ()
    words: str
    basis: str = ""


def free_memory(device: str) -> FreeMemory:
    """Return what is free on a device ("cpu", "cuda:0", "mps") and in the machine's memory."""
    import psutil
    import torch

    ram_mib = psutil.virtual_memory().available / MIB
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(device)
        # What this process's allocator holds and does not use is free for the next model.
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return FreeMemory(device=device, device_mib=(free + idle) / MIB, ram_mib=ram_mib)
    if device == "mps":  # a part of the machine's memory, at most what Metal recommends
        held = torch.mps.current_allocated_memory()
        idle = torch.mps.driver_allocated_memory() - held
        most_mib = (torch.mps.recommended_max_memory() - held) / MIB
        free_mib = max(0.0, min(ram_mib + idle / MIB, most_mib))
        return FreeMemory(device=device, device_mib=free_mib, ram_mib=ram_mib)
    return FreeMemory(device=device, device_mib=ram_mib, ram_mib=ram_mib)


def model_room(entry: ModelEntry, asked: MemoryAsked, free: FreeMemory) -> ModelRoom:
    """Return whether a model fits at a size, against what is free."""
    counted = counted_as(entry)
    if counted is None:
        return _cannot_tell(free, "its networks are none that were counted")
    if free.device_mib is None:
        return _cannot_tell(free, f"free memory of {free.device}: {free.missing}")
    try:
        need = memory_of(counted, **asked.model_dump())
    except ValueError as error:
        return _cannot_tell(free, str(error))
    found = _verdict(need, free)
    if found == "fits" or not free.device.startswith("cuda"):
        return _room(found, need, free)
    return _offloaded(need, free) or _room(found, need, free, _short_of_ram(need, free))


def _offloaded(need: MemoryNeed, free: FreeMemory) -> ModelRoom | None:
    """Return how a model fits with networks waiting in the machine's memory, if it does."""
    for lesser in _lesser(need):
        waits = lesser.ram_mib <= free.ram_mib * RAM_SHARE
        if waits and _verdict(lesser, free) == "fits":
            return _room("fits with offload", lesser, free)
    return None


def _short_of_ram(need: MemoryNeed, free: FreeMemory) -> str:
    """Return in words what offload would take where the machine's memory is what is missing."""
    for lesser in _lesser(need):
        if _verdict(lesser, free) == "fits":
            return (
                f"; offload would take {_gib(lesser.ram_mib)} GiB of the machine's memory, of "
                f"which {_gib(free.ram_mib * RAM_SHARE)} can be spared"
            )
    return ""


def _lesser(need: MemoryNeed) -> list[MemoryNeed]:
    asked = need.workload.model_dump()
    return [memory_of(**asked, remedies=remedies) for remedies in OFFLOADS]


def _verdict(need: MemoryNeed, free: FreeMemory) -> Verdict:
    low_mib, _, high_mib = _interval(need, free)
    at_hand = free.device_mib or 0.0
    if high_mib <= at_hand:
        return "fits"
    return "tight" if low_mib <= at_hand else "does not fit"


def _interval(need: MemoryNeed, free: FreeMemory) -> tuple[float, float, float]:
    """Return low, expected and high in MiB; off CUDA its context takes nothing."""
    less = 0.0 if free.device.startswith("cuda") else CONTEXT_MIB
    return need.low_mib - less, need.peak_mib - less, need.high_mib - less


def _room(verdict: Verdict, need: MemoryNeed, free: FreeMemory, more: str = "") -> ModelRoom:
    low_mib, need_mib, high_mib = _interval(need, free)
    at_hand = free.device_mib or 0.0
    offload = tuple(name for name in need.remedies if "offload" in name)
    how = f" ({offload[0]})" if offload else ""
    return ModelRoom(
        verdict=verdict,
        device=free.device,
        need_mib=need_mib,
        low_mib=low_mib,
        high_mib=high_mib,
        free_mib=at_hand,
        offload=offload,
        words=(
            f"{verdict}{how}: about {_gib(need_mib)} GiB ({_gib(low_mib)} to {_gib(high_mib)}) "
            f"predicted, {_gib(at_hand)} GiB free on {free.device}{more}"
        ),
        basis=need.basis,
    )


def _gib(mib: float) -> str:
    return f"{mib / GIB_MIB:.1f}"


def _cannot_tell(free: FreeMemory, reason: str) -> ModelRoom:
    return ModelRoom(
        verdict="cannot tell",
        device=free.device,
        free_mib=free.device_mib,
        words=f"cannot tell whether it fits: {reason}",
    )


def counted_as(entry: ModelEntry) -> str | None:
    """Return the short name of the counted model a model is, by name or by its denoiser's settings.

    A fine-tuned model has the networks of the one it came from. A folder may be called anything.
    """
    if entry.source != "folder":
        try:
            return short_name(entry.location if entry.source == "hub" else entry.name)
        except ValueError:
            pass
    folder = cached_folder(entry)
    own = denoiser_settings(folder) if folder is not None else {}
    if not own:
        return None
    from diffusion_bench.backends.counting.networks import configurations

    for name, known in configurations().items():
        cls = known.denoiser.cls
        if own.get("_class_name") == cls:
            usual = _usual_settings(cls)
            if all(
                _same(own.get(key, value), known.denoiser.config.get(key, value))
                for key, value in usual.items()
            ):
                return name
    return None


def _usual_settings(cls: str) -> dict[str, Any]:
    """Return the defaults of a network's settings, the size it was trained at left out."""
    import_libraries()
    import diffusers

    parameters = inspect.signature(getattr(diffusers, cls).__init__).parameters
    left_out = ("self", "sample_size")
    return {name: own.default for name, own in parameters.items() if name not in left_out}


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one) == json.dumps(other)  # a file has lists where code has tuples
