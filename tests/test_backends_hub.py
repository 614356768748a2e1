"""A hub id takes the same path as a folder: from the hub's cache when there is no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest
from hub_server import COMMIT, hub_of
from tiny_models import save_tiny_sd
from tiny_pipelines import save_flux
from warm_python import run_warm
from warm_workers import WarmStart

from diffusion_bench.backends.catalog import find_model
from diffusion_bench.backends.downloads import gate_words
from diffusion_bench.backends.pictures import read_recipe

REVISION = "0123456789abcdef0123456789abcdef01234567"
OLD = "e" * 40


def cache(home: Path, hub_id: str, folder: Path, revision: str = REVISION) -> Path:
    """Let a folder be in the cache of a HF_HOME as a download would have left it."""
    cached = home / "hub" / f"models--{hub_id.replace('/', '--')}"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(revision)
    return shutil.copytree(folder, cached / "snapshots" / revision)


@pytest.fixture(scope="module")
def hub_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a HF_HOME whose cache holds tiny/sd, and others that only their files tell of."""
    home = tmp_path_factory.mktemp("hub")
    cache(home, "tiny/sd", model := save_tiny_sd(tmp_path_factory.mktemp("made")))
    cache(home, "stable-diffusion-v1-5/stable-diffusion-v1-5", model)
    cache(home, "tiny/flux", save_flux(tmp_path_factory.mktemp("made")))
    pickled = cache(home, "tiny/pickled", model)
    file = pickled / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_suffix(".bin"))
    return home


class Generate(Protocol):
    def __call__(
        self, home: Path, model: str, out: Path, *options: str, **variables: str
    ) -> subprocess.CompletedProcess[str]: ...


def arguments(model: str, out: Path, *options: str) -> list[str]:
    command = ["-m", "diffusion_bench", "generate", "a cat", "--model", model]
    return [*command, "--size", "32", "--steps", "2", "--out", str(out), *options]


def environment(home: Path, **variables: str) -> dict[str, str]:
    return {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", **variables}


@pytest.fixture
def generate(warm_start: WarmStart) -> Generate:
    """Return `generate` in a process of its own, which has the libraries imported."""

    def run(
        home: Path, model: str, out: Path, *options: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        given = arguments(model, out, *options)
        return run_warm(warm_start, *given, env=environment(home, **variables))

    return run


@pytest.mark.slow
def test_a_model_that_only_the_hub_has_is_drawn_as_its_files_tell_also_the_first_time(
    tmp_path: Path, generate: Generate
) -> None:
    folder = save_flux(tmp_path / "made")  # DDIM is not defined for it
    for file in folder.rglob("*.safetensors"):
        file.rename(file.with_suffix(".fp16.safetensors"))
    first, again, other = (tmp_path / f"{name}.png" for name in ("first", "again", "other"))
    gated = "tiny/gated"
    with hub_of({"tiny/flux": folder, gated: folder}, gated=frozenset({gated})) as address:
        connected = online(address)
        excluded = generate(tmp_path, "tiny/flux", other, "--sampler", "ddim", **connected)
        assert "ddim is not defined for it" in excluded.stderr
        assert not list((tmp_path / "hub").rglob("*.safetensors"))
        fetched = generate(tmp_path, "tiny/flux", first, **connected)
        refused = generate(tmp_path, gated, other, **connected)
    assert fetched.returncode == 0, fetched.stderr
    assert generate(tmp_path, "tiny/flux", again).returncode == 0
    assert again.read_bytes() == first.read_bytes()
    assert refused.stderr == f"error: {gate_words(find_model(gated))}\n"


def online(address: str) -> dict[str, str]:
    return {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": address, "HF_HUB_DISABLE_XET": "1"}


@pytest.mark.slow
def test_what_is_here_is_drawn_with_though_the_hub_has_a_newer_commit(
    tmp_path: Path, generate: Generate
) -> None:
    made = save_tiny_sd(tmp_path / "made")
    cache(tmp_path, "tiny/sd", made, OLD)
    with hub_of({"tiny/sd": made}) as address:
        done = generate(tmp_path, "tiny/sd", tmp_path / "cat.png", **online(address))
        assert done.returncode == 0, done.stderr
        assert commits(tmp_path, "tiny/sd") == {OLD}
        assert read_recipe(tmp_path / "cat.png").model_revision == OLD

        pinned = f"tiny/sd@{COMMIT}"
        done = generate(tmp_path, pinned, tmp_path / "new.png", **online(address))
        assert done.returncode == 0, done.stderr
        none = generate(tmp_path, f"tiny/sd@{'f' * 40}", tmp_path / "no.png", **online(address))
    assert commits(tmp_path, "tiny/sd") == {OLD, COMMIT}
    recipe = read_recipe(tmp_path / "new.png")
    assert (recipe.request.model, recipe.model_revision) == (pinned, COMMIT)
    assert none.stderr.startswith(f"error: model 'tiny/sd' has no commit {'f' * 40} on the hub")
    # What was fetched at a commit is drawn with again without a network.
    assert generate(tmp_path, pinned, tmp_path / "again.png").returncode == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "new.png").read_bytes()


def commits(home: Path, hub_id: str) -> set[str]:
    """Return the commits that the cache of a HF_HOME has of a model."""
    folder = home / "hub" / f"models--{hub_id.replace('/', '--')}" / "snapshots"
    return {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_of_a_pipeline_that_is_not_drawn_with_no_weights_are_fetched(
    tmp_path: Path, generate: Generate
) -> None:
    folder = save_tiny_sd(tmp_path / "made")
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": "Flux2Pipeline"}))
    with hub_of({"tiny/flux2": folder}) as address:
        for _ in range(2):  # the second time its index is here
            done = generate(tmp_path, "tiny/flux2", tmp_path / "cat.png", **online(address))
            assert done.stderr.startswith("error: 'tiny/flux2' is a Flux2Pipeline, whose latents")
    assert not list((tmp_path / "hub").rglob("*.safetensors"))


def test_a_cached_hub_model_draws_without_a_network(hub_home: Path, tmp_path: Path) -> None:
    """From nothing, as a user's command starts: what its environment says is read at import."""
    done = subprocess.run(
        [sys.executable, *arguments("tiny/sd", tmp_path / "cat.png")],
        capture_output=True,
        text=True,
        check=False,
        env=environment(hub_home),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cat.png").is_file()


def test_a_cached_hub_model_has_the_usual_settings_that_its_files_tell(
    hub_home: Path, tmp_path: Path, generate: Generate
) -> None:
    done = generate(hub_home, "tiny/flux", tmp_path / "cat.png")  # DDIM is not defined for it
    assert done.returncode == 0, done.stderr


def test_the_plain_files_that_are_here_are_read_where_the_variant_is_not(
    hub_home: Path, tmp_path: Path, generate: Generate
) -> None:
    model = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    done = generate(hub_home, model, tmp_path / "cat.png", "--precision", "bf16")
    assert done.returncode == 0, done.stderr


def test_what_is_wrong_with_a_cached_model_is_not_that_it_is_not_here(
    hub_home: Path, tmp_path: Path, generate: Generate
) -> None:
    done = generate(hub_home, "tiny/pickled", tmp_path / "cat.png")
    assert done.returncode == 2
    assert done.stderr.startswith("error: model 'tiny/pickled' has its weights in pickles (unet/")


def test_a_hub_model_that_is_not_cached_is_one_line(
    hub_home: Path, tmp_path: Path, generate: Generate
) -> None:
    done = generate(hub_home, "tiny/other", tmp_path / "cat.png")
    assert done.returncode == 2
    assert done.stderr.startswith("error: model 'tiny/other' is not on this machine")
    assert len(done.stderr.strip().splitlines()) == 1
    # Of the library's own line, which is cut in a word, an argument of Python is the advice.
    assert "offline mode is enabled" in done.stderr
    assert not any(word in done.stderr for word in ("local_files_only", "stacktrace", "trying to"))
    assert not list(tmp_path.iterdir())


TOLD = """
from diffusion_bench.backends.catalog import ModelUnavailable, find_model
from diffusion_bench.backends.downloads import expected_size, fetch
print(expected_size(find_model("tiny/sd")).total_mib)
try:
    fetch(find_model("tiny/pickled"))
except ModelUnavailable as error:
    print(error)
"""
LOAD = """
import sys
from diffusion_bench.backends.catalog import ModelUnavailable
from diffusion_bench.backends.images import ImageBackend
for revision in sys.argv[1:]:
    try:
        ImageBackend.load("tiny/sd", device="cpu", revision=revision)
        print("loaded")
    except ModelUnavailable:
        print("unavailable")
"""


def test_a_hub_model_is_loaded_at_the_revision_asked_for_and_no_other(
    hub_home: Path, warm_start: WarmStart
) -> None:
    given = ("-c", LOAD, REVISION, "f" * 40)
    done = run_warm(warm_start, *given, env=environment(hub_home))
    assert done.stdout == "loaded\nunavailable\n", done.stderr


def test_of_what_is_here_the_size_on_disk_is_told_and_what_it_lacks(
    hub_home: Path, warm_start: WarmStart
) -> None:
    done = run_warm(warm_start, "-c", TOLD, env=environment(hub_home))
    size_mib, pickles = done.stdout.splitlines()
    folder = hub_home / "hub" / "models--tiny--sd" / "snapshots"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert float(size_mib) == pytest.approx(size / 2**20)
    assert pickles.startswith("model 'tiny/pickled' has its weights in pickles (unet/")
