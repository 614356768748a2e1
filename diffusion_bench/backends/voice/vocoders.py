"""Vocoders with weights, bundled or from the hub, behind the protocol of `audio.vocoders`.

    name, settings of the model's mel > load_vocoder > Vocoder

What reads other mels than the model writes says again the sound of another vocoder. Pickles are
read by torch's `weights_only` loader, which makes tensors and runs nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import torch
import yaml  # type: ignore[import-untyped]
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import load_file
from torch import Tensor

from diffusion_bench.audio.mel import MelSettings
from diffusion_bench.audio.vocoders import GriffinLim, Vocoder, refuse_other_shapes, vocoder_for
from diffusion_bench.backends.catalog import MODELS_FOLDER, UnknownModel
from diffusion_bench.backends.network_files import NetworkRepository, folder_of, repository_of
from diffusion_bench.backends.voice.loading import file_of, load_whole, loading
from diffusion_bench.backends.voice.vocos import Vocos, VocosConfig
from diffusion_bench.records import Record

# Frames of silence after the end: UnivNet would click where its input stops.
TAIL_FRAMES = 10


class VocoderEntry(Record):
    """What is known of a vocoder before it is loaded. `family` names the code that runs it."""

    name: str
    title: str
    family: str
    location: str
    licence: str
    mel: MelSettings


# Both HiFi-GANs read decimal logarithms from 80 to 7600 Hz, as ESPnet makes them.
SPEECHT5_MEL = MelSettings(f_min=80, f_max=7600, log="decimal", log_floor=1e-10)
ESPNET_MEL = SPEECHT5_MEL.model_copy(update={"sample_rate": 22_050})
UNIVNET_MEL = MelSettings(sample_rate=24_000, n_mels=100, f_max=12_000, centred=False)

VOCODERS = {
    entry.name: entry
    for entry in (
        VocoderEntry(
            name="echo",
            title="Echo's own (bundled, 16 kHz)",
            family="MelVocoder",
            location=str(MODELS_FOLDER / "echo" / "vocoder"),
            licence="MIT",
            mel=MelSettings(),
        ),
        VocoderEntry(
            name="hifi-gan",
            title="HiFi-GAN of SpeechT5 (hub, 16 kHz)",
            family="speecht5_hifigan",
            location="microsoft/speecht5_hifigan",
            licence="MIT",
            mel=SPEECHT5_MEL,
        ),
        VocoderEntry(
            name="hifi-gan-22k",
            title="HiFi-GAN of ESPnet's FastSpeech2 (hub, 22.05 kHz)",
            family="fastspeech2_conformer_hifigan",
            location="espnet/fastspeech2_conformer_hifigan",
            licence="Apache-2.0",
            mel=ESPNET_MEL,
        ),
        VocoderEntry(
            name="univnet",
            title="UnivNet of Tortoise (hub, 24 kHz)",
            family="univnet",
            location="dg845/univnet-dev",
            licence="Apache-2.0",
            mel=UNIVNET_MEL,
        ),
        VocoderEntry(
            name="vocos",
            title="Vocos (hub, 24 kHz)",
            family="vocos",
            location="charactr/vocos-mel-24khz",
            licence="MIT",
            mel=VocosConfig().mel,
        ),
    )
}


class NeuralVocoder:
    """A loaded network behind the protocol: shapes, lengths and the device are its care."""

    def __init__(
        self, name: str, settings: MelSettings, run: Callable[[Tensor], Tensor], *, device: str
    ) -> None:
        self.name = name
        self.settings = settings
        self._run = run
        self._device = device

    @torch.inference_mode()
    def __call__(self, mel: Tensor) -> Tensor:
        """Return (batch, settings.samples(frames)) float32, on the mel's device, of a log mel."""
        refuse_other_shapes(mel, self.settings)
        samples = self._run(mel.to(self._device, torch.float32))
        return samples[:, : self.settings.samples(mel.shape[-1])].float().to(mel.device)


def load_vocoder(
    name: str,
    *,
    device: str,
    settings: MelSettings | None = None,
    first: Vocoder | None = None,
) -> Vocoder:
    """Load a vocoder for mels made with `settings`: by name, from a folder, or a hub id.

    Names are "griffin-lim" and those of `VOCODERS`; without `settings` it reads its own mels
    (Griffin-Lim those of the bundled model). Where its mels are others than the model's, it says
    again the sound of `first`, by default Griffin-Lim. Raises `UnknownModel` for a name that is
    none, `ModelUnavailable` without its weights.
    """
    if name == "griffin-lim":
        return GriffinLim(settings or MelSettings())
    repository = vocoder_repository(name)
    with loading(f"vocoder {name!r}"):
        location = str(folder_of(repository))
        family = VOCODERS[name].family if name in VOCODERS else _family_of(location)
        vocoder = _load(name, family, location, device)
    return vocoder_for(settings, vocoder, first=first) if settings else vocoder


def vocoder_repository(name: str) -> NetworkRepository:
    """Return where the vocoder of a name, a folder or a hub id lies; `UnknownModel` for none."""
    entry = VOCODERS.get(name)
    place = entry.location if entry else os.path.expanduser(name)
    found = repository_of(place, pickles=True, name=name, kind="vocoder")
    if found.source == "folder" and not os.path.isdir(place):
        known = ", ".join(["griffin-lim", *VOCODERS])
        raise UnknownModel(
            f"unknown vocoder {name!r}; known: {known}; or give a folder or a hub id (owner/name, "
            "or owner/name@commit)"
        )
    return found


def _family_of(location: str) -> str:
    """Return which code runs the vocoder of a folder: its config.json says it."""
    try:
        config = json.loads(file_of(location, "config.json").read_text(encoding="utf-8"))
    except EntryNotFoundError:
        return "vocos"  # which comes with a config.yaml
    # transformers names the model so, diffusers its class.
    return str(config.get("model_type") or config.get("_class_name", "nothing"))


def _load(name: str, family: str, location: str, device: str) -> Vocoder:
    loaders = {
        "MelVocoder": _load_echo,
        "speecht5_hifigan": _load_hifi_gan,
        "fastspeech2_conformer_hifigan": _load_hifi_gan,
        "univnet": _load_univnet,
        "vocos": _load_vocos,
    }
    if family not in loaders:
        raise ValueError(f"{family!r} is no kind of vocoder; known: {', '.join(loaders)}")
    return loaders[family](name, family, location, device)


def _load_echo(name: str, family: str, location: str, device: str) -> Vocoder:
    from diffusion_bench.backends.echo.vocoder import EchoVocoder, MelVocoder

    network = MelVocoder.from_pretrained(location, use_safetensors=True)
    return EchoVocoder(network.to(device))


def _load_hifi_gan(name: str, family: str, location: str, device: str) -> Vocoder:
    from transformers import FastSpeech2ConformerHifiGan, SpeechT5HifiGan

    of_espnet = family == "fastspeech2_conformer_hifigan"
    library_class = FastSpeech2ConformerHifiGan if of_espnet else SpeechT5HifiGan
    network = load_whole(library_class, location, pickles=True).to(device)
    config = network.config
    usual = ESPNET_MEL if of_espnet else SPEECHT5_MEL
    hop_length = 1
    for rate in config.upsample_rates:
        hop_length *= rate
    settings = MelSettings.model_validate(
        usual.model_dump()
        | {
            "n_mels": config.model_in_dim,
            "hop_length": hop_length,
            "sample_rate": getattr(config, "sampling_rate", usual.sample_rate),
        }
    )
    return NeuralVocoder(name, settings, lambda mel: network(mel.mT), device=device)


def _load_univnet(name: str, family: str, location: str, device: str) -> Vocoder:
    from transformers import UnivNetModel

    network = load_whole(UnivNetModel, location, pickles=True).to(device)
    config = network.config
    settings = UNIVNET_MEL.model_copy(update={"n_mels": config.num_mel_bins})
    silence = torch.tensor(settings.log_floor).log().item()

    def run(mel: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(mel, (0, TAIL_FRAMES), value=silence).mT
        # The same noise for each of a batch, drawn on the CPU: the same sound everywhere.
        noise = torch.randn(
            (1, padded.shape[1], config.model_in_channels),
            generator=torch.Generator().manual_seed(0),
        ).to(mel)
        waveforms: Tensor = network(padded, noise_sequence=noise.expand(len(mel), -1, -1)).waveforms
        return waveforms.clamp(-1, 1)

    return NeuralVocoder(name, settings, run, device=device)


def _load_vocos(name: str, family: str, location: str, device: str) -> Vocoder:
    text = file_of(location, "config.yaml").read_text(encoding="utf-8")
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"its config.yaml is none: {error}") from error
    network = Vocos(VocosConfig.from_published(tree))
    try:
        state = load_file(file_of(location, "model.safetensors"))
    except EntryNotFoundError:
        path = file_of(location, "pytorch_model.bin")
        state = torch.load(path, map_location="cpu", weights_only=True)
    # Windows and filters, which are made here.
    constants = ("feature_extractor.", "head.istft.")
    state = {key: value for key, value in state.items() if not key.startswith(constants)}
    network.load_state_dict(state)
    return NeuralVocoder(name, network.settings, network.to(device).eval(), device=device)
