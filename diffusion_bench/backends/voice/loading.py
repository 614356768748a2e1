"""Weights from the hub or a folder, and one line of why where they cannot be had."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.errors import EntryNotFoundError
from safetensors import SafetensorError

from diffusion_bench.backends.catalog import ModelUnavailable
from diffusion_bench.backends.device import is_out_of_memory
from diffusion_bench.backends.library_messages import is_gated, quiet_libraries, reason_of
from diffusion_bench.backends.loading import DTYPES
from diffusion_bench.backends.voice.base import VoiceEntry
from diffusion_bench.backends.voice.repositories import is_cached
from diffusion_bench.records import PrecisionName

# KeyError: a configuration without a field of its class; TypeError: one of another form;
# ImportError: a tokenizer's package; RuntimeError: weights of another shape than it says.
NOT_LOADED = (
    *(OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, EOFError),
    *(pickle.UnpicklingError, EntryNotFoundError, SafetensorError),
)


def weight_options(precision: PrecisionName) -> dict[str, Any]:
    """Return what every `from_pretrained` of weights gets: the type, and safetensors only."""
    return {"dtype": DTYPES[precision], "use_safetensors": True}


def load_whole(
    library_class: Any, location: str, precision: PrecisionName = "fp32", *, pickles: bool = False
) -> Any:
    """Return a transformers model of which every weight was there.

    transformers itself fills what a checkpoint lacks with random numbers: a model of the same
    family for another task would load, and speak noise. Raises ValueError then. With `pickles`,
    they are read where there are no safetensors, by torch's `weights_only` loader.
    """
    options = weight_options(precision)
    if pickles:
        options["use_safetensors"] = None
    model, info = library_class.from_pretrained(location, **options, output_loading_info=True)
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

    if not os.path.isdir(location):
        return Path(hf_hub_download(location, name))
    path = Path(location) / name
    if not path.is_file():
        raise EntryNotFoundError(f"there is no {name} in {location}")
    return path


def fetching(entry: VoiceEntry) -> AbstractContextManager[None]:
    """Turn what loading raises inside the block into `ModelUnavailable`, in one line."""
    return _told(lambda error: _why(entry, error))


def loading(what: str) -> AbstractContextManager[None]:
    """Do the same for what is no voice model; `what` names it: "vocoder 'vocos'"."""
    return _told(lambda error: f"{what} cannot be loaded: {reason_of(error)}")


@contextmanager
def _told(why: Callable[[BaseException], str]) -> Iterator[None]:
    quiet_libraries()
    # Else transformers asks the hub to convert a repository that has no safetensors.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    try:
        yield
    except NOT_LOADED as error:
        if is_out_of_memory(error) or isinstance(error, ModelUnavailable):
            raise
        raise ModelUnavailable(why(error)) from error


def _why(entry: VoiceEntry, error: BaseException) -> str:
    reason = reason_of(error)
    gated = (
        f"voice model {entry.name!r} is not on this machine and its weights are gated: accept "
        f"the terms on {entry.page}, then `hf auth login`: {reason}"
    )
    if is_gated(error):
        return gated
    if entry.source != "hub" or is_cached(entry):
        return f"voice model {entry.name!r} cannot be loaded: {reason}"
    if entry.gated:
        return gated
    return (
        f"voice model {entry.name!r} is not on this machine and could not be fetched from the hub "
        f"(no network, no such model, or it needs a login): {reason}"
    )
