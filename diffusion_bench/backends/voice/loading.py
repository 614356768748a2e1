"""Weights from the hub or a folder, and one line of why where they cannot be had."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffusion_bench.backends.catalog import ModelUnavailable
from diffusion_bench.backends.device import is_out_of_memory
from diffusion_bench.backends.library_messages import is_gated, quiet_libraries, reason_of
from diffusion_bench.backends.loading import DTYPES
from diffusion_bench.backends.voice.base import VoiceEntry
from diffusion_bench.records import PrecisionName


def weight_options(precision: PrecisionName) -> dict[str, Any]:
    """Return what every `from_pretrained` of weights gets: the type, and safetensors only."""
    return {"dtype": DTYPES[precision], "use_safetensors": True}


def load_whole(library_class: Any, location: str, precision: PrecisionName) -> Any:
    """Return a transformers model of which every weight was there.

    transformers itself fills what a checkpoint lacks with random numbers: a model of the same
    family for another task would load, and speak noise. Raises ValueError then.
    """
    model, info = library_class.from_pretrained(
        location, **weight_options(precision), output_loading_info=True
    )
    missing = sorted(info["missing_keys"])
    if missing:
        raise ValueError(
            f"{location} lacks {len(missing)} weights of {library_class.__name__}, "
            f"such as {missing[0]}"
        )
    return model.eval()


def file_of(location: str, name: str) -> Path:
    """Return the path of a file of a folder or a hub id; EntryNotFoundError where there is none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    if not os.path.isdir(location):
        return Path(hf_hub_download(location, name))
    path = Path(location) / name
    if not path.is_file():
        raise EntryNotFoundError(f"there is no {name} in {location}")
    return path


@contextmanager
def fetching(entry: VoiceEntry) -> Iterator[None]:
    """Turn what loading raises inside the block into `ModelUnavailable`, in one line."""
    quiet_libraries()
    from huggingface_hub.errors import EntryNotFoundError
    from safetensors import SafetensorError

    known = (OSError, ValueError, KeyError, ImportError, RuntimeError)
    try:
        yield
    # KeyError: a configuration without a field of its class; ImportError: a tokenizer's package;
    # RuntimeError: weights of another shape than the configuration says.
    except (*known, EntryNotFoundError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelUnavailable(_why(entry, error)) from error


def _why(entry: VoiceEntry, error: BaseException) -> str:
    reason = reason_of(error)
    if entry.source != "hub":
        return f"voice model {entry.name!r} cannot be loaded: {reason}"
    if entry.gated or is_gated(error):
        return (
            f"voice model {entry.name!r} is not on this machine and its weights are gated: accept "
            f"the terms on huggingface.co/{entry.location}, then `hf auth login`: {reason}"
        )
    return (
        f"voice model {entry.name!r} is not on this machine and could not be fetched from the hub "
        f"(no network, no such model, or it needs a login): {reason}"
    )
