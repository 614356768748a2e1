"""A picture's settings back into the fields that made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from diffusion_bench.backends.infotext import parse_infotext
from diffusion_bench.backends.picture_recipes import PictureRecipe, software_versions
from diffusion_bench.backends.pictures import has_workflow, read_infotext, read_recipe
from diffusion_bench.backends.samplers import TITLES
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest, explain
from diffusion_bench.ui.asked import FIELDS, SEEDS
from diffusion_bench.ui.model_choices import samplers_for
from diffusion_bench.ui.pictures.limits import USUAL_SPEEDS, check_model
from diffusion_bench.ui.pictures.prompt_styles import NO_STYLE
from diffusion_bench.ui.seeds import MAX_PAGE_SEED, UNSET


class Restored(NamedTuple):
    """Values of the page's fields by name, and what is to be said of them.

    A picture of another tool tells only some of the fields.
    """

    fields: dict[str, Any]
    said: str


def read_settings(path: str | None, *, shared: bool, model: str = BUNDLED_MODEL) -> Restored:
    """Return the settings a PNG of ours carries; raise ValueError in one line if none.

    `model` is the one chosen now, which stays where a picture of another tool is read.
    """
    if not path:
        raise ValueError("choose a PNG that carries its settings")
    recipe = read_recipe(Path(path))
    if recipe is not None:
        return restored(recipe, shared=shared)
    text = read_infotext(Path(path))
    if text is None:
        raise ValueError(no_settings(Path(path)))
    return _restored_elsewhere(text, model)


def no_settings(path: Path) -> str:
    """Return why a PNG has no settings that are read here."""
    if has_workflow(path):
        return "this picture carries a workflow of ComfyUI, which is a program and is not read here"
    return "this picture carries no settings: it was stripped of them, or saved without parameters"


def _restored_elsewhere(text: str, model: str) -> Restored:
    """Return what another tool's text tells, checked as a request of the bundled model would be."""
    told, unread = parse_infotext(text)
    for each in (max(0, told.get("seed", 0)), told.get("variation_seed", 0)):
        _check_seed(each)
    try:
        given = ImageRequest.model_validate(_that_fits(told)).model_dump(mode="json")
    except ValidationError as error:
        raise ValueError(f"what this picture tells cannot be drawn: {explain(error)}") from None
    fields = {name: given[name] for name in told if name in given}
    if told.get("seed", 0) < 0:
        fields["seed"] = UNSET
    said = [
        "The settings of this picture, made by another tool, are in the fields now. The model is "
        "as it was, and the picture will differ."
    ]
    samplers = samplers_for(model)
    if samplers is not None and fields.get("sampler") not in (None, *dict(samplers).values()):
        title = TITLES[fields.pop("sampler")]
        said.append(f"Its sampler, {title}, does not suit this model: that field is as it was too.")
    if unread:
        shown = "; ".join(f"{each:.60}" for each in unread)
        said.append(f"Not read, since there is no such setting or value here: {shown}.")
    return Restored(fields | {"style": NO_STYLE, "restored": None}, " ".join(said))


def _that_fits(told: dict[str, Any]) -> dict[str, Any]:
    """Return settings without those that their neighbours exclude."""
    fits = dict(told) | {"seed": max(0, told.get("seed", 0))}
    if fits.get("sampler", "ddim") != "ddim":
        fits.pop("eta", None)
    if not (fits.get("variation_strength") and fits.get("variation_seed") is not None):
        fits.pop("variation_strength", None)
        fits.pop("variation_seed", None)
    if fits.get("guidance_scale", 3) <= 1:
        fits.pop("guidance_rescale", None)
    return fits


def restored(recipe: PictureRecipe, *, shared: bool) -> Restored:
    """Return the settings of a recipe, of its whole batch, as the fields of the page."""
    request = recipe.request
    check_model(request.model, shared=shared)
    given = request.model_dump(mode="json", include=set(FIELDS))
    seeds = [given["seed"], *(given[name] for name in SEEDS)]
    _check_seed(max(seed or 0 for seed in seeds))
    given |= {name: UNSET for name in SEEDS if given[name] is None}
    words = _words(recipe)
    if shared and given["speed"] not in USUAL_SPEEDS:
        then, given["speed"] = given["speed"], USUAL_SPEEDS[0]
        words.append(f"It may come out differently: speed {then} then, {given['speed']} now.")
    page_only = {"style": NO_STYLE, "rounds": 1, "restored": recipe}
    return Restored(given | page_only, " ".join(words))


def _check_seed(seed: int) -> None:
    if seed > MAX_PAGE_SEED:
        raise ValueError("its seed is larger than a browser can hold; use the command line")


def _words(recipe: PictureRecipe) -> list[str]:
    request = recipe.request
    words = ["The settings of this picture are in the fields now."]
    if request.batch > 1:
        words.append(
            f"It is picture {recipe.picture + 1} of a batch of {request.batch}; alone it is drawn "
            f"from seed {recipe.alone.seed}, equal but for rounding."
        )
    if recipe.drawn_from:
        words.append(
            f"It was drawn from {recipe.drawn_from}, which its file does not hold: add that too."
        )
    now = PictureRecipe(request=request, versions=software_versions())
    here = recipe.model_copy(update={"picture": 0, "device": ""}).differences(now)
    words += [f"It may come out differently: {difference}." for difference in here]
    return words
