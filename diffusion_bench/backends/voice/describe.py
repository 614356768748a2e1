"""What is said of a voice model before it is chosen: needs, licence, size, samplers. No network."""

from __future__ import annotations

import re

from diffusion_bench.backends.voice.base import VoiceEntry
from diffusion_bench.backends.voice.catalog import is_bundled
from diffusion_bench.backends.voice.repositories import is_cached

TOKENS = "it draws one token after another and denoises nothing"
FLOW = "it is trained for straight flows from noise, which these samplers do not follow"
# Why a family has no sampler of ours.
WHY_NATIVE = {"pocket_tts": FLOW, "longcat_audio_dit": FLOW}
# By how a licence begins; what is in none of them is not judged here.
COMMERCIAL = {
    "MIT": "commercial use allowed",
    "Apache-2.0": "commercial use allowed",
    "CC-BY-4.0": "commercial use allowed, with credit to its authors",
    "CC-BY-NC": "no commercial use",
}


def describe(entry: VoiceEntry) -> tuple[str, ...]:
    """Return what a person should know before choosing a model, a line each."""
    lines = [_needs(entry), _licence(entry), _place(entry), _sound(entry), _samplers(entry)]
    return (*lines, entry.note) if entry.note else tuple(lines)


def _needs(entry: VoiceEntry) -> str:
    if entry.takes == "x-vector":
        return (
            "Needs a saved x-vector, a .npy or .safetensors file of 512 numbers; "
            "it clones no recording"
        )
    least_s, most_s = entry.reference_s
    recording = f"Needs {least_s:g} to {most_s:g} s of one voice"
    if entry.needs_transcript:
        return f"{recording} and the transcript of what is said in it"
    return f"{recording}; no transcript"


def _licence(entry: VoiceEntry) -> str:
    for start, meaning in COMMERCIAL.items():
        if re.match(rf"{re.escape(start)}(?![\w.])", entry.licence):
            return f"Licence: {entry.licence}; {meaning}"
    return f"Licence: {entry.licence}; read it before commercial use"


def _place(entry: VoiceEntry) -> str:
    """Return where its weights are, or what fetching them takes."""
    if entry.source == "bundled":
        if is_bundled(entry):
            return "Comes with this program; works offline"
        return f"Missing: it comes with this program, but {entry.location} is not there"
    if entry.source == "folder":
        return f"Read from the folder {entry.location}"
    gate = f"; gated: accept its terms at {entry.page} and log in first"
    if is_cached(entry):
        return f"On this machine already, from {entry.page}"
    return f"To be fetched from {entry.page}: {_size(entry)}{gate * entry.gated}"


def _size(entry: VoiceEntry) -> str:
    if entry.download_gib is not None:
        return f"{entry.download_gib:.1f} GiB"
    if entry.parameters_m is None:
        return "size not known"
    gib = entry.parameters_m * 1e6 / 2**30
    return (
        f"size not known; its {entry.parameters_m:g} million parameters are "
        f"{2 * gib:.1f} GiB in 16 bits each, {4 * gib:.1f} GiB in 32"
    )


def _sound(entry: VoiceEntry) -> str:
    return (
        f"Speaks at {entry.sample_rate / 1000:g} kHz, up to {entry.max_chars} characters at once; "
        "longer texts are cut and joined"
    )


def _samplers(entry: VoiceEntry) -> str:
    if entry.samplers == ("native",):
        return f"Has its own sampler only: {WHY_NATIVE.get(entry.family, TOKENS)}"
    names = ", ".join(entry.samplers)
    return f"Samplers: {names}, usually {entry.steps} steps; others do not fit how it was trained"
