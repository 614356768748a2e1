"""Tiny random vocoders, saved as their authors publish them: `SAVED[name](folder)`."""

from __future__ import annotations

import torch
import yaml
from tiny_echo import tiny_pipeline

from diffusion_bench.backends.voice.vocos import Vocos, VocosConfig


def vocos_config(**features):
    return {
        "feature_extractor": {
            "class_path": "vocos.feature_extractors.MelSpectrogramFeatures",
            "init_args": {
                "sample_rate": 24_000,
                "n_fft": 1024,
                "hop_length": 256,
                "n_mels": 100,
                "padding": "center",
            }
            | features,
        },
        "backbone": {
            "class_path": "vocos.models.VocosBackbone",
            "init_args": {
                "input_channels": 100,
                "dim": 16,
                "intermediate_dim": 32,
                "num_layers": 2,
            },
        },
        "head": {
            "class_path": "vocos.heads.ISTFTHead",
            "init_args": {"dim": 16, "n_fft": 1024, "hop_length": 256, "padding": "center"},
        },
    }


def save_vocos(folder, tree=None):
    """Save a tiny Vocos as its authors do: a pickle with the constants of its transforms."""
    folder.mkdir()
    tree = tree or vocos_config()
    (folder / "config.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    torch.manual_seed(0)
    state = dict(Vocos(VocosConfig.from_published(vocos_config())).state_dict())
    state["feature_extractor.mel_spec.spectrogram.window"] = torch.hann_window(1024)
    state["feature_extractor.mel_spec.mel_scale.fb"] = torch.zeros(513, 100)
    state["head.istft.window"] = torch.hann_window(1024)
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def save_hifi_gan(folder, **settings):
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    torch.manual_seed(0)
    config = SpeechT5HifiGanConfig(
        **{
            "upsample_initial_channel": 16,
            "resblock_kernel_sizes": (3,),
            "initializer_range": 0.2,
        }
        | settings
    )
    network = SpeechT5HifiGan(config)
    network.mean.fill_(-2.0)
    network.save_pretrained(folder)
    return folder


def save_espnet_hifi_gan(folder):
    from transformers import FastSpeech2ConformerHifiGan, FastSpeech2ConformerHifiGanConfig

    torch.manual_seed(0)
    config = FastSpeech2ConformerHifiGanConfig(
        upsample_initial_channel=16, resblock_kernel_sizes=[3], initializer_range=0.2
    )
    FastSpeech2ConformerHifiGan(config).save_pretrained(folder)
    return folder


def save_univnet(folder):
    from transformers import UnivNetConfig, UnivNetModel

    torch.manual_seed(0)
    config = UnivNetConfig(
        model_in_channels=4, model_hidden_channels=4, kernel_predictor_hidden_channels=4
    )
    UnivNetModel(config).save_pretrained(folder)
    return folder


def save_echo(folder):
    tiny_pipeline().vocoder.save_pretrained(folder)
    return folder


SAVED = {
    "echo": save_echo,
    "hifi-gan": save_hifi_gan,
    "hifi-gan-22k": save_espnet_hifi_gan,
    "univnet": save_univnet,
    "vocos": save_vocos,
}
