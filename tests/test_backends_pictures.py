"""PNG files that carry their request, and files that only look like it."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from diffusion_bench import __version__
from diffusion_bench.backends.infotext import infotext
from diffusion_bench.backends.picture_recipes import PictureRecipe
from diffusion_bench.backends.pictures import RECIPE_KEY, read_recipe, read_request, save_png
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest
from diffusion_bench.whole_file import NotWritten

REQUEST = ImageRequest(
    prompt="a café, “red”\non a table 🍎",
    negative_prompt="a dog",
    sampler="ddpm",
    steps=7,
    guidance_scale=4.5,
    width=48,
    height=32,
    seed=2**63 - 1,
    noise_seed=12,
)


RECIPE = PictureRecipe(
    request=REQUEST, device="cpu", model_revision="sha256:00", versions={"torch": "2.11.0"}
)


def picture() -> Image.Image:
    return Image.radial_gradient("L").resize((48, 32)).convert("RGB")


def png(path: Path, text: str | None = None, key: str = RECIPE_KEY) -> Path:
    info = PngInfo()
    if text is not None:
        info.add_itxt(key, text)
    picture().save(path, format="PNG", pnginfo=info)
    return path


def complaint(path: Path) -> str:
    with pytest.raises(ValueError, match=f"^{path.name}: ") as caught:
        read_recipe(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def test_the_request_comes_back_and_the_pixels_are_unharmed(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    save_png(picture(), path, RECIPE)
    assert read_recipe(path) == RECIPE
    with Image.open(path) as opened:
        assert opened.tobytes() == picture().tobytes()


def test_other_tools_find_the_settings_where_they_look(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    save_png(picture(), path, RECIPE)
    with Image.open(path) as opened:
        text = opened.info["parameters"]
    assert text == infotext(RECIPE)
    assert text.splitlines() == [
        "a café, “red”",
        "on a table 🍎",
        "Negative prompt: a dog",
        "Steps: 7, Sampler: DDPM, CFG scale: 4.5, Seed: 9223372036854775807, Size: 48x32, "
        f"Model: {BUNDLED_MODEL}, Noise seed: 12, "
        f"Version: Diffusion Bench {__version__}",
    ]


def test_a_picture_of_a_batch_tells_the_seed_that_draws_it_alone() -> None:
    batch = REQUEST.model_copy(update={"batch": 3, "seed": 5, "image": "0" * 16, "strength": 0.5})
    third = PictureRecipe(request=batch, picture=2)
    assert (third.alone.seed, third.alone.noise_seed, third.alone.batch) == (7, 14, 1)
    for words in ("Seed: 7", "Noise seed: 14", "Denoising strength: 0.5"):
        assert words in infotext(third)
    with pytest.raises(ValueError, match="no picture 3 in a batch"):
        PictureRecipe(request=batch, picture=3)


def test_a_value_that_would_read_as_two_is_quoted() -> None:
    request = ImageRequest(prompt="a cat", model="/models/a, b: c")
    assert 'Model: "/models/a, b: c", ' in infotext(PictureRecipe(request=request))


def test_without_a_recipe_a_picture_says_nothing_of_how_it_was_made(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    save_png(picture(), path, None)
    assert read_recipe(path) is None
    assert b"Text" not in path.read_bytes()
    assert b"tEXt" not in path.read_bytes()


def test_a_picture_of_our_first_versions_is_read(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", REQUEST.model_dump_json())
    assert read_recipe(path) == PictureRecipe(request=REQUEST)
    assert read_request(path) == REQUEST


def test_other_weights_and_software_are_told_and_unknown_ones_are_not() -> None:
    now = RECIPE.model_copy(
        update={"model_revision": "sha256:11", "versions": {"torch": "2.12.0", "diffusers": "1"}}
    )
    assert RECIPE.differences(RECIPE) == ()
    assert RECIPE.differences(now) == (
        "model sha256:00 then, sha256:11 now",
        "torch 2.11.0 then, 2.12.0 now",
    )
    assert PictureRecipe(request=REQUEST).differences(now) == ()


def test_no_negative_prompt_has_no_line() -> None:
    assert "Negative" not in infotext(PictureRecipe(request=ImageRequest(prompt="a cat")))


def test_the_same_picture_and_request_give_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.png", "b.png")]
    for path in paths:
        save_png(picture(), path, RECIPE)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_picture_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(NotWritten, match="No such file"):
        save_png(picture(), tmp_path / "none" / "a.png", RECIPE)
    (tmp_path / "a.png").mkdir()
    with pytest.raises(NotWritten, match="cannot write"):
        save_png(picture(), tmp_path / "a.png", RECIPE)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_picture_of_other_tools_carries_no_request(tmp_path: Path) -> None:
    assert read_recipe(png(tmp_path / "a.png")) is None
    assert read_recipe(png(tmp_path / "a.png", "Steps: 3", key="parameters")) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not JSON", "Invalid JSON"),
        ("[]", "Input should be a valid dictionary"),
        ("", "Invalid JSON"),
        ('{"prompt": "a cat", "steps": 0}', "steps: Input should be greater than or equal to 1"),
        ('{"prompt": "a cat", "owner": "me"}', "owner: Extra inputs are not permitted"),
        ('{"' + '": 1, "'.join(f"key{i}" for i in range(1500)) + '": 1}', "prompt"),
        ("[" * 20_000, "Invalid JSON: recursion limit exceeded"),
        ("[" * 100_000, "longer than 32768 characters"),
        ('{"request": {"prompt": "a cat"}, "picture": 1}', "no picture 1 in a batch"),
        ('{"request": {"prompt": "a cat"}, "picture": -1}', "picture: Input should be greater"),
        ('{"request": {"prompt": "a cat"}, "versions": {"torch": ["x"]}}', "versions.torch"),
        ('{"request": {"prompt": "a cat", "guidance_scale": NaN}}', "Invalid JSON"),
        ('{"request": null}', "request: Input should be a valid dictionary"),
    ],
)
def test_a_request_that_was_tampered_with_is_refused_in_one_line(
    text: str, words: str, tmp_path: Path
) -> None:
    message = complaint(png(tmp_path / "a.png", text))
    assert "its recipe is damaged" in message
    assert words in message


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def test_a_text_that_unpacks_to_more_than_memory_holds_is_not_unpacked(tmp_path: Path) -> None:
    """The bomb of 256 MB is 256 KB in the file."""
    bomb = zlib.compress(b"x" * 2**28, 9)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    text = chunk(b"iTXt", RECIPE_KEY.encode() + b"\0\1\0\0\0" + bomb)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + text + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    assert complaint(path)


def test_a_picture_of_too_many_pixels_is_refused_and_none_is_decoded(tmp_path: Path) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2**30, 2**30, 8, 2, 0, 0, 0))
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    assert "not a PNG to be trusted" in complaint(path)


def test_a_picture_cut_short_still_tells_its_request(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    save_png(picture(), path, RECIPE)
    path.write_bytes(path.read_bytes()[:-200])
    assert read_recipe(path) == RECIPE


def test_what_is_no_png_is_refused(tmp_path: Path) -> None:
    jpeg = io.BytesIO()
    picture().save(jpeg, format="JPEG")
    for content in (b"", b"text", b"\x89PNG\r\n\x1a\n", jpeg.getvalue(), b"\0" * 100):
        path = tmp_path / "a.png"
        path.write_bytes(content)
        assert "not a PNG" in complaint(path), content[:10]
    assert "cannot be read" in complaint(tmp_path / "none.png")
