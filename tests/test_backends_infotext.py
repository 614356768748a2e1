"""A1111's text, written and read again."""

from __future__ import annotations

from typing import get_args

import pytest

from diffusion_bench.backends.infotext import infotext, parse_infotext
from diffusion_bench.backends.picture_recipes import PictureRecipe
from diffusion_bench.records import ImageRequest, SamplerName


@pytest.mark.parametrize(
    "request_fields",
    [
        {"prompt": "a cat"},
        {"prompt": "a\nb: c, d", "negative_prompt": "Steps: 3\nx", "steps": 7},
        {"prompt": "a cat", "sampler": "unipc", "width": 96, "seed": 2**62},
        {"prompt": "a cat", "eta": 0.25, "guidance_rescale": 0.5, "model": "/m/a, b: 1x1"},
        *({"prompt": "a cat", "sampler": name} for name in get_args(SamplerName)),
        {"prompt": "a cat", "variation_seed": 4, "variation_strength": 0.5},
    ],
)
def test_what_is_written_is_read_again(request_fields) -> None:
    request = ImageRequest(**request_fields)

    told, unread = parse_infotext(infotext(PictureRecipe(request=request)))

    assert unread == []
    assert told.items() <= request.model_dump().items()
    assert told.keys() >= request_fields.keys() - {"model"}


def test_a_text_without_a_prompt_keeps_its_negative_one() -> None:
    told, _ = parse_infotext("Negative prompt: a dog\nSteps: 3")

    assert (told["prompt"], told["negative_prompt"]) == ("", "a dog")


@pytest.mark.parametrize("text", ["", "a cat", "Steps", 'a\nModel: "' + "\\\\" * 10_000])
def test_a_text_that_is_none_is_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match="tells no steps"):
        parse_infotext(text)


@pytest.mark.parametrize(
    ("settings", "sampler", "left_out"),
    [
        ("Sampler: DPM++ 2M Karras", "dpm++", ["Schedule type: Karras"]),
        ("Sampler: DPM++ 2M, Schedule type: Karras", "dpm++", ["Schedule type: Karras"]),
        ("Sampler: DPM++ 2M, Schedule type: Automatic", "dpm++", []),
        ("Sampler: Euler a", None, ["Sampler: Euler a"]),
        ("Sampler: DPM++ SDE Karras", None, ["Sampler: DPM++ SDE Karras"]),
        ("Sampler: DDIM, Denoising strength: 0.4", "ddim", ["Denoising strength: 0.4"]),
        (
            'Clip skip: 2, Lora hashes: "a: 1, b: 2"',
            None,
            ["Clip skip: 2", "Lora hashes: a: 1, b: 2"],
        ),
        ("Size: 512 x 768, Seed: 0x7, CFG scale: ", None, ["Size: 512 x 768", "Seed: 0x7"]),
        ("Sampler: DDIM, Model hash: 6ce0161689, Seed: 4", "ddim", []),
    ],
)
def test_what_changes_a_picture_and_is_not_read_is_named(settings, sampler, left_out) -> None:
    text = f"a cat\nSteps: 3, {settings}"

    told, unread = parse_infotext(text)
    assert told.get("sampler") == sampler
    assert unread == left_out
