"""Where Tortoise's pieces come from: one folder, or repositories of the hub.

A folder holds `clvp/` and `univnet/` as transformers saves them, and `decoder/` as diffusers
does, or in its place the original's `diffusion_decoder.pth`. On the hub the original's repository
holds the latter, and transformers' conversions of the others are elsewhere. Pickles are read by
torch's `weights_only` loader, which makes tensors and runs nothing.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from safetensors import SafetensorError
from torch import Tensor

from diffusion_bench.backends.catalog import HUB_ID, ModelUnavailable
from diffusion_bench.backends.library_messages import quiet_libraries, reason_of
from diffusion_bench.backends.tortoise.conditioning import CODE_MELS
from diffusion_bench.backends.tortoise.decoder import DiffusionDecoder

# The original's repository keeps its files in the second place, its mirror in the first.
PLACES = ("", ".models/")
DECODER_FILE = "diffusion_decoder.pth"
NORMS_FILE = "mel_norms.pth"
NAMED = 3  # tensors that a complaint names

NOT_LOADED = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    EOFError,
    pickle.UnpicklingError,
    SafetensorError,
)

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Parts:
    """What speaks: transformers' networks and tokenizer, our decoder, the norms of mel bins."""

    clvp: Any
    tokenizer: Any
    univnet: Any
    decoder: DiffusionDecoder
    mel_norms: Tensor


def load_parts(
    location: str, companions: Sequence[str] = (), *, device: str, dtype: torch.dtype
) -> Parts:
    """Load the pieces of a folder or a hub id, in `dtype`; UnivNet and CLVP's encoders in fp32.

    `companions` are folders or hub ids of CLVP and UnivNet, for a place without them. Raises
    `ModelUnavailable`, in one line, for what is missing or does not fit.
    """
    quiet_libraries()
    # Else transformers asks the hub to convert a repository that has no safetensors.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    from transformers import ClvpModelForConditionalGeneration, ClvpTokenizer, UnivNetModel

    clvp_at = _place_of(location, "clvp", companions[:1])
    univnet_at = _place_of(location, "univnet", companions[1:])
    return Parts(
        clvp=_clvp(ClvpModelForConditionalGeneration, clvp_at, dtype).to(device),
        tokenizer=_tokenizer(ClvpTokenizer, clvp_at),
        univnet=_from_library(UnivNetModel, univnet_at, torch.float32).to(device),
        decoder=_decoder(location, dtype).to(device),
        mel_norms=_mel_norms(location, clvp_at),
    )


def load_decoder_file(path: Path) -> DiffusionDecoder:
    """Load the original's `diffusion_decoder.pth` by name; its sizes are read from its tensors.

    Raises `ModelUnavailable` for a file that holds other tensors.
    """
    state = _tensors(path)
    what = DiffusionDecoder.__name__
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise _unavailable(what, str(path), "no mapping of names to tensors")
    try:
        settings = _decoder_settings(state)
    except KeyError as error:
        raise _unavailable(what, str(path), f"no {error.args[0]}") from error
    with torch.device("meta"):
        decoder: DiffusionDecoder = DiffusionDecoder(**settings)
    problem = _misfit(decoder.state_dict(), state)
    if problem:
        raise _unavailable(what, str(path), problem)
    decoder.load_state_dict(state, assign=True)
    decoder.requires_grad_(False).eval()
    return decoder


def _place_of(location: str, folder: str, elsewhere: Sequence[str]) -> str:
    """Return where transformers' conversion of a network lies: in the folder, else elsewhere."""
    own = Path(location) / folder
    if own.is_dir():
        return str(own)
    if not os.path.isdir(location) and not HUB_ID.fullmatch(location):
        raise ModelUnavailable(f"{location!r} is neither a folder nor a hub id (owner/name)")
    if not elsewhere:
        raise ModelUnavailable(f"Tortoise's folder {location!r} has no {folder}/ in it")
    return elsewhere[0]


def _from_library(library_class: Any, place: str, dtype: torch.dtype) -> Any:
    """Return a network that transformers or diffusers saved; every tensor must be there."""
    if os.path.isdir(place) and not (Path(place) / "config.json").is_file():
        # Without one, transformers would make a network of its default sizes first.
        raise _unavailable(library_class.__name__, place, "no config.json")
    try:
        model, info = library_class.from_pretrained(place, dtype=dtype, output_loading_info=True)
    except NOT_LOADED as error:
        raise _unavailable(library_class.__name__, place, reason_of(error)) from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise _unavailable(library_class.__name__, place, f"no {_some(missing)}")
    return model.eval()


def _clvp(library_class: Any, place: str, dtype: torch.dtype) -> Any:
    clvp = _from_library(library_class, place, dtype)
    # Their rotary angles are fp32, which transformers does not convert back.
    clvp.text_encoder_model.float()
    clvp.speech_encoder_model.float()
    return clvp


def _tokenizer(library_class: Any, place: str) -> Any:
    try:
        return library_class.from_pretrained(place)
    except (*NOT_LOADED, TypeError) as error:  # a missing vocabulary is opened as None
        reason = f"no vocab.json and merges.txt ({reason_of(error)})"
        raise _unavailable("tokenizer", place, reason) from error


def _decoder(location: str, dtype: torch.dtype) -> DiffusionDecoder:
    saved = Path(location) / "decoder"
    if saved.is_dir():
        decoder: DiffusionDecoder = _from_library(DiffusionDecoder, str(saved), dtype)
        return decoder
    original: DiffusionDecoder = load_decoder_file(_needed(location, DECODER_FILE)).to(dtype)
    return original


def _mel_norms(location: str, clvp_at: str) -> Tensor:
    """Return the (80,) norms: transformers' conversion has them in its settings."""
    from transformers import ClvpFeatureExtractor

    try:
        norms = ClvpFeatureExtractor.from_pretrained(clvp_at).mel_norms
    except NOT_LOADED:
        norms = None
    if norms is None:
        norms = _tensors(_needed(location, NORMS_FILE))
    try:
        values = torch.as_tensor(norms, dtype=torch.float32)
    except (TypeError, ValueError):
        values = torch.zeros(0)
    if values.shape != (CODE_MELS,) or not values.all():
        raise _unavailable("mel norms", location, f"not {CODE_MELS} numbers other than 0")
    return values


def _needed(location: str, name: str) -> Path:
    """Return the path of an original file, downloaded where `location` is a hub id."""
    if os.path.isdir(location):
        tried = [Path(location) / place / name for place in PLACES]
        found = next((path for path in tried if path.is_file()), None)
    else:
        found = _from_hub(location, name)
    if found is None:
        raise ModelUnavailable(
            f"Tortoise needs {name}, and it is not in {location!r}, nor could it be fetched"
        )
    return found


def _from_hub(repository: str, name: str) -> Path | None:
    for place in PLACES:
        try:
            return Path(hf_hub_download(repository, place + name))
        except EntryNotFoundError:  # also where there is no network and no copy
            continue
        except (OSError, ValueError) as error:
            raise _unavailable(name, repository, reason_of(error)) from error
    return None


def _tensors(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except NOT_LOADED as error:
        raise _unavailable(path.name, str(path.parent), reason_of(error)) from error


def _decoder_settings(state: State) -> dict[str, int]:
    bias = "layers.0.attn.relative_pos_embeddings.relative_attention_bias.weight"
    attended = [name for name in state if name.startswith("layers.") and ".attn.norm.w" in name]
    return {
        "model_channels": _side(state, "inp_block.weight", 0),
        "mel_channels": _side(state, "inp_block.weight", 1),
        "num_heads": _side(state, bias, 1),
        "num_layers": len(attended),
        "latent_channels": _side(state, "latent_conditioner.0.weight", 1),
        "num_codes": _side(state, "code_embedding.weight", 0),
    }


def _side(state: State, name: str, axis: int) -> int:
    shape = state[name].shape
    if len(shape) <= axis:
        raise KeyError(f"{name} of {axis + 1} axes")
    return shape[axis]


def _misfit(wanted: State, state: State) -> str:
    """Return what is wrong with a state, empty where it fits."""
    missing = [name for name in wanted if name not in state]
    foreign = [name for name in state if name not in wanted]
    bent = [
        f"{name} is {tuple(state[name].shape)} and not {tuple(wanted[name].shape)}"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    complaints = [f"no {_some(missing)}"] * bool(missing)
    complaints += [f"it holds {_some(foreign)}, which do not belong there"] * bool(foreign)
    complaints += [_some(bent)] * bool(bent)
    return "; ".join(complaints)


def _some(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _unavailable(what: str, place: str, reason: str) -> ModelUnavailable:
    return ModelUnavailable(f"Tortoise's {what} cannot be loaded from {place!r}: {reason}")
