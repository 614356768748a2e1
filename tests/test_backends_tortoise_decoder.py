"""The diffusion decoder: the original's tensors, and what it computes from them."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_tortoise import WIDTH, tiny_decoder
from torch import Tensor
from torch.nn import functional as F
from transformers.models.t5.modeling_t5 import T5Attention

from diffusion_bench.backends.tortoise.decoder import (
    AttentionBlock,
    DiffusionDecoder,
    position_bucket,
)

CHANNELS, VOICE, MELS, HEADS = 1024, 2048, 100, 16

Shapes = dict[str, tuple[int, ...]]


def layer(name: str, *weight: int) -> Shapes:
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}


def attention(name: str, width: int = CHANNELS) -> Shapes:
    bias = {f"{name}.relative_pos_embeddings.relative_attention_bias.weight": (32, HEADS)}
    return {
        **layer(f"{name}.norm", width),
        **layer(f"{name}.qkv", 3 * width, width, 1),
        **layer(f"{name}.proj_out", width, width, 1),
        **bias,
    }


def residual(name: str) -> Shapes:
    return {
        **layer(f"{name}.in_layers.0", CHANNELS),
        **layer(f"{name}.in_layers.2", CHANNELS, CHANNELS, 1),
        **layer(f"{name}.emb_layers.1", 2 * CHANNELS, CHANNELS),
        **layer(f"{name}.out_layers.0", CHANNELS),
        **layer(f"{name}.out_layers.3", CHANNELS, CHANNELS, 3),
    }


def published_layout() -> Shapes:
    """Return name and shape of every tensor of `diffusion_decoder.pth`."""
    table = {
        **layer("inp_block", CHANNELS, MELS, 3),
        **layer("time_embed.0", CHANNELS, CHANNELS),
        **layer("time_embed.2", CHANNELS, CHANNELS),
        "code_embedding.weight": (8193, CHANNELS),
        **layer("code_norm", CHANNELS),
        **layer("latent_conditioner.0", CHANNELS, CHANNELS, 3),
        **layer("contextual_embedder.0", CHANNELS, MELS, 3),
        **layer("contextual_embedder.1", VOICE, CHANNELS, 3),
        "unconditioned_embedding": (1, CHANNELS, 1),
        **layer("integrating_conv", CHANNELS, 2 * CHANNELS, 1),
        **layer("mel_head", MELS, CHANNELS, 3),
        **layer("out.0", CHANNELS),
        **layer("out.2", 2 * MELS, CHANNELS, 3),
    }
    for index in range(3):
        table |= attention(f"code_converter.{index}")
        table |= residual(f"conditioning_timestep_integrator.{index}.resblk")
        table |= attention(f"conditioning_timestep_integrator.{index}.attn")
        table |= residual(f"layers.{10 + index}")
    for index in range(1, 5):
        table |= attention(f"latent_conditioner.{index}")
    for index in range(2, 7):
        table |= attention(f"contextual_embedder.{index}", VOICE)
    for index in range(10):
        table |= residual(f"layers.{index}.resblk") | attention(f"layers.{index}.attn")
    return table


def test_the_full_decoder_has_the_359_tensors_of_the_published_weights() -> None:
    with torch.device("meta"):
        decoder = DiffusionDecoder()
    state = decoder.state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == published_layout()
    assert len(state) == 359
    assert sum(tensor.numel() for tensor in state.values()) / 1e6 == pytest.approx(292.33, abs=0.01)


def attend(block: AttentionBlock, x: Tensor) -> Tensor:
    """Return what the block is to compute, one head after another, with T5's own buckets."""
    _, channels, frames = x.shape
    size = channels // block.heads
    normed = F.group_norm(x, block.norm.num_groups, block.norm.weight, block.norm.bias)
    qkv = F.conv1d(normed, block.qkv.weight, block.qkv.bias)
    place = torch.arange(frames)
    buckets = T5Attention._relative_position_bucket(
        place[None, :] - place[:, None], bidirectional=True, num_buckets=32, max_distance=64
    )
    table = block.relative_pos_embeddings.relative_attention_bias.weight
    heads = []
    for head in range(block.heads):
        own = qkv[:, 3 * size * head : 3 * size * (head + 1)]
        query, key, value = own[:, :size], own[:, size : 2 * size], own[:, 2 * size :]
        scores = query.transpose(1, 2) @ key / math.sqrt(size)
        weights = (scores + table[buckets, head] * math.sqrt(size)).softmax(dim=-1)
        heads.append(value @ weights.transpose(1, 2))
    return x + F.conv1d(torch.cat(heads, dim=1), block.proj_out.weight, block.proj_out.bias)


def test_attention_is_that_of_heads_whose_qkv_lie_together_with_t5s_positions() -> None:
    block = tiny_decoder(num_heads=4).layers[0].attn
    x = torch.randn((2, WIDTH, 90), generator=torch.Generator().manual_seed(1))
    assert torch.allclose(block(x), attend(block, x), atol=1e-5)


def test_buckets_are_t5s_at_every_distance() -> None:
    distance = torch.arange(-300, 301)
    theirs = T5Attention._relative_position_bucket(
        distance, bidirectional=True, num_buckets=32, max_distance=64
    )
    assert position_bucket(distance).tolist() == theirs.tolist()
    assert set(position_bucket(distance).tolist()) == set(range(32)) - {16}


def reference(decoder: DiffusionDecoder, x: Tensor, time: Tensor, code: Tensor) -> Tensor:
    """Return what the decoder is to predict, written out from the tensors' names."""
    state = decoder.state_dict()

    def conv(name: str, x: Tensor) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv1d(x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        return F.group_norm(x, 16, state[f"{name}.weight"], state[f"{name}.bias"])

    def resblock(name: str, x: Tensor) -> Tensor:
        hidden = conv(f"{name}.in_layers.2", F.silu(norm(f"{name}.in_layers.0", x)))
        scale, shift = linear(f"{name}.emb_layers.1", F.silu(emb))[..., None].chunk(2, dim=1)
        hidden = norm(f"{name}.out_layers.0", hidden) * (1 + scale) + shift
        return x + conv(f"{name}.out_layers.3", F.silu(hidden))

    angles = time[:, None] * 10_000 ** (-torch.arange(WIDTH // 2) / (WIDTH // 2))
    emb = torch.cat([angles.cos(), angles.sin()], dim=-1)
    emb = linear("time_embed.2", F.silu(linear("time_embed.0", emb)))
    for index, block in enumerate(decoder.conditioning_timestep_integrator):
        code = attend(
            block.attn, resblock(f"conditioning_timestep_integrator.{index}.resblk", code)
        )
    x = conv("integrating_conv", torch.cat([conv("inp_block", x), code], dim=1))
    for index in range(2):
        x = attend(decoder.layers[index].attn, resblock(f"layers.{index}.resblk", x))
    for index in range(2, 5):
        x = resblock(f"layers.{index}", x)
    return conv("out.2", F.silu(norm("out.0", x)))


def test_a_prediction_is_what_the_tensors_names_say() -> None:
    decoder = tiny_decoder()
    generator = torch.Generator().manual_seed(2)
    x = torch.randn((2, MELS, 30), generator=generator)
    code = torch.randn((2, WIDTH, 30), generator=generator)
    time = torch.tensor([3999, 17])
    output = decoder(x, time, code)
    assert output.shape == (2, 2 * MELS, 30)
    assert torch.allclose(output, reference(decoder, x, time, code), atol=2e-5)


def test_latents_are_scaled_and_shifted_by_the_voice_and_stretched_to_the_frames() -> None:
    decoder = tiny_decoder()
    latents = torch.randn((1, 5, WIDTH), generator=torch.Generator().manual_seed(3))
    plain = decoder.align(latents, torch.zeros(1, 2 * WIDTH), 5)
    hidden = latents.transpose(1, 2)
    hidden = decoder.latent_conditioner[0](hidden)
    for block in decoder.latent_conditioner[1:]:
        hidden = attend(block, hidden)
    norm = decoder.code_norm
    assert torch.allclose(plain, F.group_norm(hidden, 16, norm.weight, norm.bias), atol=1e-5)
    voice = torch.cat([torch.full((1, WIDTH), 2.0), torch.full((1, WIDTH), -1.0)], dim=1)
    stretched = decoder.align(latents, voice, 21)
    nearest = [index * 5 // 21 for index in range(21)]
    assert torch.allclose(stretched, plain[..., nearest] * 3 - 1, atol=1e-5)


def test_a_voice_is_the_mean_over_frames_and_clips() -> None:
    decoder = tiny_decoder()
    mels = torch.randn((3, MELS, 41), generator=torch.Generator().manual_seed(4))
    one_by_one = [decoder.contextual_embedder(mel[None]) for mel in mels]
    assert one_by_one[0].shape == (1, 2 * WIDTH, 11)
    together = torch.cat(one_by_one, dim=-1).mean(dim=-1)
    assert torch.allclose(decoder.voice_latent(mels), together, atol=1e-5)


def test_without_a_condition_every_frame_has_the_learnt_embedding() -> None:
    decoder = tiny_decoder()
    like = torch.zeros((2, WIDTH, 7))
    free = decoder.unconditioned(like)
    assert free.shape == like.shape
    assert all(torch.equal(frame, decoder.unconditioned_embedding[0, :, 0]) for frame in free[1].T)


def test_half_precision_stays_near_full_precision() -> None:
    decoder = tiny_decoder()
    generator = torch.Generator().manual_seed(5)
    x = torch.randn((1, MELS, 20), generator=generator)
    code = torch.randn((1, WIDTH, 20), generator=generator)
    full = decoder(x, torch.tensor([500]), code)
    half = decoder.to(torch.bfloat16)(x.bfloat16(), torch.tensor([500]), code.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half.float() - full).abs().max() < 0.05 * full.abs().max()
