"""Tiny random checkpoints of the judges: WavLM's x-vectors, and Whisper with an alphabet."""

from __future__ import annotations

import json
from pathlib import Path

import torch


def save_tiny_speaker_encoder(folder: Path) -> Path:
    """Write a WavLM for x-vectors of 12 numbers and return its folder."""
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMForXVector

    torch.manual_seed(0)
    config = WavLMConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        tdnn_dim=(8, 8, 8, 8, 16),
        xvector_output_dim=12,
    )
    WavLMForXVector(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    return folder


def save_tiny_whisper(folder: Path) -> Path:
    """Write a Whisper that hears small letters and return its folder."""
    from tokenizers import Tokenizer, models
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizerFast,
    )

    torch.manual_seed(0)
    letters = {chr(97 + index): index for index in range(26)}
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>"]
    vocabulary = letters | {name: 26 + index for index, name in enumerate(special)}
    (folder / "scratch.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer = WhisperTokenizerFast(tokenizer_object=raw, additional_special_tokens=special)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_target_positions=16,
        bos_token_id=26,
        eos_token_id=26,
        pad_token_id=26,
        decoder_start_token_id=27,
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config.max_length = 12
    model.save_pretrained(folder)
    return folder
