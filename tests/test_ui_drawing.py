from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image, ImageChops
from ui_server import VALUES, busy_device, is_free, wait_until

from diffusion_bench.backends.catalog import unknown_words
from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.picture_recipes import PictureRecipe
from diffusion_bench.backends.pictures import read_request, save_png
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest
from diffusion_bench.ui.drawing import Drawing
from diffusion_bench.ui.jobs import Jobs
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.text_to_image import EXAMPLES


@pytest.fixture(scope="module")
def engine():
    return Engine("cpu")


@pytest.fixture
def make_drawing(engine, tmp_path):
    with closing(Jobs()) as jobs:
        yield lambda shared=False: Drawing(engine, jobs, Outbox(tmp_path), shared=shared)


def furthest_apart(one: str, other: str) -> int:
    """Return the largest difference of two pictures in any pixel and colour."""
    with Image.open(one) as first, Image.open(other) as second:
        return max(high for _, high in ImageChops.difference(first, second).getextrema())


def test_a_picture_carries_what_was_asked_and_the_status_says_times(make_drawing):
    views = list(make_drawing().draw(VALUES))

    last = views[-1]
    fields = {name: VALUES[name] for name in ImageRequest.model_fields} | {"noise_seed": None}
    assert [read_request(Path(path)) for path in last.pictures] == [ImageRequest(**fields)]
    assert (last.done, last.total, last.used_seed) == (2, 2, 7)
    for word in ("s on cpu", "text encoder", "ms a step", "decoder", "peak memory"):
        assert word in last.status


def test_every_picture_of_a_batch_carries_the_request_that_draws_it_alone(make_drawing):
    values = VALUES | {"batch": 2, "noise_seed": 3, "sampler": "ddpm", "live_preview": False}
    drawing = make_drawing()

    batch = list(drawing.draw(values))[-1].pictures
    second = read_request(Path(batch[1]))

    assert (second.seed, second.noise_seed, second.batch) == (8, 4, 1)
    alone = list(drawing.draw(values | {"seed": 8, "noise_seed": 4, "batch": 1}))[-1].pictures
    assert furthest_apart(batch[1], alone[0]) <= 2  # of 255: batches round differently
    assert second.of_picture(0) == second


def test_a_negative_or_empty_seed_picks_one(make_drawing):
    drawing = make_drawing()

    picked = {drawing.to_request(VALUES | {"seed": seed}).seed for seed in (-1, -1, None, None)}

    assert len(picked) == 4
    assert min(picked) >= 0


def test_previews_come_before_the_end_where_they_are_wanted(make_drawing, monkeypatch):
    monkeypatch.setattr("diffusion_bench.ui.drawing.PREVIEW_EVERY_S", 0.0)
    values = VALUES | {"steps": 4}

    shown = [view for view in make_drawing().draw(values) if view.pictures]
    hidden = [v for v in make_drawing().draw(values | {"live_preview": False}) if v.pictures]

    assert len(shown) == 4
    assert len(hidden) == 1
    assert all(Path(view.pictures[0]).is_file() for view in shown)


def test_eta_is_left_out_for_ddpm_whose_field_for_it_is_hidden(make_drawing):
    assert make_drawing().to_request(VALUES | {"sampler": "ddpm", "eta": 0.5}).eta == 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"prompt": "  "}, "the prompt is empty"),
        ({"width": 65}, "width 65 is not a multiple of 8"),
        ({"steps": 0}, "steps"),
        ({"steps": None}, "steps"),
        ({"sampler": "euler"}, "sampler"),
        ({"model": "no-such-model"}, "unknown model 'no-such-model'"),
    ],
)
def test_a_mistake_is_told_before_any_work(make_drawing, changed, said):
    with pytest.raises(ValueError, match=said):
        next(make_drawing().draw(VALUES | changed))


def test_visitors_of_a_shared_app_get_listed_models_and_limits(make_drawing, tmp_path):
    drawing = make_drawing(shared=True)

    with pytest.raises(ValueError, match="models of its list only"):
        drawing.to_request(VALUES | {"model": str(tmp_path)})
    with pytest.raises(ValueError, match="steps 1000 is too much"):
        drawing.to_request(VALUES | {"steps": 1000})


def test_an_unknown_word_is_said_with_the_picture(make_drawing):
    last = list(make_drawing().draw(VALUES | {"prompt": "a zeppelin"}))[-1]

    assert last.warnings
    assert "zeppelin" in last.status


def test_a_negative_prompt_without_guidance_is_said_to_do_nothing(make_drawing):
    values = VALUES | {"negative_prompt": "a dog", "guidance_scale": 1.0}

    assert "had no effect" in list(make_drawing().draw(values))[-1].status


def test_a_held_device_is_waited_for_and_the_wait_is_said(make_drawing):
    with busy_device():
        views = make_drawing().draw(VALUES)
        waiting = next(view for view in views if view.status and "Waiting" in view.status)
        assert waiting.pictures is None

    assert list(views)[-1].pictures


def test_giving_up_while_waiting_leaves_nothing_behind(make_drawing):
    with busy_device():
        views = make_drawing().draw(VALUES)
        next(view for view in views if view.status and "Waiting" in view.status)
        views.close()
    wait_until(is_free, "the device is free", limit_s=5)
    assert is_free()


def test_closing_the_views_frees_the_device_within_a_step(make_drawing):
    views = make_drawing().draw(VALUES | {"steps": 1000})
    next(view for view in views if view.done)
    views.close()

    wait_until(is_free, "the device is free", limit_s=5)
    assert is_free()


def test_settings_are_read_from_a_picture(make_drawing, tmp_path):
    request = ImageRequest(prompt="a fox", sampler="ddpm", steps=9, seed=5, noise_seed=6)
    path = tmp_path / "fox.png"
    save_png(Image.new("RGB", (8, 8)), path, PictureRecipe(request=request))

    fields = make_drawing().read_settings(str(path))

    assert make_drawing().to_request(fields) == request


def test_a_noise_seed_that_a_picture_has_not_stays_unset(make_drawing, tmp_path):
    request = ImageRequest(prompt="a fox")
    path = tmp_path / "fox.png"
    save_png(Image.new("RGB", (8, 8)), path, PictureRecipe(request=request))

    fields = make_drawing().read_settings(str(path))

    assert fields["noise_seed"] == -1  # None would be shown, and sent, as 0
    assert make_drawing().to_request(fields) == request


@pytest.mark.parametrize("content", ["plain", "not a picture", "torn", "damaged", "none"])
def test_a_picture_without_usable_settings_is_refused_in_one_line(make_drawing, tmp_path, content):
    path = tmp_path / "other.png"
    Image.new("RGB", (8, 8)).save(path)
    if content == "not a picture":
        path.write_text("hello")
    elif content == "torn":
        path.write_bytes(path.read_bytes()[:40])
    elif content == "damaged":
        request = ImageRequest(prompt="a fox")
        bad = request.model_copy(update={"steps": -3})
        save_png(
            Image.new("RGB", (8, 8)),
            path,
            PictureRecipe.model_construct(
                request=bad, picture=0, device="", model_revision=None, versions={}, missing={}
            ),
        )

    with pytest.raises(ValueError, match=r"\w") as refused:
        make_drawing().read_settings(None if content == "none" else str(path))

    assert "\n" not in str(refused.value)


def test_a_seed_that_a_browser_would_round_is_not_put_into_its_field(make_drawing, tmp_path):
    path = tmp_path / "big.png"
    request = ImageRequest(prompt="a fox", seed=2**53 + 1)
    save_png(Image.new("RGB", (8, 8)), path, PictureRecipe(request=request))

    with pytest.raises(ValueError, match="larger than a browser can hold"):
        make_drawing().read_settings(str(path))


def test_every_example_has_only_words_the_bundled_model_knows():
    assert [unknown_words(BUNDLED_MODEL, example) for example in EXAMPLES] == [()] * len(EXAMPLES)
