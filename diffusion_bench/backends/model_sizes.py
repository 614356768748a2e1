"""The sizes of a model, read off its folder: the side it was trained at, and what sides may be.

A cell of the latent is so many pixels wide as the autoencoder halves the picture, and some
denoisers take several cells as one. The levels of a U-Net ask for nothing: diffusers' pads a row of
cells that does not halve evenly, and cuts it off again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusion_bench.records import MAX_SIDE

INDEX = "model_index.json"
SCHEDULE = Path("scheduler") / "scheduler_config.json"
DENOISER_FOLDERS = ("unet", "transformer")
USUAL_CELL = 8
PACKED_SIDE = 2  # cells of a side of what some pipelines pack into one token
PACKING = ("Flux", "Chroma", "OvisImage")  # how their names begin


def read_settings(path: Path) -> dict[str, Any]:
    """Return the settings in a JSON file; none where it is not there or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def trained_side(folder: Path) -> int | None:
    """Return the side in pixels that a folder's denoiser was trained at, `None` if none is told."""
    cells = denoiser_settings(folder).get("sample_size")
    if not isinstance(cells, int):
        return None
    return min(max(cells * _cell(folder) // 8 * 8, 8), MAX_SIDE)


def side_multiple(folder: Path) -> int:
    """Return what width and height are multiples of, in pixels; 8 where a folder does not tell."""
    if str(read_settings(folder / INDEX).get("_class_name", "")).startswith(PACKING):
        return _cell(folder) * PACKED_SIDE
    return _cell(folder) * patch_side(denoiser_settings(folder))


def patch_side(denoiser: Mapping[str, Any]) -> int:
    """Return how many cells of a side a denoiser takes as one, by its settings."""
    several = denoiser.get("all_patch_size")  # Z-Image's: it is drawn with the first
    patch = several[0] if isinstance(several, list | tuple) and several else None
    patch = denoiser.get("patch_size") or patch
    return patch if isinstance(patch, int) and patch > 0 else 1


def check_sides(multiple: int, width: int, height: int) -> None:
    """Raise ValueError for a side that is no multiple of what it must be, with the nearest."""
    for name, side in (("width", width), ("height", height)):
        if side > 0 and side % multiple:
            below = side // multiple * multiple
            nearest = f"are {below} and {below + multiple}" if below else f"is {multiple}"
            raise ValueError(
                f"{name} {side} is not a multiple of {multiple}, as this model needs; "
                f"the nearest {nearest}"
            )


def denoiser_settings(folder: Path) -> dict[str, Any]:
    """Return a folder's denoiser's settings; none where their file is not there or damaged."""
    found = (read_settings(folder / part / "config.json") for part in DENOISER_FOLDERS)
    return next(filter(None, found), {})


def _cell(folder: Path) -> int:
    """Return the side in pixels of a cell of a folder's latents."""
    decoder = read_settings(folder / "vae" / "config.json")
    levels = decoder.get("block_out_channels") or decoder.get("encoder_block_out_channels")
    return int(2 ** (len(levels) - 1)) if isinstance(levels, list) and levels else USUAL_CELL
