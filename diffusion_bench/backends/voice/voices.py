"""Voices by name: the bundled sample voices, and those that the user saved.

A bundled voice is `models/voices/NAME.flac` with a NAME.json about it. A saved one is a
NAME.safetensors in a folder of the user's own: what one model encoded, or a recording for any.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Literal

import numpy as np
import platformdirs

from diffusion_bench.audio.files import read_sound
from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.catalog import MODELS_FOLDER
from diffusion_bench.backends.device import cache_lock
from diffusion_bench.backends.voice.base import VoiceState
from diffusion_bench.backends.voice.catalog import encodes_alike
from diffusion_bench.backends.voice.voice_files import (
    RECORDING,
    SAMPLES,
    SavedFacts,
    VoiceUnavailable,
    read_facts,
    read_voice_file,
    voice_file,
)
from diffusion_bench.records import Record
from diffusion_bench.whole_file import NotWritten, check_writable, write_whole

VOICES_VARIABLE = "DIFFUSION_BENCH_VOICES"
BUNDLED_FOLDER = MODELS_FOLDER / "voices"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
# Names that Windows keeps for devices, with any suffix.
RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d")
REFERENCE = "reference:"  # begins the name of a voice that has no name of its own


class UnknownVoice(ValueError):
    """A name that is no bundled and no saved voice."""


class VoiceListing(Record):
    """A voice that can be named. `model` is what encoded it, `None` where any will do."""

    name: str
    source: Literal["bundled", "saved"]
    title: str = ""
    model: str | None = None
    created_utc: str | None = None
    licence: str | None = None


class _BundledFacts(Record):
    title: str = ""
    licence: str | None = None
    transcript: str | None = None


def voices_folder() -> Path:
    """Return the folder of saved voices, which need not be there.

    Raises ValueError where none is named and the user has no home folder.
    """
    chosen = os.environ.get(VOICES_VARIABLE)
    if chosen:
        return Path(chosen)
    try:
        return platformdirs.user_data_path("diffusion-bench", appauthor=False) / "voices"
    except RuntimeError:
        raise ValueError(
            f"no folder for saved voices: there is no home folder; {VOICES_VARIABLE} names one"
        ) from None


def check_name(name: str) -> str:
    """Return a name that a voice can be saved under; raise ValueError for any other."""
    if not NAME.fullmatch(name) or RESERVED.fullmatch(name):
        raise ValueError(
            f"voice name {name!r:.60} cannot be used: 1 to 40 of a-z, 0-9, - and _, "
            "beginning with a letter or digit"
        )
    return name


def bundled_names() -> list[str]:
    """Return the names of the sample voices of this installation."""
    return sorted(path.stem for path in BUNDLED_FOLDER.glob("*.flac"))


def list_voices() -> list[VoiceListing]:
    """Return the bundled voices, then the saved ones, each by name; damaged files are left out."""
    found = []
    for name in bundled_names():
        facts = _bundled_facts(name)
        found.append(
            VoiceListing(name=name, source="bundled", title=facts.title, licence=facts.licence)
        )
    for path in _saved_files():
        with contextlib.suppress(VoiceUnavailable):
            saved = _facts_of(path)
            found.append(
                VoiceListing(
                    name=path.stem,
                    source="saved",
                    title="a recording" if saved.kind == RECORDING else "",
                    model=saved.model or None,
                    created_utc=saved.created_utc,
                )
            )
    return found


def unlisted_voices() -> list[str]:
    """Return for each saved voice that `list_voices` leaves out why, in a line that names it."""
    told = []
    for path in _saved_files():
        try:
            _facts_of(path)
        except VoiceUnavailable as error:
            told.append(str(error))
    return told


def _saved_files() -> list[Path]:
    """Return the files of saved voices; none where no folder can be."""
    try:
        return sorted(voices_folder().glob("*.safetensors"))
    except ValueError:
        return []


def _facts_of(path: Path) -> SavedFacts:
    """Return what a saved voice is; `VoiceUnavailable` also where its name cannot be asked for."""
    try:
        _saved_path(path.stem)
    except ValueError as error:
        raise VoiceUnavailable(f"{path.name}: {error}") from None
    return read_facts(path)


def save_voice(name: str, voice: Reference | VoiceState, *, replace: bool = False) -> Path:
    """Save a voice under a name and return its file.

    Raises ValueError for a name that `check_free` refuses; `NotWritten` when the disk does.
    """
    content = voice_file(voice)
    with cache_lock("voices.lock"):  # or two that begin at once would both find the name free
        path = _saved_path(name) if replace else check_free(name)
        _make_folder(path.parent)
        write_whole(path, content)
    return path


def check_free(name: str) -> Path:
    """Return the file that a new voice goes to, its folder made.

    Raises ValueError for a bad or taken name; `NotWritten` for a file that cannot be written.
    """
    path = _saved_path(name)
    if os.path.lexists(path):
        raise ValueError(f"there is a saved voice {name!r} already; delete it or choose another")
    _make_folder(path.parent)
    check_writable(path)
    return path


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # voices are personal
    except OSError as error:
        raise NotWritten(f"cannot make the folder {folder}: {error.strerror}") from error


def delete_voice(name: str) -> None:
    """Delete a saved voice; raise `UnknownVoice` if there is none."""
    try:
        _saved_path(name).unlink()
    except FileNotFoundError:
        raise UnknownVoice(_unknown(name)) from None


def find_voice(name: str, model: str) -> Reference | VoiceState:
    """Return a bundled or saved voice for a model.

    Raises `UnknownVoice`, or `VoiceUnavailable` for a damaged file or a voice of another model.
    """
    check_name(name)
    if name in bundled_names():
        return _bundled(name)
    path = _saved_path(name)
    if not path.is_file():
        raise UnknownVoice(_unknown(name))
    facts, tensors = read_voice_file(path)
    if facts.kind == RECORDING:
        samples = tensors[SAMPLES].numpy().astype(np.float32)
        return Reference(samples, facts.sample_rate, facts.transcript)
    if not encodes_alike(facts.model, model):
        raise VoiceUnavailable(
            f"voice {name!r} was encoded by {facts.model} and means nothing to {model}; "
            "save it again from its recording"
        )
    return VoiceState(model, tensors, facts.facts, facts.weights)


def name_of_state(state: VoiceState) -> str:
    """Return the name a request gives a voice that came as a file: a digest, as of a recording."""
    return f"{REFERENCE}{voice_digest(state)}"


def voice_digest(voice: Reference | VoiceState) -> str:
    """Return 16 hexadecimal digits of a voice's content: equal digests, the same voice.

    Of a recording its samples count; what is said in it does not. Of what a model encoded, its
    numbers and what the model keeps in words.
    """
    if isinstance(voice, Reference):
        return voice.name().removeprefix(REFERENCE)
    digest = hashlib.sha256()
    for name in sorted(voice.tensors):
        digest.update(voice.tensors[name].contiguous().numpy().tobytes())
    if voice.facts:
        digest.update(json.dumps(voice.facts, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _saved_path(name: str) -> Path:
    if check_name(name) in bundled_names():
        raise ValueError(f"voice {name!r} is bundled; choose another name")
    return voices_folder() / f"{name}.safetensors"


def _unknown(name: str) -> str:
    bundled = ", ".join(bundled_names()) or "none in this installation"
    saved = ", ".join(voice.name for voice in list_voices() if voice.source == "saved") or "none"
    return f"unknown voice {name!r}; bundled: {bundled}; saved: {saved}"


def _bundled_facts(name: str) -> _BundledFacts:
    try:
        text = (BUNDLED_FOLDER / f"{name}.json").read_text(encoding="utf-8")
        known = _BundledFacts.model_fields
        return _BundledFacts(**{k: v for k, v in json.loads(text).items() if k in known})
    except FileNotFoundError:
        return _BundledFacts()


def _bundled(name: str) -> Reference:
    try:
        sound = read_sound(BUNDLED_FOLDER / f"{name}.flac")
    except ValueError as error:
        raise VoiceUnavailable(f"the bundled voice {name!r} is damaged: {error}") from None
    return Reference(sound.samples, sound.sample_rate, _bundled_facts(name).transcript)
