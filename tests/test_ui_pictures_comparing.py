"""A grid of settings: its cells, its bounds, the labelled picture and the sweep it is saved as."""

from __future__ import annotations

import os
import tomllib
from contextlib import closing
from pathlib import Path

import gradio as gr
import pytest
from PIL import Image
from ui_server import VALUES, is_free, laid_out, wait_until

from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.pictures import read_request
from diffusion_bench.bench.sweep import parse_sweep
from diffusion_bench.records import BUNDLED_MODEL
from diffusion_bench.ui.grids import axis_values
from diffusion_bench.ui.jobs import Jobs
from diffusion_bench.ui.model_choices import ALL_SAMPLERS
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.pictures import comparison_panel
from diffusion_bench.ui.pictures.comparing import (
    SHARED_CELLS,
    CompareView,
    Comparing,
    sweep_text,
)
from diffusion_bench.ui.pictures.comparison_panel import given_up, sampler_updates, to_updates
from diffusion_bench.ui.pictures.drawing import Drawing
from diffusion_bench.ui.pictures.fields import model_field, prompt_fields, setting_fields

FLUX = "black-forest-labs/FLUX.1-schnell"

AXES = {"sampler": ["ddim", "ddpm"], "steps": "1, 2 2", "guidance_scale": "", "seed": ""}


@pytest.fixture(scope="module")
def engine():
    return Engine("cpu")


@pytest.fixture
def make_comparing(engine, tmp_path):
    with closing(Jobs()) as jobs:
        yield lambda shared=False: Comparing(Drawing(engine, jobs, Outbox(tmp_path), shared=shared))


def test_pictures_come_one_by_one_with_their_times_and_are_saved_as_one_and_as_a_sweep(
    make_comparing,
):
    views = list(make_comparing().draw(VALUES, AXES))

    counts = [len(view.pictures) for view in views if view.pictures is not None]
    assert counts == [0, 1, 2, 3, 4, 4]
    last = views[-1]
    requests = [read_request(Path(path)) for path, _ in last.pictures]
    assert [(each.sampler, each.steps, each.seed) for each in requests] == [
        ("ddim", 1, 7),
        ("ddim", 2, 7),
        ("ddpm", 1, 7),
        ("ddpm", 2, 7),
    ]
    assert last.pictures[3][1].endswith(" s: DDPM, 2 steps")
    assert "Each was drawn once" in last.status
    with Image.open(last.sheet) as sheet:
        assert sheet.width > 2 * 128
        assert sheet.height > 2 * 128
    sweep = parse_sweep(Path(last.sweep).read_text(encoding="utf-8"))
    assert set(sweep.requests()) == set(requests)


def test_the_pictures_of_a_grid_may_be_saved_without_what_made_them(make_comparing):
    views = make_comparing().draw(VALUES | {"parameters": False}, {"steps": "1, 2"})

    pictures = list(views)[-1].pictures

    assert [read_request(Path(path)) for path, _ in pictures] == [None, None]


def test_a_grid_that_takes_long_keeps_its_pictures(make_comparing, tmp_path):
    comparing = make_comparing()
    views = comparing.draw(VALUES, {"steps": "1, 2"})
    next(view for view in views if view.pictures)
    for folder in tmp_path.iterdir():
        os.utime(folder, (0, 0))
    comparing._drawing.outbox.place("of-another-click.csv", "")

    assert [Path(path).is_file() for path, _ in list(views)[-1].pictures] == [True, True]


def test_cancel_in_a_grid_frees_the_device(make_comparing):
    views = make_comparing().draw(VALUES, AXES | {"steps": "1000"})
    next(view for view in views if view.status and "Picture 1 of 2" in view.status)

    views.close()

    wait_until(is_free, "the device is free", limit_s=5)
    assert is_free()


def test_what_a_cancelled_grid_has_drawn_can_be_saved(make_comparing):
    kept = []
    views = make_comparing().draw(VALUES, AXES, kept)
    next(view for view in views if view.pictures and len(view.pictures) == 3)
    assert kept == []

    views.close()

    last = given_up(kept, "Cancelled.")
    assert last.status == "Cancelled. 3 drawn by then: they can be saved."
    assert len(last.pictures) == 3
    with Image.open(last.sheet) as sheet:
        assert sheet.getpixel((sheet.width - 60, sheet.height - 90)) == (255, 255, 255), "no fourth"
        assert sheet.width > 2 * 128
    assert len(parse_sweep(Path(last.sweep).read_text(encoding="utf-8")).requests()) == 4
    assert given_up([], "Cancelled.") == CompareView(done=0, status="Cancelled.")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"steps": "ten"}, "steps: 'ten' is no list of numbers, as in 10, 20, 50"),
        ({"steps": "1.5"}, "steps: '1.5' is no list of numbers"),
        ({"steps": "0"}, "steps"),
        ({"seed": "-3"}, "seed"),
        ({"sampler": ["heun"]}, "sampler"),
        ({"seed": "7 " * 101}, "seed: a list of more than 200 characters"),
        ({"steps": " ".join(map(str, range(1, 40)))}, "2 rows of 39 pictures are more than 60"),
    ],
)
def test_a_grid_that_cannot_be_drawn_is_refused_before_any_work(make_comparing, changed, said):
    with pytest.raises(ValueError, match=said):
        next(make_comparing().draw(VALUES, AXES | changed))


def test_a_grid_is_counted_before_it_is_made(make_comparing, monkeypatch):
    monkeypatch.setattr("diffusion_bench.ui.grids._product", None)
    long = list(range(1, 10**5 + 1))

    with pytest.raises(ValueError, match="2 rows of 10000000000 pictures are more than 60"):
        make_comparing().grid(VALUES, AXES | {"steps": long, "seed": long})


@pytest.mark.parametrize(
    ("model", "axes", "said"),
    [
        (FLUX, {"sampler": ["native", "ddim"]}, "ddim is not defined for it"),
        (BUNDLED_MODEL, {"sampler": ["ddim", "lcm"], "steps": "20, 100"}, "at most 50 steps, not"),
    ],
)
def test_a_grid_with_a_sampler_that_is_not_for_a_cell_is_refused_before_any_work(
    make_comparing, model, axes, said
):
    values = VALUES | {"model": model, "sampler": "ddim"}

    with pytest.raises(ValueError, match=said):
        next(make_comparing().draw(values, axes))


def test_a_grid_heeds_the_samplers_of_its_cells_and_not_the_field_above(make_comparing):
    values = VALUES | {"model": FLUX, "sampler": "ddim"}

    grid = make_comparing().grid(values, {"sampler": ["native", "euler"], "steps": "2"})

    assert [each.sampler for each in grid.requests()] == ["native", "euler"]


def test_the_samplers_to_compare_follow_the_model():
    flux = sampler_updates(FLUX, ["ddim", "euler"])
    assert "ddim" not in dict(flux.choices).values()
    assert "euler" in dict(flux.choices).values()
    assert flux.value == ["euler"]
    back = sampler_updates(BUNDLED_MODEL, ["euler"])
    assert (back.value, dict(back.choices).keys()) == (["euler"], dict(ALL_SAMPLERS).keys())
    assert sampler_updates("half-typed/", ["ddim"]) == gr.skip()


def test_the_page_tells_the_panel_of_another_model(make_comparing):
    drawing = make_comparing()._drawing
    with laid_out() as page:
        fields = model_and_others()
        comparison_panel.build(drawing, fields)

    wired = [
        each
        for each in page.fns.values()
        if (fields["model"]._id, "change") in each.targets
        and [one.elem_id for one in each.outputs] == ["t2i-compare-sampler"]
    ]
    assert len(wired) == 1


def model_and_others():
    return {"model": model_field(shared=False), **prompt_fields(), **setting_fields()}


def test_a_grid_of_too_many_pixels_is_refused(make_comparing):
    with pytest.raises(ValueError, match="more than 64 megapixels together"):
        make_comparing().grid(VALUES | {"width": 4096, "height": 4096}, AXES | {"steps": "1 2 3"})


def test_a_guests_grid_is_smaller_and_no_cell_is_beyond_the_limits(make_comparing):
    comparing = make_comparing(shared=True)

    with pytest.raises(ValueError, match=f"more than {SHARED_CELLS}"):
        comparing.grid(VALUES, AXES | {"steps": "1 2 3 4 5 6 7"})
    with pytest.raises(ValueError, match="steps 999 is too much for a shared app"):
        comparing.grid(VALUES, AXES | {"steps": "2 999"})


def test_settings_that_a_sweep_does_not_hold_are_told_in_it_and_eta_stays_with_ddim(
    make_comparing,
):
    values = VALUES | {"prompt": 'a "cat"\\\n\x7f', "eta": 0.5, "guidance_rescale": 0.3}
    grid = make_comparing().grid(values, AXES | {"guidance_scale": "1, 4.5"})

    text = sweep_text(grid)

    assert {each.eta for each in grid.requests()} == {0.0, 0.5}
    assert {(e.guidance_scale, e.guidance_rescale) for e in grid.requests()} == {(1, 0), (4.5, 0.3)}
    assert "# guidance_rescale was 0.3" in text
    assert 'speed = ["plain"]' in text
    assert tomllib.loads(text)["prompt"] == 'a "cat"\\\n\x7f'
    assert parse_sweep(text).axes.guidance_scale == (1.0, 4.5)


def test_an_axis_is_a_list_or_numbers_each_once():
    assert axis_values("steps", "5; 10,5  20") == (5, 10, 20)
    assert axis_values("guidance_scale", "1.5") == (1.5,)
    assert axis_values("guidance_scale", "3,5; 7; 1.5") == (3.5, 7.0, 1.5)
    assert axis_values("guidance_scale", "3,5") == (3.0, 5.0)
    assert axis_values("sampler", ["ddim", "ddim"]) == ("ddim",)
    assert axis_values("seed", None) == axis_values("seed", " ") == ()


def test_files_are_offered_once_they_are_there_and_not_before(make_comparing):
    views = list(make_comparing().draw(VALUES, {"sampler": [], "steps": "1"}))

    first, last = to_updates(views[0]), to_updates(views[-1])

    assert first[3].interactive is False
    assert last[3].value["path"].endswith("comparison.png")
    assert last[4].interactive is True
