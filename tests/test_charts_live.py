"""The live charts: their numbers, the gaps, and what a figure is sent as."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from diffusion_bench.charts.live import gpu_numbers, host_numbers, live_figure
from diffusion_bench.records import GpuReading, HostReading, Reading

LOST = "the GPU is lost: it fell off the bus; reboot"


def make_gpu(index: int = 0, **values: Any) -> GpuReading:
    told = {"utilization_percent": 40.0, "memory_used_mib": 2048.0, "memory_total_mib": 8192.0}
    return GpuReading(index=index, name="RTX", **(told | values))


def lost_gpu() -> GpuReading:
    fields = GpuReading.model_fields.keys() - {"index", "parent_index", "missing"}
    return GpuReading(index=0, missing=dict.fromkeys(fields, LOST))


def make_reading(at_s: float, *gpus: GpuReading, gap_s: float | None = None) -> Reading:
    host = HostReading(
        cpu_percent=50.0, core_percents=(25.0, 75.0), ram_used_mib=2048.0, ram_total_mib=8192.0
    )
    return Reading(at_s=at_s, host=host, gpus=gpus, gap_s=gap_s)


def lines(figure: go.Figure) -> list[Any]:
    return [trace for trace in figure.data if trace.type == "scatter" and len(trace.x) > 1]


def test_time_counts_back_from_the_newest_reading_and_units_are_in_the_headings() -> None:
    readings = [make_reading(at_s, make_gpu(temperature_c=50.0)) for at_s in (10.0, 11.0, 12.0)]
    host, gpus = host_numbers(readings, 1.0), gpu_numbers(readings, 1.0)
    assert host.at_s.tolist() == [-2.0, -1.0, 0.0]
    assert host.gaps == gpus.gaps == ()
    headings = [note.text for note in live_figure(host).layout.annotations]
    assert headings == [
        "CPU (%)",
        "CPU by core (%; grey 0, orange 100)",
        "memory in use (GiB)",
    ]
    (memory,) = (panel for panel in gpus.panels if panel.title == "memory in use")
    assert (memory.unit, memory.top) == ("GiB", 8.0)
    assert memory.lines[0].values.tolist() == [2.0, 2.0, 2.0]


def test_each_core_is_a_row_of_its_own() -> None:
    (cores,) = (
        panel.cores
        for panel in host_numbers([make_reading(1.0), make_reading(2.0)], 1.0).panels
        if panel.cores is not None
    )
    assert cores.tolist() == [[25.0, 25.0], [75.0, 75.0]]


@pytest.mark.parametrize(
    "late", [make_reading(9.0, make_gpu()), make_reading(4.0, make_gpu(), gap_s=2.0)]
)
def test_a_gap_breaks_the_line_and_is_a_band_with_its_own_word(late: Reading) -> None:
    readings = [make_reading(1.0, make_gpu()), make_reading(2.0, make_gpu()), late]
    for numbers in (host_numbers(readings, 1.0), gpu_numbers(readings, 1.0)):
        assert numbers.gaps == ((2.0 - late.at_s, 0.0),)
        figure = live_figure(numbers)
        assert np.isnan(lines(figure)[0].y).tolist() == [False, False, True, True, False]
        assert numbers.at_s.tolist() == sorted(numbers.at_s)
        (band,) = figure.layout.shapes
        assert (band.x0, band.x1) == numbers.gaps[0]
        assert figure.data[-1].name == "no readings"


def test_a_reading_one_pace_late_is_no_gap() -> None:
    readings = [make_reading(at_s, make_gpu()) for at_s in (1.0, 2.0, 3.9)]
    assert host_numbers(readings, 1.0).gaps == ()


def test_a_span_in_which_the_gpus_told_nothing_is_a_gap_of_theirs_and_not_of_the_host() -> None:
    told, silent = make_gpu(), lost_gpu()
    gpus = (silent, told, silent, told, silent)
    readings = [make_reading(float(at_s), gpu) for at_s, gpu in enumerate(gpus)]
    assert gpu_numbers(readings, 1.0).gaps == ((-3.0, -1.0), (-1.0, 0.0))
    assert host_numbers(readings, 1.0).gaps == ()


def test_a_quantity_that_no_gpu_tells_has_no_panel_and_says_why() -> None:
    gpu = make_gpu(missing={"power_w": "this driver is too old to tell"})
    numbers = gpu_numbers([make_reading(1.0, gpu), make_reading(2.0, gpu)], 1.0)
    headings = [note.text for note in live_figure(numbers).layout.annotations]
    assert headings == ["use (%)", "memory in use (GiB)"]
    (power,) = (panel for panel in numbers.panels if panel.title == "power")
    assert power.missing == "this driver is too old to tell"


def test_a_lost_gpu_keeps_its_neighbour_and_the_colour_of_each() -> None:
    one, two = make_gpu(0), make_gpu(1, utilization_percent=80.0)
    both = [make_reading(1.0, one, two), make_reading(2.0, one, two)]
    alone = [make_reading(1.0, lost_gpu(), two), make_reading(2.0, lost_gpu(), two)]
    before, after = live_figure(gpu_numbers(both, 1.0)), live_figure(gpu_numbers(alone, 1.0))
    assert [trace.name for trace in lines(before)[:2]] == ["GPU 0 RTX", "GPU 1 RTX"]
    assert lines(after)[0].name == "GPU 1 RTX"
    assert lines(after)[0].line.color == lines(before)[1].line.color
    assert lines(before)[0].line.dash != lines(before)[1].line.dash  # seen where they coincide


def test_the_legend_names_each_gpu_once() -> None:
    readings = [make_reading(at_s, make_gpu(0), make_gpu(1)) for at_s in (1.0, 2.0)]
    shown = [
        trace.name for trace in live_figure(gpu_numbers(readings, 1.0)).data if trace.showlegend
    ]
    assert shown == ["GPU 0 RTX", "GPU 1 RTX"]


def test_no_gpu_is_a_figure_that_says_why() -> None:
    figure = live_figure(gpu_numbers([make_reading(1.0)], 1.0), none_because="no driver <here>")
    assert figure.layout.annotations[0].text == "no driver &lt;here&gt;"


def test_one_figure_leaves_no_trace_in_the_next() -> None:
    wide = [make_reading(1.0), make_reading(9.0)]
    whole = [make_reading(1.0), make_reading(2.0)]
    expected = json.loads(live_figure(host_numbers(whole, 1.0)).to_json())
    live_figure(host_numbers(wide, 1.0))
    assert json.loads(live_figure(host_numbers(whole, 1.0)).to_json()) == expected


def test_what_is_above_its_limit_is_still_in_the_picture() -> None:
    """A card passes its power limit for a moment."""
    readings = [make_reading(at_s, make_gpu(power_w=350.0, power_limit_w=300.0)) for at_s in (1, 2)]
    (power,) = (p for p in gpu_numbers(readings, 1.0).panels if p.title == "power")
    assert power.top == 300.0
    figure = live_figure(gpu_numbers(readings, 1.0))
    tops = [getattr(figure.layout, name).range[1] for name in ("yaxis", "yaxis2", "yaxis3")]
    assert 350 < max(tops) < 400
