"""The numbers of every chart: medians, one kind of memory, and no failure as a point."""

from __future__ import annotations

import plotly.graph_objects as go
import pytest
from fakes import NO_GPU, make_cell, make_report, make_sweep_cells, make_trace

from diffusion_bench.charts.latency import latency_figure, latency_numbers, latency_table
from diffusion_bench.charts.memory import memory_figure, memory_numbers, memory_table
from diffusion_bench.charts.page import to_html
from diffusion_bench.charts.real_time import RealTimeLine, RealTimePoint, real_time_figure
from diffusion_bench.charts.roofline import roofline_figure, roofline_numbers, roofline_table
from diffusion_bench.charts.step_times import (
    step_times_figure,
    step_times_numbers,
    step_times_table,
)
from diffusion_bench.charts.throughput import (
    throughput_figure,
    throughput_numbers,
    throughput_table,
)
from diffusion_bench.charts.trace import absences, trace_figure, trace_numbers, trace_table
from diffusion_bench.records import BUNDLED_SIDE, VoiceRequest
from diffusion_bench.reports.fits import fit_lines
from diffusion_bench.reports.schema import Ceiling
from diffusion_bench.reports.stage_spans import stage_spans

OOM = make_cell(steps=50, status="oom", message="no room")
CHARTS = {
    "latency": (latency_numbers, latency_figure, latency_table),
    "throughput": (throughput_numbers, throughput_figure, throughput_table),
    "memory": (memory_numbers, memory_figure, memory_table),
    "step_times": (step_times_numbers, step_times_figure, step_times_table),
}
SIZE = f"{BUNDLED_SIDE}x{BUNDLED_SIDE}"


def test_latency_has_a_line_a_sampler_resolution_and_batch_with_medians_by_steps():
    cells = [
        make_cell(steps=20, wall_s=(4.0, 2.0, 9.0)),
        make_cell(steps=10, wall_s=(1.0, 2.0, 3.0)),
        make_cell(sampler="ddim", eta=0.5),
        make_cell(sampler="ddpm"),
        make_cell(width=256, height=256),
        make_cell(batch=4),
    ]
    lines = latency_numbers([make_report(*cells)])
    assert [line.name for line in lines] == [
        f"ddim, {SIZE}, batch 1",
        f"ddim, {SIZE}, batch 4",
        f"ddim eta 0.5, {SIZE}, batch 1",
        f"ddpm, {SIZE}, batch 1",
        "ddim, 256x256, batch 1",
    ]
    assert lines[0].points == ((10, 2.0, 1.0, 3.0, 3, ""), (20, 4.0, 2.0, 9.0, 3, ""))


def test_latency_gives_the_fit_of_each_line_in_its_table():
    cells = [make_cell(steps=steps, wall_s=(1 + 0.1 * steps,)) for steps in (10, 20, 40)]
    header, rows = latency_table(latency_numbers([make_report(*cells)]))
    row = dict(zip(header, rows[0], strict=True))
    assert row["fixed (s)"] == pytest.approx(1)
    assert row["per step (s)"] == pytest.approx(0.1)
    assert row["largest misfit (%)"] == pytest.approx(0, abs=1e-6)


def test_latencys_fit_is_the_reports_own_and_names_the_cell_that_is_off_it():
    walls = {10: 2.0, 20: 3.0, 40: 5.0, 80: 30.0}  # the last one spilled
    cells = [make_cell(steps=steps, wall_s=(wall,)) for steps, wall in walls.items()]
    (stored,) = fit_lines(cells)
    header, rows = latency_table(latency_numbers([make_report(*cells)]))
    told = [dict(zip(header, row, strict=True)) for row in rows]
    assert {row["per step (s)"] for row in told} == {stored.per_step_s}
    assert stored.per_step_s == pytest.approx(0.1)
    assert [row["status"] for row in told] == ["ok", "ok", "ok", "ok, off the line"]


def test_no_step_is_said_to_take_less_than_no_time():
    walls = {10: 7.0, 20: 6.0, 40: 5.0}
    cells = [make_cell(steps=steps, wall_s=(wall,)) for steps, wall in walls.items()]
    header, rows = latency_table(latency_numbers([make_report(*cells)]))
    assert dict(zip(header, rows[0], strict=True))["per step (s)"] is None


def test_axes_are_logarithmic_only_for_a_wide_range():
    def axis(*steps: int) -> str | None:
        cells = [make_cell(steps=each) for each in steps]
        return latency_figure(latency_numbers([make_report(*cells)])).layout.xaxis.type

    assert axis(10, 1000) == "log"
    assert axis(10, 20) is None
    sizes = [make_cell(width=side, wall_s=(side / 64,) * 3) for side in (64, 1024)]
    layout = latency_figure(latency_numbers([make_report(*sizes)])).layout
    assert (layout.xaxis.type, layout.yaxis.type) == (None, "log")


def test_dashes_tell_samplers_apart_and_colours_resolutions():
    report = make_report(make_cell(), make_cell(sampler="ddpm"), make_cell(width=256, height=256))
    figure = latency_figure(latency_numbers([report]))
    small, noisy, large = (trace for trace in figure.data if trace.showlegend is False)
    assert small.line.color == noisy.line.color != large.line.color
    assert small.line.dash == large.line.dash != noisy.line.dash


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_a_failed_cell_is_no_point_but_a_row_with_status_and_message(chart):
    numbers, figure, table = chart
    found = numbers([make_report(make_cell(), OOM)])
    header, rows = table(found)
    assert all(len(row) == len(header) for row in rows)
    (failed,) = [row for row in rows if row[-2] != "ok"]
    assert failed[-2:] == ["oom", "no room"]
    assert failed[1] == 50
    alone, with_failure = numbers([make_report(make_cell())]), found
    assert len(figure(alone).to_json()) == len(figure(with_failure).to_json())


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_reports_without_a_good_cell_draw_a_sentence(chart):
    numbers, figure, table = chart
    for reports in ([], [make_report()], [make_report(OOM)]):
        found = numbers(reports)
        drawn = figure(found)
        assert len(drawn.data) == 0
        assert "No cell" in drawn.layout.annotations[0].text
        assert len(table(found)[1]) == (1 if reports and reports[0].cells else 0)


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_two_machines_are_named_by_machine_and_file(chart):
    numbers, _, table = chart
    reports = [
        make_report(make_cell(), source="a.jsonl"),
        make_report(make_cell(), source="b.jsonl", gpu="NVIDIA L4"),
    ]
    names = {row[0] for row in table(numbers(reports))[1]}
    assert names == {f"ddim, {SIZE}, Test CPU, a.jsonl", f"ddim, {SIZE}, NVIDIA L4, b.jsonl"}


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_a_figure_fits_light_and_dark_pages_and_has_no_title(chart):
    numbers, figure, _ = chart
    drawn = figure(numbers([make_report(*make_sweep_cells())]))
    assert drawn.layout.paper_bgcolor == drawn.layout.plot_bgcolor == "rgba(0,0,0,0)"
    assert drawn.layout.title.text is None
    assert drawn.layout.yaxis.gridcolor == "rgba(128,128,128,0.25)"


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_a_name_from_a_report_is_text_not_html(chart):
    numbers, figure, _ = chart
    cells = [make_cell(model="<b>bold</b>"), make_cell()]
    drawn = figure(numbers([make_report(*cells)]))
    texts = [trace.name or "" for trace in drawn.data]
    texts += [note.text for note in drawn.layout.annotations]
    assert any("&lt;b&gt;bold" in text for text in texts)
    assert not any("<b>" in text for text in texts)


def test_throughput_draws_one_step_count_and_lists_them_all():
    cells = [make_cell(steps=steps, wall_s=(steps / 10,), batch=2) for steps in (10, 20, 50)]
    cells.append(make_cell(steps=20, wall_s=(4.0,), batch=4))
    numbers = throughput_numbers([make_report(*cells)])
    assert [item.drawn and item.drawn.steps for item in numbers] == [20, 20]
    assert [item.drawn and item.drawn.images_per_s for item in numbers] == [1.0, 1.0]
    assert len(throughput_table(numbers)[1]) == 4
    assert throughput_figure(numbers).layout.yaxis.title.text == "images/s at 20 steps"


def test_of_equally_usual_step_counts_the_middle_one_is_drawn():
    cells = [make_cell(steps=steps) for steps in (10, 20, 50)]
    (series,) = throughput_numbers([make_report(*cells)])
    assert series.drawn
    assert series.drawn.steps == 20


def test_a_sampler_without_the_usual_step_count_shows_its_own():
    cells = [make_cell(steps=20), make_cell(steps=20, batch=2), make_cell(steps=30)]
    cells.append(make_cell(steps=99, sampler="ddpm"))
    numbers = throughput_numbers([make_report(*cells)])
    assert {item.sampler: item.drawn and item.drawn.steps for item in numbers} == {
        "ddim": 20,
        "ddpm": 99,
    }


def test_kinds_of_memory_are_never_mixed():
    on_gpu = make_report(make_cell(nvml_used_mib=5000.0, rss_mib=900.0), gpu="NVIDIA L4")
    on_cpu = make_report(make_cell(rss_mib=800.0))
    both = memory_numbers([on_gpu, on_cpu])
    assert sorted((item.kind, item.peak_mib) for item in both) == [
        ("rss_mib", 800.0),
        ("rss_mib", 900.0),
    ]
    assert [item.peak_mib for item in memory_numbers([on_gpu])] == [5000.0]
    assert memory_figure(both).layout.yaxis.title.text == "peak resident set (MiB)"
    assert memory_figure(memory_numbers([on_gpu])).layout.yaxis.title.text == (
        "peak GPU memory, NVML (MiB)"
    )


def test_the_peak_of_a_series_is_the_largest_of_its_cells():
    cells = [make_cell(steps=steps, rss_mib=mib) for steps, mib in ((10, 700.0), (20, 900.0))]
    (series,) = memory_numbers([make_report(*cells)])
    assert series.peak_mib == 900.0


def test_memory_of_speech_lies_over_words_and_not_over_pixels():
    text = VoiceRequest(text="one word more")
    speech = make_cell().model_copy(update={"request": text, "cell_id": text.workload_id()})
    for cells, title in (
        ([speech], "length of the text"),
        ([make_cell()], "resolution (pixels)"),
        ([make_cell(), speech], "resolution, or length of the text"),
    ):
        drawn = memory_figure(memory_numbers([make_report(*cells)]))
        assert drawn.layout.xaxis.title.text == title


def test_memory_that_was_not_measured_is_a_row_with_its_reason():
    numbers = memory_numbers([make_report(make_cell())], kind="nvml_used_mib")
    assert memory_table(numbers)[1] == [[f"ddim, {SIZE}", 20, None, "ok", NO_GPU]]
    assert len(memory_figure(numbers).data) == 0


def test_each_of_many_boxes_has_its_name_and_none_is_copied_for_the_next(monkeypatch):
    # Plotly validates all that are there again for each one added: a minute for 500 cells.
    monkeypatch.setattr(go.Figure, "add_annotation", pytest.fail)
    cells = [make_cell(seed=seed, step_s=(0.01, 0.02)) for seed in range(40)]

    boxes = step_times_numbers([make_report(*cells)])
    names = step_times_figure(boxes).layout.annotations

    assert [name.text for name in names] == [box.name for box in boxes]
    assert [name.y for name in names] == list(range(len(cells)))


def test_step_times_are_in_milliseconds_with_percentiles_only_of_enough_steps():
    few = make_cell(steps=58, wall_s=(1.0,), step_s=[0.001, *[0.003] * 56, 0.1])
    (found,) = step_times_numbers([make_report(few)])
    assert found.box
    assert (found.box.median_ms, found.box.high_whisker_ms) == (3.0, 100.0)
    many = make_cell(wall_s=(1.0,), step_s=[0.001] * 58 + [0.1])
    (found,) = step_times_numbers([make_report(many)])
    assert found.box
    assert (found.box.n, found.box.high_whisker_ms, found.box.max_ms) == (59, 1.0, 100.0)


def test_a_series_of_one_step_has_a_box_and_one_without_says_so():
    one, none = make_cell(steps=1, wall_s=(1.0,), step_s=[0.2]), make_cell(steps=2, step_s=[])
    drawn = step_times_numbers([make_report(one)])
    assert drawn[0].box
    assert (drawn[0].box.n, drawn[0].box.quartile1_ms, drawn[0].box.median_ms) == (1, 200.0, 200.0)
    header, (row,) = step_times_table(step_times_numbers([make_report(none)]))
    assert len(row) == len(header)
    assert row[-2:] == ["ok", "no step was timed"]


def test_a_trace_without_a_gpu_has_host_panels_and_the_reason_for_the_others():
    panels = trace_numbers(make_cell(trace=make_trace()))
    assert [panel.title for panel in panels if panel.lines] == ["CPU", "process memory"]
    assert {panel.missing for panel in panels if not panel.lines} == {NO_GPU}
    figure = trace_figure(panels)
    notes = " ".join(note.text.replace("<br>", " ") for note in figure.layout.annotations)
    assert len(figure.data) == 2
    assert "No GPU, GPU power, GPU memory, GPU temperature: see the table." in notes
    assert absences(panels) == f"No GPU, GPU power, GPU memory, GPU temperature: {NO_GPU}."
    assert [row[-1] for row in trace_table(panels)[1]] == ["", "", *[NO_GPU] * 4]


def test_a_long_reason_takes_no_room_from_the_curves_and_stands_on_the_page():
    long = "no driver here; start it with NVIDIA_DRIVER_CAPABILITIES=compute,utility " * 6
    trace = make_trace().model_copy(update={"no_gpu": long.strip()})
    cells = [make_cell(trace=each) for each in (trace, make_trace(), make_trace(gpu="NVIDIA L4"))]
    inside = []
    for cell in cells:
        figure = trace_figure(panels := trace_numbers(cell), stage_spans(cell)[0])
        margin = figure.layout.margin
        rows = sum(1 for panel in panels if panel.lines)
        inside.append((figure.layout.height - margin.t - margin.b) / rows)
    assert min(inside) == max(inside) >= 130
    assert absences(trace_numbers(cells[0])) in to_html([make_report(cells[0])])


def test_the_note_below_a_trace_does_not_break_words():
    panels = trace_numbers(make_cell(trace=make_trace()))
    word = "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
    named = [panel._replace(title=word) if not panel.lines else panel for panel in panels]
    assert word in trace_figure(named).layout.annotations[-1].text


def test_a_trace_with_a_gpu_has_every_panel_with_its_unit_and_keeps_gaps():
    panels = trace_numbers(make_cell(trace=make_trace(gpu="NVIDIA L4")))
    units = [panel.unit for panel in panels]
    assert units == ["%", "MiB", "%", "W", "MiB", "°C"]
    assert all(panel.lines for panel in panels)
    figure = trace_figure(panels)
    assert figure.data[3].y[7] is None
    titles = [note.text for note in figure.layout.annotations]
    assert titles[3] == "GPU power (W)"
    header, rows = trace_table(panels)
    assert all(len(row) == len(header) for row in rows)
    assert rows[3][4] == 49  # of 50 readings


def test_a_card_keeps_its_colour_where_another_tells_nothing():
    both = make_trace(gpu="NVIDIA L4")
    first = both.gpus[0].model_copy(update={"power_w": (None,) * len(both.at_s)})
    second = both.gpus[0].model_copy(update={"index": 1, "name": "NVIDIA L40S"})
    cell = make_cell(trace=both.model_copy(update={"gpus": (first, second)}))
    lines = [line for line in trace_figure(trace_numbers(cell)).data if "GPU 1" in line.name]
    assert len(lines) == 4
    assert len({line.line.color for line in lines}) == 1
    assert all(line.showlegend for line in lines)


def test_a_cell_without_a_trace_says_so():
    panels = trace_numbers(make_cell())
    assert "No hardware trace" in trace_figure(panels).layout.annotations[0].text
    assert {panel.missing for panel in panels} == {"no reading in the report"}


def test_extrapolated_and_emulated_figures_never_look_or_read_like_measured_ones():
    cells = [
        make_cell(steps=steps, wall_s=(0.1 * steps,) * 5).model_copy(update={"labels": labels})
        for steps, labels in (
            (10, ("contended",)),
            (20, ("extrapolated",)),
            (50, ("emulated",)),
            (100, ("extrapolated", "emulated", "throttled")),
        )
    ]
    report = make_report(*cells)
    lines = latency_numbers([report])
    figure = latency_figure(lines)
    assert len(set(figure.data[0].marker.symbol)) == 4
    legend = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert {"extrapolated", "emulated", "extrapolated, emulated"} <= set(legend)
    header, rows = latency_table(lines)
    status = header.index("status")
    assert [row[status] for row in rows] == [
        "ok",
        "extrapolated",
        "emulated",
        "extrapolated, emulated",
    ]
    for numbers, draw, table in (
        (throughput_numbers, throughput_figure, throughput_table),
        (memory_numbers, memory_figure, memory_table),
    ):
        (item,) = numbers([make_report(cells[3])])
        bar = draw([item]).data[0]
        assert bar.marker.opacity < 1, table
        assert any("emulated" in str(value) for value in table([item])[1][0]), table
        (item,) = numbers([make_report(cells[0])])
        assert draw([item]).data[0].marker.opacity is None


def test_a_logarithmic_axis_writes_every_tick_whole():
    cells = [make_cell(steps=steps, wall_s=(0.02 * steps,) * 3) for steps in (5, 20, 100)]
    axis = latency_figure(latency_numbers([make_report(*cells)])).layout.yaxis
    written = dict(zip(axis.ticktext, axis.tickvals, strict=True))
    assert {"0.1", "0.5", "2"} <= set(written)
    assert all(float(text) == pytest.approx(value) for text, value in written.items())


@pytest.mark.parametrize(("steps", "scale", "place"), [((5, 250), "log", 0), ((5, 10), None, 1)])
def test_the_words_real_time_stand_at_their_line(steps, scale, place):
    points = tuple(RealTimePoint(n, 0.02 * n, 0.01 * n, 0.03 * n, None, 2.0) for n in steps)
    figure = real_time_figure([RealTimeLine("ddim", "ddim", "8 words", "", points, ())])
    words = [note for note in figure.layout.annotations if note.text == "real time"]
    assert figure.layout.yaxis.type == scale
    assert [(note.yref, note.y) for note in words] == [("y", place)]
    assert [(line.y0, line.y1) for line in figure.layout.shapes] == [(1, 1)]


def test_steps_under_a_cap_of_memory_are_named_and_drawn_as_such():
    cell = make_cell(ceiling=Ceiling(gflops=100.0, copy_gbs=10.0))
    capped = make_report(cell.model_copy(update={"labels": ("emulated",)}))
    boxes, points = step_times_numbers([capped]), roofline_numbers([capped])
    assert step_times_table(boxes)[1][0][-2] == "emulated"
    assert step_times_figure(boxes).data[0].opacity < 1
    assert step_times_figure(boxes).layout.annotations[0].text.endswith(", emulated")
    assert step_times_figure(step_times_numbers([make_report(cell)])).data[0].opacity == 1
    assert "emulated" in roofline_table(points)[1][0]
    drawn = [trace for trace in roofline_figure(points).data if trace.mode == "markers"]
    assert [trace.marker.symbol for trace in drawn if trace.showlegend is False] == ["circle-dot"]
