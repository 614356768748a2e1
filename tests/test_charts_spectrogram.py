from __future__ import annotations

import numpy as np
import pytest

from diffusion_bench.charts.spectrogram import (
    LONGEST_S,
    RANGE_DB,
    spectrogram_figure,
    spectrogram_numbers,
    spectrogram_table,
)

HOP_S = 0.016


def make_mel(frames=100, bins=20, loudest=0.0):
    """Return a log mel whose upper half is 20 dB (a factor of 10) below its lower half."""
    mel = np.full((bins, frames), loudest, np.float32)
    mel[bins // 2 :] -= np.log(10)
    return mel


def test_levels_are_decibels_below_the_loudest_whatever_the_volume():
    soft, loud = spectrogram_numbers(
        [("soft", make_mel(loudest=-8.0), HOP_S), ("loud", make_mel(loudest=2.0), HOP_S)]
    )

    assert np.allclose(soft.levels_db, loud.levels_db, atol=1e-4)
    assert soft.levels_db.max() == 0
    assert soft.levels_db.min() == pytest.approx(-20)


def test_silence_is_cut_at_the_range():
    mel = make_mel()
    mel[:, 50:] = -50.0

    (panel,) = spectrogram_numbers([("a", mel, HOP_S)])

    assert panel.levels_db.min() == -RANGE_DB


def test_a_long_recording_is_shown_from_its_beginning_and_an_empty_one_not_at_all():
    long = make_mel(frames=round(2 * LONGEST_S / HOP_S))

    panels = spectrogram_numbers([("long", long, HOP_S), ("empty", make_mel(frames=0), HOP_S)])

    assert [panel.name for panel in panels] == ["long"]
    assert panels[0].duration_s == pytest.approx(LONGEST_S, abs=HOP_S)


def test_the_panels_share_one_axis_of_time_and_one_scale_of_colour():
    panels = spectrogram_numbers([("The <b>one", make_mel(50), HOP_S), ("two", make_mel(), HOP_S)])

    figure = spectrogram_figure(panels)

    first, second = figure.data
    assert first.x[-1] == pytest.approx(49 * HOP_S)
    assert second.x[-1] == pytest.approx(99 * HOP_S)
    assert {(one.zmin, one.zmax) for one in figure.data} == {(-RANGE_DB, 0)}
    assert [one.showscale for one in figure.data] == [True, False]
    assert figure.layout.xaxis.matches == "x2"
    titles = [note.text for note in figure.layout.annotations]
    assert "<b>" not in titles[0]
    assert titles[1] == "two"


def test_many_panels_are_as_far_apart_as_two_and_none_is_squeezed():
    def gaps(count):
        panels = spectrogram_numbers([(f"{n}", make_mel(), HOP_S) for n in range(count)])
        layout = spectrogram_figure(panels).layout
        ends = [layout[name].domain for name in ("yaxis", "yaxis2")]
        return [
            layout.height * (one - other)
            for one, other in ((ends[0][0], ends[1][1]), ends[0][::-1])
        ]

    (gap, height), (of_many, high_of_many) = gaps(2), gaps(13)

    assert of_many == pytest.approx(gap, rel=0.2)
    assert high_of_many == pytest.approx(height, rel=0.3)


def test_without_a_recording_the_figure_says_so():
    figure = spectrogram_figure([])

    assert not figure.data
    assert "No spectrogram" in figure.layout.annotations[0].text


def test_the_table_has_the_level_of_each_half_second_in_two_bands():
    header, rows = spectrogram_table(spectrogram_numbers([("a", make_mel(63), HOP_S)]))

    assert header[1] == "from (s)"
    assert [row[0] for row in rows] == ["a", "a", "a"]
    assert [row[1] for row in rows] == pytest.approx([0.0, 31 * HOP_S, 62 * HOP_S])
    assert rows[0][2:] == pytest.approx([0.0, -20.0], abs=1e-4)
