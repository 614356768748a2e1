"""Peak memory of one call, of a picture or of speech."""

from __future__ import annotations

import torch

from diffusion_bench.hardware.host import read_peak_rss, reset_peak_rss
from diffusion_bench.records import Memory

MIB = 2**20
NVML_FIELDS = ("nvml_used_mib", "nvml_idle_mib", "nvml_idle_after_mib")


def forget_peaks(device: str) -> bool:
    """Start the peaks anew; return whether the resident set's could be."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.reset_accumulated_memory_stats(device)  # of retries
    return reset_peak_rss()


def read_peaks(device: str, *, since_reset: bool) -> Memory:
    """Return the peaks since `forget_peaks`, which told whether the resident set's is ours."""
    host = read_peak_rss(since_reset=since_reset)
    missing = dict.fromkeys(NVML_FIELDS, "read by a benchmark's sampler")
    rss_mib = host.mib if host.since_reset else None
    if rss_mib is None:
        missing["rss_mib"] = host.missing or "the system keeps one peak for the whole process"
    if device.startswith("cuda"):
        return Memory(
            torch_allocated_mib=torch.cuda.max_memory_allocated(device) / MIB,
            torch_reserved_mib=torch.cuda.max_memory_reserved(device) / MIB,
            alloc_retries=torch.cuda.memory_stats(device)["num_alloc_retries"],
            rss_mib=rss_mib,
            missing=missing,
        )
    for name in ("torch_allocated_mib", "torch_reserved_mib", "alloc_retries"):
        missing[name] = f"torch keeps no such figure on {device}"
    return Memory(rss_mib=rss_mib, missing=missing)
