"""The tab How it works: what each look shows, what it refuses, and that it can be stopped."""

from __future__ import annotations

from contextlib import closing
from functools import cache
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from tiny_pipelines import save_flux
from ui_server import is_free, wait_until

from diffusion_bench.backends.device import hold_device
from diffusion_bench.backends.engine import Engine
from diffusion_bench.charts.noise_levels import OWN
from diffusion_bench.records import ImageRequest
from diffusion_bench.ui.how_it_works import TITLES, WORDS, Part, to_updates
from diffusion_bench.ui.jobs import Jobs
from diffusion_bench.ui.looking import Looking, LookView, picture_title
from diffusion_bench.ui.looks import (
    GUIDANCE_SCALES,
    LOOKS,
    NOISE_SEEDS,
    guided_words,
    prediction_words,
)
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.pictures.contact_sheet import draw_frames
from diffusion_bench.ui.pictures.drawing import Drawing

VALUES = {
    "prompt": "a cat on a blue background",
    "model": "picturebook",
    "steps": 4,
    "seed": 1,
    "guidance_scale": 3.0,
    "precision": "fp32",
}


@pytest.fixture(scope="module")
def engine():
    return Engine("cpu")


@pytest.fixture
def make_looking(engine, tmp_path):
    with closing(Jobs()) as jobs:
        yield lambda shared=False: Looking(Drawing(engine, jobs, Outbox(tmp_path), shared=shared))


@pytest.fixture(scope="module")
def looked(engine, tmp_path_factory):
    """Return the views of a look at `VALUES`; each look is taken once, by whoever asks first."""
    with closing(Jobs()) as jobs:
        outbox = Outbox(tmp_path_factory.mktemp("looked"))
        looking = Looking(Drawing(engine, jobs, outbox, shared=False))
        yield cache(lambda name: list(looking.look(name, VALUES)))


def same_pixels(*paths: str) -> bool:
    first, *others = [Image.open(path).convert("RGB").tobytes() for path in paths]
    return all(other == first for other in others)


@pytest.mark.parametrize("name", list(LOOKS))
def test_a_look_tells_its_steps_and_ends_with_pictures_chart_table_and_files(looked, name):
    views = looked(name)

    last = views[-1]
    done = [view.done for view in views[:-1] if view.done is not None]
    assert done == list(range(views[0].total + 1))
    assert tuple(last.rows) == LOOKS[name].rows
    for row in last.rows.values():
        assert len(row) >= 3
        assert all(Path(path).is_file() and words for path, words in row)
    assert len(last.figure.data) > 0
    assert len(last.table["data"]) > 0
    with Image.open(last.sheet) as sheet:
        assert sheet.width > 3 * 128
    assert (last.film is not None) == (name in ("noising", "denoising"))
    assert last.status.endswith(".")


def test_noise_on_the_way_is_all_the_same_to_ddim_and_not_to_ddpm(looked):
    rows = looked("denoising")[-1].rows

    for name, same in (("DDIM", True), ("DDPM", False)):
        pictures = [path for path, _ in rows[f"{name}: other noise on the way"]]
        assert len(pictures) == NOISE_SEEDS
        assert same_pixels(*pictures) is same
    # Both begin with one noise.
    assert same_pixels(
        *(rows[f"{name}: x_t, what each step is given"][0][0] for name in ("DDIM", "DDPM"))
    )


def test_a_noised_picture_is_labelled_with_the_factor_of_formula_and_table(looked):
    last = looked("noising")[-1]
    factors = {row[1]: float(row[2]) for row in last.table["data"] if row[0] == OWN}
    for row in last.rows.values():
        labels = [words.split() for _, words in row]
        told = {timestep.rstrip(":"): float(factor) for _, timestep, factor, _ in labels}
        common = told.keys() & factors.keys()
        assert {"0", "999"} <= common
        for timestep in common:
            assert told[timestep] == pytest.approx(factors[timestep], abs=0.0051)
        assert told["570"] == pytest.approx(0.62, abs=0.01)  # √ᾱ, of which ᾱ is 0.39
    assert "dimmed" in next(iter(last.rows))
    assert "Pixels are dimmed" in last.status


def test_the_film_shows_the_noise_going(looked):
    film = looked("denoising")[-1].film
    with Image.open(film) as animation:
        assert animation.n_frames == VALUES["steps"] + 1
        assert animation.info["loop"] == 0


def test_the_film_ends_with_the_picture_of_ddim_beside_that_of_ddpm(looked):
    last = looked("denoising")[-1]
    with Image.open(last.film) as animation:
        animation.seek(animation.n_frames - 1)
        end = np.asarray(animation.convert("RGB"), dtype=float)
    ddim, ddpm = (
        (Image.open(last.rows[f"{name}: other noise on the way"][0][0]), "the picture")
        for name in ("DDIM", "DDPM")
    )
    own, swapped = (
        np.asarray(draw_frames({"DDIM": [left], "DDPM": [right]})[0], dtype=float)
        for left, right in ((ddim, ddpm), (ddpm, ddim))
    )
    off = np.abs(end - own).mean()
    assert off < 3  # a GIF has 256 colours
    assert off < np.abs(end - swapped).mean() / 3


def test_denoising_says_what_the_network_predicts_and_that_its_x_0_is_guided(looked):
    status = looked("denoising")[-1].status
    assert "network predicts v, of which both noise and x_0 follow" in status
    assert "the guided one, at scale 3:" in status
    assert "guided one" not in guided_words(1.0)
    assert "predicts the noise, of which x_0 follows" in prediction_words("epsilon")
    assert "predicts x_0, of which the noise follows" in prediction_words("sample")
    request = ImageRequest(prompt=VALUES["prompt"], guidance_scale=4.5)
    assert "guidance 4.5" in picture_title(request)


def test_without_guidance_no_words_speak_of_rows_that_are_not_there(make_looking):
    last = list(make_looking().look("guidance", VALUES | {"steps": 2, "guidance_scale": 1.0}))[-1]
    assert list(last.rows) == ["The whole picture"]
    assert "The x_0 are those" not in last.status
    assert "no two x_0 can be shown" in last.status
    assert "RMS of latents" in last.figure.layout.yaxis.title.text.replace("<br>", " ")


def test_guidance_shows_its_own_scale_among_the_usual(make_looking):
    rows = list(make_looking().look("guidance", VALUES | {"steps": 2, "guidance_scale": 4.0}))[
        -1
    ].rows
    scales = [words for _, words in rows["The whole picture"]]
    assert scales == [f"guidance {scale:g}" for scale in sorted((*GUIDANCE_SCALES, 4.0))]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "black-forest-labs/FLUX.1-schnell"}, "flow matching"),
        ({"model": "Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers"}, "flow matching"),
        ({"prompt": " "}, "the prompt is empty"),
        ({"steps": 251}, "251 steps are more than 250"),
        ({"model": "no/such/model"}, "no/such/model"),
    ],
)
def test_what_cannot_be_shown_is_said_before_anything_is_drawn(make_looking, values, message):
    with pytest.raises(ValueError, match=message):
        next(make_looking().look("noising", VALUES | values))


@pytest.mark.parametrize("name", list(LOOKS))
def test_a_model_of_another_kind_is_refused_in_one_line(make_looking, tmp_path, name):
    flux = str(save_flux(tmp_path / "flux"))
    with pytest.raises(ValueError, match=r"flow matching|is no U-Net") as error:
        list(make_looking().look(name, VALUES | {"model": flux, "guidance_scale": 1.0}))
    assert "\n" not in str(error.value)


def test_a_transformer_is_refused_as_a_u_net_before_it_is_fetched(make_looking):
    with pytest.raises(ValueError, match="is no U-Net"):
        next(
            make_looking().look(
                "unet", VALUES | {"model": "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS"}
            )
        )


def test_a_look_that_waits_can_be_stopped_at_any_time(make_looking):
    """Gradio stops a generator only where it yields: a look that waits has nothing else to say."""
    with hold_device("cpu"):
        views = make_looking().look("noising", VALUES)
        seen = [next(views) for _ in range(6)]
        views.close()
    assert sum(view == LookView() for view in seen) >= 3


def test_a_look_that_is_closed_frees_the_device(make_looking):
    views = make_looking().look("unet", VALUES | {"steps": 250})
    next(view for view in views if view.status and view.status.startswith("Step"))
    views.close()
    wait_until(is_free, "the device is free")
    assert is_free()


def test_guests_look_only_into_models_of_the_list(make_looking):
    with pytest.raises(ValueError, match="models of its list only"):
        next(make_looking(shared=True).look("noising", VALUES | {"model": "owner/name"}))


def test_every_look_has_a_title_and_words():
    assert set(TITLES) == set(WORDS) == {*LOOKS, "speech"}


def test_rows_that_a_look_has_not_are_hidden():
    view = LookView(rows={"The whole picture": [("a.png", "guidance 1")]}, table={}, figure=None)
    part = Part("guidance", LOOKS["guidance"].rows)
    rows = to_updates(part, view)[2:6]
    assert [row.visible for row in rows] == [True, False, False, False]
    assert all(update == gr.skip() for update in to_updates(part, LookView(status="x"))[2:6])


def test_what_can_be_saved_is_shown_once_it_is_there():
    part = Part("guidance", LOOKS["guidance"].rows)
    done = LookView(rows={}, table={}, figure=None, sheet=__file__)
    fold, _, sheet, film = to_updates(part, done)[-4:]
    assert (fold.visible, sheet.visible) == (True, True)
    assert film == gr.skip()  # there is none of guidance


def test_sounds_that_a_look_has_not_are_hidden():
    part = Part("speech", ("The mel spectrogram",), sounds=("plan", "end"))
    view = LookView(rows={}, table={}, figure=None, sounds={"end": __file__})
    plan, end = to_updates(part, view)[3:5]
    assert (plan.visible, end.visible) == (False, True)
