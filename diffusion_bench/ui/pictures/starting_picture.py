"""The picture to start from, as the page's editor gives it: an image, and strokes as its mask."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

from diffusion_bench.backends.input_pictures import InputPictures, read_inputs


def starting_pictures(edited: Mapping[str, Any] | None) -> InputPictures | None:
    """Return what an editor holds: `background` and `layers` are files, `None` where it is empty.

    What was painted, in any colour, is the mask. Raises ValueError for what is no picture.
    """
    background = (edited or {}).get("background")
    if edited is None or background is None:
        return None
    inputs = read_inputs(Path(background))
    return InputPictures(inputs.image, _strokes(edited.get("layers") or (), inputs.image.size))


def _strokes(layers: Any, size: tuple[int, int]) -> Any | None:
    mask = Image.new("L", size, 0)
    for layer in layers:
        with Image.open(layer) as opened:
            if opened.size != size:
                raise ValueError("a layer of the editor is not as large as its picture")
            alpha = opened.convert("RGBA").getchannel("A")
        mask = ImageChops.lighter(mask, alpha.point([0] + [255] * 255))
    return mask if mask.getbbox() else None
