"""Pictures with labels as one picture: where they are, and how large it may get."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageColor

from diffusion_bench.ui.pictures.contact_sheet import (
    LEAST_CELL,
    MAX_SIDE,
    Sheet,
    draw_frames,
    draw_sheet,
)

COLOURS = ("red", "lime", "blue", "yellow", "cyan", "magenta")


def sheet_of(size, rows=2, columns=3, words="1.00 s"):
    return Sheet(
        title="a cat on a blue background",
        rows=[f"row {number}" for number in range(rows)],
        columns=[f"column {number}" for number in range(columns)],
        cells={
            divmod(number, columns): (Image.new("RGB", size, COLOURS[number % 6]), words)
            for number in range(rows * columns)
        },
        footer="on cpu",
    )


def boxes(picture):
    """Return the corner, width and height of each colour's cell."""
    found = []
    for colour in COLOURS:
        red, green, blue = Image.new("RGB", (1, 1), colour).getpixel((0, 0))
        marks = [
            band.point([255 if value == wanted else 0 for value in range(256)])
            for band, wanted in zip(picture.split(), (red, green, blue), strict=True)
        ]
        mask = Image.merge("RGB", marks).convert("L").point([0] * 255 + [255])
        left, top, right, bottom = mask.getbbox()
        found.append((left, top, right - left, bottom - top))
    return found


def test_each_picture_is_in_its_row_and_column_and_small_ones_are_made_larger():
    found = boxes(draw_sheet(sheet_of((64, 48))))

    assert {box[2:] for box in found} == {(192, 144)}
    lefts, tops = [box[0] for box in found], [box[1] for box in found]
    assert lefts[0] < lefts[1] < lefts[2]
    assert lefts[:3] == lefts[3:]
    assert tops[0] == tops[1] == tops[2] < tops[3] == tops[4]
    assert tops[3] - tops[0] > 144  # the words have room between


def test_large_pictures_are_made_smaller_so_that_the_sheet_is_bounded():
    picture = draw_sheet(sheet_of((1024, 1024), rows=6, columns=10))

    assert max(picture.size) < 1.2 * MAX_SIDE


def test_words_are_drawn_under_the_pictures():
    plain, told = (
        draw_sheet(sheet_of((LEAST_CELL,) * 2, words="")),
        draw_sheet(sheet_of((LEAST_CELL,) * 2)),
    )

    assert plain.size == told.size
    assert plain.tobytes() != told.tobytes()


@pytest.mark.parametrize("title", ["", "x" * 3000, "日本語 🍎"])
def test_any_title_and_a_missing_picture_are_no_obstacle(title):
    sheet = sheet_of((16, 16))._replace(title=title, cells={})

    assert draw_sheet(sheet).width > 0


def test_the_frames_of_a_film_have_the_strips_side_by_side_and_wide_ones_one_below_the_other():
    def frames(size):
        red, blue, green = (Image.new("RGB", size, colour) for colour in ("red", "blue", "green"))
        return draw_frames(
            {"DDIM": [(red, "t 999"), (green, "end")], "DDPM": [(blue, "t 999")] * 2}
        )

    def found(picture, colour):
        ys, xs = np.where((np.asarray(picture) == ImageColor.getrgb(colour)).all(axis=-1))
        return int(xs.min()), int(ys.min())

    first, last = frames((128, 128))
    assert found(first, "red") == found(last, "green")
    assert found(first, "red")[0] < found(first, "blue")[0]
    assert found(first, "red")[1] == found(first, "blue")[1]
    wide, _ = frames((600, 160))
    assert found(wide, "red")[0] == found(wide, "blue")[0]
    assert found(wide, "red")[1] < found(wide, "blue")[1]
