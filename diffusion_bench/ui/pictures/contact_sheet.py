"""A grid of pictures with labels as one picture, drawn by Pillow."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

MAX_SIDE = 4096  # pixels of the whole sheet, about
LEAST_CELL = 128  # pixels; smaller pictures are shown larger, with their pixels
GAP = 8
LINE = 18  # pixels of a line of text
LETTER = 7.5  # pixels of a letter, about
TEXT, PALE, PAPER = "#111827", "#4b5563", "white"


class Sheet(NamedTuple):
    """What is on a sheet: `cells` by row and column, each a picture and the words below it."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Mapping[tuple[int, int], tuple[Any, str]]
    footer: str = ""


def draw_sheet(sheet: Sheet) -> Any:
    """Return a sheet as a PIL picture of bounded size; a missing cell stays empty."""
    font = ImageFont.load_default(size=14)
    cell = _cell_size(sheet)
    left = int(min(220, LETTER * max(map(len, sheet.rows)) + 2 * GAP))
    width = left + len(sheet.columns) * (cell[0] + GAP) + GAP
    title = _wrapped(sheet.title, width)
    heads = [_wrapped(column, cell[0]) for column in sheet.columns]
    top = GAP + LINE * (title.count("\n") + 1) + GAP
    first = top + LINE * max(head.count("\n") + 1 for head in heads)
    step = cell[1] + LINE + GAP
    footer = _wrapped(sheet.footer, width)
    height = first + len(sheet.rows) * step + LINE * (footer.count("\n") + 1) + GAP
    picture = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.multiline_text((GAP, GAP), title, TEXT, font)
    for number, head in enumerate(heads):
        pen.multiline_text((left + number * (cell[0] + GAP), top), head, TEXT, font)
    for number, row in enumerate(sheet.rows):
        pen.multiline_text((GAP, first + number * step), _wrapped(row, left), TEXT, font)
    for (row_number, column_number), (image, words) in sheet.cells.items():
        place = (left + column_number * (cell[0] + GAP), first + row_number * step)
        picture.paste(_fitted(image, cell), place)
        pen.text((place[0], place[1] + cell[1]), words, PALE, font)
    pen.multiline_text((GAP, first + len(sheet.rows) * step), footer, PALE, font)
    return picture


def draw_frames(strips: Mapping[str, Sequence[tuple[Any, str]]]) -> list[Any]:
    """Return the frames of a film in which named strips of labelled pictures go on together.

    Pictures stand side by side, wide ones, as spectrograms are, one below the other.
    """
    frames = []
    for labelled in zip(*strips.values(), strict=True):
        picture, _ = labelled[0]
        down = picture.width > 2 * picture.height
        blank = [""] * len(labelled)
        cells = {
            (number, 0) if down else (0, number): (each, f"{name}, {words}")
            for number, (name, (each, words)) in enumerate(zip(strips, labelled, strict=True))
        }
        rows, columns = (blank, [""]) if down else ([""], blank)
        frames.append(draw_sheet(Sheet(title="", rows=rows, columns=columns, cells=cells)))
    return frames


def _cell_size(sheet: Sheet) -> tuple[int, int]:
    """Return the size of a cell: that of its picture, as far as the whole sheet has room."""
    sizes = [image.size for image, _ in sheet.cells.values()] or [(LEAST_CELL, LEAST_CELL)]
    width, height = (max(side) for side in zip(*sizes, strict=True))
    larger = max(1.0, -(-LEAST_CELL // min(width, height)))
    room = (MAX_SIDE / len(sheet.columns) / width, MAX_SIDE / len(sheet.rows) / height)
    scale = min(larger, *room)
    return max(1, int(width * scale)), max(1, int(height * scale))


def _fitted(image: Any, cell: tuple[int, int]) -> Any:
    grows = cell[0] >= image.width
    how = Image.Resampling.NEAREST if grows else Image.Resampling.LANCZOS
    return image.convert("RGB").resize(cell, how)


def _wrapped(words: str, width: int) -> str:
    return textwrap.fill(words, max(8, int(width / LETTER)))
