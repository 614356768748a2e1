"""Hub models that a sweep needs are fetched before it begins: no cell has a download in it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fakes import make_header
from hub_server import hub_of
from tiny_models import save_tiny_sd
from warm_python import run_warm
from warm_workers import WarmStart, running

from diffusion_bench.backends import pipeline_names
from diffusion_bench.backends.catalog import catalog, find_model
from diffusion_bench.backends.device import hold_device
from diffusion_bench.backends.downloads import Fetching
from diffusion_bench.backends.downloads import Progress as Download
from diffusion_bench.backends.model_files import presence
from diffusion_bench.backends.scoring.scorers import HUB_SCORER
from diffusion_bench.bench import fetching, header, setup
from diffusion_bench.bench.fetching import fetch_models
from diffusion_bench.bench.progress import Progress
from diffusion_bench.bench.runner import run_sweep
from diffusion_bench.bench.sweep import parse_sweep
from diffusion_bench.bench.worker_process import WorkerFailed
from diffusion_bench.cli.sweeps import _watch, describe
from diffusion_bench.records import BUNDLED_MODEL, Request
from diffusion_bench.reports.store import ReportRefused, to_line
from diffusion_bench.ui.sweeping import describe as on_the_page

FETCH = """
import json, sys
from diffusion_bench.backends.catalog import find_model
from diffusion_bench.backends.model_files import presence
from diffusion_bench.backends.scoring.scorers import HUB_SCORER
from diffusion_bench.bench.fetching import fetch_models
from diffusion_bench.bench.sweep import parse_sweep
told = []
for how in sys.argv[2:]:
    events = fetch_models(parse_sweep(sys.argv[1]).requests())
    heard = []
    for event in events:
        heard.append([event.kind, event.fetching.model.name])
        if how == "close":
            events.close()
    told.append([heard, presence(find_model("tiny/sd"))])
print(json.dumps(told))
"""
TEXT = 'name = "a"\n[axes]\nmodel = ["{}"]\nsteps = [2]\nsampler = ["{}"]\n'
FLUX = "black-forest-labs/FLUX.1-schnell"


class Fetched(NamedTuple):
    """What is told on the way, and whether the model is here then."""

    heard: list[list[str]]
    presence: str


def fetched(start: WarmStart, address: str, home: Path, *how: str) -> list[Fetched]:
    """Return what a process that fetches so, one after the other, tells of it."""
    online = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": address}
    env = {**os.environ, **online, "HF_HOME": str(home)}
    done = run_warm(start, "-c", FETCH, TEXT.format("tiny/sd", "ddim"), *how, env=env)
    assert done.returncode == 0, done.stderr
    return [Fetched(*each) for each in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, warm_start: WarmStart) -> list[Fetched]:
    """Give a download up, then let it end, then ask once more when the hub is gone."""
    sd, home = save_tiny_sd(tmp_path_factory.mktemp("sd")), tmp_path_factory.mktemp("home")
    with hub_of({"tiny/sd": sd}) as address:
        twice = fetched(warm_start, address, home, "close", "all")
    return twice + fetched(warm_start, address, home, "all")


@pytest.mark.slow
def test_a_model_that_is_not_here_is_fetched_whole_and_one_that_is_here_asks_nobody(
    three: list[Fetched],
) -> None:
    _, whole, gone = three
    assert {tuple(each) for each in whole.heard} == {("fetching", "tiny/sd")}
    assert whole.presence == "here"
    assert gone == Fetched([], "here")


@pytest.mark.slow
def test_a_sweep_that_is_given_up_stops_the_download(three: list[Fetched]) -> None:
    given_up = three[0]
    assert len(given_up.heard) == 1
    assert given_up.presence != "here"


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


@pytest.fixture
def fetched_for(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The requests whose models a sweep has asked to have fetched."""
    asked: list[Request] = []

    def fetch(requests: Iterable[Request]) -> Iterator[Progress]:
        asked.extend(requests)
        yield progress()

    monkeypatch.setattr(setup, "fetch_models", fetch)
    return asked


TINY = 'name = "a"\n[axes]\nsteps = [2]'


@pytest.mark.usefixtures("warm_workers")
def test_models_are_fetched_before_the_device_is_taken_and_never_for_a_report_that_cannot_be(
    tmp_path: Path, fetched_for: list[Request]
) -> None:
    sweep, path = parse_sweep(TINY), tmp_path / "report.jsonl"
    events = run_sweep(sweep, path, device="cpu")
    assert next(each.kind for each in events if each.kind != "starting") == "fetching"
    with hold_device("cpu"):
        pass
    events.close()
    assert not running()
    fetched_for.clear()
    path.write_text("somebody's")
    with pytest.raises(ReportRefused, match="exists; use --resume"):
        next(run_sweep(sweep, path, device="cpu"))
    assert fetched_for == []


@pytest.mark.usefixtures("warm_workers")
@pytest.mark.parametrize(
    ("text", "device"),
    [(TINY, "cuda:97"), (TINY + '\nbatch = [2]\n[devices]\nnames = ["cpu", "cuda:97"]', None)],
    ids=["one", "several"],
)
def test_nothing_is_fetched_for_a_device_that_is_not_here(
    text: str, device: str | None, tmp_path: Path, fetched_for: list[Request]
) -> None:
    """`benchmarks/two_gpus.toml` needs ten gigabytes, and most machines have one card."""
    with pytest.raises(WorkerFailed, match="'cuda:97' cannot be used here"):
        list(run_sweep(parse_sweep(text), tmp_path / "report.jsonl", device=device))
    assert fetched_for == []


@pytest.mark.usefixtures("warm_workers")
def test_a_sweep_that_goes_on_fetches_only_for_cells_of_its_report_that_are_to_come(
    tmp_path: Path, fetched_for: list[Request]
) -> None:
    """Those that are done need no model, nor do those that failed and are not tried again."""
    (tmp_path / "broken").mkdir()  # known for a model, and cannot be loaded
    (tmp_path / "broken" / "model_index.json").write_text("broken")
    models = f'model = ["{tmp_path}/broken", "{BUNDLED_MODEL}"]'
    sweep, path = parse_sweep(f"repeats = 1\n{TINY}\n{models}"), tmp_path / "report.jsonl"
    with closing(run_sweep(sweep, path, device="cpu")) as events:
        next(each for each in events if each.num_done == 3)
    (tmp_path / "empty.jsonl").touch()  # a run was killed before its first line
    failed, failed_too, _, left = every = sweep.requests()
    for name, retry, asked in (
        (path.name, False, (left,)),
        (path.name, True, (failed, failed_too, left)),
        ("new.jsonl", False, every),
        ("empty.jsonl", False, every),
    ):
        fetched_for.clear()
        run = run_sweep(sweep, tmp_path / name, resume=True, retry=retry, device="cpu")
        with closing(run) as events:
            next(each for each in events if each.kind == "fetching")
        assert tuple(fetched_for) == asked


@pytest.mark.usefixtures("warm_workers")
def test_nothing_is_fetched_for_a_report_that_another_machine_began(
    tmp_path: Path, fetched_for: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is the hub asked what a model is that is not here: without a network that takes long."""
    asked: list[str] = []
    monkeypatch.setattr(header, "model_facts", lambda name: asked.append(name))
    sweep = parse_sweep(TEXT.format("nobody/sd", "ddim"))
    report = tmp_path / "report.jsonl"
    report.write_bytes(to_line(make_header(cells=sweep.requests())))
    with pytest.raises(ReportRefused, match=r"machine\.cpu \(Test CPU in the file, "):
        list(run_sweep(sweep, report, resume=True, device="cpu"))
    assert (fetched_for, asked) == ([], [])


@pytest.mark.parametrize(
    ("model", "scorer", "wanted"),
    [
        ("nobody/no-such-model", "auto", [HUB_SCORER]),
        ("picturebook", "auto", []),
        ("picturebook", "owner/clip", ["owner/clip"]),
        ("picturebook", "owner/clip@1234", []),  # its cells say what is wrong with it
    ],
)
def test_a_scorer_that_is_not_here_is_fetched_before_anything_is_judged(
    model: str, scorer: str, wanted: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(setup, "fetch_models", lambda requests: iter(()))
    monkeypatch.setattr(fetching, "fetch", lambda one, _: asked.append(one.name))
    text = TEXT.format(model, 'ddim", "ddpm') + f'[quality]\nscorer = "{scorer}"\n'
    here: Any = None  # it is asked for only where a report is gone on with
    sweep, report = parse_sweep(text), tmp_path / "report.jsonl"
    list(setup.fetch(sweep, report, here, resume=False, retry=False))
    assert asked == wanted
