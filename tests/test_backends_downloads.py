"""Models are fetched through the hub's own client, from a hub on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import COMMIT, hub_of
from tiny_models import save_tiny_sd
from warm_python import run_warm
from warm_workers import WarmStart

from diffusion_bench.backends.catalog import catalog, find_model
from diffusion_bench.backends.downloads import expected_size, gate_words
from diffusion_bench.backends.model_files import presence
from diffusion_bench.records import BUNDLED_MODEL

FETCH = """
import json, sys
from diffusion_bench.backends.catalog import ModelUnavailable, find_model
from diffusion_bench.backends.downloads import fetch
from diffusion_bench.backends.model_files import presence
from diffusion_bench.records import Cancelled
entry = find_model(sys.argv[1])
heard = []
def on_progress(progress):
    heard.append([progress.done_mib, progress.total_mib])
    if sys.argv[2] == "stop" and len(heard) == 2:
        raise Cancelled
try:
    before = presence(entry)
    folder = fetch(entry, "fp32", on_progress)
except ModelUnavailable as error:
    print(json.dumps({"error": str(error)}))
except Cancelled:
    print(json.dumps({"cancelled": True, "heard": heard}))
else:
    found = {"before": before, "after": presence(entry), "heard": heard, "folder": str(folder)}
    print(json.dumps(found))
"""
FRESH = f'{FETCH}\nassert "torch" not in sys.modules'
LOAD = """
from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.records import ImageRequest
backend = ImageBackend.load("tiny/sd", device="cpu")
request = ImageRequest(prompt="a cat", model="tiny/sd", steps=1, width=64, height=64)
print(backend.generate(request).images[0].size)
"""


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny model, with files beside that no pipeline is loaded from."""
    folder = save_tiny_sd(tmp_path_factory.mktemp("sd"))
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copy(weights, folder / "whole_checkpoint.safetensors")
    shutil.copy(weights, weights.with_suffix(".bin"))
    shutil.copy(weights, weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    return folder


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", **variables}


def heard_of(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no bar of the client's own
    found: dict[str, object] = json.loads(done.stdout)
    return found


def fetched_from_nothing(model: str, address: str) -> dict[str, object]:
    """Fetch a model as a fresh process does, which needs no torch for it."""
    return heard_of(
        subprocess.run(
            [sys.executable, "-c", FRESH, model, "all"],
            capture_output=True,
            text=True,
            check=False,
            timeout=250,
            env=environment(HF_ENDPOINT=address),
        )
    )


@pytest.fixture
def fetched(warm_start: WarmStart) -> Callable[..., dict[str, object]]:
    """Return how to fetch a model in a process of its own."""

    def fetch(model: str, address: str, how: str = "all") -> dict[str, object]:
        asked = ("-c", FETCH, model, how)
        return heard_of(run_warm(warm_start, *asked, env=environment(HF_ENDPOINT=address)))

    return fetch


@pytest.mark.slow
def test_a_model_is_fetched_with_progress_and_then_loads_without_a_network(
    sd: Path, warm_start: WarmStart
) -> None:
    with hub_of({"tiny/sd": sd}) as address:
        first = fetched_from_nothing("tiny/sd", address)
        again = fetched_from_nothing("tiny/sd", address)
    folder = Path(first["folder"])
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert "unet/diffusion_pytorch_model.safetensors" in files
    assert not [name for name in files if ".bin" in name or "fp16" in name or "whole" in name]
    size_mib = sum((sd / name).stat().st_size for name in files) / 2**20

    assert (first["before"], first["after"]) == ("not here", "here")
    assert folder.name == COMMIT
    assert all(total == pytest.approx(size_mib) for _, total in first["heard"])
    done = [done for done, _ in first["heard"]]
    assert done == sorted(done)
    assert len(set(done)) > 2
    assert done[-1] == pytest.approx(size_mib)
    # All of it was here already.
    assert all(done == pytest.approx(size_mib) for done, _ in again["heard"])

    loaded = run_warm(warm_start, "-c", LOAD, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert loaded.stdout == "(64, 64)\n", loaded.stderr


def test_a_download_that_is_stopped_leaves_the_model_to_be_fetched(
    sd: Path, fetched: Callable[..., dict[str, object]]
) -> None:
    with hub_of({"tiny/sd": sd}) as address:
        stopped = fetched("tiny/sd", address, "stop")
        assert stopped["cancelled"]
        whole = fetched("tiny/sd", address)
    assert whole["after"] == "here"


def test_a_gated_an_unknown_and_an_unreachable_model_are_one_line_each(
    sd: Path, fetched: Callable[..., dict[str, object]]
) -> None:
    model = "stabilityai/stable-diffusion-3.5-medium"
    with hub_of({model: sd}, gated=frozenset({model})) as address:
        gated = fetched(model, address)["error"]
        unknown = fetched("tiny/other", address)["error"]
    unreachable = fetched("tiny/sd", address)["error"]
    assert gated == gate_words(find_model(model))
    assert "agreeing to Stability AI's licence" in gated
    assert f"Log in at https://huggingface.co/{model}" in gated
    assert unknown.startswith("model 'tiny/other' is not on the hub, or is private")
    assert unreachable.startswith("model 'tiny/sd' is not on this machine and could not be fetched")
    assert not [text for text in (gated, unknown, unreachable) if "\n" in text]


def test_what_is_no_pipeline_or_has_pickles_only_is_told_before_weights_are_fetched(
    sd: Path, tmp_path: Path, fetched: Callable[..., dict[str, object]]
) -> None:
    pickled = shutil.copytree(sd, tmp_path / "pickled")
    for file in (pickled / "unet").glob("*.safetensors"):
        file.unlink()
    (lora := tmp_path / "lora").mkdir()
    (lora / "pytorch_lora_weights.safetensors").touch()
    with hub_of({"tiny/pickled": pickled, "tiny/lora": lora}) as address:
        pickles = fetched("tiny/pickled", address)["error"]
        no_pipeline = fetched("tiny/lora", address)["error"]
    assert "weights in pickles (unet/diffusion_pytorch_model.bin)" in pickles
    assert "has no model_index.json on the hub, so it is no pipeline of diffusers" in no_pipeline


def test_sizes_are_predicted_with_their_source_before_the_hub_is_asked() -> None:
    gib = {name: expected_size(entry, "fp16").total_mib / 1024 for name, entry in catalog().items()}
    # The sizes of these files on the hub, in decimal GB: 6.94, 33.7.
    assert gib["stabilityai/stable-diffusion-xl-base-1.0"] == pytest.approx(6.46, rel=0.02)
    assert gib["black-forest-labs/FLUX.1-schnell"] == pytest.approx(31.4, rel=0.02)
    xl = find_model("stabilityai/stable-diffusion-xl-base-1.0")
    assert expected_size(xl, "fp32").total_mib == 2 * expected_size(xl, "fp16").total_mib
    assert expected_size(xl, "fp16").source == "predicted: 3,469 M parameters of 2 bytes"
    unknown = expected_size(find_model("owner/name"))
    assert unknown.total_mib is None
    assert "not known before the hub is asked" in unknown.source


def test_what_is_bundled_or_a_folder_is_here(sd: Path) -> None:
    assert presence(find_model(BUNDLED_MODEL)) == "here"
    assert presence(find_model(str(sd))) == "here"
    assert presence(find_model("owner/name")) == "not here"
