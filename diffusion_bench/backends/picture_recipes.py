"""What makes a picture again: the request, which picture of its batch, weights, software."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, PositiveInt, ValidationError, model_validator
from pydantic_core import from_json

from diffusion_bench import __version__
from diffusion_bench.backends.model_facts import model_facts
from diffusion_bench.records import Generation, ImageRequest, Record, explain

if TYPE_CHECKING:
    from diffusion_bench.backends.input_pictures import InputPictures

LIBRARIES = ("torch", "diffusers", "transformers")  # whose versions decide the last bit
MAX_JSON = 32 * 1024  # characters; two prompts of 2000 and all settings are less than 9000
LONGEST = 300  # characters of a complaint about a file, which may be hostile

Word = Annotated[str, Field(max_length=200)]


class PictureRecipe(Record):
    """What made a picture: number `picture`, from 0, of `request`'s batch.

    A batch is kept as it was, since its pictures are equal bit for bit only when they are drawn
    together again. Of the pictures it started from, the request has the digests and `input_size` is
    width and height; they and their names are theirs who drew it, and not in it. `missing` says why
    the revision is `None`.
    """

    request: ImageRequest
    picture: Annotated[int, Field(ge=0)] = 0
    device: Word = ""
    model_revision: Word | None = None
    versions: Annotated[dict[Word, Word], Field(max_length=16)] = {}
    input_size: tuple[PositiveInt, PositiveInt] | None = None
    missing: Annotated[dict[Word, Annotated[str, Field(max_length=400)]], Field(max_length=16)] = {}

    @model_validator(mode="after")
    def _picture_of_the_batch(self) -> Self:
        if self.picture >= self.request.batch:
            raise ValueError(f"there is no picture {self.picture} in a batch of its size")
        return self

    @property
    def alone(self) -> ImageRequest:
        """Return the request that draws this picture on its own, equal but for rounding."""
        return self.request.of_picture(self.picture)

    @property
    def drawn_from(self) -> str:
        """Return in words the pictures it started from, empty where there was none."""
        if self.request.image is None:
            return ""
        size = "" if self.input_size is None else " of {}x{} pixels".format(*self.input_size)
        mask = self.request.mask
        masked = "" if mask is None else f" and a mask (digest {mask})"
        return f"an image{size} (digest {self.request.image}){masked}"

    def other_inputs(self, inputs: InputPictures) -> str:
        """Return in words how pictures are other than those it started from, empty where not."""
        now = inputs.digests()
        told = []
        if now["image"] != self.request.image:
            size = "{}x{}".format(*inputs.image.size)
            told.append(f"the image given is of {size} pixels (digest {now['image']})")
        if now["mask"] != self.request.mask:
            mask = now["mask"]
            told.append(f"the mask given has the digest {mask}" if mask else "no mask is given")
        return " and ".join(told)

    def differences(self, other: PictureRecipe) -> tuple[str, ...]:
        """Return in words where another recipe's weights, software or device are not these."""
        pairs = {"model": (self.model_revision, other.model_revision)}
        pairs["device"] = (self.device or None, other.device or None)
        for name in sorted(self.versions.keys() | other.versions.keys()):
            pairs[name] = (self.versions.get(name), other.versions.get(name))
        return tuple(
            f"{name} {mine} then, {theirs} now"
            for name, (mine, theirs) in pairs.items()
            if mine is not None and theirs is not None and mine != theirs
        )


def recipe_of(generation: Generation, picture: int = 0) -> PictureRecipe:
    """Return the recipe of one picture of a generation."""
    request = generation.request
    revision, missing = _revision(request.model)
    return PictureRecipe(
        request=request,
        picture=picture,
        device=generation.device[:200],
        model_revision=revision,
        versions=software_versions(),
        input_size=generation.input_size,
        missing=missing,
    )


def _revision(model: str) -> tuple[str | None, dict[str, str]]:
    facts = model_facts(model)
    return facts.revision, {k: v for k, v in facts.missing.items() if k == "revision"}


@cache
def software_versions() -> dict[str, str]:
    """Return the versions that decide a picture's last bit, without importing the libraries."""
    found = {"diffusion_bench": __version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def parse_recipe(text: str) -> PictureRecipe:
    """Return the recipe of a JSON text, also of our first form, the bare request of one picture.

    Raises ValueError in one line for anything else.
    """
    if len(text) > MAX_JSON:
        raise ValueError(f"it is longer than {MAX_JSON} characters")
    try:
        found = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise ValueError(f"Invalid JSON: {error!s:.{LONGEST}}") from None
    try:
        if isinstance(found, dict) and "request" not in found:
            return PictureRecipe(request=ImageRequest.model_validate(found))
        return PictureRecipe.model_validate(found)
    except ValidationError as error:
        raise ValueError(f"{explain(error):.{LONGEST}}") from None
