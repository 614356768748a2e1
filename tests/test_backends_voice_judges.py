"""Judges with weights on tiny random checkpoints, and the errors they count."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from speech_like import speech_like

from diffusion_bench.backends.catalog import ModelUnavailable
from diffusion_bench.backends.voice.judges import (
    SPEAKER_MODEL,
    SPEECH_MODEL,
    SpeakerJudge,
    SpeechJudge,
    recognition_errors,
)

RATE = 16_000


@pytest.fixture(scope="module")
def speaker_folder(tmp_path_factory):
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMForXVector

    folder = tmp_path_factory.mktemp("wavlm")
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


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory):
    from tokenizers import Tokenizer, models
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizerFast,
    )

    folder = tmp_path_factory.mktemp("whisper")
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


def test_a_speaker_is_wholly_like_himself_at_any_rate(speaker_folder):
    judge = SpeakerJudge.load(str(speaker_folder))
    speech = speech_like(2.0, seed=1)
    vector = judge.embed(speech, RATE)
    assert vector.shape == (12,)
    assert float(vector.norm()) == pytest.approx(1, abs=1e-5)
    assert judge.similarity(speech, RATE, speech, RATE) == pytest.approx(1, abs=1e-5)
    # A tiny random network: other input, other vector, no more.
    assert not torch.allclose(judge.embed(speech_like(2.0, seed=2), RATE), vector, atol=1e-6)


def test_too_little_to_tell_a_speaker_from_is_refused(speaker_folder):
    judge = SpeakerJudge.load(str(speaker_folder))
    with pytest.raises(ValueError, match=r"0\.5 s of speech or more"):
        judge.embed(np.zeros(1000, dtype=np.float32), RATE)
    with pytest.raises(ValueError, match="one channel of finite samples"):
        judge.embed(np.full(RATE, np.nan, dtype=np.float32), RATE)


def test_whisper_transcribes_every_thirty_seconds(whisper_folder):
    judge = SpeechJudge.load(str(whisper_folder))
    short = judge.transcribe(speech_like(2.0, seed=1), RATE)
    assert set(short) <= set("abcdefghijklmnopqrstuvwxyz ")
    assert short == judge.transcribe(speech_like(2.0, seed=1), RATE)
    seen = []
    judge._model.model.encoder.register_forward_hook(lambda *_: seen.append(1))
    judge.transcribe(np.zeros(70 * RATE, dtype=np.float32), RATE)
    assert len(seen) == 3
    found = judge.errors(speech_like(2.0, seed=1), RATE, "hello there")
    assert found.heard == short
    assert found.word_error_rate > 0


@pytest.mark.parametrize(
    ("heard", "words", "characters"),
    [
        ("Hello, there friend!", 0, 0),
        ("hello their friend", 1 / 3, 2 / 18),
        ("", 1, 1),
        ("hello there friend friend", 1 / 3, 7 / 18),
    ],
)
def test_errors_are_counted_without_case_and_punctuation(heard, words, characters):
    found = recognition_errors(heard, "Hello there, friend.")
    assert found.word_error_rate == pytest.approx(words)
    assert found.character_error_rate == pytest.approx(characters)


def test_apostrophes_of_all_kinds_are_the_same():
    assert recognition_errors("It\u2019s 'fine'", "it's fine").word_error_rate == 0
    with pytest.raises(ValueError, match="no word in"):
        recognition_errors("hello", "?!")


@pytest.mark.parametrize(
    ("judge", "name"), [(SpeakerJudge, SPEAKER_MODEL), (SpeechJudge, SPEECH_MODEL)]
)
def test_weights_that_cannot_be_had_are_said_in_one_line(judge, name):
    with pytest.raises(ModelUnavailable, match=f"'{name}' cannot be loaded: [^\n]+$"):
        judge.load()


def test_a_file_that_lacks_a_tensor_is_refused(speaker_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    for path in speaker_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    del state["projector.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelUnavailable, match=r"its file lacks projector\.weight"):
        SpeakerJudge.load(str(tmp_path))
