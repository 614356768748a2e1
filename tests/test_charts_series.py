"""The looks of reports: one for each in every chart, the baseline's first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

import plotly.graph_objects as go
import pytest
from fakes import make_cell, make_quality, make_report

from diffusion_bench.charts import latency, memory, quality, roofline, step_times, throughput
from diffusion_bench.charts.held_back import HeldBack, Verdict
from diffusion_bench.charts.series import series_of
from diffusion_bench.charts.style import COLOURS, MARKS, SYMBOLS
from diffusion_bench.reports.schema import Ceiling, Report

WITH_MARKERS: dict[str, tuple[Any, Any]] = {
    "latency": (latency.latency_numbers, latency.latency_figure),
    "quality": (quality.quality_numbers, quality.quality_figure),
    "roofline": (roofline.roofline_numbers, roofline.roofline_figure),
}
WITH_COLOURS: dict[str, tuple[Any, Any]] = {
    "latency": (latency.latency_numbers, latency.latency_figure),
    "quality": (quality.quality_numbers, quality.quality_figure),
    "throughput": (throughput.throughput_numbers, throughput.throughput_figure),
    "memory": (memory.memory_numbers, memory.memory_figure),
}


def report(source: str, *, is_judged: bool = True, **request: Any) -> Report:
    ceiling = Ceiling(gflops=100.0, copy_gbs=10.0)
    look = {"quality": make_quality() if is_judged else None}
    cells = [
        make_cell(steps=steps, step_s=(0.02,) * steps, ceiling=ceiling, rss_mib=9.0, **request)
        for steps in (2, 3)
    ]
    return make_report(*(cell.model_copy(update=look) for cell in cells), source=source)


def baseline_first() -> list[Report]:
    return [report("tiny.jsonl"), report("page.jsonl")]


def legend(figure: go.Figure) -> Iterator[Any]:
    return (each for each in figure.data if each.showlegend is not False)


def of_report(figure: go.Figure, report_name: str) -> Any:
    (found,) = [each for each in legend(figure) if report_name in each.name and each.marker.symbol]
    return found


def drawn_symbols(figure: go.Figure) -> set[str]:
    drawn = [each for each in figure.data if each.showlegend is False and each.marker.symbol]
    each_symbol = [
        [each.marker.symbol] if isinstance(each.marker.symbol, str) else each.marker.symbol
        for each in drawn
    ]
    return {symbol for symbols in each_symbol for symbol in symbols}


def test_the_baseline_that_was_given_first_stands_first_whatever_its_files_name() -> None:
    found = series_of(baseline_first())
    assert [series.other for series in found] == ["tiny.jsonl", "page.jsonl"]
    boxes = step_times.step_times_figure(step_times.step_times_numbers(baseline_first()))
    assert [note.text.split(", ")[-1] for note in boxes.layout.annotations] == [
        "tiny.jsonl",
        "page.jsonl",
    ]


def test_settings_stand_by_the_size_of_their_numbers() -> None:
    asked = [(10, 3.0), (2, 3.0), (1, 10.0), (1, 2.5)]
    cells = [make_cell(steps=2, batch=batch, guidance_scale=scale) for batch, scale in asked]
    assert [series.other for series in series_of([make_report(*cells)])] == [
        "batch 1, guidance 2.5",
        "batch 1, guidance 10",
        "batch 2, guidance 3",
        "batch 10, guidance 3",
    ]


def test_sixteen_settings_have_sixteen_markers_for_every_kind_of_figure() -> None:
    cells = [make_cell(steps=2, batch=batch) for batch in range(1, 17)]
    symbols = {series.look.symbol for series in series_of([make_report(*cells)])}
    assert len(symbols) == 16
    for symbol in symbols:
        for mark in MARKS.values():
            go.scatter.Marker(symbol=symbol + mark)  # refuses what plotly does not have


def test_sixteen_settings_have_sixteen_colours_of_bars_and_of_lines() -> None:
    cells = [make_cell(steps=2, rss_mib=9.0, batch=batch) for batch in range(1, 17)]
    for name in ("throughput", "memory", "latency"):
        numbers, draw = WITH_COLOURS[name]
        drawn = [
            each for each in draw(numbers([make_report(*cells)])).data if each.showlegend is False
        ]
        colours = [each.marker.color if each.type == "bar" else each.line.color for each in drawn]
        assert len(drawn) == len(set(colours)) == 16, name


def test_each_verdict_of_the_roofline_has_a_colour_of_its_own() -> None:
    (point, _) = roofline.roofline_numbers([report("a.jsonl")])
    verdicts = [HeldBack(verdict=verdict, evidence="") for verdict in get_args(Verdict)]
    figure = roofline.roofline_figure([point._replace(verdict=verdict) for verdict in verdicts])
    drawn = [each for each in figure.data if each.showlegend is False and each.mode == "markers"]
    assert len({each.marker.color for each in drawn}) == len(verdicts)


@pytest.mark.parametrize("chart", WITH_MARKERS.values(), ids=WITH_MARKERS)
def test_a_report_has_one_marker_in_every_chart(chart: tuple[Any, Any]) -> None:
    numbers, draw = chart
    figure = draw(numbers(baseline_first()))
    found = [of_report(figure, name).marker.symbol for name in ("tiny.jsonl", "page.jsonl")]
    assert found == list(SYMBOLS[:2])
    assert drawn_symbols(figure) == set(SYMBOLS[:2])


@pytest.mark.parametrize("chart", WITH_MARKERS.values(), ids=WITH_MARKERS)
def test_a_report_keeps_its_marker_where_another_has_nothing_to_draw(
    chart: tuple[Any, Any],
) -> None:
    numbers, draw = chart
    reports = [report("a.jsonl", is_judged=False), report("b.jsonl")]
    assert of_report(draw(numbers(reports)), "b.jsonl").marker.symbol == SYMBOLS[1]


@pytest.mark.parametrize("chart", WITH_COLOURS.values(), ids=WITH_COLOURS)
def test_of_one_size_every_chart_is_coloured_by_report(chart: tuple[Any, Any]) -> None:
    numbers, draw = chart
    figure = draw(numbers(baseline_first()))
    colours = {
        next(name for name in ("tiny", "page") if name in each.name): each.marker.color
        for each in legend(figure)
        if "jsonl" in each.name
    }
    assert colours == {"tiny": COLOURS[0], "page": COLOURS[1]}
    drawn = [each for each in figure.data if each.showlegend is False and "jsonl" in each.name]
    shown = [each.marker.color if each.type == "bar" else each.line.color for each in drawn]
    assert set(shown) == set(COLOURS[:2])


def test_boxes_of_one_size_are_coloured_by_report() -> None:
    boxes = step_times.step_times_figure(step_times.step_times_numbers(baseline_first()))
    assert [box.marker.color for box in boxes.data] == list(COLOURS[:2])


def test_of_several_sizes_lines_are_coloured_by_size_and_the_legend_names_each() -> None:
    def lines(reports: Sequence[Report]) -> go.Figure:
        return latency.latency_figure(latency.latency_numbers(reports))

    two = lines([report("a.jsonl"), report("b.jsonl", width=256, height=256)])
    named = {each.name: each for each in legend(two)}
    assert named["256x256"].line.color == COLOURS[1]
    assert named["b.jsonl"].marker.symbol == SYMBOLS[1]
    # A report alone, of one size, is not told apart from anything: its legend has the size.
    alone = [each.name for each in legend(lines([report("a.jsonl")]))]
    assert any("x" in name for name in alone)
