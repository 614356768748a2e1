"""The text that A1111 made common in a picture's file: prompt, negative prompt, settings.

    a cat
    Negative prompt: a dog
    Steps: 20, Sampler: DDIM, CFG scale: 3.0, Seed: 7, Size: 64x64, Model: "a, b"

Many tools write it and none says what it is; what is read of it is what all of them agree on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from diffusion_bench import __version__
from diffusion_bench.backends.picture_recipes import PictureRecipe
from diffusion_bench.backends.samplers import TITLES
from diffusion_bench.records import ImageRequest

NEGATIVE = "Negative prompt: "
MAX_TEXT = 32 * 1024  # characters
SETTING = re.compile(r'([A-Za-z][\w /-]{0,40}): ("(?:[^"\\]|\\.)*"|[^,]*)(?:, |,$|$)')
SAMPLERS = {title.casefold(): name for name, title in TITLES.items()}
# How A1111 names the noise schedule of a sampler, once behind its name and now on its own.
SCHEDULE = re.compile(r"\s+(karras|exponential|polyexponential|sgm uniform|simple)$", re.IGNORECASE)
USUAL_SCHEDULES = ("", "automatic", "uniform")
# What else changes a picture, and is not read: said, where a text tells it.
UNREAD = (
    "Denoising strength",
    "Clip skip",
    "Hires upscale",
    "Lora hashes",
    "VAE",
    "Refiner",
    "ENSD",
    "Schedule type",
)

# Fields of a request by what others call them, and how their text is read.
READ: dict[str, tuple[str, Callable[[str], Any]]] = {
    "Steps": ("steps", int),
    "CFG scale": ("guidance_scale", float),
    "Seed": ("seed", int),
    "Eta": ("eta", float),
    "Variation seed": ("variation_seed", int),
    "Variation seed strength": ("variation_strength", float),
    "CFG rescale": ("guidance_rescale", float),
}


def infotext(recipe: PictureRecipe) -> str:
    """Return the recipe in the form A1111 made common: prompt, negative prompt, settings.

    Seeds are of the picture drawn alone. Values with a comma, a colon or a line break are quoted
    as JSON, as A1111 does.
    """
    request = recipe.alone
    lines = [request.prompt]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in _settings(request)))
    return "\n".join(lines)


def _settings(request: ImageRequest) -> list[tuple[str, Any]]:
    settings: list[tuple[str, Any]] = [
        ("Steps", request.steps),
        ("Sampler", TITLES[request.sampler]),
        ("CFG scale", request.guidance_scale),
        ("Seed", request.seed),
        ("Size", f"{request.width}x{request.height}"),
        ("Model", request.model),
    ]
    if request.image is not None:
        settings.append(("Denoising strength", request.strength))
    if request.mask is not None:
        settings.append(("Mask", "only its white part is drawn anew"))
    if request.variation_seed is not None:
        settings.append(("Variation seed", request.variation_seed))
        settings.append(("Variation seed strength", request.variation_strength))
    if request.guidance_rescale:
        settings.append(("CFG rescale", request.guidance_rescale))
    if request.eta:
        settings.append(("Eta", request.eta))
    if request.noise_seed is not None:
        settings.append(("Noise seed", request.noise_seed))
    return [*settings, ("Version", f"Diffusion Bench {__version__}")]


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(sign in text for sign in ",:\n") else text


def parse_infotext(text: str) -> dict[str, Any]:
    """Return the fields of a request that such a text tells; the model is not among them.

    What cannot be read, such as a sampler that is not ours, is left out: see `unread`. Raises
    ValueError, in one line, for a text that is none.
    """
    lines, told = _parts(text)
    prompt, _, negative = "\n".join(lines[:-1]).partition(f"\n{NEGATIVE}")
    if prompt.startswith(NEGATIVE):
        prompt, negative = "", prompt.removeprefix(NEGATIVE)
    fields: dict[str, Any] = {"prompt": prompt.strip(), "negative_prompt": negative.strip()}
    sampler = _sampler(told)
    if sampler is not None:
        fields["sampler"] = sampler
    fields |= _size(told.get("Size", ""))
    for name, (field, read) in READ.items():
        try:
            fields[field] = read(told[name])
        except (KeyError, ValueError):
            continue
    return fields


def unread(text: str) -> list[str]:
    """Return what such a text tells that changes a picture and is no field here, as it tells it."""
    _, told = _parts(text)
    left_out = []
    given = told.get("Sampler", "")
    if given and _sampler(told) is None:
        left_out.append(f"Sampler: {given}")
    elif found := SCHEDULE.search(given):
        left_out.append(f"Schedule type: {found[1]}")
    for name in UNREAD:
        value = told.get(name, "")
        if value and not (name == "Schedule type" and value.casefold() in USUAL_SCHEDULES):
            left_out.append(f"{name}: {value}")
    return left_out


def _sampler(told: dict[str, str]) -> str | None:
    return SAMPLERS.get(SCHEDULE.sub("", told.get("Sampler", "")).casefold())


def _parts(text: str) -> tuple[list[str], dict[str, str]]:
    """Return the lines of a text and the settings of the last one; ValueError where it is none."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"its text of settings is longer than {MAX_TEXT} characters")
    lines = text.strip().split("\n")
    told = {name: _unquoted(value) for name, value in SETTING.findall(lines[-1])}
    if "Steps" not in told:
        raise ValueError("its text tells no steps, so it was not written by A1111 or its like")
    return lines, told


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def _size(text: str) -> dict[str, int]:
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    return {"width": int(found[1]), "height": int(found[2])} if found else {}
