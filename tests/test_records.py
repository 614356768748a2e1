"""What a request may be, and how a mistake in it is told."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from fakes import make_header
from pydantic import ValidationError

from diffusion_bench.records import (
    GpuReading,
    ImageRequest,
    VoiceRequest,
    digest,
    explain,
    trusted,
)
from diffusion_bench.reports.schema import ModelFacts


def complaint(**settings: object) -> str:
    with pytest.raises(ValidationError) as caught:
        ImageRequest(**{"prompt": "a cat", **settings})
    return explain(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": " \n"}, "the prompt is empty"),
        ({"steps": 0}, "steps: Input should be greater than or equal to 1 (got 0)"),
        ({"steps": 1001}, "less than or equal to 1000"),
        ({"sampler": "heun"}, "sampler: Input should be 'ddim', 'ddpm', "),
        ({"width": 65}, "width 65 is not a multiple of 8; the nearest are 64 and 72"),
        ({"height": 1_000_000}, "height: Input should be less than or equal to 4096"),
        ({"eta": 1.5}, "eta: Input should be less than or equal to 1"),
        ({"eta": 0.5, "sampler": "ddpm"}, "eta belongs to ddim"),
        ({"eta": 0.5, "sampler": "euler"}, "eta belongs to ddim; euler takes none"),
        ({"guidance_rescale": 0.7, "guidance_scale": 1}, "guidance_rescale needs guidance"),
        ({"variation_seed": 1}, "variation_seed and a variation_strength above 0 go together"),
        ({"variation_strength": 0.1}, "variation_seed and a variation_strength above 0 go"),
        ({"mask": 16 * "a"}, "a mask needs an image"),
        ({"strength": 0.5}, "strength belongs to a picture drawn from an image; give an image"),
        ({"strength": 0.0, "image": 16 * "a"}, "strength: Input should be greater than 0"),
        ({"image": "cat.png"}, "image: String should match pattern"),
        ({"guidance_scale": float("nan")}, "guidance_scale: Input should be a finite number"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0"),
        ({"batch": 0}, "batch"),
        ({"precision": "int8"}, "precision: Input should be 'fp32', 'bf16' or 'fp16'"),
        ({"setps": 3}, "setps: Extra inputs are not permitted"),
    ],
)
def test_an_impossible_request_says_in_one_line_what_is_allowed(
    settings: dict[str, object], words: str
) -> None:
    text = complaint(**settings)
    assert words in text
    assert "\n" not in text
    assert "http" not in text


def test_every_mistake_of_a_request_is_named() -> None:
    text = complaint(steps=0, batch=0)
    assert "steps" in text
    assert "batch" in text


def test_a_long_wrong_value_does_not_flood_the_line() -> None:
    assert len(complaint(sampler="x" * 10_000)) < 200


def test_equal_requests_have_equal_names_and_any_other_request_another() -> None:
    base = ImageRequest(prompt="a cat")
    assert base.workload_id() == ImageRequest(prompt="a cat", steps=20).workload_id()
    changed = {
        "prompt": "a dog",
        "negative_prompt": "a",
        "model": "other",
        "sampler": "ddpm",
        "eta": 0.5,
        "steps": 21,
        "guidance_scale": 2.0,
        "width": 72,
        "height": 72,
        "batch": 2,
        "precision": "bf16",
        "seed": 1,
        "noise_seed": 1,
        "guidance_rescale": 0.7,
        "speed": "packed",
    }
    together = (
        {"variation_seed": 1, "variation_strength": 0.5},
        {"variation_seed": 2, "variation_strength": 0.5},
        {"variation_seed": 1, "variation_strength": 0.4},
        {"image": 16 * "a"},
        {"image": 16 * "b"},
        {"image": 16 * "a", "strength": 0.5},
        {"image": 16 * "a", "mask": 16 * "a"},
    )
    fields = changed.keys() | {name for settings in together for name in settings}
    assert fields == ImageRequest.model_fields.keys()  # a new field must join the name
    every = [{name: value} for name, value in changed.items()] + list(together)
    names = {ImageRequest(**{"prompt": "a cat", **settings}).workload_id() for settings in every}
    assert len(names | {base.workload_id()}) == len(every) + 1


# What a request was at its defaults when the first reports were written.
FIRST = {"prompt": "a cat", "model": "pictogram", "width": 64, "height": 64}


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "d2292130bc163169"),
        (
            {"sampler": "ddpm", "steps": 50, "seed": 7, "noise_seed": 3, "batch": 2},
            "67a33df76ae8e824",
        ),
        ({"eta": 0.5, "model": "other"}, "d8b7897b1db68eb2"),
    ],
)
def test_work_of_the_first_reports_keeps_its_name(settings: dict[str, object], name: str) -> None:
    """Those names stand in reports that were written before the later fields were there."""
    assert ImageRequest(**{**FIRST, **settings}).workload_id() == name


class LaterImage(ImageRequest):
    """A request of a version to come, which can be asked for one thing more."""

    added: str | None = None


class LaterVoice(VoiceRequest):
    """The same of speech."""

    added: float = 0.5


@pytest.mark.parametrize(
    ("now", "later", "fields", "added"),
    [
        (ImageRequest, LaterImage, {"prompt": "a cat"}, "x"),
        (VoiceRequest, LaterVoice, {"text": "Hello."}, 0.6),
    ],
)
def test_a_field_that_is_added_changes_no_name_of_a_cell_while_it_is_at_its_default(
    now: Any, later: Any, fields: dict[str, Any], added: object
) -> None:
    facts = ModelFacts(name=now(**fields).model, revision="sha256:1")
    known = make_header()
    known = known.model_copy(update={"plan": known.plan.model_copy(update={"models": (facts,)})})
    for name in (now.workload_id, known.cell_id):
        assert name(later(**fields)) == name(now(**fields))
        assert name(later(**fields, added=added)) != name(now(**fields))


def test_of_a_batch_of_variations_it_is_the_variation_that_counts_up() -> None:
    request = ImageRequest(
        prompt="a cat", seed=3, batch=4, variation_seed=10, variation_strength=0.2
    )
    third = request.of_picture(2)
    assert (third.seed, third.variation_seed, third.batch) == (3, 12, 1)


def test_a_request_cannot_be_changed() -> None:
    request = ImageRequest(prompt="a cat")
    with pytest.raises(ValidationError):
        request.steps = 5  # type: ignore[misc]


def test_a_record_that_is_not_checked_is_the_one_that_would_be() -> None:
    told: dict[str, Any] = {"name": "RTX", "index": 3, "power_w": 100.0, "missing": {"fan": "no"}}
    made, checked = trusted(GpuReading, **told), GpuReading(**told)
    assert made == checked
    assert made.model_dump_json() == checked.model_dump_json()  # in the order of the fields, too
    assert pickle.loads(pickle.dumps(made)) == made.model_copy() == checked
    assert made.model_copy(update={"power_w": 1.0}).power_w == 1.0
    with pytest.raises(ValidationError):
        made.power_w = 2.0


def test_the_order_of_keys_does_not_change_a_digest_and_nan_has_none() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"a": float("nan")})
