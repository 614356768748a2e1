"""Loading a text-to-image pipeline: the bundled model, a folder or a hub id alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from diffusion_bench.backends.catalog import (
    ModelEntry,
    ModelUnavailable,
    cached_folder,
    find_model,
)
from diffusion_bench.backends.device import is_out_of_memory
from diffusion_bench.backends.downloads import gate_words
from diffusion_bench.backends.library_messages import is_gated, quiet_libraries, reason_of
from diffusion_bench.backends.model_files import (
    pickle_words,
    pickled_weights,
    presence,
    variant_to_read,
)
from diffusion_bench.backends.pipeline_names import check_pipeline, no_text_to_image, why_not_drawn
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

    What is on this machine whole is read from there: the hub is not asked whether it has a newer
    one. `placing` is how `split_model.py` lays it on several cards instead.

    Raises `UnknownModel` for a name that is neither of the catalog, a folder nor a hub id, and
    `ModelUnavailable` when its weights cannot be had; only safetensors are read, and no code that
    comes with a model runs.
    """
    quiet_libraries()
    from diffusers import DiffusionPipeline

    entry = find_model(model)
    if revision is not None and entry.source == "hub":
        entry = entry.model_copy(update={"revision": revision})
    check_pipeline(entry)
    place, options = _reading(entry, precision)
    try:
        pipeline = DiffusionPipeline.from_pretrained(place, **options, **(placing or {}))
        refuse_wordless(pipeline)
        if not placing:  # what lies on several cards has lost what tells
            refuse_missing_weights(pipeline)
    except LOADING_ERRORS as error:
        if is_out_of_memory(error):
            raise
        raise ModelUnavailable(_why_not_loaded(entry, precision, error)) from error
    kind = type(pipeline).__name__
    has_cells = hasattr(pipeline, "vae_scale_factor")
    if why := why_not_drawn(kind) or (None if has_cells else no_text_to_image(kind)):
        raise ModelUnavailable(f"{model!r} {why}")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _reading(entry: ModelEntry, precision: PrecisionName) -> tuple[str, dict[str, Any]]:
    """Return where diffusers reads a model and how: from its folder where all of it is here."""
    options: dict[str, Any] = {"dtype": DTYPES[precision], "use_safetensors": True}
    if variant := variant_to_read(entry, precision):
        options["variant"] = variant
    if presence(entry, precision) == "here":
        return str(cached_folder(entry)), options
    return entry.location, {**options, "revision": entry.revision}


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


def refuse_wordless(pipeline: Any) -> None:
    """Raise ValueError for a tokenizer that knows no words, as one without its vocabulary does."""
    from transformers import PreTrainedTokenizerBase

    for name, part in pipeline.components.items():
        if not isinstance(part, PreTrainedTokenizerBase):
            continue
        if len(part) <= len({*part.all_special_tokens, *part.added_tokens_encoder}):
            raise ValueError(f"its {name} knows no words: the file of its vocabulary is missing")


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
