"""`generate` from prompt to file: the same bytes for the same seed, and nothing half-written."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from diffusion_bench.backends.pictures import read_request
from diffusion_bench.cli import main
from diffusion_bench.cli.pictures import build_request, parse_size

ROOT = Path(__file__).parents[1]
QUICK = ("--steps", "2", "--device", "cpu")


def generate(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["generate", "a cat", *QUICK, *arguments])
    return ended.value.code


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
    options = ("--sampler", "ddpm", "--seed", "5", "--noise-seed", "9", "--batch", "2")
    assert generate(*options, "--out", str(tmp_path / "cat.png")) == 0
    written = [tmp_path / "cat-0.png", tmp_path / "cat-1.png"]
    assert capsys.readouterr().out.split() == [str(path) for path in written]
    assert sorted(tmp_path.iterdir()) == written
    request = read_request(written[1])
    assert (request.seed, request.noise_seed, request.batch) == (6, 10, 1)


def test_the_options_reach_the_request(tmp_path: Path) -> None:
    out = tmp_path / "cat.png"
    options = ("--eta", "0.5", "--guidance", "1.5", "--negative", "a dog", "--size", "40x32")
    assert generate(*options, "--precision", "bf16", "--seed", "3", "--out", str(out)) == 0
    assert read_request(out).model_dump(exclude_defaults=True) == {
        "prompt": "a cat",
        "negative_prompt": "a dog",
        "eta": 0.5,
        "steps": 2,
        "guidance_scale": 1.5,
        "width": 40,
        "height": 32,
        "precision": "bf16",
        "seed": 3,
    }
    with Image.open(out) as picture:
        assert picture.size == (40, 32)


def test_words_the_model_never_saw_are_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate("--negative", "zorp", "--out", str(tmp_path / "cat.png")) == 0
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == "warning: pictogram was not trained on: zorp"
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
    bundled = build_request(prompt="a cat", model="pictogram", size=None, seed=0, steps=None)
    assert (bundled.width, bundled.steps, bundled.guidance_scale) == (64, 20, 3.0)
    hub = build_request(
        prompt="a cat",
        model="stable-diffusion-v1-5/stable-diffusion-v1-5",
        size=None,
        seed=0,
        guidance_scale=None,
    )
    assert (hub.width, hub.steps, hub.guidance_scale) == (512, 30, 7.5)


def test_a_size_is_a_side_or_width_and_height() -> None:
    assert parse_size("64") == (64, 64)
    assert parse_size("96x64") == parse_size("96X64") == (96, 64)
    for wrong in ("", "x", "x64", "64x", "64x64x64", "6.4", "-64", "64 x 64", "²"):
        with pytest.raises(ValueError, match="is neither a side, as in 64, nor WIDTHxHEIGHT"):
            parse_size(wrong)
