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


def infotext(recipe: PictureRecipe) -> str:
    """Return the recipe in the form A1111 made common: prompt, negative prompt, settings.

    Seeds are of the picture drawn alone. Values with a comma, a colon or a line break are quoted
    as JSON, as A1111 does.
    """
    request = recipe.alone
    lines = [request.prompt]
    if request.negative_prompt:
        lines.append(f"{NEGATIVE}{request.negative_prompt}")
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


def parse_infotext(text: str) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of a request that such a text tells, and what else of it changes a picture.

    The latter as it is told there: what is no field here, and a value that cannot be read. The
    model is in neither. Raises ValueError, in one line, for a text that is none.
    """
    lines, told = _parts(text)
    prompt, _, negative = "\n".join(lines[:-1]).partition(f"\n{NEGATIVE}")
    if prompt.startswith(NEGATIVE):
        prompt, negative = "", prompt.removeprefix(NEGATIVE)
    fields: dict[str, Any] = {"prompt": prompt.strip(), "negative_prompt": negative.strip()}
    unread = []
    for name, read in READ.items():
        try:
            fields |= read(told[name]) if told.get(name) else {}
        except ValueError:
            unread.append(f"{name}: {told[name]}")
    if "sampler" in fields and (found := SCHEDULE.search(told["Sampler"])):
        unread.append(f"Schedule type: {found[1]}")
    if told.get("Schedule type", "").casefold() in USUAL_SCHEDULES:
        told.pop("Schedule type", None)
    unread += [f"{name}: {told[name]}" for name in UNREAD if told.get(name)]
    return fields, unread


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


def _size(text: str) -> dict[str, Any]:
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not found:
        raise ValueError(f"{text!r} is no size")
    return {"width": int(found[1]), "height": int(found[2])}


def _sampler(text: str) -> dict[str, Any]:
    name = SAMPLERS.get(SCHEDULE.sub("", text).casefold())
    if name is None:
        raise ValueError(f"{text!r} is no sampler here")
    return {"sampler": name}


# What is read of such a text by what others call it, and how: as fields of a request.
READ: dict[str, Callable[[str], dict[str, Any]]] = {
    "Sampler": _sampler,
    "Size": _size,
    "Steps": lambda text: {"steps": int(text)},
    "CFG scale": lambda text: {"guidance_scale": float(text)},
    "Seed": lambda text: {"seed": int(text)},
    "Eta": lambda text: {"eta": float(text)},
    "Variation seed": lambda text: {"variation_seed": int(text)},
    "Variation seed strength": lambda text: {"variation_strength": float(text)},
    "CFG rescale": lambda text: {"guidance_rescale": float(text)},
}
