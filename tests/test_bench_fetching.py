"""Hub models that a sweep needs are fetched before it begins: no cell has a download in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from fakes import make_cell, write_report
from hub_server import hub_of
from tiny_models import save_tiny_sd
from warm_workers import running

from diffusion_bench.backends import pipeline_names
from diffusion_bench.backends.catalog import catalog, find_model
from diffusion_bench.backends.device import hold_device
from diffusion_bench.backends.downloads import Fetching
from diffusion_bench.backends.downloads import Progress as Download
from diffusion_bench.backends.model_files import presence
from diffusion_bench.bench import fetching, setup
from diffusion_bench.bench.fetching import fetch_models
from diffusion_bench.bench.progress import Progress
from diffusion_bench.bench.runner import run_sweep
from diffusion_bench.bench.setup import prepare
from diffusion_bench.bench.sweep import parse_sweep
from diffusion_bench.cli.sweeps import _watch, describe
from diffusion_bench.records import Request
from diffusion_bench.reports.store import ReportRefused
from diffusion_bench.ui.sweeping import describe as on_the_page

FETCH = """
import json, sys
from diffusion_bench.backends.catalog import find_model
from diffusion_bench.backends.model_files import presence
from diffusion_bench.bench.fetching import fetch_models
from diffusion_bench.bench.sweep import parse_sweep
events = fetch_models(parse_sweep(sys.argv[1]).requests())
heard = []
for event in events:
    heard.append([event.kind, event.fetching.model.name])
    if sys.argv[2] == "close":
        events.close()
print(json.dumps([heard, presence(find_model("tiny/sd"))]))
"""
TEXT = 'name = "a"\n[axes]\nmodel = ["{}"]\nsteps = [2]\nsampler = ["{}"]\n'
FLUX = "black-forest-labs/FLUX.1-schnell"


def fetched(text: str, address: str, how: str = "all") -> tuple[list[list[str]], str]:
    """Return what is told on the way, and whether the model is here then."""
    online = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": address}
    done = subprocess.run(
        [sys.executable, "-c", FETCH, text, how],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        env={**os.environ, **online},
    )
    assert done.returncode == 0, done.stderr
    heard, presence = json.loads(done.stdout)
    return heard, presence


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sd(tmp_path_factory.mktemp("sd"))


@pytest.mark.slow
def test_a_model_that_is_not_here_is_fetched_whole_and_one_that_is_here_asks_nobody(
    sd: Path,
) -> None:
    text = TEXT.format("tiny/sd", "ddim")
    with hub_of({"tiny/sd": sd}) as address:
        heard, presence = fetched(text, address)
    assert {tuple(each) for each in heard} == {("fetching", "tiny/sd")}
    assert presence == "here"
    assert fetched(text, address) == ([], "here"), "the hub is gone by now"


@pytest.mark.slow
def test_a_sweep_that_is_given_up_stops_the_download(sd: Path) -> None:
    with hub_of({"tiny/sd": sd}) as address:
        heard, presence = fetched(TEXT.format("tiny/sd", "ddim"), address, "close")
    assert len(heard) == 1
    assert presence != "here"


def test_what_cannot_be_fetched_is_left_to_its_cells() -> None:
    """There is no network in tests: the hub's client is told so."""
    sweep = parse_sweep(TEXT.format("nobody/no-such-model", "ddim"))
    told = [event.fetching for event in fetch_models(sweep.requests())]
    assert {(one.model.name, one.progress.done_mib) for one in told if one} == {
        ("nobody/no-such-model", 0.0)
    }
    assert None not in told
    assert presence(find_model("nobody/no-such-model")) == "not here"


def test_a_model_that_excludes_every_sampler_of_its_cells_is_not_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    own = fetching.downloads
    monkeypatch.setattr(own, "fetch_settings", lambda entry: None)
    monkeypatch.setattr(own, "fetch", lambda entry, how, _: asked.append(f"{entry.name} {how}"))
    assert FLUX in catalog()
    list(fetch_models(parse_sweep(TEXT.format(FLUX, "ddim")).requests()))
    assert asked == []
    both = TEXT.format(FLUX, 'ddim", "native') + 'precision = ["bf16", "fp32"]'
    list(fetch_models(parse_sweep(both).requests()))
    assert asked == [f"{FLUX} bf16", f"{FLUX} fp32"]


def test_a_model_of_a_class_that_we_cannot_draw_with_is_not_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its cells say so; before its settings came, nobody knew."""
    (tmp_path / "model_index.json").write_text('{"_class_name": "QwenImagePipeline"}')
    here: list[Path] = []
    asked: list[str] = []
    own = fetching.downloads
    monkeypatch.setattr(pipeline_names, "cached_folder", lambda entry: here[0] if here else None)
    monkeypatch.setattr(own, "fetch_settings", lambda entry: here.append(tmp_path))
    monkeypatch.setattr(own, "fetch", lambda entry, how, _: asked.append(entry.name))
    list(fetch_models(parse_sweep(TEXT.format("nobody/films", "ddim")).requests()))
    assert (here, asked) == ([tmp_path], [])


def progress(done_mib: float = 10.2, total_mib: float = 30.0) -> Progress:
    download = Download(done_mib=done_mib, total_mib=total_mib)
    now = Fetching(model=find_model("nobody/sd"), progress=download)
    return Progress(kind="fetching", num_cells=0, num_done=0, fetching=now)


def test_a_download_is_told_in_mib(capsys: pytest.CaptureFixture[str]) -> None:
    assert progress().bar == (10, 30)
    assert describe(progress()) == "fetching nobody/sd"
    assert on_the_page(progress()) == "Fetching nobody/sd: 10 MiB of 30 MiB."
    _watch(event for event in (progress(0, 0), progress(), progress(30.0)))  # type: ignore
    assert capsys.readouterr().err.splitlines() == ["fetching nobody/sd"], "a pipe has a line of it"


def test_models_are_fetched_before_the_device_is_taken_and_never_for_a_report_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(requests: object) -> Iterator[Progress]:
        yield progress()

    monkeypatch.setattr(setup, "fetch_models", fetch)
    sweep, path = parse_sweep('name = "a"\n[axes]\nsteps = [2]'), tmp_path / "report.jsonl"
    events = run_sweep(sweep, path, device="cpu")
    assert next(events).kind == "fetching"
    assert not running()
    with hold_device("cpu"):
        pass
    events.close()
    path.write_text("somebody's")
    with pytest.raises(ReportRefused, match="exists; use --resume"):
        next(run_sweep(sweep, path, device="cpu"))


def test_a_sweep_that_goes_on_fetches_only_for_cells_of_its_report_that_are_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are done need no model, and a report of another sweep will be refused."""
    asked: list[str] = []

    def fetch(requests: Iterable[Request]) -> Iterator[Progress]:
        asked.extend(request.model for request in requests)
        yield from ()

    monkeypatch.setattr(setup, "fetch_models", fetch)
    three = parse_sweep(TEXT.format('nobody/done", "nobody/failed", "nobody/other', "ddim"))
    one = parse_sweep(TEXT.format("nobody/other", "ddim"))
    done, failed, _ = (
        make_cell(status=status, message="no network").model_copy(
            update={"request": request, "cell_id": request.workload_id()}
        )
        for status, request in zip(("ok", "failed", "ok"), three.requests(), strict=True)
    )
    report = write_report(tmp_path / "report.jsonl", done, failed)
    list(prepare(three, report, resume=True))
    assert asked == ["nobody/failed"]
    list(prepare(one, report, resume=True))
    assert asked == ["nobody/failed"]
    list(prepare(one, tmp_path / "new.jsonl", resume=True))
    (tmp_path / "empty.jsonl").touch()  # a run was killed before its first line
    list(prepare(one, tmp_path / "empty.jsonl", resume=True))
    assert asked == ["nobody/failed", "nobody/other", "nobody/other"]
