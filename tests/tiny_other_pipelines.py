"""Checkpoints of pipeline classes that the catalog has none of, with random weights and few layers.

They are drawn with when a folder or a hub id is named.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ChromaPipeline,
    ChromaTransformer2DModel,
    CogView4Pipeline,
    CogView4Transformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    Lumina2Pipeline,
    Lumina2Transformer2DModel,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    SanaPipeline,
    SanaSprintPipeline,
    SanaTransformer2DModel,
    SCMScheduler,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from tiny_pipelines import save_pixart, save_sana
from transformers import (
    Gemma2Config,
    Gemma2Model,
    GlmConfig,
    GlmModel,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
)

from diffusion_bench.training.picturebook.tokenizer import new_tokenizer

WIDTH = 16
CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def save_z_image(folder: Path) -> Path:
    """Save Z-Image's kind: Qwen3, one stream of words and cells, guidance counted from 0."""
    tokenizer = _tokenizer(folder)
    pipeline = ZImagePipeline(
        tokenizer=tokenizer,
        text_encoder=Qwen3Model(Qwen3Config(**_decoder(len(tokenizer)))),
        vae=_vae(),
        transformer=ZImageTransformer2DModel(
            dim=32,
            n_layers=1,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=WIDTH,
            axes_dims=[8, 4, 4],
            axes_lens=[1024, 64, 64],
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
    return _save(pipeline, folder / "z-image")


def save_lumina2(folder: Path) -> Path:
    """Save Lumina-Image 2's kind: Gemma, time that runs from noise to picture."""
    tokenizer = _tokenizer(folder)
    pipeline = Lumina2Pipeline(
        tokenizer=tokenizer,
        text_encoder=Gemma2Model(Gemma2Config(**_decoder(len(tokenizer)))),
        vae=_vae(),
        transformer=Lumina2Transformer2DModel(
            sample_size=4,
            hidden_size=24,
            num_layers=1,
            num_refiner_layers=1,
            num_attention_heads=3,
            num_kv_heads=1,
            multiple_of=2,
            axes_dim_rope=(4, 2, 2),
            axes_lens=(300, 64, 64),
            cap_feat_dim=WIDTH,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=6.0),
    )
    return _save(pipeline, folder / "lumina2")


def save_chroma(folder: Path) -> Path:
    """Save Chroma's kind: FLUX's tokens, guided by two passes."""
    tokenizer = _tokenizer(folder)
    t5 = T5Config(
        vocab_size=len(tokenizer), d_model=WIDTH, d_kv=8, d_ff=32, num_layers=1, num_heads=4
    )
    pipeline = ChromaPipeline(
        tokenizer=tokenizer,
        text_encoder=T5EncoderModel(t5),
        vae=_vae(),
        transformer=ChromaTransformer2DModel(
            in_channels=64,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(4, 4, 8),
            approximator_hidden_dim=32,
            approximator_layers=1,
            approximator_num_channels=16,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
    return _save(pipeline, folder / "chroma")


def save_cogview4(folder: Path) -> Path:
    """Save CogView4's kind: GLM, timesteps that its pipeline lays out."""
    tokenizer = _tokenizer(folder)
    pipeline = CogView4Pipeline(
        tokenizer=tokenizer,
        text_encoder=GlmModel(GlmConfig(**_decoder(len(tokenizer)))),
        vae=_vae(shift_factor=None),
        transformer=CogView4Transformer2DModel(
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            text_embed_dim=WIDTH,
            time_embed_dim=8,
            condition_dim=4,
            sample_size=4,
            rope_axes_dim=(4, 4),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.25, max_shift=0.75, time_shift_type="linear"
        ),
    )
    return _save(pipeline, folder / "cogview4")


def save_sana_sprint(folder: Path) -> Path:
    """Save SANA-Sprint's kind: guidance is an input, and its scheduler has data of its own size."""
    parts = dict(SanaPipeline.from_pretrained(save_sana(folder), use_safetensors=True).components)
    parts["scheduler"] = SCMScheduler()
    parts["transformer"] = SanaTransformer2DModel.from_config(
        {**parts["transformer"].config, "guidance_embeds": True}
    )
    return _save(SanaSprintPipeline(**parts), folder / "sana-sprint")


def save_pixart_alpha(folder: Path) -> Path:
    """Save PixArt-alpha's kind: Sigma's, with another pipeline."""
    sigma = PixArtSigmaPipeline.from_pretrained(save_pixart(folder), use_safetensors=True)
    return _save(PixArtAlphaPipeline(**sigma.components), folder / "pixart-alpha")


# By the models that they stand for.
OTHERS: dict[str, Callable[[Path], Path]] = {
    "Z-Image": save_z_image,
    "Lumina-Image 2": save_lumina2,
    "Chroma": save_chroma,
    "CogView4": save_cogview4,
    "SANA-Sprint": save_sana_sprint,
    "PixArt-alpha": save_pixart_alpha,
}


def _tokenizer(folder: Path) -> Any:
    torch.manual_seed(0)
    tokenizer = new_tokenizer(folder / "scratch")
    tokenizer.chat_template = CHAT
    return tokenizer


def _decoder(vocabulary_size: int) -> dict[str, int]:
    return {
        "vocab_size": vocabulary_size,
        "hidden_size": WIDTH,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "pad_token_id": 0,
    }


def _vae(shift_factor: float | None = 0.1159) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=16,
        norm_num_groups=4,
        scaling_factor=0.3611,
        shift_factor=shift_factor,
    )


def _save(pipeline: Any, folder: Path) -> Path:
    pipeline.save_pretrained(folder)
    return folder
