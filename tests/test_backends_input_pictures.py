"""Pictures to start from: how files are read, and what their digest is of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffusion_bench.backends import input_pictures
from diffusion_bench.backends.input_pictures import (
    InputPictures,
    check_inputs,
    picture_digest,
    read_inputs,
)
from diffusion_bench.records import ImageRequest


def photo(width: int = 12, height: int = 8) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def test_the_digest_is_of_the_pixels_however_they_are_stored(tmp_path: Path) -> None:
    for name in ("photo.png", "photo.bmp", "photo.webp"):
        photo().save(tmp_path / name, lossless=True)
    digests = {
        read_inputs(tmp_path / name).digests()["image"]
        for name in ("photo.png", "photo.bmp", "photo.webp")
    }
    assert digests == {read_inputs(photo()).digests()["image"]}
    changed = photo()
    changed.putpixel((0, 0), (1, 2, 3))
    assert picture_digest(changed) not in digests
    assert picture_digest(photo().transpose(Image.Transpose.ROTATE_90)) not in digests


def test_a_photograph_is_turned_as_its_camera_was(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lying on its right side
    photo().save(tmp_path / "turned.png", exif=exif)
    assert read_inputs(tmp_path / "turned.png").image.size == (8, 12)


@pytest.mark.parametrize("name", ["grey.png", "grey.tif"])
def test_greys_of_sixteen_bits_are_those_of_eight(name: str, tmp_path: Path) -> None:
    greys = np.arange(0, 2**16, 2**8, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(greys).save(tmp_path / name)
    read = read_inputs(tmp_path / name, tmp_path / name)
    assert np.array_equal(np.asarray(read.mask), greys >> 8)
    assert np.array_equal(np.asarray(read.image)[..., 0], greys >> 8)


def test_what_is_transparent_is_white() -> None:
    layer = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    layer.putpixel((1, 1), (255, 0, 0, 255))
    read = read_inputs(layer).image
    assert read.getpixel((0, 0)) == (255, 255, 255)
    assert read.getpixel((1, 1)) == (255, 0, 0)


def test_pictures_are_scaled_to_cover_and_cut_and_masks_are_black_or_white() -> None:
    ramp = Image.linear_gradient("L").resize((40, 20))
    fitted = read_inputs(photo(40, 20), ramp).fitted(16, 16)
    assert fitted.image.size == fitted.mask.size == (16, 16)
    assert {value for _, value in fitted.mask.getcolors()} == {0, 255}
    # A wide picture loses its sides, not its shape.
    wide = Image.new("RGB", (40, 20), "red")
    wide.paste("blue", (0, 0, 10, 20))
    assert read_inputs(wide).fitted(16, 16).image.getpixel((2, 8)) == (255, 0, 0)


def test_a_thin_stroke_of_a_mask_is_kept_beside_a_large_patch() -> None:
    mask = Image.new("L", (512, 512))
    mask.paste(255, (0, 100, 512, 104))  # the eighth part of it is half a pixel
    mask.paste(255, (200, 200, 400, 400))
    fitted = np.asarray(read_inputs(photo(512, 512), mask).fitted_mask(64, 64)) > 0
    expected = np.zeros((64, 64), bool)
    expected[12] = True
    expected[25:50, 25:50] = True
    assert np.array_equal(fitted, expected)


@pytest.mark.parametrize("size", [(65, 79), (27, 3), (40, 20), (16, 20)])
def test_no_white_pixel_of_a_mask_is_lost_at_any_scale(size: tuple[int, int]) -> None:
    width, height = size
    wide = photo(width, height)
    for column, row in [(width // 2, height // 2), (width // 2 + 1, height // 2 - 1)]:
        mask = Image.new("L", size)
        mask.putpixel((column, row), 200)
        inputs = read_inputs(wide, mask)
        for across, down in [(16, 20), (8, 8), (65, 79), (200, 200)]:
            assert np.asarray(inputs.fitted_mask(across, down)).any()
        assert np.argwhere(np.asarray(inputs.fitted_mask(*size))).tolist() == [[row, column]]


def test_a_mask_is_cut_as_its_image_is() -> None:
    left = Image.new("L", (48, 20))
    left.paste(255, (0, 0, 24, 20))
    image = Image.merge("RGB", [left] * 3)
    fitted = read_inputs(image, left).fitted(10, 10)
    assert np.array_equal(np.asarray(fitted.image)[..., 0] > 128, np.asarray(fitted.mask) > 128)


def test_a_mask_of_which_nothing_is_left_at_the_size_is_refused() -> None:
    size = (40, 20)
    mask = Image.new("L", size)
    mask.paste(255, (0, 0, 8, 20))
    inputs = read_inputs(photo(*size), mask)
    request = inputs.named_in(ImageRequest(prompt="a cat", width=16, height=16))
    for refuse in (lambda: inputs.fitted(16, 16), lambda: check_inputs(request, inputs)):
        with pytest.raises(ValueError, match=r"^scaled and cut to 16x16, the mask has no white"):
            refuse()
    check_inputs(request.model_copy(update={"width": size[0], "height": size[1]}), inputs)


def test_without_a_mask_nothing_is_put_back() -> None:
    drawn = photo(8, 8)
    assert InputPictures(Image.new("RGB", (8, 8))).kept([drawn]) == [drawn]


def test_the_drawn_picture_fades_in_within_the_mask_and_nothing_beside_it_changes() -> None:
    image, mask = Image.new("RGB", (48, 32)), Image.new("L", (48, 32))
    mask.paste(255, (20, 0, 48, 32))  # to the frame, which is no edge
    mask.paste(255, (5, 10, 6, 30))  # a stroke of one pixel
    drawn = Image.new("RGB", (48, 32), "white")

    (kept,) = InputPictures(image, mask).kept([drawn])
    pixels = np.asarray(kept)[..., 0]
    assert not pixels[np.asarray(mask) == 0].any()
    assert (pixels[:, 20:] == [64, 128, 191] + [255] * 25).all()
    assert (pixels[10:30, 5] == 255).all()


def test_a_picture_too_large_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo().save(tmp_path / "photo.png")
    monkeypatch.setattr(input_pictures, "MAX_PIXELS", 50)
    with pytest.raises(ValueError, match=r"image photo\.png: larger than 0 megapixels"):
        read_inputs(tmp_path / "photo.png")


def test_a_torn_file_is_one_line(tmp_path: Path) -> None:
    photo(64, 64).save(tmp_path / "whole.png")
    torn = tmp_path / "torn.png"
    torn.write_bytes((tmp_path / "whole.png").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"image torn\.png: cannot be read: [^\n]+$"):
        read_inputs(torn)


def test_a_request_names_its_pictures() -> None:
    inputs = read_inputs(photo(), Image.new("L", (12, 8), 255))
    request = inputs.named_in(ImageRequest(prompt="a cat"))
    assert {"image": request.image, "mask": request.mask} == inputs.digests()
    check_inputs(request, inputs)
    check_inputs(ImageRequest(prompt="a cat"), None)
