"""`explain`: verdicts, stages and steps of a report, in words and as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from command_line import complaint, run
from fakes import make_cell, make_header, make_trace

from diffusion_bench.records import DevicesPlan, ImageRequest, Request
from diffusion_bench.reports import labels
from diffusion_bench.reports.schema import (
    Ceiling,
    DeviceJob,
    Energy,
    Extrapolation,
    SharedCell,
    Visit,
)
from diffusion_bench.reports.store import ReportWriter


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Return a report of a watched cell and one that ran out of memory."""
    good = make_cell(
        wall_s=(4.0,) * 2,
        steps=4,
        trace=make_trace(seconds=8),
        ceiling=Ceiling(gflops=100.0, copy_gbs=10.0),
    )
    samples = tuple(
        sample.model_copy(update={"start_s": 4.0 * index})
        for index, sample in enumerate(good.samples)
    )
    good = good.model_copy(update={"samples": samples})
    bad = make_cell(status="oom", steps=8, order=1)
    path = tmp_path / "mine.jsonl"
    header = make_header(cells=[good.request, bad.request])
    with ReportWriter.create(path, header) as writer:
        writer.append(good)
        writer.append(bad)
    return path


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[str]:
    assert run("explain", *arguments) == 0
    return capsys.readouterr().out.splitlines()


def test_every_cell_has_its_verdict_with_the_evidence_and_its_stages(
    report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = told(capsys, report)
    assert lines[0].endswith("mine.jsonl: 2 cells")
    assert lines[2].startswith("  cannot tell: a step reached")
    assert any(line.startswith("  denoising: 3.2 s, process memory peak") for line in lines)
    assert lines[-1] == "  out of memory: memory ran out in a stage that is not known"
    reasons = [line for line in lines if line.startswith("  not told: ")]
    assert len(reasons) == 1, "each reason is said once"
    assert "power, energy of text encoder, denoising, decoder, a step, on average" in reasons[0]
    assert not any(line.startswith("  step 1") for line in lines)


def test_of_a_cell_in_rounds_it_says_whose_the_seconds_and_whose_the_readings_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = make_cell(wall_s=(4.0, 4.0, 8.0), steps=4, trace=make_trace(seconds=8))
    samples = tuple(sample.model_copy(update={"start_s": 0.0}) for sample in cell.samples)
    visits = tuple(Visit(started_utc=f"2026-01-02T03:0{n}:05Z", calls=1) for n in range(3))
    path = tmp_path / "rounds.jsonl"
    with ReportWriter.create(path, make_header(cells=[cell.request])) as writer:
        writer.append(cell.model_copy(update={"samples": samples, "visits": visits}))
    lines = told(capsys, path)
    assert any(line.startswith("  denoising: 3.2 s, ") for line in lines)
    assert (
        "  seconds are the median of all calls; the readings are of the last of 3 visits, "
        "1 of 3 calls"
    ) in lines


def test_of_a_call_timed_in_part_it_says_which_figures_are_of_the_part_and_which_of_the_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = make_cell(wall_s=(4.0,) * 2, steps=4, trace=make_trace(seconds=8))
    request = cell.request.model_copy(update={"steps": 10})
    update = {
        "request": request,
        "cell_id": request.workload_id(),
        "labels": ("extrapolated",),
        "extrapolation": Extrapolation(measured_steps=4, rule="the rest at the measured pace"),
        "energy": Energy(total_j=800.0, window_s=8.0, method="counter"),
        "samples": tuple(
            sample.model_copy(update={"start_s": 4.0 * n}) for n, sample in enumerate(cell.samples)
        ),
    }
    path = tmp_path / "part.jsonl"
    with ReportWriter.create(path, make_header(cells=[request])) as writer:
        writer.append(cell.model_copy(update=update))
    lines = told(capsys, path)
    assert any(line.startswith("  denoising, 4 of 10 steps: 3.2 s, ") for line in lines)
    assert "  a whole call, extrapolated: 8.8 s, 880 J" in lines
    assert not any(line.startswith("  denoising: ") for line in lines)


def test_single_steps_are_told_where_they_are_asked_for(
    report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = told(capsys, report, "--steps")
    assert [line for line in lines if line.startswith("  step 4: 800 ms, process memory")]


def test_other_tools_get_a_line_of_json_a_cell(
    report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = map(json.loads, told(capsys, report, "--json"))
    assert (first["verdict"], second["verdict"]) == ("cannot tell", "out of memory")
    assert first["reached"]["flops"] > 0
    assert [stage["name"] for stage in first["trace"]["stages"]] == [
        "text encoder",
        "denoising",
        "decoder",
    ]
    assert (second["reached"], second["not_reached"]) == (None, "no step was timed")


def test_cells_of_several_devices_are_told_with_why_nothing_held_them_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request, head = ImageRequest(prompt="a cat"), make_header()
    pair = DevicesPlan(names=("cpu", "cpu"), share=("jobs", "batch"))
    head = head.model_copy(update={"plan": head.plan.model_copy(update={"devices": pair})})
    job = DeviceJob(device="cpu", status="ok", batch=1, seed=0, begin_s=(0.1,), end_s=(5.0,))
    path = tmp_path / "two.jsonl"
    with ReportWriter.create(path, head) as writer:
        for share, status in (("jobs", "ok"), ("batch", "oom")):
            cell = {
                "cell_id": head.shared_id(request, share),
                "request": request,
                "share": share,
                "order": 0,
                "started_utc": "2026-01-02T03:05:00Z",
                "status": status,
                "message": "" if status == "ok" else "cpu, job 2 of 2: no memory",
                "jobs": (job, job),
            }
            writer.append(SharedCell.model_validate(cell))
    first, *lines = told(capsys, path)
    assert first.endswith("two.jsonl: 2 cells")
    assert [line.rpartition(", ")[2] for line in lines[::2]] == ["jobs on 2", "batch on 2"]
    assert lines[1::2] == [
        "  cannot tell: of several devices at once neither steps nor stages are stored",
        "  out of memory: cpu, job 2 of 2: no memory",
    ]
    found = [json.loads(line) for line in told(capsys, path, "--json")]
    assert [each["verdict"] for each in found] == ["cannot tell", "out of memory"]
    assert [(each["share"], each["devices"]) for each in found] == [
        ("jobs", ["cpu", "cpu"]),
        ("batch", ["cpu", "cpu"]),
    ]


def test_a_file_that_is_no_report_is_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "no.jsonl"
    path.write_text("hello\n", encoding="utf-8")
    assert complaint(capsys, "explain", path)


def test_cells_are_named_once_a_report_and_not_once_a_cell(
    report: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each naming looks at all cells: of five thousand it took minutes."""
    asked: list[int] = []
    real = labels.name_among

    def spy(requests: Sequence[Request], **how: bool) -> Callable[[Request], str]:
        asked.append(len(requests))
        return real(requests, **how)

    monkeypatch.setattr(labels, "name_among", spy)
    told(capsys, report)
    assert asked == [2]
