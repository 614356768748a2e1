"""No axis title is longer than the axis it stands at, in any chart."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import plotly.graph_objects as go
import pytest
from fakes import make_cell, make_quality, make_report, make_spoken_cell, make_voice_quality

import diffusion_bench.charts
from diffusion_bench.backends.inside.film import Progress
from diffusion_bench.charts.denoising import denoising_figure, denoising_numbers
from diffusion_bench.charts.latency import latency_figure, latency_numbers
from diffusion_bench.charts.memory import KINDS, memory_figure, memory_numbers
from diffusion_bench.charts.quality import METRICS, quality_figure, quality_numbers
from diffusion_bench.charts.real_time import RealTimeLine, RealTimePoint, real_time_figure
from diffusion_bench.charts.style import style_figure
from diffusion_bench.charts.throughput import throughput_figure, throughput_numbers
from diffusion_bench.records import VoiceRequest

LETTER_PX = 8  # of a title: its letters are a fifth larger than the others
PHONE_PANEL_PX = 270  # what margins leave of 390 pixels
# Whose titles are not written where they are given: these are drawn here, the others are read.
DRAWN = {"bars.py", "denoising.py", "lines.py", "quality.py"}

SPEECH = VoiceRequest(text="one word more")
PICTURE = make_cell(rss_mib=9.0, nvml_used_mib=9.0)
PICTURE = PICTURE.model_copy(
    update={"memory": PICTURE.memory.model_copy(update={"torch_reserved_mib": 9.0})}
)
SPOKEN = make_cell(rss_mib=9.0).model_copy(
    update={"request": SPEECH, "cell_id": SPEECH.workload_id()}
)


def judged(metric: str) -> go.Figure:
    spoken = METRICS[metric][2] == "candidate"
    quality = make_voice_quality() if spoken else make_quality()
    gone = list(METRICS)[: list(METRICS).index(metric)]
    quality = quality.model_copy(update={n: None for n in gone if hasattr(quality, n)})
    cell = (make_spoken_cell() if spoken else PICTURE).model_copy(update={"quality": quality})
    return quality_figure(quality_numbers([make_report(cell)]))


def spoken() -> go.Figure:
    points = (RealTimePoint(5, 0.1, 0.1, 0.2, None, 2.0),)
    return real_time_figure([RealTimeLine("ddim", "ddim", "8 words", "", points, ())])


def denoised(what: str) -> go.Figure:
    steps = (Progress(1, 999, 0.1, 0.995, 1.5, 0.4), Progress(2, 499, 0.8, 0.6, 0.5, 0.0))
    return denoising_figure(denoising_numbers({"DDIM": steps}), what)


FIGURES: dict[str, Callable[[], go.Figure]] = {
    "latency": lambda: latency_figure(latency_numbers([make_report(PICTURE)])),
    "throughput": lambda: throughput_figure(throughput_numbers([make_report(PICTURE)])),
    "real time": spoken,
    "memory of both": lambda: memory_figure(memory_numbers([make_report(PICTURE, SPOKEN)])),
    **{
        f"memory, {kind}": lambda kind=kind: memory_figure(
            memory_numbers([make_report(PICTURE)], kind)
        )
        for kind in KINDS
    },
    **{f"quality, {metric}": lambda metric=metric: judged(metric) for metric in METRICS},
    **{f"{what}": lambda what=what: denoised(what) for what in ("picture", "residual")},
}


def longest_px(title: str | None) -> int:
    return LETTER_PX * max(map(len, (title or "").split("<br>")))


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_a_title_is_no_longer_than_its_axis(draw: Callable[[], go.Figure]) -> None:
    layout = draw().layout
    inside = layout.height - layout.margin.t - layout.margin.b
    if layout.meta:  # of the height, the legend has a part that no margin tells
        inside = layout.meta["plot_px"]
    axes = [axis for axis in layout if axis.startswith("yaxis")]
    assert any(layout[axis].title.text for axis in axes)
    for axis in axes:
        start, end = layout[axis].domain or (0, 1)
        assert longest_px(layout[axis].title.text) <= (end - start) * inside
    for axis in (axis for axis in layout if axis.startswith("xaxis")):
        assert longest_px(layout[axis].title.text) <= PHONE_PANEL_PX


def titles_given() -> Iterator[tuple[str, ast.expr]]:
    """Yield file and title of every axis that a module of charts gives one to."""
    (folder,) = diffusion_bench.charts.__path__
    for path in sorted(Path(folder).rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "style_figure":
                yield from ((path.name, title) for title in call.args[1:3])
            if isinstance(call, ast.Call) and path.name != "style.py":
                yield from ((path.name, k.value) for k in call.keywords if k.arg == "title_text")


def test_every_title_that_is_written_in_a_chart_fits_a_phone_and_the_others_are_drawn_here() -> (
    None
):
    found = list(titles_given())
    assert {file for file, title in found if not isinstance(title, ast.Constant)} == DRAWN
    written = [title.value for _, title in found if isinstance(title, ast.Constant)]
    assert len(written) > 20
    for title in written:
        assert longest_px(style_figure(go.Figure(), title, "").layout.xaxis.title.text) <= (
            PHONE_PANEL_PX
        ), title
