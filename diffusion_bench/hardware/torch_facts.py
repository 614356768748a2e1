"""What torch says of itself and of the devices that it can use; importing it takes seconds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from diffusion_bench.hardware.matching import TorchDevice
from diffusion_bench.records import Record

MIB = 2**20


class TorchFacts(Record):
    """What torch says once imported. `error` says why it could not be, `warning` what it warned.

    `architectures` are those that it has GPU kernels for, such as "sm_90".
    """

    threads: int | None = None
    devices: tuple[TorchDevice, ...] = ()
    cuda_usable: bool | None = None
    mps_usable: bool | None = None
    architectures: tuple[str, ...] = ()
    warning: str = ""
    error: str = ""


def ask_torch(*, of_gpus: bool) -> TorchFacts:
    """Return torch's own word. Its device count also asks NVML; only `is_available` is CUDA's.

    Without `of_gpus` it calls no driver, which may hang.
    """
    try:
        import torch
    except (ImportError, OSError) as error:
        return TorchFacts(error=f"{type(error).__name__}: {error}")
    if not of_gpus:
        return TorchFacts(threads=torch.get_num_threads())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    said = "; ".join(str(warning.message) for warning in caught)
    # torch.cuda.get_arch_list() is empty where CUDA cannot be used: just where it is asked why.
    flags = getattr(torch._C, "_cuda_getArchFlags", lambda: None)() or ""
    return TorchFacts(
        threads=torch.get_num_threads(),
        devices=tuple(_devices(torch.cuda)) if usable else (),
        cuda_usable=usable,
        mps_usable=torch.backends.mps.is_available(),
        architectures=tuple(flags.split()),
        warning=said,
    )


def _devices(cuda: Any) -> Iterator[TorchDevice]:
    """Yield the devices torch can use, in its order; an older torch tells no UUID."""
    for index in range(cuda.device_count()):
        card = cuda.get_device_properties(index)
        uuid = getattr(card, "uuid", None)
        yield TorchDevice(
            index=index,
            name=card.name,
            memory_mib=card.total_memory / MIB,
            uuid=None if uuid is None else str(uuid),
        )
