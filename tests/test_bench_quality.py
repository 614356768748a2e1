"""Quality in a sweep: after what is timed, apart from what is measured, and never a cell's end."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_models import save_tiny_sd
from tiny_scorer import save_tiny_scorer

from diffusion_bench.backends.device import CACHE_VARIABLE
from diffusion_bench.bench.cell_run import CellRun
from diffusion_bench.bench.limit import run_limit
from diffusion_bench.bench.measure import Effort
from diffusion_bench.bench.runner import run_sweep
from diffusion_bench.bench.sweep import Sweep, parse_sweep, sweep_of
from diffusion_bench.bench.worker import Worker
from diffusion_bench.bench.worker_messages import Command, Failed, Judged, Measured
from diffusion_bench.bench.workers import is_last
from diffusion_bench.records import ImageRequest, QualityPlan
from diffusion_bench.reports.read import read_report
from diffusion_bench.reports.schema import Report

pytestmark = [
    pytest.mark.usefixtures("warm_workers"),
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a tiny model and a tiny scorer."""
    return (
        save_tiny_sd(tmp_path_factory.mktemp("sd")),
        save_tiny_scorer(tmp_path_factory.mktemp("scorer")),
    )


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def plan(folders: tuple[Path, Path], scorer: str | None = None, **more: object) -> Sweep:
    model, own = folders
    quality = QualityPlan(pictures=6, prompts="captions", scorer=scorer or str(own), batch=4)
    axes = {"model": [str(model)], "steps": [2], "sampler": ["ddim", "ddpm"]}
    return Sweep.model_validate(
        {"name": "judged", "repeats": 2, "quality": quality, "axes": axes, **more}
    )


def run(sweep: Sweep, path: Path) -> Report:
    for _ in run_sweep(sweep, path, device="cpu"):
        pass
    return read_report(path)


def test_every_cell_is_judged_and_its_samples_traces_and_figures_are_as_without(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    report = run(plan(folders, rounds=2), tmp_path / "judged.jsonl")
    assert report.header.plan.quality == plan(folders).quality
    for cell in report.cells:
        assert cell.status == "ok", cell.message
        assert len(cell.samples) == 2
        assert len(cell.visits) == 2
        assert "quality" not in cell.missing
        assert cell.quality is not None
        assert cell.quality.pictures == 6
        assert cell.quality.objects is not None
        assert cell.quality.frechet is not None
        assert cell.quality.diversity is not None
    assert sweep_of(report.header.plan).quality == plan(folders).quality


def test_a_scorer_that_cannot_be_had_is_a_reason_and_the_cell_is_kept(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    sweep = plan(folders, scorer=str(tmp_path / "nothing"))
    report = run(sweep, tmp_path / "blind.jsonl")
    for cell in report.cells:
        assert cell.status == "ok"
        assert len(cell.samples) == 2
        assert cell.quality is None
        assert "cannot be loaded" in cell.missing["quality"]
        assert cell.load_s is not None, "a worker that failed to judge is not measured with again"


def test_the_time_left_holds_the_pictures_that_are_still_to_be_judged(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    # Of a scorer that is not there, so that only the next cell's pictures are reckoned with.
    many = QualityPlan(pictures=600, scorer=str(tmp_path / "nothing"), batch=4)
    sweep = plan(folders).model_copy(update={"quality": many})
    events = run_sweep(sweep, tmp_path / "left.jsonl", device="cpu")
    first = next(event for event in events if event.cell is not None)
    events.close()
    assert first.num_done == 1
    assert first.remaining_s > 600 / 4 * min(sample.wall_s for sample in first.cell.samples) / 2


def heard(monkeypatch: pytest.MonkeyPatch, command: Command) -> list[Any]:
    """Return what a worker says to a command, in this process."""
    said: list[Any] = []
    monkeypatch.setattr("diffusion_bench.bench.worker._send", lambda _, event: said.append(event))
    Worker("cpu", sys.stdout).obey(command)
    return said


def test_judging_begins_when_the_measurement_has_been_told_and_only_in_the_last_round(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = plan(folders)
    request = sweep.requests()[0]
    assert isinstance(request, ImageRequest)
    first = Effort(warmups=1, repeats=2, calls=1)
    said = heard(monkeypatch, Command(request=request, effort=first, quality=sweep.quality))
    assert isinstance(said[-1], Measured)
    assert not said[-1].judging
    last = first.model_copy(update={"done_s": (0.1,)})
    said = heard(monkeypatch, Command(request=request, effort=last, quality=sweep.quality))
    kinds = [type(event).__name__ for event in said]
    assert kinds == ["Loaded", "Alive", "Repeated", "Measured", "Repeated", "Repeated", "Judged"]
    assert [event.done for event in said if hasattr(event, "done")] == [2, 2, 2]


def test_what_happens_while_judging_is_no_part_of_the_cell() -> None:
    looked: list[float] = []
    workers = SimpleNamespace(attention="sdpa", is_new_shape=lambda _: True)
    found = CellRun.__new__(CellRun)
    found._bench = SimpleNamespace(  # type: ignore[assignment]
        sampler=SimpleNamespace(look=lambda: looked.append(1.0)), workers=workers
    )
    found._others = SimpleNamespace(ask=lambda: looked.append(3.0))  # type: ignore[assignment]
    found._during = SimpleNamespace(take=lambda: looked.append(2.0))  # type: ignore[assignment]
    found._end = found._judged = None
    found._request = ImageRequest(prompt="a cat")
    found._take(Measured.model_construct(judging=True))
    workers.attention = None  # as when the worker is ended
    found._take(Failed(status="crashed", message="out of memory, killed"))
    assert isinstance(found._end, Measured)
    assert (looked, found._attention) == ([1.0, 3.0, 2.0], "sdpa")
    assert found._judged == Judged(reason="out of memory, killed")


def test_a_measurement_that_will_be_judged_is_not_the_last_word() -> None:
    judging = Measured.model_construct(judging=True)
    assert not is_last(judging)
    assert is_last(Measured.model_construct(judging=False))
    assert is_last(Judged(reason="no scorer"))
    assert not is_last(None)


def test_a_sweep_says_what_to_judge_in_a_table_and_speech_has_no_pictures() -> None:
    text = 'name = "a"\n[quality]\npictures = 32\nprompts = "captions"\n'
    asked = parse_sweep(text).quality
    assert asked == QualityPlan(pictures=32, prompts="captions")
    assert parse_sweep('name = "a"').quality is None
    for spoilt, message in (
        (text + "colour = 1", "quality.colour"),
        (text.replace("32", "1"), "quality.pictures"),
        (text.replace("captions", "poems"), "quality.prompts"),
        (text + "[voice_axes]\n", "a sweep of speech has none: its table is"),
    ):
        with pytest.raises(ValueError, match=message) as refused:
            parse_sweep(spoilt)
        assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_looking_for_a_limit_judges_nothing(folders: tuple[Path, Path], tmp_path: Path) -> None:
    sweep = plan(folders, axes={"model": [str(folders[0])], "steps": [2], "sampler": ["ddim"]})
    runs = run_limit(sweep, tmp_path / "limit.jsonl", "resolution", device="cpu")
    for progress in runs:
        if progress.cell is not None:
            break
    runs.close()
    (cell, *_) = read_report(tmp_path / "limit.jsonl").cells
    assert cell.quality is None
    assert "quality" not in cell.missing
