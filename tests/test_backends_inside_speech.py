"""What is shown of the inside of speech: it is the speech, and looking changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffusion_bench.backends.inside.speech import (
    check_sentence,
    hear,
    looked_into,
    speech_film,
)
from diffusion_bench.backends.voice.synthesis import VoiceBackend
from diffusion_bench.backends.voice.voices import find_voice
from diffusion_bench.diffusion.schedulers import build_scheduler
from diffusion_bench.records import BUNDLED_VOICE, BUNDLED_VOICE_MODEL, Cancelled, VoiceRequest

REQUEST = VoiceRequest(text="It begins with noise.", steps=6, seed=3)


def nothing(index: int, steps: int) -> None:
    """Hear of a step and go on."""


@pytest.fixture(scope="module")
def model():
    return looked_into(VoiceBackend.load(BUNDLED_VOICE_MODEL, device="cpu").voice_model)


@pytest.fixture(scope="module")
def state(model):
    return model.encode_voice(find_voice(BUNDLED_VOICE, BUNDLED_VOICE_MODEL))


def with_sampler(sampler: str, **other) -> VoiceRequest:
    return REQUEST.model_copy(update={"sampler": sampler} | other)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_speech_that_was_looked_at_is_the_speech(model, state, sampler):
    request = with_sampler(sampler)
    spoken = model.speak(request.text, state, request, nothing)
    film = speech_film(model, state, request, nothing)

    assert torch.equal(film.mel, spoken.mel[0])
    assert np.array_equal(hear(model, film, film.mel), spoken.audio[0].numpy())


def test_a_film_goes_from_noise_to_what_is_said(model, state):
    film = speech_film(model, state, REQUEST, nothing, most=3)

    assert [frame.at.step for frame in film.frames] == [1, 3, 6]  # first and last among them
    assert [step.step for step in film.progress] == [1, 2, 3, 4, 5, 6]
    first = film.frames[0].noisy
    # Noise, at the temperature of the request, that knows nothing of its neighbours.
    assert float(first.std()) == pytest.approx(REQUEST.temperature, rel=0.05)
    assert abs(np.corrcoef(first[:, :-1].flatten(), first[:, 1:].flatten())[0, 1]) < 0.05
    distances = [step.to_final for step in film.progress]
    assert distances == sorted(distances, reverse=True)


def test_the_plan_and_the_residual_are_the_mel_spectrogram(model, state):
    """steps=5 divides 1000, so that DDIM ends at the x_0 of its last step."""
    film = speech_film(model, state, with_sampler("ddim", steps=5), nothing)
    last = film.frames[-1].clean
    scale = model.pipeline.unet.residual_scale[:, None]

    said = film.planned + last * scale * 2.5  # the scale of log mels against normalised ones
    assert torch.allclose(said, film.mel, atol=1e-4)
    assert float((film.half_way - film.mel).abs().mean()) < float(
        (film.planned - film.mel).abs().mean()
    )


def test_the_plan_is_smoother_over_pitch_than_what_is_said(model, state):
    """What the U-Net adds is fine structure: harmonics, which the mean has lost."""
    film = speech_film(model, state, with_sampler("ddim", steps=25), nothing)

    def roughness(mel: torch.Tensor) -> float:
        return float(mel.diff(n=2, dim=0).square().mean())

    assert roughness(film.mel) > 1.1 * roughness(film.planned)


def test_ddim_adds_no_noise_to_speech_and_ddpm_that_of_its_posterior_times_the_temperature(
    model, state
):
    ddim = speech_film(model, state, with_sampler("ddim", steps=7), nothing)
    assert max(step.added_noise for step in ddim.progress) < 1e-5
    request = with_sampler("ddpm", steps=10, temperature=0.8)
    scheduler = build_scheduler("ddpm", model.pipeline.scheduler.config, request.steps)
    scheduler.set_timesteps(request.steps)
    for step in speech_film(model, state, request, nothing).progress:
        expected = 0.8 * float(scheduler._get_variance(step.timestep)) ** 0.5
        assert step.added_noise == pytest.approx(expected, rel=0.06, abs=1e-3)


def test_a_look_at_speech_can_be_stopped_at_a_step(model, state):
    def second(index: int, steps: int) -> None:
        if index == 1:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        speech_film(model, state, REQUEST, second)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("One. " + "And so on, and so on. " * 30, r"this text is said in \d+"),
        ("你好", "English"),
        ("🎉", "English"),
    ],
)
def test_what_is_no_one_sentence_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        check_sentence(text, 280)


def test_a_model_of_another_kind_is_refused_by_its_name(model):
    class Other:
        entry = model.entry.model_copy(update={"title": "Other TTS"})

    with pytest.raises(ValueError, match="Other TTS cannot be looked into"):
        looked_into(Other())
