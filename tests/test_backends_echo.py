"""The bundled voice model's networks and pipeline, on tiny random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_echo import VOICE, WIDTH, save_tiny_echo, tiny_pipeline, tiny_prior, tiny_unet

from diffusion_bench.audio.mel import MelSettings, log_mel
from diffusion_bench.audio.pitch import voice_pitch
from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.catalog import ModelUnavailable
from diffusion_bench.backends.echo.blocks import FrameNorm, ResBlock, frame_mask
from diffusion_bench.backends.echo.pipeline import EchoPipeline
from diffusion_bench.backends.echo.prior import phrase_places, pitch_bands
from diffusion_bench.backends.echo.speaker import SpeakerEncoder
from diffusion_bench.backends.echo.vocoder import (
    EchoVocoder,
    MelVocoder,
    minimum_phase,
    octaves_of,
    pulse_train,
)
from diffusion_bench.backends.echo.voice import EchoModel
from diffusion_bench.backends.voice.base import VoiceEntry, VoiceState
from diffusion_bench.backends.voice.synthesis import VoiceBackend
from diffusion_bench.pronunciation.front_end import phonemes
from diffusion_bench.records import Cancelled, VoiceRequest

RATE = 16_000
TEXT = "The river was quiet."


def voiced_tone(hz: float, seconds: float = 4.0) -> np.ndarray:
    """Return a buzz of harmonics: what a pitch tracker takes for a voice."""
    at = np.arange(int(RATE * seconds)) / RATE
    wave = sum(np.cos(2 * np.pi * hz * k * at) / k for k in range(1, 20))
    return (0.1 * wave).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_echo(tmp_path_factory.mktemp("echo"))


@pytest.fixture(scope="module")
def model(folder):
    return EchoModel.load(entry_of(folder), device="cpu", precision="fp32")


def entry_of(folder) -> VoiceEntry:
    return VoiceEntry(
        name="echo",
        title="tiny",
        family="echo",
        source="folder",
        location=str(folder),
        licence="MIT",
        sample_rate=RATE,
        samplers=("ddim", "ddpm", "dpm++", "unipc"),
        reference_s=(1.0, 15.0),
        english_only=True,
    )


def request(**changes: object) -> VoiceRequest:
    return VoiceRequest(**{"text": TEXT, "steps": 4, "temperature": 1.0, **changes})


def say(model, state, **changes):
    return model.speak(TEXT, state, request(**changes), lambda index, steps: None)


@pytest.fixture(scope="module")
def state(model):
    return model.encode_voice(Reference(voiced_tone(130.0), RATE))


# Blocks


def test_padding_changes_nothing_of_what_is_real():
    torch.manual_seed(0)
    block = ResBlock(8, condition=4, kernel=5, dilation=2)
    torch.nn.init.normal_(block.conv_out.weight)
    x, condition = torch.randn(1, 8, 20), torch.randn(1, 4)
    alone = block(x, condition, frame_mask(torch.tensor([20]), 20))
    padded = torch.cat([x, torch.randn(1, 8, 15)], dim=2)
    among = block(padded, condition, frame_mask(torch.tensor([20]), 35))
    assert torch.allclose(alone, among[..., :20], atol=1e-5)
    assert (among[..., 20:] == 0).all()


def test_a_new_block_changes_nothing():
    x = torch.randn(2, 8, 10)
    assert torch.equal(ResBlock(8, condition=4)(x, torch.randn(2, 4)), x)


def test_a_frame_s_norm_knows_no_other_frame():
    norm = FrameNorm(6)
    x = torch.randn(1, 6, 9)
    louder = x.clone()
    louder[..., 5:] *= 100
    assert torch.allclose(norm(x)[..., :5], norm(louder)[..., :5])
    assert torch.allclose(norm(x).pow(2).mean(dim=1), torch.ones(1, 9), atol=1e-3)


# Prior


def test_each_phone_stands_for_its_duration():
    prior = tiny_prior()
    hidden = torch.randn(2, WIDTH, 3)
    durations = torch.tensor([[2, 0, 3], [1, 4, 2]])
    frames = prior.expand(hidden, durations)
    assert frames.shape == (2, WIDTH, 7)
    with torch.no_grad():
        prior.within.weight.zero_()
        prior.within.bias.zero_()
    bare = prior.expand(hidden, durations)
    assert torch.equal(bare[0, :, :5], hidden[0][:, [0, 0, 2, 2, 2]])
    assert torch.equal(bare[1], hidden[1][:, [0, 1, 1, 1, 1, 2, 2]])


def test_the_prior_knows_where_between_two_frames_a_phone_begins():
    prior = tiny_prior()
    hidden = torch.randn(1, WIDTH, 2)
    on_the_frame = prior.expand(hidden, torch.tensor([[2.0, 3.0]]))
    before_it = prior.expand(hidden, torch.tensor([[1.4, 3.6]]))
    assert on_the_frame.shape == before_it.shape == (1, WIDTH, 5)
    for frames in (on_the_frame, before_it):  # the same phones at the same frames
        nearest = torch.cdist(frames[0].T, hidden[0].T).argmin(dim=1)
        assert nearest.tolist() == [0, 0, 1, 1, 1]
    assert not torch.allclose(on_the_frame[..., 2:], before_it[..., 2:], atol=1e-3)


def test_rounding_makes_no_frame_of_its_own():
    prior = tiny_prior()
    thirds = torch.full((1, 300), 1 / 3)
    assert prior.expand(torch.randn(1, WIDTH, 300), thirds).shape[-1] == 100


def test_what_phones_become_does_not_depend_on_a_longer_neighbour():
    prior = tiny_prior()
    phones = torch.randint(2, 40, (1, 1, 9)).repeat(1, 4, 1) * torch.tensor([1, 0, 0, 0])[:, None]
    voice = torch.randn(1, VOICE)
    alone, durations = prior.read(phones, torch.tensor([9]), voice)
    padded = torch.nn.functional.pad(phones, (0, 6)).repeat(2, 1, 1)
    among, more = prior.read(padded, torch.tensor([9, 15]), voice.repeat(2, 1))
    assert torch.allclose(alone[0], among[0, :, :9], atol=1e-5)
    assert torch.allclose(durations[0], more[0, :9], atol=1e-5)


def test_phrases_are_measured_from_pause_to_pause():
    pause = phonemes("Hi.")[0].index
    places = phrase_places(torch.tensor([[pause, 5, 6, pause, 7, 0]])) * 3
    since, until = places.expm1().round()[0].T.tolist()
    assert since == [0, 1, 2, 0, 1, 0]
    assert until == [0, 2, 1, 0, 1, 0]


def test_unvoiced_frames_have_no_pitch():
    bands = pitch_bands(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
    assert bands[0, :, 1].abs().sum() == 0
    assert bands[0, :-1, 0].max() > 0.9


# Speaker encoder


def test_level_says_nothing_of_the_speaker():
    encoder = tiny_pipeline().speaker_encoder
    mel, facts = torch.randn(1, 80, 60), torch.zeros(1, 2)
    quiet, _ = encoder(mel - 2.0, facts)
    loud, embedding = encoder(mel + 1.0, facts)
    assert torch.allclose(quiet, loud, atol=1e-5)
    assert torch.allclose(embedding.norm(dim=-1), torch.ones(1))


def test_pitch_changes_the_voice_and_not_the_embedding():
    encoder = SpeakerEncoder(hidden_channels=WIDTH, voice_channels=VOICE)
    mel = torch.randn(1, 80, 60)
    low, same = encoder(mel, torch.tensor([[-0.5, 0.0]]))
    high, as_well = encoder(mel, torch.tensor([[0.5, 0.0]]))
    assert not torch.allclose(low, high)
    assert torch.equal(same, as_well)


# U-Net


@pytest.mark.parametrize("frames", [1, 2, 37, 64])
def test_every_number_of_frames_is_welcome(frames):
    unet = tiny_unet()
    given = (torch.randn(2, 80, frames), torch.randn(2, WIDTH, frames), torch.randn(2, VOICE))
    velocity = unet(torch.randn(2, 80, frames), torch.tensor([3, 900]), *given)
    assert velocity.shape == (2, 80, frames)
    assert torch.isfinite(velocity).all()


def test_dropped_conditions_are_not_seen():
    unet = tiny_unet()
    sample, timestep = torch.randn(1, 80, 8), torch.tensor([500])
    dropped = torch.tensor([True])
    results = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        given = (torch.randn(1, 80, 8), torch.randn(1, WIDTH, 8), torch.randn(1, VOICE))
        results.append(unet(sample, timestep, *given, dropped=dropped))
        assert not torch.equal(unet(sample, timestep, *given), results[-1])
    assert torch.equal(*results)


# Vocoder


def test_pulses_come_once_a_period():
    settings = MelSettings()
    pulses = pulse_train(torch.full((1, 101), 125.0), settings)
    assert pulses.shape == (1, 100 * 256)
    places = pulses[0].nonzero().flatten()
    assert (places.diff() - 128).abs().max() <= 1
    assert len(places) == pytest.approx(200, abs=1)


def test_the_minimum_phase_of_a_filter_is_its_own():
    """A one-pole filter has minimum phase, so its phase follows from its magnitude."""
    omega = torch.linspace(0, torch.pi, 513)
    response = 1 / (1 - 0.7 * torch.polar(torch.ones(513), -omega))
    found = minimum_phase(response.abs().log()[None, :, None])[0, :, 0]
    assert torch.allclose(found, response.angle(), atol=1e-3)


def test_true_magnitudes_and_pitch_give_the_sound_back():
    """With a network that knows the magnitudes, what is left is the phase: pitch and level hold."""
    settings = MelSettings()
    wave = torch.from_numpy(voiced_tone(170.0, 2.0))[None]
    window = torch.hann_window(1024)
    truth = torch.stft(wave, 1024, 256, window=window, return_complex=True).abs().clamp(min=1e-4)

    class Knows(MelVocoder):
        def forward(self, mel):
            told = super().forward(mel)
            return told._replace(log_magnitude=truth.log())

    vocoder = EchoVocoder(Knows(hidden_channels=WIDTH, num_blocks=1))
    f0_hz = torch.full((1, truth.shape[-1]), 170.0)
    sound = vocoder(log_mel(wave, settings), f0_hz)
    assert sound.shape == (1, settings.samples(truth.shape[-1]))
    median_hz, _, share = voice_pitch(sound[0], RATE)
    assert median_hz == pytest.approx(170.0, rel=0.01)
    assert share > 0.9
    again = torch.stft(sound, 1024, 256, window=window, return_complex=True).abs()
    loud = truth > 0.1 * truth.max()
    error_db = 20 * (again[..., : truth.shape[-1]] / truth).log10()[loud].abs()
    assert error_db.median() < 1.0


def test_the_same_mel_gives_the_same_sound_alone_or_in_a_batch():
    vocoder = EchoVocoder(tiny_pipeline().vocoder)
    mel = torch.randn(3, 80, 30) - 5
    together, alone = vocoder(mel), vocoder(mel[1:2])
    assert torch.allclose(together[1:2], alone, atol=1e-5)


def test_octaves_are_counted_from_150_hz():
    assert octaves_of(torch.tensor([75.0, 0.0, 300.0])).tolist() == [-1.0, 0.0, 1.0]


# Pipeline and model


def test_a_saved_pipeline_comes_back_whole(folder):
    pipeline = EchoPipeline.from_pretrained(folder)
    want = tiny_pipeline()
    for name in ("speaker_encoder", "prior", "unet", "vocoder"):
        held, wanted = getattr(pipeline, name).state_dict(), getattr(want, name).state_dict()
        assert held.keys() == wanted.keys()
        assert all(torch.equal(held[key], wanted[key]) for key in held)
    assert pipeline.scheduler.config["prediction_type"] == "v_prediction"
    assert not list(folder.rglob("*.bin"))


def test_the_reference_s_pitch_is_kept(model):
    for hz in (95.0, 210.0):
        pipeline = tiny_pipeline()
        voice = pipeline.encode_voice(torch.from_numpy(voiced_tone(hz)))
        with torch.no_grad():
            pipeline.prior.contour.bias[1] = 5.0  # every frame is voiced
        plan = pipeline.plan(phonemes(TEXT), voice)
        assert plan.f0_hz[plan.f0_hz > 0].median().item() == pytest.approx(hz, rel=0.02)


def test_twice_the_speed_is_half_the_time():
    pipeline = tiny_pipeline()
    voice = pipeline.encode_voice(torch.from_numpy(voiced_tone(120.0)))
    with torch.no_grad():
        pipeline.prior.duration.bias.fill_(3.0)
    usual = pipeline.plan(phonemes(TEXT), voice).durations.sum()
    quick = pipeline.plan(phonemes(TEXT), voice, speed=2.0).durations.sum()
    assert quick / usual == pytest.approx(0.5, abs=0.05)


def test_a_clone_has_sound_and_mel_and_every_stage_s_time(model, state):
    spoken = say(model, state, batch=2)
    frames = spoken.mel.shape[-1]
    assert spoken.audio.shape == (2, (frames - 1) * 256)
    assert spoken.mel.shape[:2] == (2, 80)
    assert torch.isfinite(spoken.audio).all()
    assert len(spoken.step_s) == 4
    assert min(spoken.text_s, spoken.prior_s, spoken.denoising_s, spoken.vocoder_s) > 0
    assert sum(spoken.step_s) == pytest.approx(spoken.denoising_s, rel=0.3)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm++", "unipc"])
def test_a_seed_decides_what_is_heard(model, state, sampler):
    first, again = say(model, state, sampler=sampler), say(model, state, sampler=sampler)
    other = say(model, state, sampler=sampler, seed=1)
    assert torch.equal(first.audio, again.audio)
    assert not torch.equal(first.audio, other.audio)


def test_candidate_i_is_spoken_from_seed_plus_i(model, state):
    both = say(model, state, batch=2, sampler="ddpm")
    second = say(model, state, seed=1, sampler="ddpm")
    first_off, off = ((one - second.audio[0]).abs().max() for one in both.audio)
    assert off < 0.01 * first_off  # sums of a batch are in another order, by processor


def test_the_global_random_state_is_left_alone(model, state):
    torch.manual_seed(3)
    want = torch.rand(1)
    torch.manual_seed(3)
    say(model, state, sampler="ddpm")
    assert torch.equal(torch.rand(1), want)


def test_guidance_and_temperature_reach_the_network(model, state):
    plain = say(model, state).mel
    assert not torch.equal(plain, say(model, state, guidance_scale=2.0).mel)
    still = say(model, state, temperature=0.0).mel
    assert torch.equal(still, say(model, state, temperature=0.0, seed=9).mel)


def test_steps_are_told_and_may_end_it(model, state):
    heard = []
    model.speak(TEXT, state, request(), lambda index, steps: heard.append((index, steps)))
    assert heard == [(0, 4), (1, 4), (2, 4), (3, 4)]

    def stop(index, steps):
        if index == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        model.speak(TEXT, state, request(), stop)


def test_another_vocoder_can_be_chosen(model, state):
    own, griffin = say(model, state), say(model, state, vocoder="griffin-lim")
    assert torch.equal(own.mel, griffin.mel)
    assert not torch.equal(own.audio, griffin.audio)
    with pytest.raises(ValueError, match="vocoder"):
        say(model, state, vocoder="no-such-vocoder")


def test_the_bundled_vocoder_is_one_that_can_be_chosen_by_name(model, state):
    """It finds the pitch itself; as the model's own it is told."""
    own, named = say(model, state), say(model, state, vocoder="echo")
    assert torch.equal(own.mel, named.mel)
    assert named.audio.shape == own.audio.shape
    assert named.audio.std() > 1e-4


def test_a_voice_of_another_model_is_refused(model, state):
    with pytest.raises(ValueError, match="encoded by other"):
        say(model, VoiceState("other", state.tensors))


def test_a_recording_without_a_voice_is_refused(model):
    noise = np.random.default_rng(0).normal(0, 0.1, RATE * 3).astype(np.float32)
    with pytest.raises(ValueError, match="no voice was found"):
        model.encode_voice(Reference(noise, RATE))


def test_a_folder_that_is_none_is_unavailable(tmp_path):
    with pytest.raises(ModelUnavailable, match="no folder of an Echo"):
        EchoModel.load(entry_of(tmp_path), device="cpu", precision="fp32")


def test_a_damaged_weights_file_is_told_in_one_line(tmp_path):
    damaged = save_tiny_echo(tmp_path / "echo")
    weights = damaged / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelUnavailable, match="cannot be loaded") as caught:
        EchoModel.load(entry_of(damaged), device="cpu", precision="fp32")
    assert "\n" not in str(caught.value)


def test_a_folder_that_lacks_a_weight_is_told_in_one_line(tmp_path):
    folder = save_tiny_echo(tmp_path / "echo")
    weights = folder / "prior" / "diffusion_pytorch_model.safetensors"
    save_file({k: v for k, v in load_file(weights).items() if k != "mel.bias"}, weights)
    with pytest.raises(ModelUnavailable, match=r"^[^\n]+its prior lacks 1 weights[^\n]+$"):
        EchoModel.load(entry_of(folder), device="cpu", precision="fp32")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_speaks_too(folder, precision):
    half = EchoModel.load(entry_of(folder), device="cpu", precision=precision)
    state = half.encode_voice(Reference(voiced_tone(140.0), RATE))
    spoken = half.speak(TEXT, state, request(steps=2), lambda index, steps: None)
    assert torch.isfinite(spoken.audio).all()


def test_a_foreign_chunk_of_a_longer_text_is_a_pause(model, state):
    whole = request(text=f"{TEXT} 你好世界。")
    spoken = model.speak("你好世界。", state, whole, lambda index, steps: None)
    assert spoken.audio.abs().max() == 0


@pytest.mark.parametrize(
    "text",
    [
        "你好世界。",
        "Привет,\nмир.",
        "Привет,  мир.",
        " Привет. ",
        "Привет.\n\nДо свидания.",
        "Река была тихой. " * 40,
    ],
    ids=["one line", "a line break", "two spaces", "edges", "paragraphs", "680 characters"],
)
def test_a_text_without_an_english_word_is_refused_however_it_is_written(model, state, text):
    backend = VoiceBackend(model, model="echo", device="cpu", precision="fp32")
    with pytest.raises(ValueError, match=r"^the text has no English word to say"):
        backend.generate(request(text=text), state)


def test_a_foreign_paragraph_between_english_ones_is_a_pause_in_sound_and_mel(model, state):
    foreign = "Река была очень тихой в то утро, и над полями лежал лёгкий туман."
    english = "The river was quiet that morning, and a thin mist lay over the fields."
    backend = VoiceBackend(model, model="echo", device="cpu", precision="fp32")
    speech = backend.generate(request(text=f"{english}\n\n{foreign}\n\n{english}"), state)
    assert speech.num_chunks == 3
    assert any(warning.startswith("not said: Река была") for warning in speech.warnings)
    mel, samples = speech.mels[0], speech.candidate(0)
    assert mel.shape[1] == pytest.approx(len(samples) / 256, rel=0.05)
    pause_s = np.diff(np.flatnonzero(samples)).max() / RATE
    assert pause_s > 0.3
    quiet = (mel == mel.min()).all(axis=0)
    assert quiet.sum() * 256 / RATE > 0.3
    assert not quiet[[0, -2]].any(), "what was said before and after it has frames"
