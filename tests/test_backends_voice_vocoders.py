"""Vocoders with weights, from tiny random checkpoints saved as their authors publish them."""

from __future__ import annotations

import pytest
import torch
from fake_voices import make_entry, make_reference
from safetensors.torch import load_file, save_file
from tiny_echo import tiny_pipeline
from tiny_vocoders import SAVED, save_hifi_gan, save_vocos, vocos_config

from diffusion_bench.audio.mel import MelSettings
from diffusion_bench.audio.vocoders import GriffinLim, Resynthesis, Vocoder
from diffusion_bench.backends.catalog import ModelUnavailable, UnknownModel
from diffusion_bench.backends.echo.voice import EchoModel
from diffusion_bench.backends.voice.vocoders import VOCODERS, load_vocoder
from diffusion_bench.backends.voice.vocos import Vocos, VocosConfig
from diffusion_bench.records import VoiceRequest

# Read by hand from the published vocos-mel-24khz; `i` stands for 0 to 7.
PUBLISHED_VOCOS = {
    "backbone.embed.weight": (512, 100, 7),
    "backbone.embed.bias": (512,),
    "backbone.norm.weight": (512,),
    "backbone.norm.bias": (512,),
    "backbone.convnext.i.gamma": (512,),
    "backbone.convnext.i.dwconv.weight": (512, 1, 7),
    "backbone.convnext.i.dwconv.bias": (512,),
    "backbone.convnext.i.norm.weight": (512,),
    "backbone.convnext.i.norm.bias": (512,),
    "backbone.convnext.i.pwconv1.weight": (1536, 512),
    "backbone.convnext.i.pwconv1.bias": (1536,),
    "backbone.convnext.i.pwconv2.weight": (512, 1536),
    "backbone.convnext.i.pwconv2.bias": (512,),
    "backbone.final_layer_norm.weight": (512,),
    "backbone.final_layer_norm.bias": (512,),
    "head.out.weight": (1026, 512),
    "head.out.bias": (1026,),
}


@pytest.mark.parametrize("name", VOCODERS)
def test_each_family_loads_from_a_folder_and_speaks_its_own_mels(name, tmp_path):
    vocoder = load_vocoder(str(SAVED[name](tmp_path / "saved")), device="cpu")
    assert isinstance(vocoder, Vocoder)
    assert vocoder.settings == VOCODERS[name].mel
    mels = torch.randn(2, vocoder.settings.n_mels, 12) - 4
    samples = vocoder(mels)
    assert samples.shape == (2, vocoder.settings.samples(12))
    assert samples.dtype == torch.float32
    assert samples.abs().max() > 1e-3
    assert not torch.allclose(samples[0], samples[1])
    torch.testing.assert_close(vocoder(mels[1:]), samples[1:], atol=1e-5, rtol=1e-4)


def test_the_layout_of_vocos_is_the_published_one():
    with torch.device("meta"):
        network = Vocos(VocosConfig())
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    expected = {
        name.replace(".i.", f".{index}."): shape
        for name, shape in PUBLISHED_VOCOS.items()
        for index in (range(8) if ".i." in name else [0])
    }
    assert shapes == expected
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == 13.53


def test_vocos_inverts_the_spectrum_it_draws():
    # Weights of zero but for the biases of the last layer: 0 log magnitude in one bin.
    config = VocosConfig(width=8, inner_width=8, layers=1)
    network = Vocos(config)
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        network.head.out.bias[:513] = -30.0
        network.head.out.bias[32] = 3.0
        samples = network(torch.zeros(1, 100, 9))[0]
        hop_is_whole_periods = torch.arange(len(samples)) * 2 * torch.pi * 32 / 1024
    tone = torch.cos(hop_is_whole_periods)
    correlation = torch.nn.functional.cosine_similarity(samples, tone, dim=0)
    assert correlation > 0.99


def test_hifi_gan_of_a_folder_gets_decimal_logarithms(tmp_path):
    folder = str(save_hifi_gan(tmp_path / "saved"))
    own = load_vocoder(folder, device="cpu")
    natural = own.settings.model_copy(update={"log": "natural"})
    fitted = load_vocoder(folder, device="cpu", settings=natural)
    mel = torch.randn(1, 80, 10)
    expected = own(mel)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(fitted(mel * 2.302585093), expected, atol=1e-5, rtol=1e-3)
    assert not torch.allclose(own(mel * 2.302585093), expected, atol=1e-3)


def test_a_vocoder_of_other_mels_is_fed_the_sound_of_another(tmp_path):
    folder = str(save_vocos(tmp_path / "saved"))
    fitted = load_vocoder(folder, device="cpu", settings=MelSettings())
    assert isinstance(fitted, Resynthesis)
    assert isinstance(fitted.first, GriffinLim)
    first = GriffinLim(MelSettings(), iterations=1)
    assert load_vocoder(folder, device="cpu", settings=MelSettings(), first=first).first is first


def test_a_folder_of_another_hop_is_fed_sound_too(tmp_path):
    folder = save_hifi_gan(tmp_path / "saved", upsample_rates=(4, 4, 4, 2))
    fitted = load_vocoder(str(folder), device="cpu", settings=VOCODERS["hifi-gan"].mel)
    assert fitted.vocoder.settings.hop_length == 128
    assert fitted(torch.randn(1, 80, 12) - 4).shape == (1, 11 * 256)


@pytest.fixture(scope="module")
def echo():
    return EchoModel(make_entry(samplers=("ddim",)), tiny_pipeline(), device="cpu")


def say(echo, vocoder, batch=1):
    state = echo.encode_voice(make_reference())
    request = VoiceRequest(text="The river was quiet.", steps=2, vocoder=vocoder, batch=batch)
    return echo.speak(request.text, state, request, lambda *_: None)


@pytest.mark.parametrize("name", VOCODERS)
def test_echo_speaks_through_every_vocoder_that_has_a_name(name, echo, tmp_path, monkeypatch):
    saved = str(SAVED[name](tmp_path / "saved"))
    here = VOCODERS[name].model_copy(update={"location": saved})
    monkeypatch.setitem(VOCODERS, name, here)
    monkeypatch.setattr(echo, "_vocoders", {"native": echo.vocoder("native")})
    native, spoken, alone = say(echo, "native"), say(echo, name, batch=2), say(echo, name)
    assert torch.equal(native.mel, alone.mel)
    assert spoken.audio.shape == (2, native.audio.shape[1])
    assert spoken.audio.isfinite().all()
    assert spoken.audio.abs().max() > 1e-3
    assert not torch.allclose(alone.audio, native.audio, atol=1e-3)
    # The phase is iterated, and what a batch rounds otherwise grows: a few samples in a thousand.
    torch.testing.assert_close(spoken.audio[:1], alone.audio, atol=1e-2, rtol=1e-2)
    # What is heard second-hand is said.
    second_hand = [f"vocoder '{name}' reads other spectrograms"] * (name != "echo")
    assert [line[: len(said)] for line, said in zip(spoken.warnings, second_hand, strict=True)] == (
        second_hand
    )


def test_echo_without_a_vocoder_s_weights_says_so_before_it_denoises(echo):
    steps, state = [], echo.encode_voice(make_reference())
    request = VoiceRequest(text="Quiet.", vocoder="vocos")
    with pytest.raises(
        ModelUnavailable, match=r"vocoder 'vocos' is not on this machine and [^\n]+$"
    ):
        echo.speak("Quiet.", state, request, lambda *step: steps.append(step))
    assert steps == []


@pytest.mark.parametrize("name", [*sorted(VOCODERS.keys() - {"echo"}), "nobody/nothing"])
def test_weights_that_cannot_be_had_are_said_in_one_line(name):
    with pytest.raises(
        ModelUnavailable, match=f"vocoder '{name}' is not on this machine and [^\n]+$"
    ):
        load_vocoder(name, device="cpu")


def test_a_file_of_transformers_that_lacks_a_tensor_is_refused(tmp_path):
    folder = save_hifi_gan(tmp_path / "saved")
    state = load_file(folder / "model.safetensors")
    del state["conv_post.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelUnavailable, match=r"lacks \d+ weights .* as conv_post\.weight"):
        load_vocoder(str(folder), device="cpu")


def test_magnitudes_of_vocos_are_cut_at_a_hundred():
    network = Vocos(VocosConfig(width=8, inner_width=8, layers=1))
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)

    def loudness(log_magnitude):
        with torch.no_grad():
            network.head.out.bias[32] = log_magnitude
            return network(torch.zeros(1, 100, 9)).abs().max()

    assert loudness(4.5) > 1.5 * loudness(4.0)
    assert loudness(9.0) == loudness(5.0)


def test_a_file_that_lacks_a_tensor_is_refused(tmp_path):
    folder = save_vocos(tmp_path / "saved")
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    del state["head.out.bias"]
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load_vocoder(str(folder), device="cpu")


def test_a_file_that_would_run_code_is_refused(tmp_path):
    folder = save_vocos(tmp_path / "saved")
    torch.save({"head.out.bias": print}, folder / "pytorch_model.bin")
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load_vocoder(str(folder), device="cpu")


def test_a_vocos_of_another_kind_is_refused(tmp_path):
    tree = vocos_config(padding="same")
    with pytest.raises(ModelUnavailable, match="only Vocos with padding 'center'"):
        load_vocoder(str(save_vocos(tmp_path / "same", tree)), device="cpu")
    tree = vocos_config()
    tree["feature_extractor"]["class_path"] = "vocos.feature_extractors.EncodecFeatures"
    with pytest.raises(ModelUnavailable, match="only Vocos on mel spectrograms"):
        load_vocoder(str(save_vocos(tmp_path / "codec", tree)), device="cpu")


def test_a_folder_that_is_no_vocoder_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(ModelUnavailable, match="'bert' is no kind of vocoder"):
        load_vocoder(str(tmp_path), device="cpu")


def test_griffin_lim_is_named_like_the_others_and_unknown_names_are_told_apart():
    settings = MelSettings(n_mels=64)
    vocoder = load_vocoder("griffin-lim", device="cpu", settings=settings)
    assert isinstance(vocoder, GriffinLim)
    assert vocoder.settings == settings
    with pytest.raises(
        UnknownModel, match="known: griffin-lim, echo, hifi-gan, hifi-gan-22k, univnet"
    ):
        load_vocoder("wavenet", device="cpu")
