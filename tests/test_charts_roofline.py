"""The roofline: a point a cell, a roof a device, a row a cell; and the trace's bands of stages."""

from __future__ import annotations

import math
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fakes import make_cell, make_report, make_trace

from diffusion_bench.charts import reached as reached_module
from diffusion_bench.charts.page import to_html
from diffusion_bench.charts.reached import ceiling_of, rate, reached
from diffusion_bench.charts.roofline import roofline_figure, roofline_numbers, roofline_table
from diffusion_bench.charts.trace import BANDS, trace_figure, trace_numbers, trace_table
from diffusion_bench.reports.schema import Ceiling, Cell, Report, Visit
from diffusion_bench.reports.stage_readings import cut_trace
from diffusion_bench.reports.stage_spans import stage_spans
from diffusion_bench.tiers.cards import find_card

CEILING = Ceiling(gflops=100.0, copy_gbs=10.0)
SD15 = {"model": "sd15", "width": 512, "height": 512, "precision": "fp16", "steps": 4}
SD15_PASS = 803_273_441_280  # FLOPs, as torch.utils.flop_counter says (docs/methodology.md)


def on_card(step_s: float = 0.5, **request: Any) -> Report:
    cell = make_cell(step_s=(step_s,) * 4, **({"guidance_scale": 5} | SD15 | request))
    return make_report(cell, source="card.jsonl", gpu="NVIDIA GeForce RTX 4070")


def on_processor() -> Report:
    cell = make_cell(step_s=(0.02,) * 4, steps=4, ceiling=CEILING)
    return make_report(cell, make_cell(status="oom", steps=8), source="cpu.jsonl")


def test_a_step_reaches_its_counted_flops_over_the_measured_seconds() -> None:
    report = on_card(0.5)
    point, why = reached(report.cells[0], report)
    assert point, why
    assert point.flops == 2 * SD15_PASS
    assert point.flops_a_second == pytest.approx(point.flops / 0.5)
    card = find_card("RTX 4070").card
    assert card
    assert point.peak_flops == pytest.approx(1e12 * card.tensor_tflops)
    assert point.bandwidth == pytest.approx(1e9 * card.bandwidth_gbs)
    assert point.arithmetic_share == pytest.approx(point.flops_a_second / point.peak_flops)


def test_a_step_of_split_guidance_is_judged_with_the_launches_and_bytes_of_its_two_calls() -> None:
    batched, split = (on_card(batch=2, speed=speed) for speed in ("plain", "split-guidance"))
    together, apart = (reached(report.cells[0], report)[0] for report in (batched, split))
    assert together
    assert apart
    assert apart.flops == together.flops
    assert apart.launches == 2 * together.launches
    assert apart.host_s == pytest.approx(2 * together.host_s)
    assert apart.bytes_moved > together.bytes_moved


def test_a_step_without_guidance_is_half_the_arithmetic() -> None:
    guided, alone = (on_card(guidance_scale=scale) for scale in (7.5, 1.0))
    both, one = (reached(report.cells[0], report)[0] for report in (guided, alone))
    assert both
    assert one
    assert both.flops == pytest.approx(2 * one.flops)


def test_a_network_that_computes_in_16_bits_is_judged_by_the_limits_of_those() -> None:
    plain, cast = (on_card(precision="fp32", speed=speed) for speed in ("plain", "bf16"))
    told = [reached(report.cells[0], report)[0] for report in (plain, cast)]
    assert [point and point.limits_from[-7:] for point in told] == ["32 bits", "16 bits"]


def test_a_processors_roof_is_the_least_disturbed_of_its_tests() -> None:
    cells = [
        make_cell(steps=steps, ceiling=Ceiling(gflops=gflops, copy_gbs=gbs))
        for steps, gflops, gbs in ((2, 90.0, 11.0), (4, 100.0, 10.0))
    ]
    assert ceiling_of(make_report(*cells)) == Ceiling(gflops=100.0, copy_gbs=11.0)
    assert ceiling_of(make_report(make_cell())) is None


def test_every_cell_is_a_row_and_only_those_with_figures_are_points() -> None:
    numbers = roofline_numbers([on_card(), on_processor()])
    assert [item.point is not None for item in numbers] == [True, True, False]
    header, rows = roofline_table(numbers)
    assert all(len(row) == len(header) for row in rows)
    held, reason = header.index("held back by"), header.index("no point because")
    assert rows[2][held] == "out of memory"
    assert rows[2][reason] == "no step was timed"
    tflops, share = header.index("TFLOP/s"), header.index("of the limit (%)")
    point = numbers[0].point
    assert point
    assert rows[0][tflops] == pytest.approx(point.flops_a_second / 1e12)
    assert rows[0][share] == pytest.approx(100 * point.arithmetic_share)


def test_the_roof_breaks_at_the_ridge_and_points_lie_where_the_numbers_say() -> None:
    numbers = roofline_numbers([on_card()])
    figure = roofline_figure(numbers)
    roof, mark = figure.data[0], figure.data[1]
    point = numbers[0].point
    assert point
    ridge = point.peak_flops / point.bandwidth
    assert roof.x[1] == pytest.approx(ridge)
    assert roof.y[1] == roof.y[2] == pytest.approx(point.peak_flops / 1e12)
    assert roof.y[0] == pytest.approx(roof.x[0] * point.bandwidth / 1e12)
    assert (mark.x[0], mark.y[0]) == (
        pytest.approx(point.intensity),
        pytest.approx(point.flops_a_second / 1e12),
    )
    assert {figure.layout.xaxis.type, figure.layout.yaxis.type} == {"log"}


def legend(figure: Any) -> dict[str, Any]:
    shown = [line for line in figure.data if line.showlegend is not False]
    return {line.name.replace("<br>", " "): line for line in shown}


def test_two_devices_have_two_roofs_that_are_told_apart() -> None:
    figure = roofline_figure(roofline_numbers([on_card(), on_processor()]))
    roofs = [line for line in figure.data if line.mode == "lines" and line.x[0] is not None]
    assert len({roof.line.dash for roof in roofs}) == 2
    named = legend(figure)
    for limits, report in (
        ("specification of RTX 4070, 16 bits", "NVIDIA GeForce RTX 4070, card.jsonl"),
        ("matrix product and copy, measured", "Test CPU, cpu.jsonl"),
    ):
        assert f"{limits}, {report}" in named


def test_roofs_of_one_kind_are_told_apart_by_their_report_in_look_legend_and_hover() -> None:
    def measured(source: str, gflops: float) -> Report:
        ceiling = Ceiling(gflops=gflops, copy_gbs=10.0)
        return make_report(make_cell(step_s=(0.02,) * 4, steps=4, ceiling=ceiling), source=source)

    reports = [measured("a.jsonl", 100.0), measured("b.jsonl", 50.0)]
    figure = roofline_figure(roofline_numbers(reports))
    roofs = [line for line in figure.data if line.mode == "lines" and line.x[0] is not None]
    assert len({roof.line.dash for roof in roofs}) == 2
    named = legend(figure)
    for roof, report in zip(roofs, ("a.jsonl", "b.jsonl"), strict=True):
        name = f"matrix product and copy, measured, {report}"
        assert named[name].line.dash == roof.line.dash
        assert name in roof.hovertemplate
    # What all share is no report's own.
    shared = [measured("a.jsonl", 100.0), measured("b.jsonl", 100.0)]
    assert "matrix product and copy, measured" in legend(roofline_figure(roofline_numbers(shared)))


def test_reports_without_any_point_say_why() -> None:
    figure = roofline_figure(roofline_numbers([make_report(make_cell())]))
    assert "was not measured with this report" in figure.layout.annotations[0].text
    assert "There is no cell" in roofline_figure([]).layout.annotations[0].text


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [(1.34e12, "FLOP", "1.34 TFLOP/s"), (5e7, "FLOP", "50 MFLOP/s"), (1.2e12, "B", "1200 GB/s")],
)
def test_rates_are_in_the_units_that_specifications_use(
    value: float, unit: str, words: str
) -> None:
    assert rate(value, unit) == words


def watched_cell(gpu: str | None = None) -> Cell:
    """Return a cell of three calls of 3 s with a trace, and where its calls began."""
    cell = make_cell(wall_s=(3.0,) * 3, steps=4, trace=make_trace(seconds=9, gpu=gpu))
    samples = tuple(
        sample.model_copy(update={"start_s": 3.0 * index})
        for index, sample in enumerate(cell.samples)
    )
    return cell.model_copy(update={"samples": samples, "ceiling": None if gpu else CEILING})


def test_stages_lie_as_bands_under_every_panel_and_are_named_once() -> None:
    cell = watched_cell()
    figure = trace_figure(trace_numbers(cell), stage_spans(cell)[0])
    bands = figure.layout.shapes
    assert len(bands) == 9
    assert {(band.layer, band.yref, band.y0, band.y1) for band in bands} == {
        ("below", "paper", 0, 1)
    }
    assert [(band.x0, band.x1) for band in bands[:3]] == [
        (pytest.approx(0.0), pytest.approx(0.3)),
        (pytest.approx(0.3), pytest.approx(2.7)),
        (pytest.approx(2.7), pytest.approx(3.0)),
    ]
    assert len({band.fillcolor for band in bands}) == 3
    named = [line.name for line in figure.data if line.showlegend is not False]
    assert named == list(BANDS)


def test_the_traces_table_has_the_stages_the_mean_step_and_what_cannot_be_told() -> None:
    cell = watched_cell(gpu="NVIDIA L4")
    cut = cut_trace(cell, make_report(cell, gpu="NVIDIA L4").header)
    header, rows = trace_table(trace_numbers(cell), cut)
    assert all(len(row) == len(header) for row in rows)
    found = {(row[0], row[1]): row for row in rows}
    low, mean, high = (header.index(name) for name in ("min", "mean", "max"))
    energy = found["a step, on average", "GPU energy of one"]
    assert energy[low] < energy[mean] < energy[high]
    assert cut.a_step
    assert energy[mean] == cut.a_step.energy_j
    assert cut.a_step.energy_error_j
    assert energy[mean] - energy[low] == pytest.approx(cut.a_step.energy_error_j)
    short = found["text encoder", "GPU"]
    assert short[mean] is None
    assert "the sensor tells of the last 1 s" in short[-1]


def test_the_traces_table_and_its_section_say_of_which_visit_the_readings_are() -> None:
    visits = tuple(Visit(started_utc=f"2026-01-02T03:0{n}:05Z", calls=n) for n in (1, 2))
    once = watched_cell()
    twice = once.model_copy(update={"visits": visits})
    for cell, words in ((once, ""), (twice, "the last of 2 visits, 2 of 3 calls")):
        report = make_report(cell)
        _, rows = trace_table(trace_numbers(cell), cut_trace(cell, report.header))
        assert rows[0][0] == (f"the calls of {words}" if words else "the calls")
        assert ("The readings are of the last" in to_html([report])) is bool(words)


@pytest.mark.browser
@pytest.mark.slow
def test_bands_and_roofline_are_drawn_on_a_phone_without_a_network(tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    if not chromium:
        pytest.skip("no chromium")
    path = tmp_path / "page.html"
    cell = watched_cell()
    path.write_text(to_html([make_report(cell)]), encoding="utf-8")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        context = browser.new_context(viewport={"width": 393, "height": 850}, offline=True)
        page = context.new_page()
        page.goto(path.as_uri())
        sync_api.expect(page.locator("#chart-trace-0 .shapelayer path")).to_have_count(9)
        sync_api.expect(page.locator("#chart-roofline .points path")).not_to_have_count(0)
        boxes = [
            page.locator(f"{chart} .main-svg").first.bounding_box()
            for chart in ("#chart-trace-0", "#chart-roofline")
        ]
        ticks = page.locator("#chart-roofline .xtick text").all()
        spans = sorted(
            (box["x"], box["x"] + box["width"]) for t in ticks if (box := t.bounding_box())
        )
        browser.close()
    assert all(box and box["x"] + box["width"] <= 393 for box in boxes)
    assert all(math.floor(a[1]) <= b[0] for a, b in pairwise(spans)), spans


def test_what_a_processor_can_reach_is_looked_for_once_a_report_and_not_once_a_cell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two thousand cells the roofline took minutes."""
    asked: list[int] = []
    real = reached_module._highest

    def spy(cells: tuple[Cell, ...]) -> Ceiling | None:
        asked.append(len(cells))
        return real(cells)

    monkeypatch.setattr(reached_module, "_highest", spy)
    cells = [
        make_cell(step_s=(0.02,) * 4, steps=4, seed=seed, ceiling=CEILING) for seed in range(9)
    ]
    roofline_numbers([make_report(*cells), make_report(*cells[:5])])
    assert asked == [9, 5]
