"""What is said of a model beside its name: licence, size, whether it is here, whether it fits."""

from __future__ import annotations

from typing import Any

from diffusion_bench.backends.catalog import ModelEntry, UnknownModel, find_model
from diffusion_bench.backends.downloads import Fetching, expected_size, gate_words
from diffusion_bench.backends.model_files import presence
from diffusion_bench.records import PrecisionName

GIB_MIB = 1024
MAX_SIDE = 8192  # of a size that is still being typed


def about_words(
    model: str,
    device: str,
    *,
    size: tuple[float | None, float | None],
    batch: float | None,
    precision: Any,
) -> str:
    """Return what is said of a model and of its memory at a size; empty for a half-typed name."""
    entry = entry_or_none(model)
    if entry is None:
        return ""
    room = room_words(entry, device, size=size, batch=batch, precision=precision)
    return f"{model_words(entry, precision)} {room}".strip()


def model_words(entry: ModelEntry, precision: PrecisionName = "fp32") -> str:
    """Return licence, size on disk and whether a model is on this machine; without the network."""
    where = presence(entry, precision)
    size = expected_size(entry, precision)
    parts = [f"Licence: {entry.licence}."]
    if entry.source == "hub":
        total = "of unknown size" if size.total_mib is None else _amount(size.total_mib)
        about = " (predicted)" if size.source.startswith("predicted") else ""
        parts.append(
            f"On this machine, {total}{about}."
            if where == "here"
            else f"Download: {total}{about}, {where.removesuffix(' here')} here yet."
        )
    if entry.gated and where != "here":
        parts.append(f"{gate_words(entry)}.")
    return " ".join(parts)


def room_words(
    entry: ModelEntry,
    device: str,
    *,
    size: tuple[float | None, float | None],
    batch: float | None = 1,
    precision: PrecisionName = "fp32",
    guided: bool = True,
) -> str:
    """Return whether a model fits the device at a size, with the numbers; empty for no size.

    Imports torch.
    """
    from diffusion_bench.backends.model_memory import MemoryAsked, free_memory, model_room

    sides = [int(side) for side in size if side and 0 < side <= MAX_SIDE]
    if len(sides) < 2:
        return ""
    asked = MemoryAsked(
        width=sides[0],
        height=sides[1],
        batch=max(1, int(batch or 1)),
        precision=precision,
        guided=guided,
    )
    words = model_room(entry, asked, free_memory(device)).words
    return f"Memory at {sides[0]}x{sides[1]}: {words}."


def entry_or_none(model: str) -> ModelEntry | None:
    """Return the entry of a name that may be half typed."""
    try:
        return find_model(model)
    except UnknownModel:
        return None


def download_words(fetching: Fetching) -> str:
    """Return how far a download is."""
    done, total = fetching.progress.done_mib, fetching.progress.total_mib
    return f"Fetching {fetching.model.title}: {_amount(done)} of {_amount(total)}."


def _amount(mib: float) -> str:
    return f"{mib / GIB_MIB:.1f} GiB" if mib >= GIB_MIB else f"{mib:.0f} MiB"
