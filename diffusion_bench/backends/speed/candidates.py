"""Which speeds are worth a try on this device, for this model and this request."""

from __future__ import annotations

import math
from typing import Any

import psutil
import torch

from diffusion_bench.backends.latents import denoiser_of
from diffusion_bench.backends.loading import DTYPES
from diffusion_bench.backends.speed.packing import why_no_packing
from diffusion_bench.records import ImageRequest, Speed

ROOM = 0.8  # of the free memory may be planned with
FEATURE_MAPS = 4  # as large as the picture, alive at once in a decoder's last block


def candidates(base: Speed, device: str, precision: str) -> tuple[Speed, ...]:
    """Return the speeds to compare, each on top of what the memory demands anyway.

    Compiling is none of them: it takes minutes, for the one who asks for it to give.
    """
    free = base.model_copy(update={"keep_prompts": True})
    kept = free.model_copy(update={"keep_keys": True})
    traced = [free.model_copy(update={"traced": True})] if base.offload == "none" else []
    tried = [kept, _laid_out(kept, device, DTYPES[precision]), *traced]
    in_bf16 = precision == "fp32" and gains_by_bf16(device)
    if in_bf16:
        ways = [kept, _laid_out(kept, device, torch.bfloat16), *traced]
        tried += [_computing(way, "bf16") for way in ways]
    if device == "cpu" and torch.get_num_threads() > 1:
        tried += [way.model_copy(update={"threads": "one"}) for way in tried]
    if in_bf16:  # the last resort, where bf16 throughout draws another picture
        tried += [_computing(way, "bf16 products") for way in ways[1:]]
    return tuple(dict.fromkeys(tried))


def _laid_out(speed: Speed, device: str, dtype: torch.dtype) -> Speed:
    """Return the speed with weights that lie as the kernels for a type read them."""
    layout = "packed" if why_no_packing(device, dtype) is None else "channels_last"
    return speed.model_copy(update={layout: True})


def _computing(speed: Speed, numbers: str) -> Speed:
    return speed.model_copy(update={"compute": numbers})


def gains_by_bf16(device: str) -> bool:
    """Return whether the processor multiplies bf16 itself: AMX, AVX512-BF16, Ampere and later."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device != "cpu":
        return False
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def needed_for_memory(
    pipeline: Any, request: ImageRequest, device: str, free_bytes: float | None = None
) -> Speed:
    """Return the options without which the request may not fit the free memory, else the defaults.

    `pipeline` is not on the device yet. `free_bytes`: as free now, if none are given.
    """
    free_bytes = ROOM * (free_memory_bytes(device) if free_bytes is None else free_bytes)
    options: dict[str, Any] = {}
    if device.startswith("cuda"):
        options["offload"], held_bytes = _offload(pipeline, free_bytes)
        free_bytes -= held_bytes
    each_bytes = _decoder_bytes(pipeline, request)
    if each_bytes > free_bytes and hasattr(pipeline.vae, "enable_tiling"):
        options["vae"] = "tiled"
    elif each_bytes * request.batch > free_bytes and hasattr(pipeline.vae, "enable_slicing"):
        options["vae"] = "sliced"
    return Speed(**options)


def same_need(
    pipeline: Any, request: ImageRequest, device: str, free_bytes: float
) -> tuple[float, float]:
    """Return between which free bytes `needed_for_memory` is what it is of so many."""
    each_bytes = _decoder_bytes(pipeline, request)
    decoder = (0.0, each_bytes, request.batch * each_bytes)
    sizes = [_bytes(part) for part in pipeline.components.values() if _is_network(part)]
    held = (0.0, max(sizes), float(sum(sizes))) if device.startswith("cuda") else (0.0,)
    turns = sorted({(some + other) / ROOM for some in held for other in decoder})
    return (
        max((turn for turn in turns if turn <= free_bytes), default=0.0),
        min((turn for turn in turns if turn > free_bytes), default=math.inf),
    )


def free_memory_bytes(device: str) -> float:
    """Return the memory that is free on the device."""
    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(device)[0])
    return float(psutil.virtual_memory().available)


def free_once_unloaded_bytes(device: str) -> float:
    """Return the memory that is free once nothing is loaded, as far as that can be told.

    On a card that is what torch holds for models, and keeps for the next one, on top of the free.
    """
    held_bytes = torch.cuda.memory_reserved(device) if device.startswith("cuda") else 0
    return free_memory_bytes(device) + held_bytes


def _offload(pipeline: Any, free_bytes: float) -> tuple[str, float]:
    """Return how networks must share the card, and how much they then take of it at once."""
    sizes = [_bytes(part) for part in pipeline.components.values() if _is_network(part)]
    for mode, held_bytes in (("none", sum(sizes)), ("model", max(sizes))):
        if held_bytes <= free_bytes:
            return mode, held_bytes
    return "sequential", 0.0


def _is_network(part: Any) -> bool:
    return isinstance(part, torch.nn.Module)


def _bytes(network: torch.nn.Module) -> float:
    return float(sum(weight.numel() * weight.element_size() for weight in network.parameters()))


def _decoder_bytes(pipeline: Any, request: ImageRequest) -> float:
    """Return roughly what decoding one picture takes, from the width of its last blocks."""
    widths = pipeline.vae.config.get("block_out_channels") or (128,)
    item_bytes = next(denoiser_of(pipeline).parameters()).element_size()
    # SDXL's pipelines decode in fp32 where fp16 would overflow.
    if pipeline.vae.dtype == torch.float16 and pipeline.vae.config.get("force_upcast"):
        item_bytes = 4 if hasattr(pipeline, "upcast_vae") else item_bytes
    return float(request.amount * max(widths[:2]) * FEATURE_MAPS * item_bytes)
