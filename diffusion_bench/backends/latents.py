"""A pipeline's latents: their shape, the noise they start from, and the pictures they stand for.

The shape follows from the pipeline: 4 to 32 channels, 8 to 32 pixels a cell, and FLUX.1 packs four
cells into one token.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from diffusion_bench.backends.model_sizes import PACKED_SIDE, check_sides, patch_side
from diffusion_bench.backends.stage_clock import DENOISERS
from diffusion_bench.records import ImageRequest

PARALLEL = 0.9995  # a cosine above which an arc is as good as a line, and safer to divide by


def denoiser_of(pipeline: Any) -> Any:
    """Return the network that denoises."""
    return next(part for name in DENOISERS if (part := getattr(pipeline, name, None)) is not None)


def is_packed(pipeline: Any) -> bool:
    """Return whether the pipeline keeps its latents as tokens of four cells."""
    return hasattr(pipeline, "_pack_latents")


def pixel_multiple(pipeline: Any) -> int:
    """Return the side in pixels of what its denoiser takes as one: cells, times its patches."""
    if is_packed(pipeline):
        return int(pipeline.vae_scale_factor) * PACKED_SIDE
    return int(pipeline.vae_scale_factor) * patch_side(denoiser_of(pipeline).config)


def check_size(pipeline: Any, request: ImageRequest) -> None:
    """Raise ValueError for a size that the model cannot draw, with the nearest it can."""
    check_sides(pixel_multiple(pipeline), request.width, request.height)


def latent_shape(pipeline: Any, width: int, height: int) -> tuple[int, int, int]:
    """Return channels, rows and columns of the latent of a picture of that size, not packed."""
    cell = pipeline.vae_scale_factor
    return pipeline.vae.config.latent_channels, height // cell, width // cell


def initial_noise(request: ImageRequest, shape: tuple[int, int, int]) -> torch.Tensor:
    """Return (batch, channels, rows, columns) noise in fp32 on the CPU.

    It is the same for every sampler, and drawn on the CPU, so that every device starts from it.
    A variation lies on the way to the noise of another seed.
    """
    pictures = []
    for index in range(request.batch):
        own = request.of_picture(index)
        noise = _noise(own.seed, shape)
        if own.variation_seed is not None:
            noise = slerp(noise, _noise(own.variation_seed, shape), own.variation_strength)
        pictures.append(noise)
    return torch.stack(pictures)


def _noise(seed: int, shape: tuple[int, int, int]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def slerp(start: torch.Tensor, end: torch.Tensor, share: float) -> torch.Tensor:
    """Return the tensor a share of the way along the arc from start to end.

    Shoemake (1985), "Animating rotation with quaternion curves". On a line between two noises the
    middle would have too little variance, and pictures made of it wash out.
    """
    cosine = torch.dot(start.flatten(), end.flatten()) / (start.norm() * end.norm())
    if abs(cosine) > PARALLEL:
        return torch.lerp(start, end, share)
    angle = math.acos(float(cosine))
    return (math.sin((1 - share) * angle) * start + math.sin(share * angle) * end) / math.sin(angle)


def packed(pipeline: Any, noise: torch.Tensor) -> torch.Tensor:
    """Return noise as the pipeline keeps its latents: FLUX.1 as (batch, tokens, 4 channels)."""
    if not is_packed(pipeline):
        return noise
    tokens: torch.Tensor = pipeline._pack_latents(noise, *noise.shape)
    return tokens


def decode(pipeline: Any, latents: torch.Tensor, request: ImageRequest) -> list[Any]:
    """Return what latents show as PIL images; none where the decoder would overflow in fp16."""
    from diffusers.image_processor import VaeImageProcessor

    vae = pipeline.vae
    if vae.dtype == torch.float16 and vae.config.get("force_upcast"):
        return []
    latents = _unscaled(pipeline.scheduler, latents)
    if is_packed(pipeline):
        latents = pipeline._unpack_latents(
            latents, request.height, request.width, pipeline.vae_scale_factor
        )
    decoded = vae.decode(_as_encoded(vae, latents).to(vae.dtype), return_dict=False)[0]
    # Not every pipeline has a processor of its own, and those that draw from words have this one's.
    return list(VaeImageProcessor().postprocess(decoded))


def _as_encoded(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Return latents as an autoencoder gives them, before they are brought to a variance near 1."""
    cells: torch.Tensor = latents / vae.config.scaling_factor
    mean, deviation = vae.config.get("latents_mean"), vae.config.get("latents_std")
    if mean is None or deviation is None:
        return cells + (vae.config.get("shift_factor") or 0.0)
    # Each channel's own, as in Playground 2.5.
    return cells * _by_channel(deviation, cells) + _by_channel(mean, cells)


def _by_channel(values: Any, like: torch.Tensor) -> torch.Tensor:
    return like.new_tensor(values).view(1, -1, 1, 1)


def _unscaled(scheduler: Any, latents: torch.Tensor) -> torch.Tensor:
    """Return latents with a variance near 1, also of schedulers that let it grow (Euler)."""
    if type(scheduler).__name__ == "SCMScheduler":  # on data of a deviation of its own
        return latents / float(scheduler.config.sigma_data)
    index = getattr(scheduler, "step_index", None)
    if index is None or float(getattr(scheduler, "init_noise_sigma", 1.0)) <= 1:
        return latents
    sigma = float(scheduler.sigmas[index])
    return latents / math.sqrt(sigma**2 + 1)
