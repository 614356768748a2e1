"""Diffusers folders with random weights, small enough to make in a test, as the hub would give."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    SchedulerMixin,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from diffusion_bench.training.picturebook.tokenizer import new_tokenizer

TEXT_WIDTH = 32


def save_tiny_sd(folder: Path, scheduler: SchedulerMixin | None = None) -> Path:
    """Save a Stable Diffusion 1 pipeline: AutoencoderKL, PNDM, epsilon-prediction."""
    torch.manual_seed(0)
    tokenizer = new_tokenizer(folder / "scratch")
    pipeline = StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(text_config(len(tokenizer))),
        tokenizer=tokenizer,
        unet=_unet(cross_attention_dim=TEXT_WIDTH),
        scheduler=scheduler
        or PNDMScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            skip_prk_steps=True,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder / "sd")
    return folder / "sd"


def save_tiny_sd16(folder: Path) -> Path:
    """Save a Stable Diffusion pipeline of 16 pixels a cell, as `picturebook` is."""
    made = StableDiffusionPipeline.from_pretrained(
        save_tiny_sd(folder, DDIMScheduler(prediction_type="v_prediction")), vae=_vae(levels=5)
    )
    made.save_pretrained(folder / "sd16")
    return folder / "sd16"


def save_tiny_sdxl(folder: Path, scheduler: SchedulerMixin | None = None, **unet: object) -> Path:
    """Save a Stable Diffusion XL pipeline: two text encoders, Euler, size embeddings."""
    torch.manual_seed(0)
    tokenizer = new_tokenizer(folder / "scratch")
    config = text_config(len(tokenizer))
    pipeline = StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(config),
        text_encoder_2=CLIPTextModelWithProjection(config),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=_unet(
            cross_attention_dim=2 * TEXT_WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + TEXT_WIDTH,
            **unet,
        ),
        scheduler=scheduler
        or EulerDiscreteScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1
        ),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )
    pipeline.save_pretrained(folder / "sdxl")
    return folder / "sdxl"


def _vae(levels: int = 4) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=32,
    )


def _unet(**settings: object) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        norm_num_groups=8,
        **settings,
    )


def text_config(vocabulary_size: int) -> CLIPTextConfig:
    """Return the configuration of a CLIP text encoder of two layers."""
    return CLIPTextConfig(
        vocab_size=vocabulary_size,
        hidden_size=TEXT_WIDTH,
        intermediate_size=64,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=24,
    )
