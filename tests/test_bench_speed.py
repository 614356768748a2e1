"""A sweep over speeds: each cell says at which it ran, and how long torch compiled for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import make_cell, make_report
from tiny_models import save_tiny_sd

from diffusion_bench.bench.measure import Effort, measure
from diffusion_bench.bench.rounds import joined
from diffusion_bench.bench.runner import run_sweep
from diffusion_bench.bench.sweep import parse_sweep
from diffusion_bench.charts.page import to_html
from diffusion_bench.records import Generation, ImageRequest, Memory, Speed, Stages, parse_speed
from diffusion_bench.reports.compare import compare
from diffusion_bench.reports.export import to_rows
from diffusion_bench.reports.markdown import to_markdown
from diffusion_bench.reports.read import read_report

pytestmark = pytest.mark.usefixtures("warm_workers", "short_rests")


def test_a_report_says_what_auto_came_to(tmp_path: Path) -> None:
    sweep = parse_sweep(
        'name = "speeds"\nrepeats = 1\n[axes]\nsampler = ["ddim"]\nsteps = [2]\n'
        f'model = ["{save_tiny_sd(tmp_path)}"]\nresolution = [32]\nspeed = ["packed", "auto"]'
    )
    for _ in run_sweep(sweep, tmp_path / "speeds.jsonl", device="cpu"):
        pass
    report = read_report(tmp_path / "speeds.jsonl")
    packed, auto = report.cells
    assert [cell.status for cell in report.cells] == ["ok", "ok"], auto.message
    assert packed.speed == "packed"
    assert auto.speed is not None
    assert isinstance(parse_speed(auto.speed), Speed)
    assert packed.load_s is not None  # each in a process of its own
    assert auto.load_s is not None
    assert "compile_s" in packed.missing
    rows = to_rows([report])
    assert [row["speed"] for row in rows] == ["packed", f"auto: {auto.speed}"]
    assert packed.notes == ()  # what was asked for by name needs no words
    assert auto.notes[0].startswith(f"speed {auto.speed}: ")
    assert "of 255 apart" in auto.notes[0]
    assert auto.notes[0] in str(rows[1]["warnings"])


def test_notes_of_auto_are_told_where_warnings_are(tmp_path: Path) -> None:
    note = "speed bf16: 1.70 times as fast as plain, pictures 1.21 of 255 apart"
    auto = make_cell(wall_s=[1.0] * 9, speed="auto").model_copy(update={"notes": (note,)})
    reports = [make_report(make_cell(wall_s=[1.0] * 9, speed="auto")), make_report(auto)]
    (row,) = compare(reports)
    assert f"other: {note}" in row.reason
    assert note in to_html([reports[1]])
    assert note in to_markdown([reports[1]])


def test_a_cell_of_several_rounds_keeps_each_note_once() -> None:
    first = make_cell().model_copy(update={"notes": ("one", "two")})
    second = make_cell().model_copy(update={"notes": ("two", "three")})
    assert joined(first, second).notes == ("one", "two", "three")


def test_the_time_of_compiling_is_added_up_over_all_calls() -> None:
    compiled = iter([40.0, 2.5, 0.0])

    def generate(request: ImageRequest, *, stop_after: int | None = None) -> Generation:
        return Generation(
            request=request.model_copy(update={"speed": Speed(compile="on")}),
            images=(),
            device="cpu",
            wall_s=1.0,
            stages=Stages(text_encoder_s=0, denoising_s=1, decoder_s=0, other_s=0),
            step_s=(1.0,),
            memory=Memory(),
            compile_s=next(compiled),
        )

    found = measure(
        ImageRequest(prompt="a cat", speed="compile"),
        generate,
        Effort(warmups=1, repeats=2),
        clock=iter(range(100)).__next__,
        on_repeat=lambda _: None,
    )
    assert found.compile_s == 42.5
    assert found.speed == "compile"
