"""A pipeline, placed on its device and set as a `Speed` says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from diffusion_bench.backends.latents import denoiser_of
from diffusion_bench.backends.speed.compiling import (
    CompileClock,
    compile_denoiser,
    why_no_compiling,
)
from diffusion_bench.backends.speed.computing import (
    Cast,
    compute_in,
    multiply_in,
    narrow_products,
)
from diffusion_bench.backends.speed.kept_keys import Kept, keep_keys
from diffusion_bench.backends.speed.packing import pack, why_no_packing
from diffusion_bench.backends.speed.prompts import PromptCache
from diffusion_bench.backends.speed.split_guidance import split_guidance
from diffusion_bench.backends.speed.threads import on_one_thread
from diffusion_bench.backends.speed.tracing import Traced
from diffusion_bench.records import Speed


class Arrangement:
    """A pipeline as a speed wants it, for good: another speed needs the weights anew.

    Raises ValueError, in one line, for an option that cannot be had here.
    """

    def __init__(self, pipeline: Any, speed: Speed, device: str) -> None:
        check_speed(speed, device, denoiser_of(pipeline).dtype)
        self.speed = speed
        self.prompts = PromptCache()
        self._placed = pipeline
        self._pictures = 1  # of the call that runs
        self._casts: list[Cast] = []
        self._kept: list[Kept] = []
        self._traced: Traced | None = None
        _set_attention(pipeline, speed)
        _set_decoder(pipeline, speed)
        self._set_networks(pipeline, speed)
        _place(pipeline, speed, device)
        if speed.compile != "off":
            cuda_graphs = speed.compile == "cuda graphs"
            compile_denoiser(denoiser_of(pipeline), device, cuda_graphs=cuda_graphs)

    def _set_networks(self, pipeline: Any, speed: Speed) -> None:
        denoiser = denoiser_of(pipeline)
        for network in (denoiser, pipeline.vae.decoder):
            self._set_layers(network, speed)
        if speed.keep_keys:
            self._kept = keep_keys(denoiser)
        if speed.traced:
            self._traced = Traced(denoiser)
        if speed.guidance == "split":
            split_guidance(denoiser, lambda: self._pictures)

    def _set_layers(self, network: Any, speed: Speed) -> None:
        only_products = speed.compute == "bf16 products"
        if speed.compute == "bf16":
            self._casts.append(compute_in(network, torch.bfloat16))
        if only_products:
            narrow_products(network, torch.bfloat16)
        if speed.channels_last:
            network.to(memory_format=torch.channels_last)
        if speed.packed:
            pack(network)
        if only_products:
            multiply_in(network, torch.bfloat16)  # around what is packed, within what is kept

    @contextmanager
    def running(self, pipeline: Any, pictures: int) -> Iterator[CompileClock]:
        """Run a call of the pipeline, or of another over its networks, inside the `with` block.

        It draws so many pictures. The clock that is yielded counts the seconds in which torch
        compiled or recorded.
        """
        clock = CompileClock()
        self._pictures = pictures
        recorded_s = self._recorded_s
        with ExitStack() as during:
            during.enter_context(
                torch.inference_mode() if self.speed.inference_mode else torch.no_grad()
            )
            if self.speed.threads == "one":
                during.enter_context(on_one_thread())
            if self.speed.keep_prompts:
                during.enter_context(self.prompts.serving(pipeline))
            if self.speed.compile != "off":
                during.enter_context(clock.watching())
            if self.speed.offload == "model":
                # diffusers does so after a call of the pipeline that was placed: not of another
                # over its networks, and not after one that was given up.
                during.callback(self._placed.maybe_free_model_hooks)
            during.callback(_restore_precision, pipeline.vae, pipeline.vae.dtype)
            for forget in (*(c.forget for c in self._casts), *(k.forget for k in self._kept)):
                during.callback(forget)
            yield clock
            clock.seconds += self._recorded_s - recorded_s

    @property
    def _recorded_s(self) -> float:
        return 0.0 if self._traced is None else self._traced.seconds


def _restore_precision(vae: Any, dtype: torch.dtype) -> None:
    """Undo what SDXL's pipeline leaves undone where it fails in decoding, in fp32 instead of fp16.

    The next call would give fp16 latents to an autoencoder in fp32.
    """
    if vae.dtype != dtype:
        vae.to(dtype=dtype)


def check_speed(speed: Speed, device: str, dtype: torch.dtype) -> None:
    """Raise ValueError, in one line, for an option that this device cannot have.

    `dtype` is that of the model's weights.
    """
    reasons = []
    if speed.packed:
        is_narrowed = speed.compute != "as asked"
        reasons.append(why_no_packing(device, torch.bfloat16 if is_narrowed else dtype))
    if speed.compile != "off":
        reasons.append(why_no_compiling(device, cuda_graphs=speed.compile == "cuda graphs"))
    if speed.offload != "none" and not device.startswith("cuda"):
        reasons.append(f"offload moves networks between a card and memory; the device is {device}")
    for reason in reasons:
        if reason:
            raise ValueError(f"speed {speed}: {reason}")


def _set_attention(pipeline: Any, speed: Speed) -> None:
    if speed.attention == "sdpa":
        return  # diffusers' own choice
    denoiser = denoiser_of(pipeline)
    kinds = {type(one).__name__ for one in getattr(denoiser, "attn_processors", {}).values()}
    if kinds != {"AttnProcessor2_0"}:
        raise ValueError(
            f"speed {speed}: the denoiser of {type(pipeline).__name__} has an attention of its own"
        )
    from diffusers.models.attention_processor import AttnProcessor, SlicedAttnProcessor

    sliced = speed.attention == "sliced"
    denoiser.set_attn_processor(SlicedAttnProcessor(slice_size=1) if sliced else AttnProcessor())


def _set_decoder(pipeline: Any, speed: Speed) -> None:
    if speed.vae == "whole":
        return
    switch = {"sliced": "enable_slicing", "tiled": "enable_tiling"}[speed.vae]
    if not hasattr(pipeline.vae, switch):
        raise ValueError(
            f"speed {speed}: the autoencoder {type(pipeline.vae).__name__} has no {speed.vae} mode"
        )
    getattr(pipeline.vae, switch)()


def _place(pipeline: Any, speed: Speed, device: str) -> None:
    if getattr(pipeline, "hf_device_map", None):
        return  # it lies on several cards, each network where it was loaded
    if speed.offload == "none":
        pipeline.to(device)
    elif speed.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_sequential_cpu_offload(device=device)
