"""Pictures on disk: PNG files that carry the recipe that made them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from diffusion_bench.backends.infotext import infotext
from diffusion_bench.backends.picture_recipes import PictureRecipe, parse_recipe
from diffusion_bench.records import ImageRequest
from diffusion_bench.whole_file import write_whole

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

RECIPE_KEY = "diffusion_bench"
INFOTEXT_KEY = "parameters"  # where A1111 and the tools after it look


def to_png(picture: Picture, recipe: PictureRecipe | None) -> bytes:
    """Return a picture and its recipe, if it is to have one, as a PNG file.

    The same picture and recipe give the same bytes.
    """
    info = PngInfo()
    if recipe is not None:
        # As A1111 writes it: plain text where it is Latin-1, which every reader of PNG knows.
        info.add_text(INFOTEXT_KEY, infotext(recipe))
        info.add_itxt(RECIPE_KEY, recipe.model_dump_json())
    encoded = io.BytesIO()
    picture.save(encoded, format="PNG", pnginfo=info)
    return encoded.getvalue()


def save_png(picture: Picture, path: Path, recipe: PictureRecipe | None) -> None:
    """Write a picture and its recipe; the file is whole or not there. Raises `NotWritten`."""
    write_whole(path, to_png(picture, recipe))


def read_recipe(path: Path) -> PictureRecipe | None:
    """Return the recipe a PNG carries, or `None` if it carries none of ours.

    Decodes no pixels. Raises ValueError, in one line, for a file that is no PNG or holds a damaged
    recipe. Texts of more than 1 MiB, or 64 MiB together, are refused by Pillow, packed ones before
    they are unpacked.
    """
    text = _texts(path).get(RECIPE_KEY)
    if text is None:
        return None
    try:
        return parse_recipe(text)
    except ValueError as error:
        raise ValueError(f"{path.name}: its recipe is damaged: {error}") from None


def read_infotext(path: Path) -> str | None:
    """Return the text of A1111's kind that a PNG carries, or `None`; raises as `read_recipe`."""
    return _texts(path).get(INFOTEXT_KEY)


def has_workflow(path: Path) -> bool:
    """Return whether a PNG carries a workflow of ComfyUI; raises as `read_recipe`."""
    return "workflow" in _texts(path)


def read_request(path: Path) -> ImageRequest | None:
    """Return the request that draws a PNG's picture alone, or `None`; see `read_recipe`."""
    recipe = read_recipe(path)
    return None if recipe is None else recipe.alone


def _texts(path: Path) -> dict[str, str]:
    """Return the texts of a PNG that stand before its pixels."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return {str(key): text for key, text in picture.info.items() if isinstance(text, str)}
    except UnidentifiedImageError:
        raise ValueError(f"{path.name}: not a PNG picture") from None
    except OSError as error:
        raise ValueError(f"{path.name}: cannot be read: {error.strerror or error}") from None
    except (ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path.name}: not a PNG to be trusted: {error}") from None
