"""Files of the tab *Voice cloning*: what was said, what came back."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from diffusion_bench.audio.files import read_sound
from diffusion_bench.audio.watermark.search import detect
from diffusion_bench.backends.voice.ranking import Candidate
from diffusion_bench.backends.voice.recipes import Recipe, read_recipe, save_speech
from diffusion_bench.records import Speech
from diffusion_bench.ui.complaints import in_one_line
from diffusion_bench.ui.seeds import MAX_PAGE_SEED
from diffusion_bench.ui.uploads import Uploads
from diffusion_bench.ui.voice.limits import check_voice_model
from diffusion_bench.ui.voice.words import candidate_label, seed_words, verdict_lines

LONGEST_SUSPECT_S = 600.0


class Spoken(NamedTuple):
    """A finished candidate: the file to hear and keep, what it is called, and its settings."""

    path: str
    label: str
    recipe_path: str


def save_candidates(
    speech: Speech,
    candidates: Sequence[Candidate],
    recipe: Recipe,
    folder: Path,
    settings: str = "",
) -> tuple[Spoken, ...]:
    """Write each candidate, marked, and its recipe beside it; the most alike comes first.

    `settings` are words that become part of the files' names.
    """
    spoken = []
    for candidate in candidates:
        own = recipe.of_candidate(candidate.index)
        path = folder / f"{_stem(own, settings)}.wav"
        save_speech(path, speech, own)
        told = path.with_suffix(".json")
        told.write_text(json.dumps(own.model_dump(mode="json"), indent=2), encoding="utf-8")
        spoken.append(Spoken(str(path), candidate_label(candidate, own), str(told)))
    return tuple(spoken)


def _stem(recipe: Recipe, settings: str) -> str:
    """Return "ai-speech-seed-5", or "ai-speech-seed-5-candidate-3" where others share the seed."""
    words = f"ai speech {seed_words(recipe).partition(' of ')[0]} {settings}"
    return re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-.")


def read_settings(path: str | None, *, shared: bool) -> Recipe:
    """Return the recipe a file of ours carries; ValueError, in one line, if there is none."""
    if not path:
        raise ValueError("choose a sound file that Diffusion Bench has made")
    recipe = read_recipe(Path(path))
    if recipe is None:
        raise ValueError("this file carries no settings of Diffusion Bench")
    check_voice_model(recipe.request.model, shared=shared)
    if recipe.request.seed > MAX_PAGE_SEED:
        raise ValueError("its seed is larger than a browser can hold; use the command line")
    return recipe


def examine(path: str | None, uploads: Uploads) -> str:
    """Return what the mark in an upload and its own words say of its origin; it is let go then.

    Raises ValueError, in one line, for what is no sound or longer than ten minutes.
    """
    if not path:
        raise ValueError("choose a sound file")
    file = Path(path)
    with uploads.held(file):
        sound = read_sound(file, max_s=LONGEST_SUSPECT_S)
        found = detect(sound.samples, sound.sample_rate)
        try:
            return verdict_lines(found, read_recipe(file))
        except ValueError as error:
            return verdict_lines(found, None, in_one_line(error))
