from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pytest
from huggingface_hub import constants
from PIL import Image, ImageChops
from ui_server import VALUES, busy_device, is_free, wait_until

from diffusion_bench.backends.catalog import ModelUnavailable, find_model, unknown_words
from diffusion_bench.backends.downloads import Progress
from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.pictures import read_request
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest
from diffusion_bench.ui.jobs import Jobs
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.pictures.drawing import Drawing
from diffusion_bench.ui.pictures.fields import examples_for

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"


@pytest.fixture(scope="module")
def engine():
    return Engine("cpu")


@pytest.fixture
def make_drawing(engine, tmp_path):
    with closing(Jobs()) as jobs:
        yield lambda shared=False: Drawing(engine, jobs, Outbox(tmp_path), shared=shared)


def asked_request(**changed) -> ImageRequest:
    """Return the request that the usual values make."""
    names = ("prompt", "sampler", "steps", "seed", "width", "height")
    return ImageRequest(**{name: VALUES[name] for name in names} | changed)


def furthest_apart(one: str, other: str) -> int:
    """Return the largest difference of two pictures in any pixel and colour."""
    with Image.open(one) as first, Image.open(other) as second:
        return max(high for _, high in ImageChops.difference(first, second).getextrema())


def test_a_picture_carries_what_was_asked_and_the_status_says_times(make_drawing):
    views = list(make_drawing().draw(VALUES))

    last = views[-1]
    assert [read_request(Path(path)) for path in last.pictures] == [asked_request()]
    assert (last.done, last.total, last.used_seed) == (1, 1, 7)
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
    monkeypatch.setattr("diffusion_bench.ui.pictures.previews.PREVIEW_EVERY_S", 0.0)
    monkeypatch.setattr("diffusion_bench.ui.pictures.previews.PREVIEW_SHARE", 1.0)
    values = VALUES | {"steps": 4}

    shown = [view for view in make_drawing().draw(values) if view.pictures]
    hidden = [v for v in make_drawing().draw(values | {"live_preview": False}) if v.pictures]

    previews = [view.pictures for view in shown if "preview" in Path(view.pictures[0]).name]
    assert len(previews) == 3
    assert {read_request(Path(view.pictures[0])) is None for view in hidden} == {False}
    assert all(Path(view.pictures[0]).is_file() for view in shown)


def test_eta_is_left_out_for_ddpm_whose_field_for_it_is_hidden(make_drawing):
    assert make_drawing().to_request(VALUES | {"sampler": "ddpm", "eta": 0.5}).eta == 0


def test_what_is_off_at_the_other_settings_is_left_out(make_drawing):
    given = {"guidance_scale": 1.0, "guidance_rescale": 0.5, "strength": 0.2, "variation_seed": 4}

    assert make_drawing().to_request(VALUES | given) == asked_request(guidance_scale=1.0)


def test_a_variation_without_a_seed_picks_one_which_is_said(make_drawing):
    values = VALUES | {"variation_strength": 0.25, "batch": 2}

    last = list(make_drawing().draw(values))[-1]

    one, other = (read_request(Path(path)) for path in last.pictures)
    assert (one.seed, other.seed) == (7, 7)
    assert other.variation_seed == one.variation_seed + 1
    assert f"Varied by 0.25 towards seed {one.variation_seed}." in last.status


def test_rounds_come_one_after_another_and_their_seeds_count_on(make_drawing):
    views = list(make_drawing().draw(VALUES | {"rounds": 3, "batch": 2, "live_preview": False}))

    counts = [len(view.pictures) for view in views if view.finished]
    assert counts == [2, 4, 6]
    seeds = [read_request(Path(path)).seed for path in views[-1].pictures]
    assert seeds == [7, 8, 9, 10, 11, 12]
    assert any("of round 2 of 3" in (view.status or "") for view in views)
    assert views[-1].finished == ()


def test_a_picture_may_be_saved_without_what_made_it(make_drawing):
    views = list(make_drawing().draw(VALUES | {"parameters": False}))

    assert read_request(Path(views[-1].pictures[0])) is None
    (picture,) = next(view.finished for view in views if view.finished)
    assert picture.recipe.request == asked_request()


def test_a_picture_that_starts_from_another_stays_near_it_at_little_strength(
    make_drawing, tmp_path
):
    start = tmp_path / "start.png"
    Image.new("RGB", (64, 64), "red").save(start)
    edited = {"background": str(start), "layers": [], "composite": None}
    values = VALUES | {"start": edited, "strength": 0.1, "steps": 10, "live_preview": False}

    last = list(make_drawing().draw(values))[-1]

    request = read_request(Path(last.pictures[0]))
    assert (request.strength, request.mask, len(request.image)) == (0.1, None, 16)
    assert furthest_apart(last.pictures[0], str(start)) < 100
    assert "1 of 1" in " ".join(view.status or "" for view in make_drawing().draw(values))


def test_strokes_are_the_mask(make_drawing, tmp_path):
    start, layer = tmp_path / "start.png", tmp_path / "layer.png"
    Image.new("RGB", (64, 64), "red").save(start)
    paint = Image.new("RGBA", (64, 64))
    paint.paste((0, 0, 0, 9), (32, 0, 64, 64))
    paint.save(layer)
    edited = {"background": str(start), "layers": [str(layer)], "composite": None}

    asked = make_drawing().asked(VALUES | {"start": edited, "strength": 1.0})

    assert (asked.request.strength, asked.inputs.mask.getbbox()) == (1.0, (32, 0, 64, 64))
    assert asked.inputs.mask.getextrema() == (0, 255)
    assert asked.inputs.named_in(asked.request) == asked.request


def test_a_model_that_is_not_here_is_fetched_with_its_progress_said(make_drawing, monkeypatch):
    def fetch(entry, precision, on_progress):
        on_progress(Progress(done_mib=512.0, total_mib=2048.0))
        raise ModelUnavailable(f"{entry.name} could not be fetched: the line is cut")

    monkeypatch.setattr("diffusion_bench.ui.pictures.drawing.fetch_settings", lambda entry: None)
    monkeypatch.setattr("diffusion_bench.ui.pictures.drawing.fetch", fetch)
    views = make_drawing().draw(VALUES | {"model": SD15, "sampler": "ddim"})

    told = next(view for view in views if view.status and "Fetching" in view.status)
    assert (told.done, told.total) == (512, 2048)
    assert told.status.endswith(": 512 MiB of 2.0 GiB.")
    with pytest.raises(ModelUnavailable, match="the line is cut"):
        list(views)
    assert is_free()


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ("FluxPipeline", "ddim is not defined for it"),
        ("Flux2Pipeline", "whose latents .* are of a kind not known here"),
    ],
)
def test_what_the_fetched_settings_exclude_is_refused_before_the_weights(
    make_drawing, monkeypatch, tmp_path, pipeline, said
):
    def fetch_settings(entry):
        cached = tmp_path / "models--owner--name"
        snapshot = cached / "snapshots" / ("0" * 40)
        (snapshot / "scheduler").mkdir(parents=True)
        (cached / "refs").mkdir()
        (cached / "refs" / "main").write_text(snapshot.name)
        (snapshot / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
        schedule = '{"_class_name": "FlowMatchEulerDiscreteScheduler"}'
        (snapshot / "scheduler" / "scheduler_config.json").write_text(schedule)

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("diffusion_bench.ui.pictures.drawing.fetch_settings", fetch_settings)
    monkeypatch.setattr("diffusion_bench.ui.pictures.drawing.fetch", pytest.fail)
    with pytest.raises(ValueError, match=said):
        list(make_drawing().draw(VALUES | {"model": "owner/name", "sampler": "ddim"}))
    assert is_free()


def test_a_guest_cannot_make_the_machine_fetch_a_model(make_drawing, monkeypatch):
    monkeypatch.setattr("diffusion_bench.ui.pictures.drawing.fetch", pytest.fail)

    with pytest.raises(ValueError, match="guests cannot fetch it"):
        list(make_drawing(shared=True).draw(VALUES | {"model": SD15}))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"prompt": "  "}, "the prompt is empty"),
        ({"width": 65}, f"width 65 is not a multiple of {find_model(BUNDLED_MODEL).multiple}"),
        ({"steps": 0}, "steps"),
        ({"steps": None}, "steps"),
        ({"sampler": "heun"}, "sampler"),
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
    with pytest.raises(ValueError, match="9 rounds of 1 pictures are more than 8 at a click"):
        drawing.asked(VALUES | {"rounds": 9})


def test_an_unknown_word_is_said_with_the_picture(make_drawing):
    views = list(make_drawing().draw(VALUES | {"prompt": "a zeppelin"}))

    assert any(view.warnings for view in views)
    assert "zeppelin" in views[-1].status


def test_a_negative_prompt_without_guidance_is_said_to_do_nothing(make_drawing):
    values = VALUES | {"negative_prompt": "a dog", "guidance_scale": 1.0}

    assert "had no effect" in list(make_drawing().draw(values))[-1].status


def test_a_held_device_is_waited_for_and_the_wait_is_said(make_drawing):
    with busy_device():
        views = make_drawing().draw(VALUES)
        waiting = next(view for view in views if view.status and "Waiting" in view.status)
        assert waiting.pictures is None

    assert list(views)[-1].pictures


def test_a_job_that_has_waited_long_still_has_its_folders(make_drawing, tmp_path, monkeypatch):
    monkeypatch.setattr("diffusion_bench.ui.pictures.previews.PREVIEW_EVERY_S", 0.0)
    monkeypatch.setattr("diffusion_bench.ui.pictures.previews.PREVIEW_SHARE", 1.0)
    drawing = make_drawing()
    with busy_device():
        views = drawing.draw(VALUES | {"steps": 4})
        next(view for view in views if view.status and "Waiting" in view.status)
        for folder in tmp_path.iterdir():
            os.utime(folder, (0, 0))
        drawing.outbox.place("of-another-click.csv", "")

    shown = [view.pictures[0] for view in views if view.pictures]
    assert len(set(shown)) > 1
    assert all(Path(path).is_file() for path in shown)


def test_giving_up_while_waiting_leaves_nothing_behind(make_drawing):
    with busy_device():
        views = make_drawing().draw(VALUES)
        next(view for view in views if view.status and "Waiting" in view.status)
        views.close()
    wait_until(is_free, "the device is free", limit_s=5)
    assert is_free()


def test_who_waits_is_told_how_many_are_before(tmp_path):
    with closing(Jobs()) as jobs:
        drawing = Drawing(Engine("cpu"), jobs, Outbox(tmp_path), shared=False)
        first = drawing.draw(VALUES | {"steps": 1000})
        next(view for view in first if view.done)
        second = drawing.draw(VALUES)

        said = next(view.status for view in second if view.status and "Waiting" in view.status)
        assert said == "Waiting for the device: 1 job is before this one, a picture."

        first.close()
        assert list(second)[-1].pictures


def test_closing_the_views_frees_the_device_within_a_step(make_drawing):
    views = make_drawing().draw(VALUES | {"steps": 1000})
    next(view for view in views if view.done)
    views.close()

    wait_until(is_free, "the device is free", limit_s=5)
    assert is_free()


def test_every_example_has_only_words_the_bundled_model_knows():
    examples = examples_for(BUNDLED_MODEL)
    assert [unknown_words(BUNDLED_MODEL, example) for example in examples] == [()] * len(examples)
