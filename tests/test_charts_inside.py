"""The charts of the tab How it works: their numbers, their figures and their tables."""

from __future__ import annotations

import pytest
from schedules import LINEAR

from diffusion_bench.backends.inside.anatomy import Block
from diffusion_bench.backends.inside.film import Progress
from diffusion_bench.backends.inside.guidance import Guided
from diffusion_bench.charts.denoising import denoising_figure, denoising_numbers, denoising_table
from diffusion_bench.charts.guidance import guidance_figure, guidance_numbers, guidance_table
from diffusion_bench.charts.noise_levels import (
    OWN,
    noise_level_figure,
    noise_level_numbers,
    noise_level_table,
)
from diffusion_bench.charts.unet_shape import Skip, unet_figure, unet_numbers, unet_table
from diffusion_bench.diffusion.noising import SCHEDULES

STEPS = (
    Progress(1, 999, 0.1, 0.995, 1.5, 0.4),
    Progress(2, 499, 0.8, 0.6, 0.5, 0.0),
)


def block(name, way, rows, *skips, channels=8) -> Block:
    """`skips` are the rows of its tensors."""
    shapes = tuple((8, side, side) for side in skips)
    return Block(name, way, channels, rows, rows, 1000, 0.125, 2, 1, shapes, None)


# Stable Diffusion's shape with one layer a block: what goes round is taken from the top of a pile.
BLOCKS = (
    block("first convolution", "in", 8, 8),
    block("down 1", "down", 4, 8, 4),
    block("down 2", "down", 4, 4),
    block("middle", "middle", 4, channels=16),
    block("up 1", "up", 8, 4, 4),
    block("up 2", "up", 8, 8, 8),
    block("last convolution", "out", 8),
)
PARAMETERS = 8000  # of which 1000 are in no block


def test_a_models_schedule_stands_beside_the_usual_ones_and_equals_its_own_kind():
    curves = noise_level_numbers(LINEAR)
    assert [curve.name for curve in curves] == [OWN, *SCHEDULES.values()]
    assert curves[0].levels == curves[1].levels
    assert [level.timestep for level in curves[0].levels][:: len(curves[0].levels) - 1] == [0, 999]
    figure = noise_level_figure(curves)
    assert [trace.name for trace in figure.data] == [curve.name for curve in curves]
    assert list(figure.data[0].y) == sorted(figure.data[0].y, reverse=True)
    assert "(dB)" in figure.layout.yaxis.title.text
    cosine, steepest = curves[3], figure.data[3]  # of which the chart cuts the end off
    assert min(steepest.y) == -60
    assert steepest.customdata[-1] == pytest.approx(cosine.levels[-1].snr_db)
    assert steepest.customdata[-1] < -80
    header, rows = noise_level_table(curves)
    assert len(rows) == 4 * 11
    assert {len(row) for row in rows} == {len(header)}


def test_the_courses_of_samplers_are_drawn_as_they_were_taken():
    courses = denoising_numbers({"DDIM": STEPS, "DDPM": STEPS[:1], "none": ()})
    assert [course.name for course in courses] == ["DDIM", "DDPM"]
    figure = denoising_figure(courses)
    distance, noise = figure.data[0], figure.data[1]
    assert (list(distance.x), list(distance.y), list(noise.y)) == (
        [999, 499],
        [1.5, 0.5],
        [0.4, 0.0],
    )
    assert figure.layout.xaxis.autorange == "reversed"
    header, rows = denoising_table(courses)
    assert [row[:3] for row in rows] == [["DDIM", 1, 999], ["DDIM", 2, 499], ["DDPM", 1, 999]]
    assert {len(row) for row in rows} == {len(header)}


def test_noise_that_is_weaker_than_in_training_is_told_where_it_is_drawn_and_listed():
    courses = denoising_numbers({"DDIM": STEPS})
    told = "of noise at temperature 0.5"
    figure = denoising_figure(courses, "residual", 0.5)
    assert told in figure.layout.annotations[1].text
    header, _ = denoising_table(courses, "residual", 0.5)
    assert [told in head for head in header] == [False] * 4 + [True, False, True]
    assert not any("temperature" in head for head in denoising_table(courses)[0])


def test_skips_lead_from_the_way_down_to_the_way_up():
    shape = unet_numbers(BLOCKS, PARAMETERS)
    small, large = (8, 4, 4), (8, 8, 8)
    assert shape.skips == (
        *(Skip(2, 4, 1, small), Skip(1, 4, 1, small)),
        *(Skip(1, 5, 1, large), Skip(0, 5, 1, large)),
    )
    figure = unet_figure(shape)
    way = figure.data[-1]
    assert list(way.y) == [8, 4, 4, 4, 8, 8, 8]
    assert way.marker.size[3] == max(way.marker.size)
    header, rows = unet_table(shape)
    assert rows[1][-1] == "8x4x4 to up 1, 8x8x8 to up 2"
    assert rows[5][-1] == "8x8x8 from down 1, 8x8x8 from first convolution"
    assert {len(row) for row in rows} == {len(header)}


def test_a_skip_is_level_between_its_own_rows_and_the_next_and_lies_on_no_other():
    shape = unet_numbers(BLOCKS, PARAMETERS)
    *lines, way = unet_figure(shape).data
    levels = [line.y[1] for line in lines]
    for skip, line, level in zip(shape.skips, lines, levels, strict=True):
        assert set(line.y[1:-1]) == {level}
        assert skip.shape[1] < level < 2 * skip.shape[1]
        assert (line.y[0], line.y[-1]) == (way.y[skip.start], way.y[skip.end])
        assert line.text[2] == f"{skip.shape[2]}x{skip.shape[1]}"
    assert len(set(levels)) == len(levels)


def test_parameters_of_no_block_have_a_row_so_that_shares_add_up_to_a_hundred():
    header, rows = unet_table(unet_numbers(BLOCKS, PARAMETERS))
    assert rows[-1][:1] == ["time embedding and the rest"]
    for head, whole in (("parameters", PARAMETERS), ("share of parameters (%)", 100)):
        assert sum(row[header.index(head)] for row in rows) == pytest.approx(whole)
    assert len(unet_table(unet_numbers(BLOCKS, 7000))[1]) == len(BLOCKS)


def test_attention_that_reads_the_prompt_is_counted_apart():
    shape = unet_numbers(BLOCKS, PARAMETERS)
    header, rows = unet_table(shape)
    assert rows[1][header.index("attention layers")] == 2
    assert rows[1][header.index("reading the prompt")] == 1
    assert "2 attention layers, of which 1 read the prompt" in unet_figure(shape).data[-1].text[1]


def test_several_skips_of_one_shape_between_two_blocks_are_one_with_their_number():
    blocks = (block("down 1", "down", 4, 8, 8, 4), block("up 1", "up", 8, 8, 8, 4))
    skips = unet_numbers(blocks, 2000).skips
    assert [(skip.tensors, skip.words) for skip in skips] == [(1, "8x4x4"), (2, "2 of 8x8x8")]


def test_guidance_has_a_line_for_each_scale_with_two_answers():
    numbers = guidance_numbers([Guided(1.0, None, (), ()), Guided(3.0, None, (0.4, 0.2), ())])
    assert [(each.scale, each.apart) for each in numbers] == [(3.0, (0.4, 0.2))]
    figure = guidance_figure(numbers)
    assert (list(figure.data[0].x), list(figure.data[0].y)) == ([1, 2], [0.4, 0.2])
    assert guidance_table(numbers)[1] == [[3.0, 1, 0.4], [3.0, 2, 0.2]]


@pytest.mark.parametrize(
    "figure",
    [denoising_figure([]), unet_figure(unet_numbers([], 0)), guidance_figure([])],
    ids=["denoising", "unet", "guidance"],
)
def test_nothing_to_draw_says_so(figure):
    assert figure.layout.annotations[0].text
    assert not figure.data


def test_hostile_names_do_not_become_markup():
    figure = denoising_figure(denoising_numbers({"<img src=x>": STEPS}))
    assert figure.data[0].name == "&lt;img src=x&gt;"
