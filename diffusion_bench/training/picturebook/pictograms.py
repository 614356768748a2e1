"""Pictograms of the font Noto Color Emoji, cut out, turned, mirrored and scaled."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from diffusion_bench.training.picturebook.vocabulary import load_vocabulary

FONT_PATHS = (
    Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"),
    Path("/usr/share/fonts/google-noto-color-emoji-fonts/NotoColorEmoji.ttf"),
)
FONT_SIZE = 109  # the one size of the font's bitmaps


@lru_cache(maxsize=16_384)
def sprite(
    word: str, number: int, longer_side: int, *, mirrored: bool = False, tilt_deg: int = 0
) -> Image.Image:
    """Return a word's pictogram, RGBA, its longer side so many pixels before it is tilted."""
    scale = longer_side / max(_pictogram(word, number).size)
    picture = _turned(word, number, mirrored, tilt_deg)
    width, height = (max(1, round(edge * scale)) for edge in picture.size)
    # Colours times alpha while resampling: the font's clear pixels are black and would show.
    small = picture.convert("RGBa").resize((width, height), Image.Resampling.HAMMING)
    return small.convert("RGBA")


@lru_cache(maxsize=16)
def _turned(word: str, number: int, mirrored: bool, tilt_deg: int) -> Image.Image:
    """Return a pictogram as it is turned: of a few at a time, for those who want several sizes."""
    picture = _pictogram(word, number)
    if mirrored:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if tilt_deg:
        picture = picture.rotate(tilt_deg, Image.Resampling.BICUBIC, expand=True)
    return picture


@lru_cache(maxsize=512)
def _pictogram(word: str, number: int) -> Image.Image:
    """Return a pictogram cropped to its ink."""
    canvas = Image.new("RGBA", (176, 176))
    ImageDraw.Draw(canvas).text(
        (8, 8), load_vocabulary().objects[word][number], font=_font(), embedded_color=True
    )
    box = canvas.getbbox()
    if box is None:
        raise ValueError(f"the font has no pictogram for {word!r}")
    return canvas.crop(box)


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    for path in FONT_PATHS:
        if path.exists():
            return ImageFont.truetype(str(path), FONT_SIZE)
    raise FileNotFoundError(
        "training needs the Noto Color Emoji font: apt-get install fonts-noto-color-emoji "
        f"(looked in {', '.join(map(str, FONT_PATHS))})"
    )
