"""What a visitor of a shared app may ask of a voice model."""

from __future__ import annotations

from diffusion_bench.backends.voice.base import VoiceEntry
from diffusion_bench.backends.voice.catalog import find_voice_model, voice_catalog
from diffusion_bench.backends.voice.repositories import is_cached
from diffusion_bench.backends.voice.voices import bundled_names
from diffusion_bench.records import VoiceRequest
from diffusion_bench.ui.guests import check_here, check_most

SHARED_VOICE_LIMITS = {"steps": 250, "batch": 4}
MAX_SHARED_TEXT = 600  # characters
VOCODERS = ("native", "griffin-lim", "echo")  # those that need no hub


def check_voice_model(model: str, *, shared: bool) -> VoiceEntry:
    """Return the model's entry; raise ValueError for an unknown one, or one not for visitors."""
    if shared and model not in voice_catalog():
        known = ", ".join(voice_catalog())
        raise ValueError(f"a shared app offers the voice models of its list only: {known}")
    return find_voice_model(model)


def check_voice_is_here(entry: VoiceEntry) -> None:
    """Raise ValueError for a voice model that is not on this machine."""
    check_here(entry.title, here=entry.source != "hub" or is_cached(entry))


def check_voice_name(name: str) -> None:
    """Raise ValueError for a voice that its owner saved: it is not for visitors."""
    if name not in bundled_names():
        known = ", ".join(bundled_names()) or "none"
        raise ValueError(f"a shared app offers its sample voices only: {known}")


def check_voice_limits(request: VoiceRequest) -> None:
    """Raise ValueError for speech that is too much for a machine its owner shares."""
    check_most(dict(request), SHARED_VOICE_LIMITS)
    if request.vocoder not in VOCODERS:
        known = ", ".join(VOCODERS)
        raise ValueError(f"a shared app offers the vocoders of its list only: {known}")
    if not request.voice.startswith("reference:"):
        check_voice_name(request.voice)
    if len(request.text) > MAX_SHARED_TEXT:
        raise ValueError(
            f"a text of {len(request.text)} characters is too long for a shared app: "
            f"{MAX_SHARED_TEXT}"
        )
