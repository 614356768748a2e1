"""A model's networks on the meta device, and inputs of the shapes its pipeline feeds them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffusion_bench.backends.catalog import MODELS_FOLDER
from diffusion_bench.backends.counting.operators import Counter, count_call
from diffusion_bench.records import BUNDLED_MODEL, Record

CONFIGURATIONS = Path(__file__).parent / "configurations.json"
SDXL_TIME_IDS = 6
TILE_PIXELS = 512  # of decoders whose configuration names no size

Inputs = tuple[tuple[Any, ...], dict[str, Any]]
Run = Callable[[int, int, bool], Counter]  # cells of a side, passes, plain attention


class Network(Record):
    """A network's class and configuration. `tokens`: of a text encoder.

    Of a decoder: `upcast`, decodes in fp32 under fp16; `tile_pixels`, the side of its tiles.
    """

    cls: str
    config: dict[str, Any]
    tokens: int = 0
    upcast: bool = False
    tile_pixels: int = TILE_PIXELS


class Configuration(Record):
    """Everything needed to build a model without its weights; `source`: where it was read.

    `cell_pixels`: the side in pixels of one cell of the latent. `multiple`: the side in pixels that
    all of the model's levels divide. `text_*`: the embeddings that the denoiser is fed.
    """

    aliases: tuple[str, ...]
    source: str
    cell_pixels: int
    multiple: int
    latent_channels: int
    text_tokens: int
    text_width: int
    denoiser: Network
    text_encoders: tuple[Network, ...]
    decoder: Network


@cache
def configurations() -> dict[str, Configuration]:
    """Return the configurations of the hub's models and of the bundled one, by short name."""
    rows = json.loads(CONFIGURATIONS.read_text(encoding="utf-8"))
    found = {name: Configuration.model_validate(row) for name, row in rows.items()}
    found[BUNDLED_MODEL] = folder_configuration(MODELS_FOLDER / BUNDLED_MODEL)
    return found


def folder_configuration(folder: Path) -> Configuration:
    """Return the configuration of a Stable Diffusion folder, read from its files."""
    unet, vae, text = (
        json.loads((folder / part / "config.json").read_text(encoding="utf-8"))
        for part in ("unet", "vae", "text_encoder")
    )
    cell = 2 ** (len(vae["block_out_channels"]) - 1)
    tokens = text["max_position_embeddings"]
    return Configuration(
        aliases=(),
        source=f"the config.json files of models/{folder.name}",
        cell_pixels=cell,
        multiple=cell * 2 ** (len(unet["block_out_channels"]) - 1),
        latent_channels=unet["in_channels"],
        text_tokens=tokens,
        text_width=unet["cross_attention_dim"],
        denoiser=Network(cls=unet["_class_name"], config=unet),
        text_encoders=(Network(cls=text["architectures"][0], config=text, tokens=tokens),),
        decoder=Network(
            cls=vae["_class_name"], config=vae, tile_pixels=vae.get("sample_size") or TILE_PIXELS
        ),
    )


def build(network: Network, dtype: torch.dtype) -> nn.Module:
    """Return a network on the meta device: shapes without values."""
    import diffusers
    import transformers

    with torch.device("meta"):
        if hasattr(diffusers, network.cls):
            built = getattr(diffusers, network.cls).from_config(network.config)
        else:
            cls = getattr(transformers, network.cls)
            built = cls(cls.config_class(**network.config))
    # Not diffusers' own `to`, which warns of weights that pipelines keep in fp32.
    network_on_meta: nn.Module = nn.Module.to(built.eval(), dtype)
    return network_on_meta


def text_run(found: Configuration, encoders: list[nn.Module]) -> Run:
    """Return how to count all text encoders, one after the other, on so many prompts."""

    def encode(counted: list[tuple[nn.Module, torch.Tensor]]) -> None:
        for encoder, tokens in counted:
            encoder(tokens)

    def run(side: int, passes: int, plain: bool) -> Counter:
        shapes = [(passes, network.tokens) for network in found.text_encoders]
        tokens = [_meta(shape, torch.int64) for shape in shapes]
        counted = list(zip(encoders, tokens, strict=True))
        return count_call(encode, (counted,), plain_attention=plain)

    return run


def denoiser_run(found: Configuration, denoiser: nn.Module, dtype: torch.dtype) -> Run:
    """Return how to count one denoising step of square latents."""

    def run(side: int, passes: int, plain: bool) -> Counter:
        inputs = INPUTS[found.denoiser.cls](found, dtype, side, passes)
        return count_call(denoiser, *inputs, plain_attention=plain)

    return run


def decoder_run(found: Configuration, decoder: Any, dtype: torch.dtype) -> Run:
    """Return how to count the decoding of square latents."""

    def run(side: int, passes: int, plain: bool) -> Counter:
        latent = _meta((passes, found.latent_channels, side, side), dtype)
        return count_call(decoder.decode, (latent,), plain_attention=plain)

    return run


def _unet(found: Configuration, dtype: torch.dtype, side: int, passes: int) -> Inputs:
    latent, text = _latent_and_text(found, dtype, side, passes)
    named: dict[str, Any] = {"encoder_hidden_states": text}
    time_width = found.denoiser.config.get("addition_time_embed_dim")
    if time_width:
        pooled = found.denoiser.config["projection_class_embeddings_input_dim"]
        pooled -= SDXL_TIME_IDS * time_width
        named["added_cond_kwargs"] = {
            "text_embeds": _meta((passes, pooled), dtype),
            "time_ids": _meta((passes, SDXL_TIME_IDS), dtype),
        }
    return (latent, _meta((), torch.int64)), named


def _transformer(found: Configuration, dtype: torch.dtype, side: int, passes: int) -> Inputs:
    latent, text = _latent_and_text(found, dtype, side, passes)
    named = {"encoder_hidden_states": text, "timestep": _meta((passes,), dtype)}
    pooled = found.denoiser.config.get("pooled_projection_dim")
    if pooled:
        named["pooled_projections"] = _meta((passes, pooled), dtype)
    else:  # PixArt and Sana take which tokens count
        named["encoder_attention_mask"] = _meta((passes, found.text_tokens), dtype)
    if found.denoiser.cls == "PixArtTransformer2DModel":
        sizes: Any = {"resolution": None, "aspect_ratio": None}
        named["added_cond_kwargs"] = sizes
    return (latent,), named


def _flux(found: Configuration, dtype: torch.dtype, side: int, passes: int) -> Inputs:
    _, text = _latent_and_text(found, dtype, side, passes)
    packed = (side // 2) ** 2  # its pipeline packs four cells of the latent into one token
    config = found.denoiser.config
    named = {
        "hidden_states": _meta((passes, packed, config["in_channels"]), dtype),
        "encoder_hidden_states": text,
        "pooled_projections": _meta((passes, config["pooled_projection_dim"]), dtype),
        "timestep": _meta((passes,), dtype),
        "img_ids": _meta((packed, 3), dtype),
        "txt_ids": _meta((found.text_tokens, 3), dtype),
    }
    if config["guidance_embeds"]:
        named["guidance"] = _meta((passes,), torch.float32)
    return (), named


INPUTS: dict[str, Callable[[Configuration, torch.dtype, int, int], Inputs]] = {
    "UNet2DConditionModel": _unet,
    "PixArtTransformer2DModel": _transformer,
    "SD3Transformer2DModel": _transformer,
    "SanaTransformer2DModel": _transformer,
    "FluxTransformer2DModel": _flux,
}


def _latent_and_text(
    found: Configuration, dtype: torch.dtype, side: int, passes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    latent = torch.empty(passes, found.latent_channels, side, side, dtype=dtype, device="meta")
    text = torch.empty(passes, found.text_tokens, found.text_width, dtype=dtype, device="meta")
    return latent, text


def _meta(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")
