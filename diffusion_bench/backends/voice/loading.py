"""Weights from the hub or a folder, and one line of why where they cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffusion_bench.backends.catalog import ModelUnavailable
from diffusion_bench.backends.images import DTYPES
from diffusion_bench.backends.library_messages import quiet_libraries
from diffusion_bench.backends.voice.base import VoiceEntry
from diffusion_bench.records import PrecisionName


def weight_options(precision: PrecisionName) -> dict[str, Any]:
    """Return what every `from_pretrained` of weights gets: the type, and safetensors only."""
    return {"dtype": DTYPES[precision], "use_safetensors": True}


@contextmanager
def fetching(entry: VoiceEntry) -> Iterator[None]:
    """Turn what loading raises inside the block into `ModelUnavailable`, in one line."""
    quiet_libraries()
    try:
        yield
    # KeyError: a configuration without a field of its class; ImportError: a tokenizer's package.
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelUnavailable(_why(entry, error)) from error


def _why(entry: VoiceEntry, error: BaseException) -> str:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if entry.source != "hub":
        return f"voice model {entry.name!r} cannot be loaded: {reason:.300}"
    if entry.gated or "gated repo" in reason.lower():
        return (
            f"voice model {entry.name!r} is not on this machine and its weights are gated: accept "
            f"the terms on huggingface.co/{entry.location}, then `hf auth login`: {reason:.300}"
        )
    return (
        f"voice model {entry.name!r} is not on this machine and could not be fetched from the hub "
        f"(no network, no such model, or it needs a login): {reason:.300}"
    )
