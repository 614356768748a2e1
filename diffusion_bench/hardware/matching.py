"""Which of the sensors' GPUs is torch's: by UUID, for the two count in different orders.

NVML numbers cards by PCI bus and shows all of them. CUDA shows what CUDA_VISIBLE_DEVICES names, in
that order, and without it the fastest first; Ray and containers set it for every worker. An
instance of a card that is split by MIG has a UUID of its own, and so have AMD's cards.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Protocol

from diffusion_bench.records import Record

KIND = re.compile(r"^(GPU|MIG)-", re.IGNORECASE)
ROCM_DIGITS = re.compile(r"[0-9a-f]{16}")
# Before driver 470 an instance was MIG-GPU-<the card's UUID>/<GPU instance>/<compute instance>.
OLD_INSTANCE = re.compile(r"^MIG-GPU-[^/]+/\d+/\d+$", re.IGNORECASE)

NOT_SHOWN = "the driver shows no GPU with the UUID that torch has"
NO_UUID = "torch does not tell this device's UUID, and its name and memory fit {count} GPUs"
FASTEST_FIRST = (
    "CUDA numbers different cards by speed, not as the driver does; set "
    "CUDA_DEVICE_ORDER=PCI_BUS_ID, or name them by UUID"
)

OLD_FORM = (
    "CUDA_VISIBLE_DEVICES names an instance in the old form; use the MIG- UUID of nvidia-smi -L"
)


class TorchDevice(Record):
    """A CUDA device as torch tells it. `uuid` has no GPU or MIG before it."""

    index: int
    name: str
    memory_mib: float
    uuid: str | None = None


class Gpu(Protocol):
    """A GPU as a sensor tells it: a `GpuInfo` or a `GpuReading`."""

    @property
    def index(self) -> int:
        """Return the sensor's number."""

    @property
    def parent_index(self) -> int | None:
        """Return the card that an instance is of."""

    @property
    def name(self) -> str | None:
        """Return the product's name."""

    @property
    def uuid(self) -> str | None:
        """Return the UUID with its kind."""

    @property
    def memory_total_mib(self) -> float | None:
        """Return all memory."""


def same_gpu(uuid: str | None, other: str | None) -> bool:
    """Return whether two UUIDs name one device, with or without GPU or MIG before them.

    CUDA gives an instance's own UUID without its kind, and torch's is written as a card's.
    """
    return uuid is not None and other is not None and _bare(uuid) == _bare(other)


def match_torch(
    devices: Sequence[TorchDevice], gpus: Sequence[Gpu]
) -> tuple[dict[int, int], dict[int, str]]:
    """Return the sensor's number of each torch device, and the reason where there is none.

    A device of an older torch, which tells no UUID, is matched where only one GPU could be it.
    """
    found: dict[int, int] = {}
    reasons: dict[int, str] = {}
    for device in devices:
        same = [gpu.index for gpu in gpus if _fits(device, gpu)]
        if len(same) == 1:
            found[device.index] = same[0]
        elif device.uuid is not None:
            reasons[device.index] = NOT_SHOWN
        else:
            reasons[device.index] = NO_UUID.format(count=len(same))
    return found, reasons


def visible_gpus(
    gpus: Sequence[Gpu], visible: str | None, *, order: str | None = None
) -> tuple[list[int] | None, str]:
    """Return the sensor's numbers of what CUDA will show, in its order, or `None` and the reason.

    `visible` is CUDA_VISIBLE_DEVICES and `order` CUDA_DEVICE_ORDER, `None` where not set. For when
    torch cannot be asked; CUDA's rules are those of its programming guide, section "CUDA
    Environment Variables": what follows an entry that names nothing is hidden, and of instances
    only the first is used.
    """
    cards = [gpu for gpu in gpus if gpu.parent_index is None]
    by_number = order == "PCI_BUS_ID" or len({gpu.name for gpu in cards}) <= 1
    if visible is None:
        shown = [number for card in cards for number in _devices(card, gpus)]
        return (_one_instance(shown, gpus), "") if by_number else (None, FASTEST_FIRST)
    found: list[int] = []
    for entry in (part.strip() for part in visible.split(",")):
        if OLD_INSTANCE.match(entry):
            return None, OLD_FORM
        if entry.isascii() and entry.isdigit() and not by_number:
            return None, FASTEST_FIRST
        named = _named(entry, cards, gpus)
        if not named:
            break
        if named[0] in found:  # CUDA refuses a device that is named twice, and all others with it
            return [], ""
        found.append(named[0])
    return _one_instance(found, gpus), ""


def hidden_cards(
    gpus: Sequence[Gpu], visible: str | None, *, order: str | None = None
) -> tuple[list[int] | None, str]:
    """Return the cards of which CUDA_VISIBLE_DEVICES shows nothing, or `None` and the reason.

    None are hidden where it is not set. Arguments are those of `visible_gpus`.
    """
    if visible is None:
        return [], ""
    shown, reason = visible_gpus(gpus, visible, order=order)
    if shown is None:
        return None, reason
    cards = [gpu for gpu in gpus if gpu.parent_index is None]
    return [c.index for c in cards if not set(_devices(c, gpus)) & set(shown)], ""


def cuda_settings() -> tuple[str | None, str | None]:
    """Return CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER, `None` of one that is not set."""
    return os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("CUDA_DEVICE_ORDER")


def hidden_words(gpus: Sequence[Gpu], visible: str | None, *, order: str | None = None) -> str:
    """Return in one line which GPUs CUDA programs cannot use and why, empty where they use all.

    Of a card that is split, its instances are told apart. Arguments are those of `visible_gpus`.
    """
    if visible is None and not is_split(gpus):
        return ""
    told = "MIG" if visible is None else f"CUDA_VISIBLE_DEVICES={visible:.60}"
    shown, reason = visible_gpus(gpus, visible, order=order)
    if shown is None:
        return f"cannot tell what {told} hides: {reason}"
    hidden = [f"GPU {index}" for index in _without(gpus, shown)]
    if not hidden:
        return ""
    if any(gpu.index in shown and gpu.parent_index is not None for gpu in gpus):
        by = "" if visible is None else f" ({told})"
        return (
            f"CUDA programs see one MIG instance, GPU {shown[0]}, and nothing beside it, so they "
            f"cannot use {', '.join(hidden)}{by}"
        )
    return f"{told} hides {', '.join(hidden)} from CUDA programs"


def is_split(gpus: Sequence[Gpu]) -> bool:
    """Return whether any of the GPUs is an instance of a card that MIG has split."""
    return any(gpu.parent_index is not None for gpu in gpus)


def _without(gpus: Sequence[Gpu], shown: Sequence[int]) -> list[int]:
    """Return the devices that are not among those shown, a card for all its instances."""
    found: list[int] = []
    for card in (gpu for gpu in gpus if gpu.parent_index is None):
        devices = _devices(card, gpus)
        left = [index for index in devices if index not in shown]
        found += [card.index] if left == devices else left
    return found


def _fits(device: TorchDevice, gpu: Gpu) -> bool:
    if device.uuid is not None:
        return same_gpu(device.uuid, gpu.uuid)
    total_mib = gpu.memory_total_mib
    # CUDA keeps some of the memory for itself: a few hundred MiB less than the driver's figure.
    near = total_mib is not None and 0.9 * total_mib <= device.memory_mib <= total_mib
    return near and gpu.name == device.name


def _named(entry: str, cards: Sequence[Gpu], gpus: Sequence[Gpu]) -> list[int]:
    """Return what an entry names: a number, or a UUID or the beginning of one."""
    if entry.isascii() and entry.isdigit():
        number = int(entry)
        return _devices(cards[number], gpus) if number < len(cards) else []
    if not KIND.match(entry):
        return []
    same = [g for g in gpus if g.uuid is not None and g.uuid.lower().startswith(entry.lower())]
    return _devices(same[0], gpus) if len(same) == 1 else []


def _devices(gpu: Gpu, gpus: Sequence[Gpu]) -> list[int]:
    """Return a card, or where it is split its instances."""
    return [other.index for other in gpus if other.parent_index == gpu.index] or [gpu.index]


def _one_instance(numbers: list[int], gpus: Sequence[Gpu]) -> list[int]:
    """Return the numbers, or the first instance alone: beside one CUDA shows nothing else.

    NVIDIA's MIG user guide, "Device Enumeration".
    """
    instances = {gpu.index for gpu in gpus if gpu.parent_index is not None}
    return [number for number in numbers if number in instances][:1] or numbers


def _bare(uuid: str) -> str:
    """Return a UUID without its kind.

    ROCm's has sixteen digits, which torch takes for sixteen bytes: it writes their ASCII codes.
    """
    bare = KIND.sub("", uuid).lower()
    codes = bare.replace("-", "")
    try:
        text = bytes.fromhex(codes).decode("ascii")
    except ValueError:
        return bare
    return text if ROCM_DIGITS.fullmatch(text) else bare
