"""Pictures that `generate` draws from other pictures, and relatives of one picture."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from PIL import Image

from diffusion_bench.backends.picture_recipes import PictureRecipe
from diffusion_bench.backends.pictures import read_recipe, read_request, save_png
from diffusion_bench.cli.drawing import Settings
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest

SIDE = 32


def generate(*arguments: str) -> int:
    quick = ("--steps", "4", "--size", str(SIDE), "--device", "cpu")
    return run("generate", "a cat", *quick, *arguments)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), dtype=int)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    half = Image.new("L", (SIDE, SIDE))
    half.paste(255, (SIDE // 2, 0, SIDE, SIDE))
    half.save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


def test_a_picture_starts_from_another_and_what_the_mask_keeps_is_kept(
    photo: Path, mask: Path, tmp_path: Path
) -> None:
    whole, filled = tmp_path / "whole.png", tmp_path / "filled.png"
    assert generate("--image", str(photo), "--strength", "0.5", "--out", str(whole)) == 0
    assert generate("--image", str(photo), "--mask", str(mask), "--out", str(filled)) == 0
    own, changed, drawn = pixels(photo), pixels(whole), pixels(filled)
    assert not np.array_equal(changed, own)
    assert np.array_equal(drawn[:, : SIDE // 2], own[:, : SIDE // 2])
    assert not np.array_equal(drawn[:, SIDE // 2 :], own[:, SIDE // 2 :])
    request = read_request(whole)
    assert (request.strength, request.mask) == (0.5, None)
    assert read_request(filled).image == request.image is not None


def test_the_less_the_strength_the_nearer_to_the_image(photo: Path, tmp_path: Path) -> None:
    plain = Image.new("RGB", (SIDE, SIDE), (30, 90, 200))
    plain.save(photo)
    away = {}
    for strength in ("0.25", "1.0"):
        out = tmp_path / f"{strength}.png"
        assert generate("--image", str(photo), "--strength", strength, "--out", str(out)) == 0
        away[strength] = np.abs(pixels(out) - pixels(photo)).mean()
    assert away["0.25"] < away["1.0"]


def test_a_picture_from_a_picture_is_drawn_again_with_the_image_and_not_without(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    assert generate("--image", str(photo), "--out", str(first)) == 0
    draw_again = ("generate", "--from", str(first), "--out", str(again), "--device", "cpu")
    assert run(*draw_again, "--image", str(photo)) == 0
    assert first.read_bytes() == again.read_bytes()
    capsys.readouterr()
    own = read_recipe(first)
    drawn_from = f"an image of {SIDE}x{SIDE} pixels (digest {own.request.image})"
    other, plain = tmp_path / "other.png", tmp_path / "plain.png"
    Image.new("RGB", (SIDE, 8), "red").save(other)
    save_png(Image.new("RGB", (8, 8)), plain, PictureRecipe(request=ImageRequest(prompt="a cat")))
    for file, given, told in (
        (first, (), f"was drawn from {drawn_from}, which it does not hold: add --image\n"),
        (first, (other,), f"was drawn from {drawn_from}; the image given is of {SIDE}x8 pixels"),
        (plain, (other,), "was drawn from no image: leave --image out"),
    ):
        images = [part for one in given for part in ("--image", str(one))]
        command = ("generate", "--from", str(file), "--out", str(again), "--device", "cpu")
        assert run(*command, *images) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"error: {file.name} {told}")
        assert said.count("\n") == 1
    assert first.read_bytes() == again.read_bytes()  # as it was


def test_variations_are_relatives_and_their_seed_counts_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, varied = tmp_path / "plain.png", tmp_path / "varied.png"
    near = ("--variation-seed", "9", "--variation-strength", "0.05")
    assert generate("--seed", "1", "--out", str(plain)) == 0
    assert generate("--seed", "1", *near, "--pictures", "2", "--out", str(varied)) == 0
    assert "seed 1, variation seed 9, " in capsys.readouterr().err
    assert generate("--seed", "2", "--out", str(tmp_path / "other.png")) == 0
    away = np.abs(pixels(tmp_path / "varied-0.png") - pixels(plain)).mean()
    assert 0 < away < np.abs(pixels(tmp_path / "other.png") - pixels(plain)).mean()
    assert not np.array_equal(pixels(tmp_path / "varied-0.png"), pixels(tmp_path / "varied-1.png"))


def test_a_variation_seed_may_be_picked_by_chance() -> None:
    settings = Settings(variation_seed=-1, variation_strength=0.1)
    one, other = (settings.request("a cat").variation_seed for _ in range(2))
    assert one != other
    assert min(one, other) >= 0


@pytest.mark.parametrize("sampler", ["dpm++", "euler", "unipc", "lcm", "native"])
def test_every_sampler_can_be_asked_for(sampler: str, tmp_path: Path) -> None:
    out = tmp_path / "cat.png"
    assert generate("--sampler", sampler, "--guidance-rescale", "0.7", "--out", str(out)) == 0
    request = read_request(out)
    assert (request.sampler, request.guidance_rescale) == (sampler, 0.7)


def test_a_models_usual_sampler_is_its_own_where_ddim_is_not_defined() -> None:
    asked = {
        model: Settings(model=model).request("a cat").sampler
        for model in (BUNDLED_MODEL, "black-forest-labs/FLUX.1-schnell", "stabilityai/sdxl-turbo")
    }
    assert list(asked.values()) == ["ddim", "native", "native"]


def test_what_cannot_be_is_one_line(
    photo: Path, mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, black, small = tmp_path / "text.png", tmp_path / "black.png", tmp_path / "small.png"
    text.write_text("no picture")
    Image.new("L", (SIDE, SIDE)).save(black)
    Image.new("L", (8, 8), 255).save(small)
    image = ("--image", str(photo))
    for options, words in (
        (("--mask", str(mask)), "--mask needs --image"),
        (("--strength", "0.5"), "strength belongs to a picture drawn from an image"),
        (("--image", str(text)), "image text.png: no picture that can be read"),
        (("--image", str(tmp_path / "none.png")), "cannot be read: No such file or directory"),
        ((*image, "--mask", str(black)), "the mask is black: nothing is to be drawn"),
        ((*image, "--mask", str(small)), r"the mask is 8x8, its image 32x32"),
        ((*image, "--strength", "0.1"), r"4 steps at strength 0.1 leave none"),
        (("--variation-strength", "0.1"), "variation_seed and a variation_strength"),
        (("--guidance-rescale", "0.5", "--guidance", "1"), "guidance_rescale needs guidance"),
        (("--sampler", "lcm", "--steps", "60"), "lcm takes at most 50 steps, not 60"),
    ):
        assert generate(*options, "--out", str(tmp_path / "out.png")) == 2, options
        errors = capsys.readouterr().err
        assert re.fullmatch(rf"error: .*{re.escape(words)}.*\n", errors), errors
    assert not (tmp_path / "out.png").exists()


@pytest.fixture
def folder(photo: Path, mask: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of pictures that may be in the way."""
    own = photo.parent / "x"
    own.mkdir()
    for name in ("photo.png", "photo-0.png", "picture.png"):
        shutil.copy(photo, own / name)
    shutil.copy(mask, own)
    monkeypatch.chdir(own)
    return own


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--image", "photo.png", "--out", "photo.png"), "--out photo.png is the image itself"),
        (("--image", "photo.png", "--out", "../x/photo.png"), "is the image itself"),
        (("--image", "picture.png"), "--out picture.png is the image itself"),
        (("--image", "photo-0.png", "--out", "photo.png", "--pictures", "2"), "--out photo-0.png"),
        (("--image", "photo.png", "--mask", "mask.png", "--out", "mask.png"), "is the mask itself"),
    ],
)
def test_neither_image_nor_mask_is_ever_written_over(
    options: tuple[str, ...], what: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert generate(*options) == 2
    assert what in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_picture_drawn_again_is_written_over_neither_itself_nor_its_image(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, own = tmp_path / "first.png", photo.read_bytes()
    assert generate("--image", str(photo), "--out", str(first)) == 0
    drawn = first.read_bytes()
    again = ("generate", "--from", str(first), "--image", str(photo), "--device", "cpu")
    for out, what in ((photo, "the image"), (first, "the picture")):
        assert run(*again, "--out", str(out)) == 2
        assert f"{out.name} is {what} itself; write to another file" in capsys.readouterr().err
    assert (photo.read_bytes(), first.read_bytes()) == (own, drawn)


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_no_row_of_a_batch_is_written_over_the_image_it_starts_from(
    overwrite: tuple[str, ...], photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even as one that is there already: the row asks for a picture that is not drawn."""
    rows, own = tmp_path / "rows.csv", photo.read_bytes()
    rows.write_text("prompt,out\na cat,cat.png\na dog,photo.png\n", encoding="utf-8")
    quick = ("--steps", "4", "--size", str(SIDE), "--device", "cpu")
    assert run("generate", "--batch", str(rows), "--image", str(photo), *quick, *overwrite) == 2
    said = capsys.readouterr().err
    wanted = "error: row 2 (line 3): it would write over photo.png, which is the image\n"
    assert wanted in said
    assert said.endswith("1 of 2 rows drawn\n")
    assert photo.read_bytes() == own
    assert read_request(tmp_path / "cat.png").prompt == "a cat"


def test_the_rows_of_a_batch_start_from_an_image_with_strength_and_mask(
    photo: Path, mask: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("prompt,out\na cat,cat.png\na dog,dog.png\n", encoding="utf-8")
    quick = ("--steps", "4", "--size", str(SIDE), "--device", "cpu", "--image", str(photo))
    own = ("--strength", "0.5", "--mask", str(mask))
    assert run("generate", "--batch", str(rows), *quick, *own) == 0
    for name in ("cat", "dog"):
        request = read_request(tmp_path / f"{name}.png")
        assert (request.prompt, request.strength) == (f"a {name}", 0.5)
        assert None not in (request.image, request.mask)


def test_what_is_wrong_with_every_row_is_said_once_also_of_a_mask(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, edge = tmp_path / "rows.csv", tmp_path / "edge.png"
    rows.write_text("prompt,out\na cat,cat.png\na dog,dog.png\n", encoding="utf-8")
    left = Image.new("L", (SIDE, SIDE))
    left.paste(255, (0, 0, 4, SIDE))
    left.save(edge)
    asked = ("--image", str(photo), "--mask", str(edge), "--size", "16x64", "--device", "cpu")
    assert run("generate", "--batch", str(rows), *asked) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: scaled and cut to 16x64, the mask has no white left")
    assert said.count("\n") == 1


def test_a_row_of_a_batch_of_pictures_is_named_in_its_warning_and_its_column_in_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("prompt,out\na cat,no/cat.png\na blorp cat,dog.png\n", encoding="utf-8")
    quick = ("--steps", "1", "--size", str(SIDE), "--device", "cpu")
    assert run("generate", "--batch", str(rows), *quick) == 2
    said = capsys.readouterr().err
    missing = tmp_path / "no"
    assert f"error: row 1 (line 2): out {missing / 'cat.png'}: there is no folder {missing}" in said
    assert "warning: row 2 (line 3): " in said
    assert "blorp" in said
