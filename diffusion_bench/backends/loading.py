"""Loading a text-to-image pipeline: the bundled model, a folder or a hub id alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from diffusion_bench.backends.catalog import ModelEntry, ModelUnavailable, find_model
from diffusion_bench.backends.device import is_out_of_memory
from diffusion_bench.backends.downloads import gate_words
from diffusion_bench.backends.library_messages import is_gated, quiet_libraries, reason_of
from diffusion_bench.backends.model_files import (
    pickle_words,
    pickled_weights,
    presence,
    variant_to_read,
)
from diffusion_bench.backends.pipeline_calls import parameters_of
from diffusion_bench.records import PrecisionName

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# What diffusers raises for a folder that it cannot load. ImportError: a scheduler's package;
# AttributeError: a class that it does not have; KeyError, TypeError: an index of another form.
LOADING_ERRORS = (
    *(OSError, ValueError, RuntimeError),
    *(ImportError, AttributeError, KeyError, TypeError),
)


def load_pipeline(
    model: str,
    precision: PrecisionName,
    revision: str | None = None,
    *,
    placing: Mapping[str, Any] | None = None,
) -> Any:
    """Return a model's pipeline on the CPU, of a hub model that of `revision` if one is given.

    `placing` is how `split_model.py` lays it on several cards instead.

    Raises `UnknownModel` for a name that is neither of the catalog, a folder nor a hub id, and
    `ModelUnavailable` when its weights cannot be had; only safetensors are read, and no code that
    comes with a model runs.
    """
    quiet_libraries()
    from diffusers import DiffusionPipeline

    entry = find_model(model)
    options: dict[str, Any] = {"dtype": DTYPES[precision], "use_safetensors": True}
    options |= placing or {}
    if revision is not None and entry.source == "hub":
        options["revision"] = revision
    if variant := variant_to_read(entry, precision):
        options["variant"] = variant
    try:
        pipeline = DiffusionPipeline.from_pretrained(entry.location, **options)
        if not placing:  # what lies on several cards has lost what tells
            refuse_missing_weights(pipeline)
    except LOADING_ERRORS as error:
        if is_out_of_memory(error):
            raise
        raise ModelUnavailable(_why_not_loaded(entry, precision, error)) from error
    if not _draws_from_text(pipeline):
        kind = type(pipeline).__name__
        raise ModelUnavailable(f"{model!r} is no text-to-image pipeline over latents, but {kind}")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _draws_from_text(pipeline: Any) -> bool:
    """Return whether a pipeline draws over latents and needs no picture to start from or follow."""
    follows = "strength" in parameters_of(type(pipeline)) or "controlnet" in pipeline.components
    return (
        hasattr(pipeline, "vae_scale_factor") and hasattr(pipeline, "encode_prompt") and not follows
    )


def refuse_missing_weights(pipeline: Any) -> None:
    """Raise ValueError for a network that was just loaded and not all of whose weights were there.

    transformers fills them with random numbers, other ones each time, and diffusers leaves them
    without any.
    """
    for name, part in pipeline.components.items():
        if not isinstance(part, torch.nn.Module):
            continue
        weights = dict(part.named_parameters())
        # So transformers marks each weight that it has read.
        marked = {key for key, own in weights.items() if hasattr(own, "_is_hf_initialized")}
        lacking = [
            key for key, own in weights.items() if own.is_meta or (marked and key not in marked)
        ]
        if lacking:
            raise ValueError(f"its {name} lacks {len(lacking)} weights, such as {lacking[0]}")


def _why_not_loaded(entry: ModelEntry, precision: PrecisionName, error: Exception) -> str:
    if is_gated(error):
        return gate_words(entry)
    if pickles := pickled_weights(entry):
        return pickle_words(entry, pickles[0])
    reason = reason_of(error)
    if presence(entry, precision) == "here":
        return f"model {entry.name!r} cannot be loaded: {reason}"
    return (
        f"model {entry.name!r} is not on this machine and could not be fetched from the hub "
        f"(no network, no such model, or it needs a login): {reason}"
    )
