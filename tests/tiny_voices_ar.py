"""CSM, Dia and SpeechT5 with random weights, small enough to make in a test, as the hub would give.

Their own classes, saved and loaded by their own methods. What must keep its real size: strides of
the codecs, which the processors count with, and the 512 numbers of an x-vector.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import sentencepiece
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CsmConfig,
    CsmForConditionalGeneration,
    CsmProcessor,
    DacConfig,
    DacModel,
    DiaConfig,
    DiaFeatureExtractor,
    DiaForConditionalGeneration,
    DiaTokenizer,
    EncodecFeatureExtractor,
    MimiModel,
    PreTrainedTokenizerFast,
    SpeechT5Config,
    SpeechT5ForTextToSpeech,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    SpeechT5Tokenizer,
)

from diffusion_bench.audio.reference import Reference

CODES = 64  # of each codebook; a power of 2
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ '.,!?[]0123456789"
# What is said, a turn: [speaker] words, then the place of the speech where there is some.
CSM_TEMPLATE = (
    "{% for turn in messages %}{% for part in turn['content'] %}"
    "{% if part['type'] == 'text' %}<bos>[{{ turn['role'] }}]{{ part['text'] }}<eos>"
    "{% else %}<|AUDIO|><|audio_eos|>{% endif %}"
    "{% endfor %}{% endfor %}"
)


def hum(duration_s: float = 1.2, sample_rate: int = 24_000) -> Reference:
    """Return a recording of a hum with words to it."""
    times = np.arange(round(duration_s * sample_rate)) / sample_rate
    samples = 0.3 * np.sin(2 * np.pi * 150 * times)
    return Reference(samples.astype(np.float32), sample_rate, transcript="Hm hm.")


def save_tiny_csm(folder: Path) -> Path:
    """Save a CSM: two codebooks, one layer a decoder, a Mimi of its real strides."""
    torch.manual_seed(0)
    tokenizer = _csm_tokenizer()
    model = CsmForConditionalGeneration(_csm_config(len(tokenizer))).eval()
    _differing_codes(model.codec_model)
    model.save_pretrained(folder)
    extractor = EncodecFeatureExtractor(sampling_rate=24_000)
    CsmProcessor(extractor, tokenizer, chat_template=CSM_TEMPLATE).save_pretrained(folder)
    return folder


def _csm_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of one token a letter."""
    special = ["<pad>", "<bos>", "<eos>", "<|AUDIO|>", "<|audio_eos|>", "<unk>"]
    letters = {token: index for index, token in enumerate([*special, *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(letters, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        extra_special_tokens=["<|AUDIO|>", "<|audio_eos|>"],
    )


def _csm_config(num_letters: int) -> CsmConfig:
    decoder = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "initializer_range": 0.3,  # so that what is heard changes what is said
    }
    return CsmConfig(
        **decoder,
        num_codebooks=2,
        vocab_size=CODES,  # no more: what a random model says must be in the codec
        text_vocab_size=num_letters,
        max_position_embeddings=80,
        pad_token_id=0,
        bos_token_id=1,
        codebook_pad_token_id=CODES - 1,
        codebook_eos_token_id=0,
        audio_token_id=3,
        audio_eos_token_id=4,
        depth_decoder_config={
            **decoder,
            "num_codebooks": 2,
            "backbone_hidden_size": 32,
            "vocab_size": CODES,
            "max_position_embeddings": 3,
        },
        codec_config={
            "model_type": "mimi",
            "hidden_size": 16,
            "num_filters": 2,
            "codebook_size": CODES,
            "codebook_dim": 8,
            "vector_quantization_hidden_dimension": 8,
            "num_quantizers": 2,
            "upsample_groups": 16,
            "num_hidden_layers": 1,
            "intermediate_size": 16,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
        },
    )


def _differing_codes(mimi: MimiModel) -> None:
    """Give a random Mimi codebooks: they begin at zero, so that all codes would sound alike."""
    for name, buffer in mimi.named_buffers():
        if name.endswith("embed_sum"):
            buffer.normal_()
    last = [module for module in mimi.decoder.modules() if isinstance(module, torch.nn.Conv1d)][-1]
    torch.nn.init.normal_(last.weight, std=0.01)  # well within full scale


def save_tiny_dia(folder: Path) -> tuple[Path, Path]:
    """Save a Dia and its codec, a DAC of 512 samples a frame; return both folders."""
    torch.manual_seed(0)
    layers = {
        "num_hidden_layers": 1,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
    }
    config = DiaConfig(
        encoder_config=layers,
        decoder_config={
            **layers,
            "cross_num_attention_heads": 2,
            "cross_head_dim": 16,
            "cross_num_key_value_heads": 2,
            "cross_hidden_size": 32,
            "max_position_embeddings": 160,
        },
    )
    model, codec = folder / "dia", folder / "dac"
    DiaForConditionalGeneration(config).eval().save_pretrained(model)
    DiaTokenizer().save_pretrained(model)
    DiaFeatureExtractor(sampling_rate=44_100, hop_length=512).save_pretrained(model)
    DacModel(
        DacConfig(
            sampling_rate=44_100,
            encoder_hidden_size=2,
            decoder_hidden_size=32,
            codebook_dim=4,
        )
    ).eval().save_pretrained(codec)
    return model, codec


def save_tiny_speecht5(folder: Path) -> tuple[Path, Path]:
    """Save a SpeechT5 and its HiFi-GAN; return both folders."""
    torch.manual_seed(0)
    text, vocoder = folder / "speecht5", folder / "hifigan"
    text.mkdir(parents=True)
    tokenizer = _characters(text)
    config = SpeechT5Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        encoder_layers=1,
        encoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_layers=1,
        decoder_ffn_dim=16,
        decoder_attention_heads=2,
        num_mel_bins=8,
        speech_decoder_prenet_units=16,
        speech_decoder_postnet_layers=2,
        speech_decoder_postnet_units=8,
        max_text_positions=120,
        max_speech_positions=60,
    )
    model = SpeechT5ForTextToSpeech(config).eval()
    # Or a random model stops at once.
    torch.nn.init.constant_(model.speech_decoder_postnet.prob_out.bias, -5)
    model.save_pretrained(text)
    tokenizer.save_pretrained(text)
    SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            model_in_dim=8,
            upsample_initial_channel=16,
            resblock_kernel_sizes=[3],
            resblock_dilation_sizes=[[1]],
        )
    ).eval().save_pretrained(vocoder)
    return text, vocoder


def _characters(folder: Path) -> SpeechT5Tokenizer:
    """Return the tokenizer of a SentencePiece model of single characters, as SpeechT5 has."""
    sentences = folder / "sentences.txt"
    sentences.write_text("\n".join([LETTERS] * 3), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(sentences),
        model_prefix=str(folder / "characters"),
        model_type="char",
        vocab_size=81,
        hard_vocab_limit=False,
        bos_id=0,
        pad_id=1,
        eos_id=2,
        unk_id=3,
        minloglevel=2,
    )
    return SpeechT5Tokenizer(str(folder / "characters.model"))
