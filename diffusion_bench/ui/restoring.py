"""A picture's settings back into the fields that made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from diffusion_bench.backends.picture_recipes import PictureRecipe, software_versions
from diffusion_bench.backends.pictures import read_recipe
from diffusion_bench.ui.asked import FIELDS, MAX_PAGE_SEED, SEEDS, UNSET
from diffusion_bench.ui.picture_limits import check_model
from diffusion_bench.ui.prompt_styles import NO_STYLE


class Restored(NamedTuple):
    """Values of the page's fields by name, and what is to be said of them."""

    fields: dict[str, Any]
    said: str


def read_settings(path: str | None, *, shared: bool) -> Restored:
    """Return the settings a PNG of ours carries; raise ValueError in one line if none."""
    if not path:
        raise ValueError("choose a PNG that Diffusion Bench has made")
    recipe = read_recipe(Path(path))
    if recipe is None:
        raise ValueError(
            "this picture carries no settings of Diffusion Bench: it was made elsewhere, stripped, "
            "or saved without parameters"
        )
    return restored(recipe, shared=shared)


def restored(recipe: PictureRecipe, *, shared: bool) -> Restored:
    """Return the settings of a recipe, of its whole batch, as the fields of the page."""
    request = recipe.request
    check_model(request.model, shared=shared)
    given = request.model_dump(mode="json", include=set(FIELDS))
    seeds = [given["seed"], *(given[name] for name in SEEDS)]
    if max(seed or 0 for seed in seeds) > MAX_PAGE_SEED:
        raise ValueError("its seed is larger than a browser can hold; use the command line")
    given |= {name: UNSET for name in SEEDS if given[name] is None}
    page_only = {"style": NO_STYLE, "rounds": 1}
    return Restored(given | page_only, " ".join(_words(recipe)))


def _words(recipe: PictureRecipe) -> list[str]:
    request = recipe.request
    words = ["The settings of this picture are in the fields now."]
    if request.batch > 1:
        words.append(
            f"It is picture {recipe.picture + 1} of a batch of {request.batch}; alone it is drawn "
            f"from seed {recipe.alone.seed}, equal but for rounding."
        )
    if request.image is not None:
        words.append("It was drawn from another picture, which it does not hold: put that in too.")
    now = PictureRecipe(request=request, versions=software_versions())
    here = recipe.model_copy(update={"picture": 0, "device": ""}).differences(now)
    words += [f"It may come out differently: {difference}." for difference in here]
    return words
