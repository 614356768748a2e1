"""VibeVoice: samplers reach the diffusion head, follow their papers and leave nothing behind."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_voices import chirp, save_tiny_vibevoice
from torch import Tensor

from diffusion_bench.backends.voice import vibevoice
from diffusion_bench.backends.voice.base import Utterance, VoiceState
from diffusion_bench.backends.voice.catalog import find_voice_model, voice_catalog
from diffusion_bench.backends.voice.vibevoice import VibeVoice, build_sampler
from diffusion_bench.records import VoiceRequest

SAMPLERS = voice_catalog()["vibevoice"].samplers

TEXT = "Hi you."
STEPS = 4
FRAME = 3200  # samples


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VibeVoice]:
    with pytest.MonkeyPatch.context() as patch:
        # Random models never come to an end, and a test need not wait for it.
        patch.setattr(vibevoice, "SPEECH_S", (0.0, 0.8))
        folder = save_tiny_vibevoice(tmp_path_factory.mktemp("vibevoice"))
        yield VibeVoice.load(find_voice_model(str(folder)), device="cpu")


@pytest.fixture(scope="module")
def voice(model: VibeVoice) -> VoiceState:
    return model.encode_voice(chirp(2.0))


def say(model: VibeVoice, voice: VoiceState, **settings: Any) -> Utterance:
    usual = {"text": TEXT, "sampler": "ddim", "steps": STEPS, "temperature": 1.0}
    request = VoiceRequest(**{**usual, **settings})
    return model.speak(TEXT, voice, request, lambda index, total: None)


class Head:
    """What the diffusion head is given and gives, pass by pass, while the `with` block runs."""

    def __init__(self, model: VibeVoice) -> None:
        self._head = model._model.model.diffusion_head
        self.given: list[Tensor] = []
        self.times: list[float] = []
        self.velocities: list[Tensor] = []

    def __enter__(self) -> Head:
        self._hook = self._head.register_forward_hook(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def _look(self, _: object, given: tuple[Tensor, ...], velocity: Tensor) -> None:
        self.given.append(given[0][0].double())
        self.times.append(float(given[1][0]))
        self.velocities.append(velocity[0].double())


def test_every_sampler_speaks_in_a_way_of_its_own_and_the_same_each_time(
    model: VibeVoice, voice: VoiceState
) -> None:
    said = {name: say(model, voice, sampler=name).audio for name in SAMPLERS}
    assert set(said) == {"ddpm", "ddim", "dpm++", "unipc"}
    for name, audio in said.items():
        assert torch.isfinite(audio).all()
        assert torch.equal(say(model, voice, sampler=name).audio, audio)
        others = [other for key, other in said.items() if key != name]
        assert all((audio - other).abs().mean() > 1e-3 for other in others)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_begins_at_pure_noise_and_takes_the_steps_asked_for(
    model: VibeVoice, voice: VoiceState, sampler: str
) -> None:
    with Head(model) as head:
        said = say(model, voice, sampler=sampler)
    assert len(head.times) == STEPS * len(said.step_s)
    times = head.times[:STEPS]
    assert times[0] == 999
    assert times == sorted(set(times), reverse=True)


def signal_left(time: float) -> float:
    """Return alpha-bar after a time of the cosine schedule (Nichol and Dhariwal 2021, eq. 17)."""

    def curve(part: float) -> float:
        return math.cos((part + 0.008) / 1.008 * math.pi / 2) ** 2

    left = 1.0
    for index in range(int(time) + 1):
        left *= 1 - min(1 - curve((index + 1) / 1000) / curve(index / 1000), 0.999)
    return left


def test_ddim_is_equation_12_of_its_paper_with_v_on_the_cosine_schedule(
    model: VibeVoice, voice: VoiceState
) -> None:
    with Head(model) as head:
        say(model, voice, guidance_scale=1.0)
    for index in range(STEPS - 1):
        latents, velocity = head.given[index], head.velocities[index]
        now, then = signal_left(head.times[index]), signal_left(head.times[index + 1])
        clean = math.sqrt(now) * latents - math.sqrt(1 - now) * velocity
        noise = math.sqrt(now) * velocity + math.sqrt(1 - now) * latents
        expected = math.sqrt(then) * clean + math.sqrt(1 - then) * noise
        torch.testing.assert_close(head.given[index + 1], expected, atol=1e-4, rtol=1e-4)


def test_guidance_moves_from_the_null_pass_past_the_voiced_one(
    model: VibeVoice, voice: VoiceState
) -> None:
    plain, more = (say(model, voice, guidance_scale=scale).audio for scale in (1.0, 3.0))
    assert (plain - more).abs().mean() > 1e-3


def test_guidance_costs_the_language_model_no_pass_of_its_own(
    model: VibeVoice, voice: VoiceState
) -> None:
    passes: list[object] = []
    hook = model._model.model.language_model.register_forward_hook(lambda *_: passes.append(None))
    said = say(model, voice, guidance_scale=3.0)
    hook.remove()
    # One with the voice and one without, a frame; a third would guide the tokens.
    assert len(passes) == 2 * len(said.step_s)


def test_eta_adds_noise_to_ddim(model: VibeVoice, voice: VoiceState) -> None:
    plain, noisy = (say(model, voice, eta=eta).audio for eta in (0.0, 1.0))
    assert (plain - noisy).abs().mean() > 1e-3


def test_a_voice_encoded_beforehand_is_what_the_model_hears_in_its_own_call(
    model: VibeVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The codec's noise is drawn elsewhere than in its own call, so it is left out of both.
    monkeypatch.setattr(model._model.model.audio_tower.config, "vae_std", 0.0)
    voice = model.encode_voice(chirp(2.0))
    said = say(model, voice, guidance_scale=1.0, seed=9)
    content = [{"type": "text", "text": TEXT}, {"type": "audio", "audio": chirp(2.0).samples}]
    inputs = model._processor.apply_chat_template(
        [{"role": "0", "content": content}], tokenize=True, return_dict=True, return_tensors="pt"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        made = model._model.generate(
            **inputs,
            sample=False,
            noise_scheduler=build_sampler("ddim"),
            num_diffusion_steps=STEPS,
            guidance_scale=1.0,
            max_new_tokens=len(said.step_s),
        )
    torch.testing.assert_close(said.audio, made[0].clamp(-1, 1), atol=1e-4, rtol=0)


def test_no_sampler_is_left_behind(model: VibeVoice, voice: VoiceState) -> None:
    say(model, voice)
    assert model._model.generation_config.noise_scheduler is None

    def stop(index: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.speak(TEXT, voice, VoiceRequest(text=TEXT, steps=2, temperature=1.0), stop)
    assert model._model.generation_config.noise_scheduler is None


def test_a_candidate_that_says_nothing_takes_no_other_with_it(tmp_path: Path) -> None:
    silent = VibeVoice.load(
        find_voice_model(str(save_tiny_vibevoice(tmp_path, speaks=False))), device="cpu"
    )
    said = say(silent, silent.encode_voice(chirp(2.0)), batch=2)
    assert (said.lengths, said.audio.shape) == ((0, 0), (2, 0))


def test_what_is_doubtful_is_said(model: VibeVoice, voice: VoiceState) -> None:
    said = say(model, voice, temperature=0.5)
    assert said.lengths == (len(said.step_s) * FRAME,)
    assert any("no temperature" in warning for warning in said.warnings)
    assert any("did not come to an end" in warning for warning in said.warnings)
    assert not any("temperature" in warning for warning in say(model, voice).warnings)
