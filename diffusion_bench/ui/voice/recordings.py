"""Voices that a visitor of the tab *Voice cloning* brings, read once: a recording, an x-vector.

A recording is cut to what the chosen model takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from diffusion_bench.audio.files import read_sound
from diffusion_bench.audio.recording import LONG_S, ReferenceReport, prepare_reference
from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.first_import import import_libraries
from diffusion_bench.backends.voice.base import VoiceState
from diffusion_bench.ui.uploads import Uploads

CONSENT = (
    "a voice belongs to the person who speaks with it: tick the box if that person agreed to its "
    "being cloned, or choose a sample voice"
)
NO_RECORDING = "record or upload a few seconds of the voice first, or choose one"
NO_VECTOR = "upload an x-vector first, a .npy or .safetensors file of 512 numbers"
GONE = "the recording is not here any more: record or upload it again"


class Heard(NamedTuple):
    """A recording that was read: ready to be cloned, its report, and the file it came in.

    `reference` is its first `max_s` seconds at most. `let_go` is called when it is forgotten.
    """

    reference: Reference
    report: ReferenceReport
    path: Path
    max_s: float = LONG_S
    let_go: Callable[[], None] = lambda: None

    def up_to(self, max_s: float) -> Heard:
        """Return it for a model that takes `max_s` seconds, as the command line would.

        What was cut off is read again, not kept: minutes of sound a visitor add up. Raises
        ValueError where the file is gone.
        """
        whole = not self.report.cut_s and self.reference.duration_s <= max_s
        if whole or max_s == self.max_s:
            return self
        if not self.path.is_file():
            raise ValueError(GONE)
        return read_recording(self.path, max_s)

    def forget(self) -> None:
        """Let the uploaded file go."""
        self.let_go()


def read_recording(path: Path, max_s: float) -> Heard:
    """Return a file ready to be cloned; ValueError, in one line, for what is no speech."""
    sound = read_sound(path)
    reference, report = prepare_reference(sound.samples, sound.sample_rate, max_s=max_s)
    return Heard(reference, report, path, max_s)


def read_vector(path: Path, model: str, uploads: Uploads) -> VoiceState:
    """Return the voice of an uploaded file of numbers, which is let go then; ValueError for none.

    Nothing in it is run: it is read as plain numbers.
    """
    import_libraries()
    from diffusion_bench.backends.voice.speecht5 import read_voice

    with uploads.held(path):
        return read_voice(path, model)


def own_vector(values: Mapping[str, Any], model: str) -> VoiceState:
    """Return the visitor's x-vector for a model that takes one.

    Raises ValueError without a vector, and without consent.
    """
    held: VoiceState | None = values.get("vector")
    if held is None:
        raise ValueError(NO_VECTOR)
    if not values.get("consent"):
        raise ValueError(CONSENT)
    return replace(held, model=model)  # numbers of one extractor, whichever was chosen before


def own_voice(values: Mapping[str, Any], heard: Heard | None, max_s: float) -> Reference:
    """Return up to `max_s` seconds of the visitor's recording, with its words where it is whole.

    Raises ValueError without a recording, and without consent.
    """
    if heard is None:
        raise ValueError(NO_RECORDING)
    if not values.get("consent"):
        raise ValueError(CONSENT)
    taken = heard.up_to(max_s)
    kept = None if taken.report.cut_s else words_of(values)  # it would say more than is heard
    return Reference(taken.reference.samples, taken.reference.sample_rate, kept)


def words_of(values: Mapping[str, Any]) -> str | None:
    """Return what the visitor says is said in a recording."""
    return (values.get("transcript") or "").strip() or None
