"""Pictures on disk: PNG files that carry the request that made them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from pydantic import ValidationError

from diffusion_bench.records import ImageRequest, explain
from diffusion_bench.reports.whole_file import write_whole

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

REQUEST_KEY = "diffusion_bench"
INFOTEXT_KEY = "parameters"  # where A1111 and the tools after it look
LONGEST = 300  # characters of a complaint about a file, which may be hostile


def infotext(request: ImageRequest) -> str:
    """Return the request in the form A1111 made common: prompt, negative prompt, settings."""
    lines = [request.prompt]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    settings = {
        "Steps": request.steps,
        "Sampler": request.sampler.upper(),
        "CFG scale": request.guidance_scale,
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
        "Model": request.model,
        "Eta": request.eta,
    }
    lines.append(", ".join(f"{name}: {value}" for name, value in settings.items()))
    return "\n".join(lines)


def save_png(picture: Picture, path: Path, request: ImageRequest) -> None:
    """Write a picture and its request; the file is whole or not there.

    The same picture and request give the same bytes. Raises `NotWritten`.
    """
    info = PngInfo()
    info.add_itxt(INFOTEXT_KEY, infotext(request))
    info.add_itxt(REQUEST_KEY, request.model_dump_json())
    encoded = io.BytesIO()
    picture.save(encoded, format="PNG", pnginfo=info)
    write_whole(path, encoded.getvalue())


def read_request(path: Path) -> ImageRequest | None:
    """Return the request a PNG carries, or `None` if it carries none of ours.

    Decodes no pixels. Raises ValueError, in one line, for a file that is no PNG or holds a damaged
    request.
    """
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            text = picture.info.get(REQUEST_KEY)
    except UnidentifiedImageError:
        raise ValueError(f"{path.name}: not a PNG picture") from None
    except OSError as error:
        raise ValueError(f"{path.name}: cannot be read: {error.strerror or error}") from None
    except (ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path.name}: not a PNG to be trusted: {error}") from None
    if text is None:
        return None
    try:
        return ImageRequest.model_validate_json(text)
    except ValidationError as error:
        reason = explain(error)
        raise ValueError(f"{path.name}: its request is damaged: {reason:.{LONGEST}}") from None
