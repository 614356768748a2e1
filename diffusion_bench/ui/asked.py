"""What a click of the tab *Text to image* asks for: the page's fields as a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from diffusion_bench.backends.input_pictures import InputPictures, check_inputs
from diffusion_bench.backends.model_sizes import check_sides
from diffusion_bench.backends.picture_recipes import PictureRecipe
from diffusion_bench.backends.samplers import check_sampler
from diffusion_bench.records import ImageRequest
from diffusion_bench.ui.guests import check_most
from diffusion_bench.ui.pictures.limits import (
    SHARED_LIMITS,
    check_limits,
    check_model,
    check_rounds,
)
from diffusion_bench.ui.pictures.prompt_styles import styled
from diffusion_bench.ui.pictures.starting_picture import starting_pictures
from diffusion_bench.ui.seeds import is_unset, seed_or_any

# Of the request: what a starting picture names itself is no field of the page.
FIELDS = tuple(name for name in ImageRequest.model_fields if name not in ("image", "mask"))
SEEDS = ("noise_seed", "variation_seed")  # that may be unset


class Asked(NamedTuple):
    """What a click asks for: a request, the pictures it starts from, and how it is drawn."""

    request: ImageRequest
    inputs: InputPictures | None = None
    rounds: int = 1
    live: bool = True
    parameters: bool = True
    warnings: tuple[str, ...] = ()

    def round(self, number: int) -> ImageRequest:
        """Return the request of a round; the seeds count on."""
        first = self.request.of_picture(number * self.request.batch)
        return first.model_copy(update={"batch": self.request.batch})


def to_request(values: Mapping[str, Any], *, shared: bool) -> ImageRequest:
    """Return the request of the page's fields; raise ValueError for what cannot be drawn.

    A negative or empty seed picks one at random; such a noise seed is the same as the seed.
    Settings whose field is off at the others' values are left out.
    """
    fields = {name: value for name, value in values.items() if name in FIELDS}
    fields["seed"] = seed_or_any(fields.get("seed"))
    if is_unset(fields.get("noise_seed")):
        fields["noise_seed"] = None
    fields["prompt"], fields["negative_prompt"] = styled(
        values.get("style"), fields.get("prompt") or "", fields.get("negative_prompt") or ""
    )
    _check_sides(fields, shared=shared)
    if shared:
        check_most(fields, SHARED_LIMITS)
    request = ImageRequest(**_that_count(fields))
    check_model(request.model, shared=shared)
    if shared:
        check_limits(request)
    return request


def asked(values: Mapping[str, Any], *, shared: bool) -> Asked:
    """Return what a click with these fields asks for; raise ValueError if it cannot be."""
    inputs = starting_pictures(values.get("start"))
    request = to_request(values, shared=shared)
    if inputs is not None:
        strength = values.get("strength") or request.strength
        request = inputs.named_in(request)
        request = ImageRequest.model_validate(request.model_dump() | {"strength": strength})
    check_inputs(request, inputs)
    entry = check_model(request.model, shared=shared)
    check_sampler(entry, request.sampler, request.steps)
    rounds = int(values.get("rounds") or 1)
    check_rounds(rounds, request.batch, shared=shared)
    return Asked(
        request,
        inputs,
        rounds,
        live=bool(values.get("live_preview", True)),
        parameters=bool(values.get("parameters", True)),
        warnings=_other_start(values.get("restored"), request, inputs),
    )


def _other_start(
    recipe: PictureRecipe | None, request: ImageRequest, inputs: InputPictures | None
) -> tuple[str, ...]:
    """Return what to say where restored settings are of a picture that started from another one.

    Nothing once another setting than the speed is changed: that picture is not asked for any more.
    """
    if recipe is None or not recipe.drawn_from:
        return ()
    left_out = ("speed", "strength") if inputs is None else ("speed",)  # no image, no strength
    names = [name for name in FIELDS if name not in left_out]
    if any(getattr(request, name) != getattr(recipe.request, name) for name in names):
        return ()
    other = "no image is given" if inputs is None else recipe.other_inputs(inputs)
    told = f"The picture whose settings were restored was drawn from {recipe.drawn_from}; {other}."
    return (told,) if other else ()


def _check_sides(fields: Mapping[str, Any], *, shared: bool) -> None:
    """Raise ValueError for sides that the model cannot draw, before it is loaded."""
    model, width, height = (fields.get(name) for name in ("model", "width", "height"))
    if isinstance(model, str) and isinstance(width, int) and isinstance(height, int):
        check_sides(check_model(model, shared=shared).multiple, width, height)


def _that_count(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields without those that are hidden, or off, at the values of the others.

    The strength waits until there is an image: without one it would be refused.
    """
    counted = {name: value for name, value in fields.items() if name != "strength"}
    if counted.get("sampler") != "ddim":
        counted.pop("eta", None)
    if (counted.get("guidance_scale") or 0) <= 1:
        counted.pop("guidance_rescale", None)
    if not counted.get("variation_strength"):
        counted.pop("variation_seed", None)
    else:
        counted["variation_seed"] = seed_or_any(counted.get("variation_seed"))
    return counted
