"""A checkpoint of each pipeline class of the catalog, with random weights and a few layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from tiny_models import save_tiny_sd, save_tiny_sdxl, text_config
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    T5Config,
    T5EncoderModel,
)

from diffusion_bench.training.picturebook.tokenizer import new_tokenizer

BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def save_sd21(folder: Path) -> Path:
    """Save Stable Diffusion 2.1's kind: v-prediction."""
    return save_tiny_sd(folder, DDIMScheduler(**BETAS, prediction_type="v_prediction"))


def save_turbo(folder: Path) -> Path:
    """Save SDXL-Turbo's kind: SDXL with an ancestral sampler of trailing timesteps."""
    scheduler = EulerAncestralDiscreteScheduler(**BETAS, timestep_spacing="trailing")
    return save_tiny_sdxl(folder, scheduler)


def save_ssd_1b(folder: Path) -> Path:
    """Save SSD-1B's kind: SDXL with fewer layers, others on the way up than down."""
    return save_tiny_sdxl(
        folder,
        transformer_layers_per_block=[[1], [2]],
        reverse_transformer_layers_per_block=[[1, 2], [1, 1]],
        mid_block_type="UNetMidBlock2D",
    )


def save_pixart(folder: Path) -> Path:
    """Save PixArt-Sigma's kind: T5, a transformer that also says a variance, DPM++ on betas."""
    tokenizer = _start(folder)
    pipeline = PixArtSigmaPipeline(
        tokenizer=tokenizer,
        text_encoder=_t5(len(tokenizer), 32),
        vae=_vae(4),
        transformer=PixArtTransformer2DModel(
            sample_size=4,
            num_layers=1,
            num_attention_heads=3,
            attention_head_dim=8,
            cross_attention_dim=24,
            caption_channels=32,
        ),
        scheduler=DPMSolverMultistepScheduler(beta_schedule="linear"),
    )
    return _save(pipeline, folder / "pixart")


def save_sd3(folder: Path) -> Path:
    """Save Stable Diffusion 3's kind: three text encoders, 16 channels, flow matching."""
    tokenizer = _start(folder)
    config = text_config(len(tokenizer))
    pipeline = StableDiffusion3Pipeline(
        text_encoder=CLIPTextModelWithProjection(config),
        tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(config),
        tokenizer_2=tokenizer,
        text_encoder_3=_t5(len(tokenizer), 64),
        tokenizer_3=tokenizer,
        vae=_vae(16, scaling_factor=1.5305, shift_factor=0.0609),
        transformer=SD3Transformer2DModel(
            sample_size=8,
            in_channels=16,
            out_channels=16,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=64,
            caption_projection_dim=32,
            pooled_projection_dim=64,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
    return _save(pipeline, folder / "sd3")


def save_flux(folder: Path, *, distilled: bool = False) -> Path:
    """Save FLUX.1's kind: packed latents; `distilled` as dev, whose guidance is an input."""
    tokenizer = _start(folder)
    pipeline = FluxPipeline(
        text_encoder=CLIPTextModel(text_config(len(tokenizer))),
        tokenizer=tokenizer,
        text_encoder_2=_t5(len(tokenizer), 32),
        tokenizer_2=tokenizer,
        vae=_vae(16, scaling_factor=0.3611, shift_factor=0.1159),
        transformer=FluxTransformer2DModel(
            in_channels=64,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=distilled,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=3.0 if distilled else 1.0, use_dynamic_shifting=distilled
        ),
    )
    return _save(pipeline, folder / "flux")


def save_sana(folder: Path) -> Path:
    """Save Sana's kind: Gemma, an autoencoder of 32 pixels a cell, DPM++ on flow matching."""
    tokenizer = _start(folder)
    blocks = ("ResBlock",) * 5 + ("EfficientViTBlock",)
    gemma = Gemma2Config(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
    )
    pipeline = SanaPipeline(
        tokenizer=tokenizer,
        text_encoder=Gemma2Model(gemma),
        vae=AutoencoderDC(
            latent_channels=32,
            attention_head_dim=8,
            encoder_block_types=blocks,
            decoder_block_types=blocks,
            encoder_block_out_channels=(8, 8, 8, 16, 32, 32),
            decoder_block_out_channels=(8, 8, 8, 16, 32, 32),
            encoder_layers_per_block=(1,) * 6,
            decoder_layers_per_block=(1,) * 6,
            encoder_qkv_multiscales=((), (), (), (), (), (5,)),
            decoder_qkv_multiscales=((), (), (), (), (), (5,)),
            decoder_norm_types="rms_norm",
            decoder_act_fns="silu",
            scaling_factor=0.41407,
        ),
        transformer=SanaTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=4,
            num_layers=1,
            num_cross_attention_heads=2,
            cross_attention_head_dim=4,
            cross_attention_dim=8,
            caption_channels=8,
        ),
        scheduler=DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    )
    return _save(pipeline, folder / "sana")


def save_lcm(folder: Path) -> Path:
    """Save a latent consistency model: guidance is an input of its U-Net, its pipeline its own."""
    stock = StableDiffusionPipeline.from_pretrained(save_tiny_sd(folder), use_safetensors=True)
    parts = {name: part for name, part in stock.components.items() if name != "image_encoder"}
    parts["unet"] = UNet2DConditionModel.from_config({**stock.unet.config, "time_cond_proj_dim": 8})
    parts["scheduler"] = LCMScheduler.from_config(stock.scheduler.config)
    return _save(
        LatentConsistencyModelPipeline(**parts, requires_safety_checker=False), folder / "lcm"
    )


# By the models of the catalog that they stand for.
TINY: dict[str, Callable[[Path], Path]] = {
    "SD 1.5": save_tiny_sd,
    "SD 2.1": save_sd21,
    "SDXL": save_tiny_sdxl,
    "SDXL-Turbo": save_turbo,
    "SSD-1B": save_ssd_1b,
    "PixArt-Sigma": save_pixart,
    "SD 3.5 medium": save_sd3,
    "FLUX.1-schnell": save_flux,
    "Sana": save_sana,
}


def _start(folder: Path) -> Any:
    torch.manual_seed(0)
    return new_tokenizer(folder / "scratch")


def _save(pipeline: Any, folder: Path) -> Path:
    pipeline.save_pretrained(folder)
    return folder


def _t5(vocabulary_size: int, width: int) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=vocabulary_size, d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=4
        )
    )


def _vae(channels: int, **settings: object) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=32,
        **settings,
    )
