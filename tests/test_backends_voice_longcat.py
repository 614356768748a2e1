"""LongCat-AudioDiT: the cloning loop against the authors' formulas and against diffusers' own."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import LongCatAudioDiTPipeline
from safetensors.torch import load_file, save_file
from tiny_voices import chirp, save_tiny_longcat
from torch import Tensor

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.catalog import ModelUnavailable
from diffusion_bench.backends.voice.base import Utterance, VoiceState
from diffusion_bench.backends.voice.catalog import find_voice_model
from diffusion_bench.backends.voice.hub import noise_of
from diffusion_bench.backends.voice.longcat import LongCat, expected_s, normalise
from diffusion_bench.records import VoiceRequest

TEXT = 'He said: "Go  on."'
HOP = 2048  # samples of a frame
WIDTH = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_longcat(tmp_path_factory.mktemp("longcat"))


@pytest.fixture(scope="module")
def model(folder: Path) -> LongCat:
    return LongCat.load(find_voice_model(str(folder)), device="cpu")


@pytest.fixture(scope="module")
def voice(model: LongCat) -> VoiceState:
    return model.encode_voice(chirp(2.0))


@pytest.fixture(scope="module")
def stock(folder: Path) -> LongCatAudioDiTPipeline:
    pipeline = LongCatAudioDiTPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_a_text_encoder_that_lacks_a_weight_is_refused(folder: Path, tmp_path: Path) -> None:
    lacking = shutil.copytree(folder, tmp_path / "lacking")
    file = lacking / "text_encoder" / "model.safetensors"
    weights = load_file(file)
    del weights[next(key for key in weights if key.endswith("SelfAttention.q.weight"))]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(ModelUnavailable, match="its text_encoder lacks 1 weights"):
        LongCat.load(find_voice_model(str(lacking)), device="cpu")


def request(**settings: Any) -> VoiceRequest:
    usual = {"text": TEXT, "sampler": "native", "steps": 5, "guidance_scale": 5, "temperature": 1}
    return VoiceRequest(**{**usual, **settings})


def say(model: LongCat, voice: VoiceState, text: str = TEXT, **settings: Any) -> Utterance:
    return model.speak(text, voice, request(**settings), lambda index, total: None)


def as_published(
    stock: LongCatAudioDiTPipeline, voice: Tensor, noise: Tensor, *, strength: float, steps: int
) -> Tensor:
    """Return the sound of the algorithm of meituan-longcat/LongCat-AudioDiT, from its formulas.

    dx/dt = v(x, t), solved by Euler over linspace(0, 1, steps + 1). The prompt region of x is
    (1 - t) noise + t voice for the voiced pass and 0 for the null pass, which gets neither words
    nor latent condition. With x1 = x + (1 - t) v of both passes, d their difference with momentum
    -0.3, and d's part along x1 halved: x1 + s d, brought back to a v.
    """
    lead, total = voice.shape[1], noise.shape[1]
    words, count = stock.encode_prompt([f"so it was said. {normalise(TEXT)}"], "cpu")
    words_mask = torch.ones(1, int(count), dtype=torch.bool)
    condition = torch.cat([voice, torch.zeros(1, total - lead, WIDTH)], dim=1)

    def network(x: Tensor, t: Tensor, words: Tensor, condition: Tensor) -> Tensor:
        return stock.transformer(
            x, words, words_mask, t, torch.ones(1, total, dtype=torch.bool), condition
        ).sample

    x, momentum = noise.clone(), torch.zeros(1, total - lead, WIDTH)
    times = torch.linspace(0, 1, steps + 1)
    for t, later in pairwise(times):
        x[:, :lead] = (1 - t) * noise[:, :lead] + t * voice
        v = network(x, t, words, condition)
        blank = x.clone()
        blank[:, :lead] = 0
        v0 = network(blank, t, torch.zeros_like(words), torch.zeros_like(condition))
        end, end0 = (x + (1 - t) * one for one in (v, v0))
        momentum = (end - end0)[:, lead:] - 0.3 * momentum
        along = end[:, lead:] / end[:, lead:].norm()
        parallel = (momentum * along).sum() * along
        goal = end[:, lead:] + strength * (momentum - parallel + 0.5 * parallel)
        guided = F.pad((goal - x[:, lead:]) / (1 - t), (0, 0, lead, 0))
        x = x + (later - t) * guided
    return stock.vae.decode(x[:, lead:].transpose(1, 2)).sample[:, 0]


@torch.no_grad()
def test_cloning_is_the_published_algorithm(
    model: LongCat, voice: VoiceState, stock: LongCatAudioDiTPipeline
) -> None:
    said = say(model, voice, seed=4)
    latents = voice.tensors["latents"][None]
    frames = said.lengths[0] // HOP
    noise = noise_of(request(seed=4))(latents.shape[1] + frames, WIDTH)
    expected = as_published(stock, latents, noise, strength=4.0, steps=5)
    assert said.audio.std() > 0.01
    torch.testing.assert_close(said.audio, expected.clamp(-1, 1), atol=2e-5, rtol=0)


def test_without_a_recording_and_guidance_it_is_the_pipeline_of_diffusers(
    model: LongCat, stock: LongCatAudioDiTPipeline
) -> None:
    nobody = VoiceState(model.entry.name, {"latents": torch.zeros(0, WIDTH)}, {"transcript": ""})
    said = say(model, nobody, guidance_scale=1, batch=2)
    frames = said.lengths[0] // HOP
    noise = noise_of(request(batch=2))(frames, WIDTH)
    settings = {"num_inference_steps": 5, "guidance_scale": 1.0, "output_type": "pt"}
    expected = stock([TEXT] * 2, latents=noise, **settings).audios[:, 0]
    torch.testing.assert_close(said.audio, expected.clamp(-1, 1), atol=2e-5, rtol=0)
    # It chooses the length as the pipeline does, too.
    assert stock(TEXT, **settings).audios.shape[-1] == said.lengths[0]


def test_no_guidance_is_one_pass_a_step_and_guidance_two(model: LongCat, voice: VoiceState) -> None:
    passes: list[object] = []
    hook = model._pipeline.transformer.register_forward_hook(lambda *_: passes.append(None))
    say(model, voice, guidance_scale=1)
    assert len(passes) == 5
    say(model, voice)
    assert len(passes) == 5 + 10
    hook.remove()


def test_a_recording_is_encoded_with_spare_frames_that_are_cut(
    model: LongCat, voice: VoiceState, stock: LongCatAudioDiTPipeline
) -> None:
    samples = torch.from_numpy(chirp(2.0).samples)
    frames = -(-len(samples) // HOP)
    padded = F.pad(samples, (0, (frames + 3) * HOP - len(samples)))[None, None]
    with torch.no_grad():
        whole = stock.vae.encode(padded, generator=torch.Generator().manual_seed(0)).latents
    assert voice.tensors["latents"].shape == (frames, WIDTH)
    torch.testing.assert_close(voice.tensors["latents"], whole[0, :, :frames].T)
    assert voice.facts["transcript"] == "So it was said."


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        (Reference(chirp(2.0).samples, 24_000), "needs the transcript"),
        (Reference(chirp(2.0).samples, 24_000, "  "), "needs the transcript"),
        (chirp(16.0), "1 to 15 s"),
    ],
)
def test_what_the_transcript_cannot_match_is_refused(
    model: LongCat, reference: Reference, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        model.encode_voice(reference)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("abcde fghij", 10 * 0.082),
        ("Hi, 42!", 6 * 0.082),
        ("你好世界", 4 * 0.21),
        ("你好世界 ok!", (4 + 1) * 0.21 + 2 * 0.082),
        ("", 0),
    ],
)
def test_a_text_is_taken_to_last_by_its_characters(text: str, seconds: float) -> None:
    assert expected_s(text) == pytest.approx(seconds)


def frames_of(model: LongCat, voice: VoiceState, text: str, **settings: Any) -> int:
    return say(model, voice, text, steps=1, guidance_scale=1, **settings).lengths[0] // HOP


def test_speech_keeps_the_pace_of_the_recording_within_bounds(
    model: LongCat, voice: VoiceState
) -> None:
    def spoken(transcript: str) -> int:
        return frames_of(
            model, VoiceState(voice.model, voice.tensors, {"transcript": transcript}), "a" * 50
        )

    plain_s = 50 * 0.082
    voice_s = len(voice.tensors["latents"]) * HOP / 24_000
    assert spoken("b" * 400) == int(plain_s * 24_000 / HOP)  # faster than anybody: not copied
    assert spoken("b") == int(1.5 * plain_s * 24_000 / HOP)  # slower than anybody: to a bound
    between = voice_s / (20 * 0.082)
    assert 1 < between < 1.5
    assert spoken("b" * 20) == int(between * plain_s * 24_000 / HOP)


def test_speed_divides_the_duration(model: LongCat, voice: VoiceState) -> None:
    text = "a" * 60
    assert frames_of(model, voice, text) == pytest.approx(
        2 * frames_of(model, voice, text, speed=2), abs=1
    )


def test_a_text_too_long_for_the_window_fills_it_and_is_said_to(
    model: LongCat, voice: VoiceState
) -> None:
    said = say(model, voice, "a" * 600, steps=1, guidance_scale=1)
    total = said.lengths[0] // HOP + len(voice.tensors["latents"])
    assert total == int(30 * 24_000 / HOP)
    assert "in a hurry" in said.warnings[0]
    assert not say(model, voice, steps=1).warnings


def test_temperature_scales_the_noise_of_the_speech(model: LongCat, voice: VoiceState) -> None:
    still = [say(model, voice, temperature=0, seed=seed, guidance_scale=1) for seed in (1, 2)]
    full = [say(model, voice, seed=seed, guidance_scale=1) for seed in (1, 2)]
    apart = [float((one.audio - other.audio).abs().mean()) for one, other in (still, full)]
    assert apart[0] < 0.5 * apart[1]  # not 0: the noise of the prompt region is as it was
