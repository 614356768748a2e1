"""Quality against time: the points, who is on the front, what does not compare, and the drawing."""

from __future__ import annotations

import pytest
from fakes import make_cell, make_quality, make_report, make_spoken_cell, make_voice_quality

from diffusion_bench.charts.quality import (
    FRONT,
    QualitySeries,
    quality_figure,
    quality_numbers,
    quality_table,
)
from diffusion_bench.records import Estimate, Quality, Share, VoiceQuality
from diffusion_bench.reports.schema import Cell, Report


def judged(steps: int, seconds: float, distance: float, **request: object) -> Cell:
    figure = Estimate(value=distance, low=distance - 1, high=distance + 2, n=100)
    quality = make_quality().model_copy(update={"frechet": figure})
    cell = make_cell(wall_s=[seconds] * 3, steps=steps, **request)
    return cell.model_copy(update={"quality": quality})


def two_samplers() -> Report:
    return make_report(
        judged(10, 1.0, 30.0),
        judged(20, 2.0, 20.0),
        judged(50, 5.0, 20.5),
        judged(10, 1.1, 90.0, sampler="ddpm"),
        judged(50, 4.0, 15.0, sampler="ddpm"),
    )


def points(numbers: list[QualitySeries]) -> dict[tuple[str, int], bool]:
    return {(s.sampler, p.steps): p.on_front for s in numbers for p in s.points}


def test_the_points_are_seconds_a_picture_and_the_distance_with_its_interval() -> None:
    report = make_report(judged(10, 3.0, 30.0, batch=4))
    (series,) = quality_numbers([report])
    (point,) = series.points
    assert series.metric == "frechet"
    assert (point.seconds, point.value, point.low, point.high, point.n) == (0.75, 30, 29, 32, 100)


def test_on_the_front_is_what_nothing_beats_in_both() -> None:
    assert points(quality_numbers([two_samplers()])) == {
        ("ddim", 10): True,
        ("ddim", 20): True,
        ("ddim", 50): False,
        ("ddpm", 10): False,
        ("ddpm", 50): True,
    }


def test_pictures_of_another_size_and_reports_of_another_machine_have_fronts_of_their_own() -> None:
    small = make_report(judged(10, 1.0, 10.0), judged(10, 9.0, 20.0, width=192, height=192))
    other = make_report(judged(10, 5.0, 40.0), source="b.jsonl")
    numbers = quality_numbers([small, other])
    assert [p.on_front for s in numbers for p in s.points] == [True, True, True]
    fronts = [t for t in quality_figure(numbers).data if t.name == FRONT and t.x[0] is not None]
    assert len(fronts) == 3


def test_of_equals_both_are_on_the_front() -> None:
    report = make_report(judged(10, 1.0, 10.0), judged(10, 1.0, 10.0, sampler="ddpm"))
    assert set(points(quality_numbers([report])).values()) == {True}


def test_where_there_is_no_distance_the_share_of_right_objects_is_drawn_and_more_is_better() -> (
    None
):
    def shared(steps: int, seconds: float, right: int) -> Cell:
        update = {"frechet": None, "objects": Share(right=right, n=100)}
        quality = make_quality().model_copy(update=update)
        cell = make_cell(wall_s=[seconds] * 3, steps=steps)
        return cell.model_copy(update={"quality": quality})

    numbers = quality_numbers([make_report(shared(10, 1.0, 90), shared(20, 2.0, 80))])
    assert numbers[0].metric == "objects"
    assert [point.value for point in numbers[0].points] == [0.9, 0.8]
    assert [point.on_front for point in numbers[0].points] == [True, False]


NO_REFERENCE = {"frechet": "no reference"}


def other_quality(**update: object) -> Quality:
    return make_quality().model_copy(update=update)


def test_what_does_not_compare_or_could_not_be_judged_is_named_and_not_drawn() -> None:
    cell = make_cell(steps=77)
    report = make_report(
        judged(10, 1.0, 30.0),
        judged(20, 2.0, 20.0),
        make_cell(steps=60).model_copy(update={"quality": other_quality(scorer="owner/clip")}),
        make_cell(steps=62).model_copy(update={"quality": other_quality(pictures=50)}),
        make_cell(steps=61).model_copy(
            update={"quality": other_quality(frechet=None, objects=None, missing=NO_REFERENCE)}
        ),
        cell.model_copy(update={"missing": {"quality": "the scorer ran away"}}),
        make_cell(steps=78),
    )
    (series,) = quality_numbers([report])
    assert [point.steps for point in series.points] == [10, 20]
    assert series.missing == (
        (60, "judged otherwise: owner/clip, 100 pictures"),
        (61, "no reference"),
        (62, "judged otherwise: scorer, 50 pictures"),
        (77, "the scorer ran away"),
    )
    header, rows = quality_table([series])
    assert all(len(row) == len(header) for row in rows)
    assert [row[1] for row in rows] == [10, 20, 60, 61, 62, 77]


def test_a_metric_that_fewer_than_half_of_the_cells_have_is_not_drawn() -> None:
    bare = other_quality(frechet=None, missing=NO_REFERENCE)
    for with_distance, metric in ((2, "frechet"), (1, "objects")):
        cells = [judged(10 * (place + 1), 1.0, 30.0) for place in range(with_distance)]
        cells += [make_cell(steps=n).model_copy(update={"quality": bare}) for n in (40, 50)]
        assert {one.metric for one in quality_numbers([make_report(*cells)])} == {metric}


def spoken(steps: int, seconds: float, quality: VoiceQuality, **request: object) -> Cell:
    cell = make_spoken_cell(seconds, steps=steps, **request)
    return cell.model_copy(update={"quality": quality})


def similar(value: float, **changes: object) -> VoiceQuality:
    figure = Estimate(value=value, low=value - 0.1, high=value + 0.1, n=8)
    return make_voice_quality(timbre_similarity=figure, **changes)


NO_PARALLEL = {"mel_distance_db": None, "missing": {"mel_distance_db": "it draws noise"}}


def test_speech_of_both_samplers_is_drawn_by_what_both_have() -> None:
    ddim = [spoken(5, 1.0, similar(0.7)), spoken(10, 4.0, similar(0.9), batch=2)]
    assert {line.metric for line in quality_numbers([make_report(*ddim)])} == {"mel_distance_db"}
    ddpm = spoken(10, 2.5, similar(0.8, **NO_PARALLEL), sampler="ddpm")
    numbers = quality_numbers([make_report(*ddim, ddpm)])
    assert {line.metric for line in numbers} == {"timbre_similarity"}
    seconds = {p.seconds: (p.value, p.on_front) for line in numbers for p in line.points}
    # Of a candidate: two of the batch took four seconds. More is better.
    assert seconds == {1.0: (0.7, True), 2.0: (0.9, True), 2.5: (0.8, False)}
    assert quality_figure(numbers).layout.xaxis.title.text == "seconds a candidate"


def test_speech_and_pictures_are_not_in_one_chart_nor_is_what_was_compared_with_other_steps() -> (
    None
):
    cells = [spoken(n, 1.0, similar(0.7)) for n in (5, 10)]
    other = spoken(20, 1.0, similar(0.7, against_steps=50))
    numbers = quality_numbers([make_report(*cells, other), make_report(judged(10, 1.0, 30.0))])
    assert [point.steps for line in numbers for point in line.points] == [5, 10]
    assert [line.missing for line in numbers if line.missing] == [
        ((20, "judged otherwise: 8 candidates against 50 steps"),),
        ((10, "judged otherwise: scorer, 100 pictures"),),
    ]


def test_no_reports_and_reports_without_quality_have_no_series_and_a_sentence() -> None:
    for reports in ([], [make_report()], [make_report(make_cell(), make_cell(status="oom"))]):
        assert quality_numbers(reports) == []
    assert "No cell" in quality_figure([]).layout.annotations[0].text


def test_the_figure_draws_the_numbers_and_the_table_holds_them_too() -> None:
    numbers = quality_numbers([two_samplers()])
    figure = quality_figure(numbers)
    drawn = [trace for trace in figure.data if trace.x[0] is not None]
    assert [list(trace.x) for trace in drawn[:2]] == [[1.0, 2.0, 5.0], [1.1, 4.0]]
    assert list(drawn[2].x) == [1.0, 2.0, 4.0], "the front"
    assert list(drawn[0].error_y.array) == [2.0, 2.0, 2.0]
    assert list(drawn[0].error_y.arrayminus) == [1.0, 1.0, 1.0]
    assert {trace.line.dash for trace in drawn} == {"solid", "dash", "longdashdot"}
    assert "less is better" in figure.layout.yaxis.title.text
    header, rows = quality_table(numbers)
    assert [row[header.index("value")] for row in rows] == [30.0, 20.0, 20.5, 90.0, 15.0]
    assert [row[header.index(FRONT)] for row in rows] == ["yes", "yes", "no", "no", "yes"]


@pytest.mark.parametrize("values", [(-3.0, 5.0), (0.0, 0.0), (0.0, 500.0)])
def test_a_distance_of_zero_or_less_does_not_break_the_axis(values: tuple[float, float]) -> None:
    cells = [judged(10 * (i + 1), 1.0 + i, value) for i, value in enumerate(values)]
    figure = quality_figure(quality_numbers([make_report(*cells)]))
    assert tuple(figure.data[0].y) == values
    assert figure.layout.yaxis.type != "log"  # which would leave out what is not above zero


def test_a_hostile_name_is_text() -> None:
    attack = "<b>x</b><script>alert(1)</script>"
    cells = (judged(10, 1.0, 3.0, model=attack), judged(10, 1.0, 3.0, model="other"))
    figure = quality_figure(quality_numbers([make_report(*cells)]))
    assert "<script>" not in figure.to_json().replace("\\u003c", "<")
