"""`generate` from prompt to file: the same bytes for the same seed, and nothing half-written."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest
from command_line import run
from PIL import Image

from diffusion_bench.backends.catalog import find_model
from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.picture_recipes import PictureRecipe
from diffusion_bench.backends.pictures import read_recipe, read_request, save_png
from diffusion_bench.cli.drawing import Settings, parse_size
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest

ROOT = Path(__file__).parents[1]
QUICK = ("--steps", "2", "--size", "32", "--device", "cpu")


def generate(*arguments: str) -> int:
    return run("generate", "a cat", *QUICK, *arguments)


def pixels(path: Path) -> bytes:
    with Image.open(path) as picture:
        return picture.tobytes()


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process grow beyond a hundred bytes, for a while."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_two_processes_draw_the_same_bytes_from_the_same_seed(tmp_path: Path) -> None:
    """The other one from nothing."""
    here, there = tmp_path / "here.png", tmp_path / "there.png"
    command = [sys.executable, "-m", "diffusion_bench", "generate", "a cat", *QUICK, "--seed", "7"]
    done = subprocess.run(
        [*command, "--out", str(there)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{there}\n"
    # What libraries have to say is kept away.
    assert re.fullmatch(r"seed 7, [\d.]+ s on cpu, text encoder .*, peak .*\n", done.stderr)
    assert generate("--seed", "7", "--out", str(here)) == 0
    assert here.read_bytes() == there.read_bytes()


def test_ddpm_with_another_noise_seed_draws_another_picture(tmp_path: Path) -> None:
    settings = {
        "first": ("ddpm", "1"),
        "again": ("ddpm", "1"),
        "other": ("ddpm", "2"),
        "ddim": ("ddim", "1"),
        "ddim other": ("ddim", "2"),
    }
    for name, (sampler, noise_seed) in settings.items():
        out = str(tmp_path / f"{name}.png")
        assert generate("--sampler", sampler, "--noise-seed", noise_seed, "--out", out) == 0
    drawn = {name: pixels(tmp_path / f"{name}.png") for name in settings}
    assert drawn["first"] == drawn["again"]
    assert drawn["first"] != drawn["other"]
    assert drawn["ddim"] == drawn["ddim other"]


def test_a_seed_picked_by_chance_is_printed_and_draws_the_picture_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again, other = (str(tmp_path / name) for name in ("1.png", "2.png", "3.png"))
    assert generate("--seed", "-1", "--out", first) == 0
    seed = re.match(r"seed (\d+), ", capsys.readouterr().err)[1]
    assert generate("--seed", seed, "--out", again) == 0
    assert Path(first).read_bytes() == Path(again).read_bytes()
    assert generate("--seed", "-1", "--out", other) == 0
    assert pixels(Path(first)) != pixels(Path(other))


def test_each_picture_of_a_batch_carries_what_draws_it_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--sampler", "ddpm", "--seed", "5", "--noise-seed", "9", "--pictures", "2")
    assert generate(*options, "--out", str(tmp_path / "cat.png")) == 0
    written = [tmp_path / "cat-0.png", tmp_path / "cat-1.png"]
    assert capsys.readouterr().out.split() == [str(path) for path in written]
    assert sorted(tmp_path.iterdir()) == written
    request = read_request(written[1])
    assert (request.seed, request.noise_seed, request.batch) == (6, 10, 1)


def test_a_picture_is_drawn_again_from_itself_with_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of a batch, with noise on the way: what alone would come out only nearly the same."""
    options = ("--sampler", "ddpm", "--seed", "5", "--pictures", "2", "--negative", "a dog")
    assert generate(*options, "--size", "48x32", "--out", str(tmp_path / "cat.png")) == 0
    second, again = tmp_path / "cat-1.png", tmp_path / "again.png"
    capsys.readouterr()
    assert run("generate", "--from", str(second), "--out", str(again), "--device", "cpu") == 0
    assert again.read_bytes() == second.read_bytes()
    assert "warning" not in capsys.readouterr().err
    recipe = read_recipe(second)
    assert (recipe.request.batch, recipe.picture, recipe.device) == (2, 1, "cpu")
    assert recipe.model_revision.startswith("sha256:")
    assert recipe.versions["torch"] == version("torch")


def test_what_cannot_be_drawn_again_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / "plain.png"
    assert generate("--no-parameters", "--out", str(plain)) == 0
    capsys.readouterr()
    recipe = PictureRecipe(request=ImageRequest(prompt="a cat"))
    ours = tmp_path / "ours.png"
    save_png(Image.open(plain), ours, recipe)
    for arguments, words in (
        (("--from", plain), "plain.png carries no recipe of Diffusion Bench"),
        (("--from", tmp_path / "none.png"), "none.png: cannot be read: No such file"),
        (("--from", plain, "--seed", "3"), "--from says that itself: leave out --seed"),
        (("a dog", "--from", plain), "--from says that itself: leave out PROMPT"),
        (("--from", ours, "--out", ours), "is the picture itself"),
        ((), "say what to draw"),
        (("a cat", "--overwrite"), "--overwrite belongs to --batch"),
        (("--batch", "4"), "for 4 pictures at once say --pictures"),
    ):
        assert run("generate", *map(str, arguments)) == 2
        assert words in capsys.readouterr().err


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.csv"
    file.write_text(
        "prompt,seed,out\n"
        "a cat,7,cat.png\n"
        '"a dog,\non grass",,dog.png\n'
        "a fox,x,fox.png\n"
        "a fox,,cat.png\n"
        ",,empty.png\n"
        "a cow,,cow.jpg\n"
        "an owl,3,owl.png\n",
        encoding="utf-8",
    )
    return file


def test_a_batch_draws_each_row_with_one_model_and_goes_on_after_a_bad_one(
    rows: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loads = []
    load = ImageBackend.load
    monkeypatch.setattr(ImageBackend, "load", lambda *a, **k: loads.append(a) or load(*a, **k))
    assert run("generate", "--batch", str(rows), "--seed", "9", *QUICK) == 2
    said = capsys.readouterr()
    assert len(loads) == 1
    names = ("cat.png", "dog.png", "owl.png")
    assert said.out.split() == [str(rows.parent / name) for name in names]
    assert {path.name for path in rows.parent.glob("*")} == {*names, rows.name}
    assert [read_request(rows.parent / name).seed for name in names] == [7, 9, 3]
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert errors == [
        "error: row 3 (line 5): seed 'x' is no whole number",
        "error: row 4 (line 6): its out is that of row 1 too",
        "error: row 5 (line 7): the prompt is empty; say what to draw, as in 'a cat'",
        f"error: row 6 (line 8): out {rows.parent / 'cow.jpg'} does not end in .png",
    ]
    assert said.err.endswith("3 of 7 rows drawn\n")
    assert generate("--seed", "7", "--out", str(rows.parent / "alone.png")) == 0
    assert (rows.parent / "alone.png").read_bytes() == (rows.parent / "cat.png").read_bytes()


def test_a_batch_begun_again_keeps_what_is_there_unless_told(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows.write_text("prompt,out\na cat,cat.png\nan owl,owl.png\n", encoding="utf-8")
    kept = rows.parent / "cat.png"
    kept.write_bytes(b"kept")
    assert run("generate", "--batch", str(rows), *QUICK) == 0
    assert kept.read_bytes() == b"kept"
    last = "1 of 2 rows drawn, 1 there already (--overwrite makes them anew)\n"
    assert capsys.readouterr().err.endswith(last)
    assert run("generate", "--batch", str(rows), "--overwrite", *QUICK) == 0
    assert capsys.readouterr().err.endswith("2 of 2 rows drawn\n")
    assert read_request(kept).prompt == "a cat"


def test_the_options_reach_the_request(tmp_path: Path) -> None:
    out = tmp_path / "cat.png"
    options = ("--eta", "0.5", "--guidance", "1.5", "--negative", "a dog", "--size", "48x32")
    assert generate(*options, "--precision", "bf16", "--seed", "3", "--out", str(out)) == 0
    assert read_request(out).model_dump(exclude_defaults=True) == {
        "prompt": "a cat",
        "negative_prompt": "a dog",
        "eta": 0.5,
        "steps": 2,
        "guidance_scale": 1.5,
        "width": 48,
        "height": 32,
        "precision": "bf16",
        "seed": 3,
    }
    with Image.open(out) as picture:
        assert picture.size == (48, 32)


def test_words_the_model_never_saw_are_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate("--negative", "zorp", "--out", str(tmp_path / "cat.png")) == 0
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == f"warning: {BUNDLED_MODEL} was not trained on: zorp; left out"
    assert len(errors) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is POSIX")
def test_a_full_disk_is_one_line_and_leaves_the_old_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cat.png"
    out.write_bytes(b"old")
    with full_disk():
        assert generate("--out", str(out)) == 2
    output, errors = capsys.readouterr()
    assert (output, errors) == ("", f"error: cannot write {out}: File too large\n")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_what_is_not_given_is_the_models_own_setting() -> None:
    bundled = Settings().request("a cat")
    entry = find_model(BUNDLED_MODEL)
    assert (bundled.width, bundled.steps, bundled.guidance_scale) == (
        entry.side,
        entry.steps,
        entry.guidance_scale,
    )
    hub = Settings(model="stable-diffusion-v1-5/stable-diffusion-v1-5").request("a cat")
    assert (hub.width, hub.steps, hub.guidance_scale) == (512, 30, 7.5)


def test_a_size_is_a_side_or_width_and_height() -> None:
    assert parse_size("64") == (64, 64)
    assert parse_size("96x64") == parse_size("96X64") == (96, 64)
    for wrong in ("", "x", "x64", "64x", "64x64x64", "6.4", "-64", "64 x 64", "²"):
        with pytest.raises(ValueError, match="is neither a side, as in 64, nor WIDTHxHEIGHT"):
            parse_size(wrong)


def test_what_somebody_elses_picture_says_of_itself_commands_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "theirs.png"
    versions = {"torch": "1\x1b]0;mine\x07"}
    recipe = PictureRecipe(request=ImageRequest(prompt="a cat", steps=1), versions=versions)
    save_png(Image.new("RGB", (128, 128)), theirs, recipe)
    again = tmp_path / "again.png"
    assert run("generate", "--from", theirs, "--out", again, "--device", "cpu") == 0
    told = capsys.readouterr().err
    assert r"the picture may differ: torch 1\x1b]0;mine\x07 then" in told
    assert "\x1b" not in told
