"""Tortoise with random weights, small enough to make in a test, in the files of the real one."""

from __future__ import annotations

import json
import math
import string
from pathlib import Path

import numpy as np
import torch
from transformers import (
    ClvpConfig,
    ClvpDecoderConfig,
    ClvpEncoderConfig,
    ClvpFeatureExtractor,
    ClvpModelForConditionalGeneration,
    UnivNetConfig,
    UnivNetModel,
)

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.tortoise.decoder import DiffusionDecoder

WIDTH = 32  # of the autoregressive model and of the decoder
START, STOP = 258, 259  # codes; the real ones are 8192 and 8193
POSITIONS = 41  # so that 40 codes are the most
MEL_NORMS = [5 + 0.05 * mel for mel in range(80)]


def tiny_decoder(seed: int = 0, **settings: int) -> DiffusionDecoder:
    torch.manual_seed(seed)
    shape = {"model_channels": WIDTH, "latent_channels": WIDTH, "num_layers": 2, "num_heads": 2}
    decoder = DiffusionDecoder(**shape | {"num_codes": 20} | settings)
    for name, weight in decoder.named_parameters():
        if name.endswith("relative_attention_bias.weight"):
            torch.nn.init.normal_(weight)
    return decoder.eval().requires_grad_(False)


def tiny_clvp(seed: int = 0) -> ClvpModelForConditionalGeneration:
    torch.manual_seed(seed)
    # transformers turns 32 channels of a head by its position, however few there are.
    encoder = {"hidden_size": 64, "intermediate_size": 64, "projection_dim": 64}
    encoder |= {"num_hidden_layers": 1, "num_attention_heads": 2}
    config = ClvpConfig(
        text_config=ClvpEncoderConfig(**encoder).to_dict(),
        speech_config=ClvpEncoderConfig(**encoder | {"vocab_size": STOP + 1}).to_dict(),
        decoder_config=ClvpDecoderConfig(
            vocab_size=STOP + 1,
            bos_token_id=START,
            eos_token_id=STOP,
            hidden_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_mel_attn_blocks=1,
            max_position_embeddings=POSITIONS,
            max_text_tokens=POSITIONS - 3,
        ).to_dict(),
        projection_dim=64,
    )
    clvp = ClvpModelForConditionalGeneration(config).eval().requires_grad_(False)
    for weight in clvp.parameters():  # its own are so small that nothing would matter
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=1 / math.sqrt(weight[0].numel()))
    with torch.no_grad():  # so that some sequences end and others do not
        clvp.speech_decoder_model.lm_head.bias[STOP] = 2.0
    return clvp


def tiny_univnet(seed: int = 0) -> UnivNetModel:
    torch.manual_seed(seed)
    # The residual blocks of its kernel predictor take the width of the noise.
    widths = {"model_in_channels": 8, "kernel_predictor_hidden_channels": 8}
    return UnivNetModel(UnivNetConfig(**widths, model_hidden_channels=4)).eval()


def save_tiny_tortoise(folder: Path) -> Path:
    """Save the pieces in their folders."""
    save_tiny_clvp(folder / "clvp")
    tiny_univnet().save_pretrained(folder / "univnet")
    tiny_decoder().save_pretrained(folder / "decoder")
    return folder


def save_tiny_clvp(folder: Path) -> Path:
    tiny_clvp().save_pretrained(folder)
    ClvpFeatureExtractor(mel_norms=MEL_NORMS).save_pretrained(folder)
    known = ["[STOP]", "[UNK]", "[SPACE]", "th", *string.ascii_lowercase, *"',.!?"]
    vocabulary = {token: index for index, token in enumerate(known)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\nt h\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "ClvpTokenizer"}')
    return folder


def hum(seconds: float, *, rate: int = 24_000, pitch: float = 120.0, seed: int = 0) -> Reference:
    """Return a buzz with a little noise: a voice, as far as a random network can tell."""
    time = np.arange(round(seconds * rate)) / rate
    buzz = sum(np.sin(2 * np.pi * pitch * n * time) / n for n in range(1, 20))
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return Reference((0.2 * buzz + 0.01 * noise).astype(np.float32), rate)
