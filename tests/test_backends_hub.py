"""A hub id takes the same path as a folder: from the hub's cache when there is no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import save_tiny_sd

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def hub_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a HF_HOME whose cache holds tiny/sd as a download would have left it."""
    home = tmp_path_factory.mktemp("hub")
    cached = home / "hub" / "models--tiny--sd"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(REVISION)
    model = save_tiny_sd(tmp_path_factory.mktemp("made"))
    shutil.copytree(model, cached / "snapshots" / REVISION)
    return home


def generate(home: Path, model: str, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "diffusion_bench", "generate", "a cat", "--model", model]
    return subprocess.run(
        [*command, "--size", "32", "--steps", "2", "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"},
    )


def test_a_cached_hub_model_draws_without_a_network(hub_home: Path, tmp_path: Path) -> None:
    done = generate(hub_home, "tiny/sd", tmp_path / "cat.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cat.png").is_file()


def test_a_hub_model_that_is_not_cached_is_one_line(hub_home: Path, tmp_path: Path) -> None:
    done = generate(hub_home, "tiny/other", tmp_path / "cat.png")
    assert done.returncode == 2
    assert done.stderr.startswith("error: model 'tiny/other' is not on this machine")
    assert len(done.stderr.strip().splitlines()) == 1
    # Of the library's own line, which is cut in a word, an argument of Python is the advice.
    assert "offline mode is enabled" in done.stderr
    assert not any(word in done.stderr for word in ("local_files_only", "stacktrace", "trying to"))
    assert not list(tmp_path.iterdir())


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


def test_a_hub_model_is_loaded_at_the_revision_asked_for_and_no_other(hub_home: Path) -> None:
    environment = {**os.environ, "HF_HOME": str(hub_home), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, REVISION, "f" * 40],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "loaded\nunavailable\n", done.stderr
