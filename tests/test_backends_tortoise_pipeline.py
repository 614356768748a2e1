"""Tortoise end to end, on random weights: a recording and a text in, speech out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_tortoise import STOP, WIDTH, hum, save_tiny_tortoise

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.tortoise import latents as prior
from diffusion_bench.backends.tortoise.conditioning import voice_latents
from diffusion_bench.backends.tortoise.pipeline import SAMPLES, TortoiseModel
from diffusion_bench.backends.tortoise.sampling import LOUDEST, QUIETEST
from diffusion_bench.backends.voice.base import Utterance, VoiceModel, VoiceState
from diffusion_bench.backends.voice.catalog import find_voice_model, voice_catalog
from diffusion_bench.records import VoiceRequest

TEXT = "Hello there, world."
CODES = 40  # the most that the tiny model draws


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_tortoise(tmp_path_factory.mktemp("tortoise"))


def load(folder: Path, preset: str = "ultra_fast", precision: str = "fp32") -> TortoiseModel:
    entry = find_voice_model(str(folder)).model_copy(update={"preset": preset})
    return TortoiseModel.load(entry, device="cpu", precision=precision)


@pytest.fixture(scope="module")
def tortoise(folder: Path) -> TortoiseModel:
    return load(folder)


@pytest.fixture(scope="module")
def voice(tortoise: TortoiseModel) -> VoiceState:
    return tortoise.encode_voice(hum(7))


def asked(**changes: object) -> VoiceRequest:
    settings = {"sampler": "ddim", "steps": 4, "temperature": 1.0, "seed": 1}
    return VoiceRequest(text=TEXT, **settings | changes)


def say(tortoise: TortoiseModel, voice: VoiceState, **changes: object) -> Utterance:
    return tortoise.speak(TEXT, voice, asked(**changes), lambda index, count: None)


def test_it_is_a_voice_model(tortoise: TortoiseModel) -> None:
    assert isinstance(tortoise, VoiceModel)
    assert tortoise.entry.source == "folder"
    assert tortoise.entry.sample_rate == 24_000


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_a_text_becomes_sound_and_its_mel(
    tortoise: TortoiseModel, voice: VoiceState, sampler: str, guidance_scale: float
) -> None:
    said = say(tortoise, voice, sampler=sampler, guidance_scale=guidance_scale, batch=3)
    assert said.audio.dtype == torch.float32
    assert said.audio.shape == (3, max(said.lengths))
    assert said.audio.std() > 0
    assert said.audio.abs().max() <= 1
    assert said.mel.shape == (3, 100, max(said.lengths) // 256)
    assert said.mel.min() >= QUIETEST - 1e-4
    assert said.mel.max() <= LOUDEST + 1e-4
    assert all(length % 256 == 0 for length in said.lengths)
    for row, length in enumerate(said.lengths):
        assert (said.audio[row, length:] == 0).all()
        assert (said.mel[row, :, length // 256 :] == QUIETEST).all()


def test_candidates_of_different_length_are_told_apart(
    tortoise: TortoiseModel, voice: VoiceState
) -> None:
    lengths = say(tortoise, voice, batch=8).lengths
    assert len(set(lengths)) > 1
    assert max(lengths) <= prior.frames_of(CODES) * 256


def test_the_same_seed_says_the_same_and_another_does_not(
    tortoise: TortoiseModel, voice: VoiceState
) -> None:
    for sampler in ("ddim", "ddpm"):
        first, again = (say(tortoise, voice, sampler=sampler) for _ in range(2))
        assert torch.equal(first.audio, again.audio)
        other = say(tortoise, voice, sampler=sampler, seed=2)
        assert other.lengths != first.lengths or not torch.equal(other.audio, first.audio)


def test_torchs_own_random_numbers_are_neither_used_nor_moved(
    tortoise: TortoiseModel, voice: VoiceState
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = say(tortoise, voice, sampler="ddpm")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(say(tortoise, voice, sampler="ddpm").audio, first.audio)


def test_the_first_candidate_is_what_a_batch_of_one_says(
    tortoise: TortoiseModel, voice: VoiceState
) -> None:
    one, three = say(tortoise, voice), say(tortoise, voice, batch=3)
    assert torch.equal(one.audio[0], three.audio[0, : three.lengths[0]])


def test_the_candidates_are_those_that_clvp_finds_closest(
    folder: Path, voice: VoiceState, monkeypatch: pytest.MonkeyPatch
) -> None:
    tortoise = load(folder, "fast")
    seen, kept = [], []
    whole, cut = prior.closeness, prior.without_silence

    def closeness(clvp, tokens, codes):
        scores = whole(clvp, tokens, codes)
        seen.extend(zip(scores.tolist(), codes.tolist(), strict=True))
        return scores

    def without_silence(codes, latents):
        kept.append(codes.tolist())
        return cut(codes, latents)

    monkeypatch.setattr(prior, "closeness", closeness)
    monkeypatch.setattr(prior, "without_silence", without_silence)
    say(tortoise, voice, batch=4, steps=1)
    assert len(seen) == 96
    best = sorted(seen, key=lambda pair: -pair[0])[:4]
    assert kept == [codes for _, codes in best]


def test_the_voice_the_text_and_the_guidance_are_heard(
    tortoise: TortoiseModel, voice: VoiceState
) -> None:
    usual = say(tortoise, voice)
    higher = say(tortoise, tortoise.encode_voice(hum(7, pitch=240)))
    only_shape = VoiceState("tortoise", voice.tensors | {"diffusion": -voice.tensors["diffusion"]})
    others = [higher, say(tortoise, only_shape), say(tortoise, voice, guidance_scale=4.0)]
    others.append(tortoise.speak("Good night.", voice, asked(), lambda index, count: None))
    for other in others:
        length = min(usual.lengths[0], other.lengths[0])
        assert not torch.allclose(usual.audio[0, :length], other.audio[0, :length], atol=1e-6)


def test_the_first_noise_is_scaled_by_the_temperature(
    tortoise: TortoiseModel, voice: VoiceState
) -> None:
    still = say(tortoise, voice, temperature=0.0, steps=1)
    assert not torch.allclose(still.mel, say(tortoise, voice, steps=1).mel, atol=1e-2)


def test_the_seed_draws_the_noise_too_and_eta_adds_to_it(
    tortoise: TortoiseModel, voice: VoiceState, monkeypatch: pytest.MonkeyPatch
) -> None:
    bias = tortoise._parts.clvp.speech_decoder_model.lm_head.bias
    monkeypatch.setattr(bias, "data", bias.data.clone())
    bias.data[STOP] = 1e4  # every seed draws the same codes: none
    usual, seeded = say(tortoise, voice, steps=2), say(tortoise, voice, steps=2, seed=2)
    noisier = say(tortoise, voice, steps=2, eta=1.0)
    assert usual.mel.shape == seeded.mel.shape == noisier.mel.shape
    assert not torch.allclose(usual.mel, seeded.mel, atol=1e-3)
    assert not torch.allclose(usual.mel, noisier.mel, atol=1e-3)


def test_each_pass_is_told_once_in_order(tortoise: TortoiseModel, voice: VoiceState) -> None:
    told: list[tuple[int, int]] = []
    said = tortoise.speak(TEXT, voice, asked(batch=2), lambda *step: told.append(step))
    indices = [index for index, _ in told]
    assert indices == sorted(set(indices))
    assert {count for _, count in told} == {CODES + 2 * 4}
    assert indices[-9:] == list(range(CODES - 1, CODES + 8))
    assert len(said.step_s) == 8


def test_progress_skips_what_drawings_do_not_need(
    tortoise: TortoiseModel, voice: VoiceState, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each sequence stops at once: ten sixteens of drawings, of one code each.
    bias = tortoise._parts.clvp.speech_decoder_model.lm_head.bias
    monkeypatch.setattr(bias, "data", bias.data.clone())
    bias.data[STOP] = 1e4
    told: list[int] = []
    tortoise.speak(TEXT, voice, asked(steps=2), lambda index, count: told.append(index))
    assert told == [0, CODES - 1, CODES, CODES + 1]


@pytest.mark.parametrize("at", [0, 3, CODES - 1, CODES, CODES + 2])
def test_a_watcher_cancels_within_drawing_and_within_denoising(
    tortoise: TortoiseModel, voice: VoiceState, at: int
) -> None:
    told: list[int] = []

    def cancel(index: int, count: int) -> None:
        told.append(index)
        if index >= at:
            raise InterruptedError

    before = torch.get_rng_state()
    with pytest.raises(InterruptedError):
        tortoise.speak(TEXT, voice, asked(), cancel)
    assert told[-1] == at
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(say(tortoise, voice).audio, say(tortoise, voice).audio)


def test_every_stage_is_timed(tortoise: TortoiseModel, voice: VoiceState) -> None:
    said = say(tortoise, voice, batch=2)
    stages = (said.text_s, said.prior_s, said.denoising_s, said.vocoder_s)
    assert min(stages) > 0
    assert min(said.step_s) > 0
    assert sum(said.step_s) <= said.denoising_s


@pytest.mark.parametrize(
    ("preset", "samples", "steps", "scale"),
    [
        ("ultra_fast", 16, 30, 1.0),
        ("fast", 96, 80, 3.0),
        ("standard", 256, 200, 3.0),
        ("high_quality", 256, 400, 3.0),
    ],
)
def test_a_preset_is_the_originals(preset: str, samples: int, steps: int, scale: float) -> None:
    (entry,) = (one for one in voice_catalog().values() if one.preset == preset)
    assert SAMPLES[entry.preset] == samples
    assert (entry.steps, entry.guidance_scale, entry.temperature) == (steps, scale, 1.0)
    assert f"draws {samples} readings" in entry.note


@pytest.mark.parametrize("preset", SAMPLES)
def test_a_preset_decides_how_many_sequences_are_drawn(folder: Path, preset: str) -> None:
    tortoise = load(folder, preset)
    assert sum(tortoise._drawings(1)) == SAMPLES[preset]
    assert max(tortoise._drawings(1)) == 16


@pytest.mark.parametrize(
    ("seconds", "rate"), [(1.0, 16_000), (3.3, 44_100), (6.0, 24_000), (12.5, 48_000), (61, 8_000)]
)
def test_recordings_of_any_length_and_rate_give_a_voice(
    tortoise: TortoiseModel, seconds: float, rate: int
) -> None:
    reference = hum(seconds, rate=rate)
    state = tortoise.encode_voice(reference)
    assert {name: tuple(tensor.shape) for name, tensor in state.tensors.items()} == {
        "codes": (1, WIDTH),
        "diffusion": (1, 2 * WIDTH),
    }
    assert all(torch.isfinite(tensor).all() for tensor in state.tensors.values())
    again = tortoise.encode_voice(reference)
    assert all(torch.equal(again.tensors[name], state.tensors[name]) for name in state.tensors)


def test_several_clips_give_their_mean(tortoise: TortoiseModel) -> None:
    parts = tortoise._parts
    both, one, other = (
        voice_latents(clips, parts.clvp, parts.decoder, parts.mel_norms)
        for clips in ([hum(5), hum(5, pitch=200)], [hum(5)], [hum(5, pitch=200)])
    )
    for name, tensor in both.items():
        assert torch.allclose(tensor, (one[name] + other[name]) / 2, atol=1e-5)


def test_a_recording_without_a_voice_is_refused(tortoise: TortoiseModel) -> None:
    with pytest.raises(ValueError, match="silent"):
        tortoise.encode_voice(Reference(np.zeros(48_000, np.float32), 24_000))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sampler": "unipc"}, "does not take the sampler unipc; it takes ddpm, ddim"),
        ({"speed": 1.2}, "speed"),
        ({"vocoder": "griffin-lim"}, "has its own vocoder"),
    ],
)
def test_what_it_cannot_fulfil_is_refused_in_one_line(
    tortoise: TortoiseModel, voice: VoiceState, changes: dict, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        say(tortoise, voice, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"codes": torch.zeros(1, WIDTH)},
        {"codes": torch.zeros(1, 9), "diffusion": torch.zeros(1, 2 * WIDTH)},
    ],
)
def test_the_voice_of_another_model_is_refused(tortoise: TortoiseModel, tensors: dict) -> None:
    with pytest.raises(ValueError, match="encoded by 'echo'"):
        say(tortoise, VoiceState("echo", tensors))


def test_unknown_letters_and_endless_speech_are_told(
    tortoise: TortoiseModel, voice: VoiceState, monkeypatch: pytest.MonkeyPatch
) -> None:
    bias = tortoise._parts.clvp.speech_decoder_model.lm_head.bias
    monkeypatch.setattr(bias, "data", bias.data.clone())
    bias.data[STOP] = -1e4
    said = tortoise.speak("One # two # three.", voice, asked(), lambda index, count: None)
    assert any("2 letters or words are unknown" in warning for warning in said.warnings)
    assert any("1 of the candidates had not ended" in warning for warning in said.warnings)


def test_bf16_speaks(folder: Path) -> None:
    tortoise = load(folder, precision="bf16")
    voice = tortoise.encode_voice(hum(6))
    assert {tensor.dtype for tensor in voice.tensors.values()} == {torch.float32}
    said = say(tortoise, voice, sampler="ddpm", guidance_scale=3.0)
    assert said.audio.dtype == said.mel.dtype == torch.float32
    assert torch.isfinite(said.audio).all()
