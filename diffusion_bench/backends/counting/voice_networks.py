"""Voice models with random weights, and inputs of the shapes their loops feed them.

Echo is read from its folder. The others are what their libraries build when nothing else is said,
which have as many parameters as the published weights; what differs is here with its source.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from diffusion_bench.backends.catalog import MODELS_FOLDER
from diffusion_bench.backends.voice.base import VoiceEntry
from diffusion_bench.backends.voice.catalog import voice_catalog
from diffusion_bench.records import BUNDLED_VOICE_MODEL
from diffusion_bench.tiers.voice_cost import VoicePartName, VoiceStageName

# Runs a stage's networks, which have this type, on so many frames and passes.
Call = Callable[[torch.dtype, int, int], Any]

# Echo's speech of six sentences in its three voices: 14.8 to 16.8 characters a second, 5.5 to 6.2
# frames of 16 ms a phone.
ECHO_CHARS_PER_S = 16.0
ECHO_FRAMES_PER_PHONE = 6
# What is assumed: a recording of 5 s, whose transcript and a chunk have so many tokens.
LONGCAT_REFERENCE_S = 5.0
LONGCAT_TEXT_TOKENS = 64
# mlx-audio's longcat_audiodit/config.py; with the rest at diffusers' defaults the parameters are
# those of the published file of 5,679,831,348 bytes in fp32.
LONGCAT_VAE: dict[str, Any] = {"c_mults": [1, 2, 4, 8, 16], "strides": [2, 4, 4, 8, 8]}
UMT5_BASE = {
    "vocab_size": 256_384,
    "d_model": 768,
    "d_ff": 2048,
    "num_layers": 12,
    "num_heads": 12,
}
ALWAYS_FP32 = {"fp32": "32", "fp16": "32", "bf16": "32"}


class VoiceNetworks(NamedTuple):
    """A voice model; `facts`: fields of `VoiceCounts`. `sizes`: frames to count each stage at.

    The networks of a stage are those of the part of its name.
    """

    facts: dict[str, Any]
    parts: dict[VoicePartName, list[nn.Module]]
    calls: dict[VoiceStageName, Call]
    sizes: dict[VoiceStageName, tuple[int, ...]]


def echo() -> VoiceNetworks:
    """Return the bundled model, from its configurations.

    The prior asks its durations how many frames they are and the vocoder's phase looks at values,
    which meta tensors have not: these two lie on the CPU.
    """
    from diffusion_bench.backends.echo.prior import Prior
    from diffusion_bench.backends.echo.speaker import SpeakerEncoder
    from diffusion_bench.backends.echo.unet import MelUNet
    from diffusion_bench.backends.echo.vocoder import EchoVocoder, MelVocoder

    folder = MODELS_FOLDER / BUNDLED_VOICE_MODEL
    prior, vocoder, unet, speaker = (
        cls.from_config(json.loads((folder / part / "config.json").read_text("utf-8"))).eval()
        for cls, part in (
            (Prior, "prior"),
            (MelVocoder, "vocoder"),
            (MelUNet, "unet"),
            (SpeakerEncoder, "speaker_encoder"),
        )
    )
    sound = EchoVocoder(vocoder)
    settings = sound.settings
    facts = {
        "source": f"the config.json files of models/{folder.name}",
        "frames_per_s": settings.sample_rate / settings.hop_length,
        "multiple": 12,
        "guidance_at_once": True,
        "chars_per_s": ECHO_CHARS_PER_S,
        "one_pass": ("prior",),
        "widths": {"vocoder": ALWAYS_FP32},
    }
    return VoiceNetworks(
        facts=_usual(voice_catalog()[BUNDLED_VOICE_MODEL], facts),
        parts={
            "voice encoder": [speaker],
            "prior": [prior],
            "denoising step": [unet.to("meta")],
            "vocoder": [vocoder],
        },
        calls={
            "prior": partial(_echo_prior, prior),
            "denoising step": partial(_echo_step, unet),
            "vocoder": partial(_echo_sound, sound),
        },
        sizes=dict.fromkeys(("prior", "denoising step", "vocoder"), (24, 48, 72)),
    )


def _echo_prior(prior: Any, dtype: torch.dtype, frames: int, passes: int) -> None:
    phones = torch.ones(passes, 4, frames // ECHO_FRAMES_PER_PHONE, dtype=torch.int64)
    durations = torch.full((passes, phones.shape[-1]), ECHO_FRAMES_PER_PHONE)
    voice = torch.zeros(passes, prior.config.voice_channels, dtype=dtype)
    hidden, _ = prior.read(phones, torch.full((passes,), phones.shape[-1]), voice)
    spread = prior.expand(hidden, durations)
    octaves, voicing = prior.intone(spread, voice)
    prior(spread, octaves, voicing, voice)


def _echo_step(unet: Any, dtype: torch.dtype, frames: int, passes: int) -> None:
    sizes = unet.config
    unet(
        _meta(passes, sizes.n_mels, frames),
        _meta(passes),
        _meta(passes, sizes.n_mels, frames, dtype=dtype),
        _meta(passes, sizes.prior_channels, frames, dtype=dtype),
        _meta(passes, sizes.voice_channels, dtype=dtype),
    )


def _echo_sound(sound: Any, dtype: torch.dtype, frames: int, passes: int) -> None:
    # Without its inference mode, in which torch dispatches a convolution under another name.
    speak: Any = inspect.unwrap(type(sound).__call__)
    mel = torch.zeros(passes, sound.settings.n_mels, frames, dtype=dtype)
    speak(sound, mel, torch.full((passes, frames), 120.0))


def longcat() -> VoiceNetworks:
    """Return LongCat-AudioDiT 1B."""
    from diffusers import LongCatAudioDiTTransformer, LongCatAudioDiTVae
    from transformers import UMT5Config, UMT5EncoderModel

    with torch.device("meta"):
        text = UMT5EncoderModel(UMT5Config(**UMT5_BASE)).eval()
        denoiser = LongCatAudioDiTTransformer().eval()
        autoencoder = LongCatAudioDiTVae(**LONGCAT_VAE).eval()

    def read(dtype: torch.dtype, frames: int, passes: int) -> None:
        text(_meta(passes, LONGCAT_TEXT_TOKENS, dtype=torch.int64))

    def step(dtype: torch.dtype, frames: int, passes: int) -> None:
        latent = (passes, frames, denoiser.config.latent_dim)
        words = (passes, LONGCAT_TEXT_TOKENS, denoiser.config.dit_text_dim)
        denoiser(
            hidden_states=_meta(*latent, dtype=dtype),
            encoder_hidden_states=_meta(*words, dtype=dtype),
            encoder_attention_mask=_meta(*words[:2], dtype=torch.bool),
            timestep=_meta(passes, dtype=dtype),
            attention_mask=_meta(*latent[:2], dtype=torch.bool),
            latent_cond=_meta(*latent, dtype=dtype),
        )

    def decode(dtype: torch.dtype, frames: int, passes: int) -> None:
        autoencoder.decode(_meta(passes, autoencoder.config.latent_dim, frames, dtype=dtype))

    config = autoencoder.config
    facts = {
        "aliases": ("meituan-longcat/LongCat-AudioDiT-1B",),
        "source": "mlx-audio's longcat_audiodit/config.py, and the size of the published file",
        "frames_per_s": config.sample_rate / config.downsampling_ratio,
        "reference_s": LONGCAT_REFERENCE_S,
        "text_tokens": LONGCAT_TEXT_TOKENS,
        "chars_per_s": _longcat_chars_per_s(),
        # In bf16 the autoencoder stays in fp32 (backends/voice/longcat.py).
        "widths": {"vocoder": {"fp32": "32", "fp16": "16", "bf16": "32"}},
    }
    return VoiceNetworks(
        facts=_usual(voice_catalog()["longcat"], facts),
        parts={"text encoder": [text], "denoising step": [denoiser], "vocoder": [autoencoder]},
        calls={"text encoder": read, "denoising step": step, "vocoder": decode},
        sizes={"text encoder": (1,), "denoising step": (32, 64, 96), "vocoder": (8, 16, 24)},
    )


def _longcat_chars_per_s() -> float:
    from diffusion_bench.backends.voice.longcat import CHARACTER_S

    return 1 / CHARACTER_S["Latin"]


def tortoise() -> VoiceNetworks:
    """Return Tortoise's diffusion decoder and its vocoder."""
    from transformers import UnivNetConfig, UnivNetModel

    from diffusion_bench.backends.tortoise.decoder import DiffusionDecoder
    from diffusion_bench.backends.tortoise.vocoder import HOP, SAMPLE_RATE, TAIL_FRAMES

    with torch.device("meta"):
        decoder = DiffusionDecoder().eval()
        univnet = UnivNetModel(UnivNetConfig()).eval()

    def step(dtype: torch.dtype, frames: int, passes: int) -> None:
        sizes = decoder.config
        noisy = _meta(passes, sizes.mel_channels, frames, dtype=dtype)
        aligned = _meta(passes, sizes.model_channels, frames, dtype=dtype)
        decoder(noisy, _meta(passes), aligned)

    def speak(dtype: torch.dtype, frames: int, passes: int) -> None:
        sizes, length = univnet.config, frames + TAIL_FRAMES
        mel = _meta(passes, length, sizes.num_mel_bins, dtype=dtype)
        univnet(mel, noise_sequence=_meta(passes, length, sizes.model_in_channels, dtype=dtype))

    facts = {
        "source": "backends/tortoise/decoder.py, whose 359 tensors are those of the published file,"
        " and transformers' UnivNetConfig, made for dg845/univnet-dev",
        "frames_per_s": SAMPLE_RATE / HOP,
        "widths": {"vocoder": ALWAYS_FP32},
        "not_counted": "the network that draws up to 256 readings of a text, token by token, and "
        "the one that chooses among them",
    }
    return VoiceNetworks(
        facts=_usual(voice_catalog()["tortoise"], facts),
        parts={"denoising step": [decoder], "vocoder": [univnet]},
        calls={"denoising step": step, "vocoder": speak},
        sizes={"denoising step": (32, 64, 96), "vocoder": (32, 64, 96)},
    )


def vibevoice() -> VoiceNetworks:
    """Return VibeVoice 1.5B's diffusion head, which denoises one frame after the other."""
    from transformers import VibeVoiceDiffusionHeadConfig
    from transformers.models.vibevoice.modeling_vibevoice import VibeVoiceDiffusionHead

    config = VibeVoiceDiffusionHeadConfig()
    with torch.device("meta"):
        head = VibeVoiceDiffusionHead(config).eval()

    def step(dtype: torch.dtype, frames: int, passes: int) -> None:
        noisy = _meta(passes, config.latent_size, dtype=dtype)
        head(noisy, _meta(passes, dtype=dtype), _meta(passes, config.hidden_size, dtype=dtype))

    facts = {
        "source": "transformers' VibeVoiceDiffusionHeadConfig, of vibevoice/VibeVoice-1.5B-hf",
        "frames_per_s": 7.5,
        "guidance_at_once": True,
        "not_counted": "the language model, which runs twice for every frame of 133 ms, and its "
        "codec",
    }
    return VoiceNetworks(
        facts=_usual(voice_catalog()["vibevoice"], facts),
        parts={"denoising step": [head]},
        calls={"denoising step": step},
        sizes={"denoising step": (1,)},
    )


VOICES: dict[str, Callable[[], VoiceNetworks]] = {
    "echo": echo,
    "longcat": longcat,
    "tortoise": tortoise,
    "vibevoice": vibevoice,
}


def _usual(entry: VoiceEntry, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts with what the catalog knows of the model."""
    own = () if entry.source == "bundled" else (entry.location,)
    return facts | {
        "aliases": (*own, *facts.get("aliases", ())),
        "steps": entry.steps,
        "guided": entry.guidance_scale > 1,
        "chunk_chars": entry.max_chars,
    }


def _meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")
