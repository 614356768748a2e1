"""Voice models of the hub with random weights, small enough to make in a test.

Everything is saved by its real class and loaded as a download would be. Random models say nothing,
but they are made such that voice, text, seed and settings all reach the sound.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    LongCatAudioDiTPipeline,
    LongCatAudioDiTTransformer,
    LongCatAudioDiTVae,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import (
    PocketTTSAudioTokenizerConfig,
    PocketTTSAudioTokenizerModel,
    PocketTTSConfig,
    PocketTTSFeatureExtractor,
    PocketTTSFlowHeadConfig,
    PocketTTSForConditionalGeneration,
    PocketTTSProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
    UMT5Config,
    UMT5EncoderModel,
    VibeVoiceAcousticTokenizerConfig,
    VibeVoiceAcousticTokenizerEncoderConfig,
    VibeVoiceAcousticTokenizerFeatureExtractor,
    VibeVoiceConfig,
    VibeVoiceDiffusionHeadConfig,
    VibeVoiceForConditionalGeneration,
    VibeVoiceProcessor,
)

from diffusion_bench.audio.reference import Reference

LETTERS = tuple(string.ascii_letters + string.digits + " .,!?'")
POCKET_TOKENS = {
    "audio_prompt_token": "<|audio_prompt|>",
    "audio_latent_token": "<|audio_latent|>",
    "audio_prompt_bos_token": "<|audio_prompt_bos|>",
    "audio_bos_token": "<|audio_bos|>",
}
POCKET_TEMPLATE = (
    "{% for part in messages[0].content %}{% if part.type == 'audio' %}"
    "<|audio_prompt_bos|><|audio_prompt|>{% else %}{{ part.text }}{% endif %}{% endfor %}"
    "<|audio_bos|>"
)
VIBEVOICE_TOKENS = ("<|speak|>", "<|start|>", "<|stop|>", "<|end|>")
VIBEVOICE_TEMPLATE = (
    "{% for part in messages[0].content %}{% if part.type == 'audio' %}"
    "<|start|><|speak|><|stop|>{% else %}{{ part.text }}{% endif %}{% endfor %}<|start|>"
)


def chirp(duration_s: float, *, low_hz: float = 120, sample_rate: int = 24_000) -> Reference:
    """Return a recording to clone: a buzz that rises an octave, in syllables."""
    time_s = np.arange(int(duration_s * sample_rate)) / sample_rate
    phase = 2 * np.pi * low_hz * (time_s + time_s**2 / (2 * duration_s))
    buzz = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 8))
    samples = 0.2 * buzz * np.sin(2 * np.pi * 2 * time_s) ** 2
    return Reference(samples.astype(np.float32), sample_rate, "So it was said.")


def letter_tokenizer(*special: str, **settings: object) -> PreTrainedTokenizerFast:
    """Return a tokenizer of one token a letter, `special` tokens first and then padding."""
    words = [*special, "<pad>", "<unk>", *LETTERS]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.add_special_tokens(list(special))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", **settings
    )


def save_tiny_pocket(
    folder: Path,
    *,
    ends: Literal["soon", "by chance", "never"] = "soon",
    encoder: bool = True,
) -> Path:
    """Save a Pocket TTS; one that never `ends` speaks until it is stopped."""
    torch.manual_seed(0)
    tokenizer = letter_tokenizer(
        *POCKET_TOKENS.values(), model_specific_special_tokens=POCKET_TOKENS, padding_side="left"
    )
    _pocket_codec(encoder=encoder).save_pretrained(folder / "codec")
    PocketTTSProcessor(
        PocketTTSFeatureExtractor(),
        tokenizer,
        PocketTTSAudioTokenizerModel.from_pretrained(folder / "codec"),
        chat_template=POCKET_TEMPLATE,
    ).save_pretrained(folder / "pocket")
    model = PocketTTSForConditionalGeneration(_pocket_config(tokenizer))
    _shake(model)
    with torch.no_grad():
        # Else a rounding error would grow into another speech within a few frames.
        model.model.audio_latent_proj.weight.mul_(0.1)
    if ends != "by chance":
        nn.init.zeros_(model.eos_head.weight)
    # Speech ends at a logit over -4; those of random heads spread by about 1.5.
    nn.init.constant_(model.eos_head.bias, {"soon": 0.0, "by chance": -6.0, "never": -10.0}[ends])
    model.generation_config.return_dict_in_generate = True
    model.save_pretrained(folder / "pocket")
    return folder / "pocket"


def _pocket_codec(*, encoder: bool) -> PocketTTSAudioTokenizerModel:
    codec = PocketTTSAudioTokenizerModel(
        PocketTTSAudioTokenizerConfig(
            hidden_size=16,
            num_filters=2,
            upsample_groups=16,
            intermediate_size=32,
            num_attention_heads=2,
            num_key_value_heads=2,
            # So little is looked back at that a test's few frames go past it.
            sliding_window=20,
            latent_dim=32,
            # Of the real size, 0.01, the past would hardly be heard.
            layer_scale_initial_scale=0.5,
            **({} if encoder else {"encoder_config": None}),
        )
    )
    with torch.no_grad():
        codec.decoder.decoder_seanet.layers[-1].conv.weight.mul_(0.05)
    return codec


def _pocket_config(tokenizer: PreTrainedTokenizerFast) -> PocketTTSConfig:
    ids = {
        f"{name}_id": tokenizer.convert_tokens_to_ids(token)
        for name, token in POCKET_TOKENS.items()
    }
    return PocketTTSConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        pad_token_id=tokenizer.pad_token_id,
        flow_head_config=PocketTTSFlowHeadConfig(
            hidden_size=16, num_hidden_layers=2, condition_dim=32, frequency_embedding_size=8
        ),
        **ids,
    )


def save_tiny_vibevoice(folder: Path, *, speaks: bool = True) -> Path:
    """Save a VibeVoice; it speaks until it is stopped, or ends before it began."""
    torch.manual_seed(0)
    tokens = VIBEVOICE_TOKENS if speaks else reversed(VIBEVOICE_TOKENS)
    tokenizer = letter_tokenizer(*tokens)
    model = VibeVoiceForConditionalGeneration(_vibevoice_config(tokenizer))
    _shake(model)
    with torch.no_grad():
        model.model.audio_tower.decoder.head.conv.weight.mul_(0.01)
    # All tokens are equally likely, and of those the first in the vocabulary is taken.
    nn.init.zeros_(model.lm_head.weight)
    model.save_pretrained(folder / "vibevoice")
    VibeVoiceProcessor(
        VibeVoiceAcousticTokenizerFeatureExtractor(),
        tokenizer,
        chat_template=VIBEVOICE_TEMPLATE,
        audio_bos_token="<|start|>",
        audio_eos_token="<|stop|>",
        audio_token="<|speak|>",
    ).save_pretrained(folder / "vibevoice")
    return folder / "vibevoice"


def _vibevoice_config(tokenizer: PreTrainedTokenizerFast) -> VibeVoiceConfig:
    speak, start, stop, end = tokenizer.convert_tokens_to_ids(list(VIBEVOICE_TOKENS))
    codec = {
        "num_filters": 2,
        "depths": [1, 1, 1],
        "downsampling_ratios": [40, 80],
        "layer_scale_init_value": 0.5,
    }
    text = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
    )
    head = VibeVoiceDiffusionHeadConfig(
        num_hidden_layers=1, intermediate_size=64, frequency_embedding_size=16
    )
    return VibeVoiceConfig(
        text_config=text.to_dict(),
        audio_config=VibeVoiceAcousticTokenizerConfig(hidden_size=16, **codec).to_dict(),
        semantic_model_config=VibeVoiceAcousticTokenizerEncoderConfig(
            hidden_size=8, **codec
        ).to_dict(),
        diffusion_head_config=head.to_dict(),
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=end,
        audio_bos_token_id=start,
        audio_eos_token_id=stop,
        audio_token_id=speak,
    )


def save_tiny_longcat(folder: Path) -> Path:
    """Save a LongCat-AudioDiT, as diffusers' pipeline of it."""
    torch.manual_seed(0)
    tokenizer = letter_tokenizer()
    tokenizer.model_max_length = 512
    transformer = LongCatAudioDiTTransformer(
        dit_dim=32, dit_depth=2, dit_heads=2, dit_text_dim=16, latent_dim=8
    )
    _shake(transformer)
    vae = LongCatAudioDiTVae(
        channels=2,
        c_mults=[1, 2, 4, 8, 16],
        strides=[2, 4, 4, 8, 8],
        latent_dim=8,
        encoder_latent_dim=16,
    )
    with torch.no_grad():
        # All the convolutions have a magnitude of their own, which grows what passes them.
        vae.decoder.layers[-2].weight_g.mul_(0.01)
    LongCatAudioDiTPipeline(
        vae=vae,
        text_encoder=UMT5EncoderModel(
            UMT5Config(
                vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2
            )
        ),
        tokenizer=tokenizer,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0, invert_sigmas=True),
    ).save_pretrained(folder / "longcat")
    return folder / "longcat"


def _shake(model: nn.Module, spread: float = 0.3) -> None:
    """Redraw all matrices: as initialised, what goes in hardly changes what comes out."""
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.normal_(std=spread)
