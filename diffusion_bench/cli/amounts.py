"""Amounts as people type and read them: durations and memory."""

from __future__ import annotations

import re

from diffusion_bench.records import Memory, MemoryBytes

SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?", re.IGNORECASE)


def seconds(text: str) -> float:
    """Return the seconds in "90", "90s", "10m" or "1.5h". Raise ValueError for anything else."""
    found = DURATION.fullmatch(text.strip())
    if found is None or float(found[1]) == 0:
        raise ValueError(f"{text!r:.40} is no duration; say it as 90s, 10m or 1.5h")
    return float(found[1]) * SECONDS[(found[2] or "").lower()]


def memory_bytes(text: str) -> int:
    """Return the bytes in "12GiB" or "8000MB". Raise ValueError for anything else."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return int(TypeAdapter(MemoryBytes).validate_python(text.strip()))
    except ValidationError:
        raise ValueError(f"{text!r:.40} is no amount of memory; say it as 12GiB") from None


def peak_words(memory: Memory) -> str:
    """Return the peak memory of a call in words: the GPU's where there is one."""
    peak_mib = memory.torch_allocated_mib or memory.rss_mib
    kind = "GPU memory" if memory.torch_allocated_mib else "resident set"
    return f"peak {kind} {peak_mib:.0f} MiB" if peak_mib else "peak memory unknown"
