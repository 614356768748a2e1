"""The pictures of a session: newest first, what made them, and all of them in a zip."""

from __future__ import annotations

import zipfile
from pathlib import Path

import gradio as gr
import pytest
from PIL import Image
from ui_server import laid_out

from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.picture_recipes import PictureRecipe
from diffusion_bench.backends.pictures import read_request, save_png
from diffusion_bench.records import ImageRequest
from diffusion_bench.ui import text_to_image
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.pictures.drawing import Drawing, Picture, View
from diffusion_bench.ui.pictures.limits import check_rounds
from diffusion_bench.ui.pictures.results import (
    MOST_KEPT,
    chosen_of,
    named,
    paths_of,
    session_fields,
    with_finished,
    zip_of,
)
from diffusion_bench.ui.text_to_image import session_updates


def make_picture(folder, seed, *, parameters=True):
    recipe = PictureRecipe(request=ImageRequest(prompt="a cat", seed=seed))
    path = folder / f"picture-seed-{seed}.png"
    save_png(Image.new("RGB", (8, 8)), path, recipe if parameters else None)
    return Picture(str(path), recipe)


def test_the_newest_picture_is_first_and_the_oldest_go(tmp_path):
    one, two, three = (make_picture(tmp_path, seed) for seed in range(3))

    assert with_finished(with_finished((), (one, two)), (three,)) == (three, two, one)
    many = with_finished([one] * MOST_KEPT, [two])
    assert (len(many), many[0]) == (MOST_KEPT, two)


def test_all_that_one_click_may_draw_is_kept_and_the_limit_is_said(tmp_path):
    picture = make_picture(tmp_path, 1)
    check_rounds(4, MOST_KEPT // 4, shared=False)
    with pytest.raises(ValueError, match="more than"):
        check_rounds(1, MOST_KEPT + 1, shared=False)
    assert len(with_finished((), [picture] * MOST_KEPT)) == MOST_KEPT
    with laid_out():
        assert str(MOST_KEPT) in session_fields()["history"].label


def test_all_are_packed_as_they_were_saved_oldest_first_names_apart(tmp_path):
    pictures = [make_picture(tmp_path, seed) for seed in (5, 4)]
    (tmp_path / "other").mkdir()
    pictures.append(make_picture(tmp_path / "other", 4, parameters=False))
    (tmp_path / "out").mkdir()

    path = zip_of(pictures, Outbox(tmp_path / "out"))

    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "unpacked")
    assert names == [
        "001-picture-seed-4.png",
        "002-picture-seed-4.png",
        "003-picture-seed-5.png",
    ]
    requests = [read_request(tmp_path / "unpacked" / name) for name in names]
    assert requests == [None, pictures[1].recipe.request, pictures[0].recipe.request]


def test_files_that_are_gone_are_left_out_and_nothing_is_no_zip(tmp_path):
    picture = make_picture(tmp_path, 1)
    Path(picture.path).unlink()

    assert paths_of([picture]) == []
    with pytest.raises(ValueError, match="there are no pictures yet"):
        zip_of([picture], Outbox(tmp_path))


def test_the_chosen_picture_tells_what_made_it_and_a_preview_does_not(tmp_path):
    picture = make_picture(tmp_path, 7, parameters=False)

    chosen, words = chosen_of([picture], 0)

    assert chosen == picture
    assert "Seed: 7" in words
    for index in (1, -1, None):
        assert chosen_of([picture], index) == (None, "This picture is not finished yet.")


def test_a_finished_picture_has_words_for_who_cannot_see_it_and_a_preview_none(tmp_path):
    picture = make_picture(tmp_path, 7)

    shown = named(["preview-0.png", picture.path], [picture])

    assert shown == [("preview-0.png", ""), (picture.path, "a cat, seed 7")]


def test_a_start_empties_the_choice_and_a_finished_round_fills_it(tmp_path):
    picture = make_picture(tmp_path, 7)

    assert session_updates(View(pictures=[]), (), ())[0] == ()
    now, kept, history, chosen, words = session_updates(
        View(pictures=[picture.path], finished=(picture,)), (picture,), (picture,)
    )
    assert (now, kept, chosen) == ((picture,), (picture,), picture)
    assert history == [(picture.path, "a cat, seed 7")]
    assert words.startswith("a cat\n")


def test_to_start_from_a_picture_that_was_kept_for_its_day_is_refused_in_words(tmp_path):
    drawing = Drawing(Engine("cpu"), None, Outbox(tmp_path), shared=False)
    with laid_out() as page:
        text_to_image.build(drawing, shared=False)
    start_from = next(each.fn for each in page.fns.values() if each.name == "on_go_on")
    recipe = PictureRecipe(request=ImageRequest(prompt="a fox"))

    with pytest.raises(gr.Error, match="this one is gone: draw it again"):
        start_from(Picture(str(tmp_path / "gone.png"), recipe))
