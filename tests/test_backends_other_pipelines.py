"""Pipeline classes that the catalog has no model of: drawn with by our code, as the catalog's are.

Weights are random, so what is asked of pictures is which of them are equal, not what they show.
"""

from __future__ import annotations

import json
import re
from copy import copy
from pathlib import Path

import numpy as np
import pytest
from diffusers import HeunDiscreteScheduler, PNDMScheduler, SchedulerMixin, ZImagePipeline
from drawn_with import Load, loads_once, pixels
from PIL import Image
from tiny_other_pipelines import OTHERS

from diffusion_bench.backends.catalog import find_model
from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.latents import denoiser_of, pixel_multiple
from diffusion_bench.backends.pipeline_calls import check_request
from diffusion_bench.backends.samplers import allowed_samplers
from diffusion_bench.records import ImageRequest, Step, parse_speed

SIDE = 64
EVERY = pytest.mark.parametrize("model", OTHERS)


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    return loads_once(OTHERS, lambda: tmp_path_factory.mktemp("model"))


def ask(**settings: object) -> ImageRequest:
    defaults = {"prompt": "a cat", "model": "tiny", "sampler": "native", "steps": 2}
    return ImageRequest(**{**defaults, "width": SIDE, "height": SIDE, **settings})


@EVERY
def test_a_batch_is_drawn_of_its_prompts_and_seeds_and_shown_as_it_forms(
    model: str, load: Load
) -> None:
    backend = load(model)
    previews: list[Image.Image] = []
    drawn = backend.generate(
        ask(width=96, batch=2), lambda step: previews.__setitem__(slice(None), step.preview())
    )
    assert [image.size for image in drawn.images] == [(96, SIDE)] * 2
    assert len(drawn.step_s) == 2
    assert drawn.stages.text_encoder_s > 0
    shown = np.stack([np.asarray(preview, dtype=int) for preview in previews])
    assert np.abs(shown - pixels(drawn)).max() <= 1
    one, again, other, dog = (
        pixels(backend.generate(ask(**settings)))
        for settings in ({}, {}, {"seed": 1}, {"prompt": "a dog"})
    )
    assert (one == again).all()
    assert (one != other).any()
    assert (one != dog).any()


@EVERY
def test_what_its_files_tell_of_its_sizes_is_what_it_draws(model: str, load: Load) -> None:
    backend = load(model)
    step = 32 if model == "SANA-Sprint" else 16
    assert pixel_multiple(backend._pipeline) == find_model(backend.model).multiple == step
    with pytest.raises(ValueError, match=f"width 40 is not a multiple of {step}.* are 32 and "):
        backend.generate(ask(width=40))


@pytest.mark.parametrize("model", [model for model in OTHERS if model != "SANA-Sprint"])
def test_guidance_of_1_is_none_and_more_takes_a_second_pass(model: str, load: Load) -> None:
    backend = load(model)
    rows: list[int] = []

    def look(_: object, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        rows.append(len(args[0] if args else kwargs["hidden_states"]))

    hook = denoiser_of(backend._pipeline).register_forward_pre_hook(look, with_kwargs=True)
    backend.generate(ask(guidance_scale=1))
    alone = sum(rows)
    rows.clear()
    backend.generate(ask(guidance_scale=5))
    hook.remove()
    assert (alone, sum(rows)) == (2, 4)


@EVERY
@pytest.mark.parametrize("batch", [1, 2])
def test_split_guidance_leaves_the_picture_however_a_pipeline_makes_its_passes(
    model: str, batch: int, load: Load
) -> None:
    split = parse_speed("split-guidance")
    backend = ImageBackend.load(load(model).model, device="cpu", speed=split)
    drawn = pixels(backend.generate(ask(guidance_scale=5, batch=batch, speed=split)))
    whole = pixels(load(model).generate(ask(guidance_scale=5, batch=batch)))
    assert np.abs(drawn - whole).mean() < 1


def test_z_image_is_guided_as_strongly_as_the_others(load: Load) -> None:
    """Ho and Salimans count from the unguided prediction, its pipeline from the guided one."""
    backend, request = load("Z-Image"), ask(guidance_scale=5)
    stock = ZImagePipeline.from_pretrained(backend.model, use_safetensors=True)
    drawn = stock(
        [request.prompt],
        width=SIDE,
        height=SIDE,
        num_inference_steps=2,
        guidance_scale=4,
        latents=backend.initial_latents(request),
    )
    assert (pixels(backend.generate(request))[0] == np.asarray(drawn.images[0])).all()


@EVERY
def test_what_is_offered_for_a_model_is_drawn_and_nothing_else_is(model: str, load: Load) -> None:
    backend = load(model)
    for choice in allowed_samplers(find_model(backend.model)):
        if choice.reason is None:
            assert len(backend.generate(ask(sampler=choice.name)).images) == 1, choice.name
        else:
            with pytest.raises(ValueError, match=f"^{re.escape(choice.reason)}$"):
                backend.generate(ask(sampler=choice.name))


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_sana_sprint_draws_in_other_numbers_of_steps_than_two(steps: int, load: Load) -> None:
    assert len(load("SANA-Sprint").generate(ask(steps=steps)).step_s) == steps


@pytest.mark.parametrize(
    ("model", "sampler"), [("CogView4", "dpm++"), ("CogView4", "unipc"), ("Z-Image", "unipc")]
)
def test_a_solver_that_a_pipeline_lays_out_no_timesteps_for_is_refused_in_one_line(
    model: str, sampler: str, load: Load
) -> None:
    with pytest.raises(ValueError, match=r"^\w+ cannot be run with \w+; take native$"):
        load(model).generate(ask(sampler=sampler))


def test_pixart_alpha_draws_in_one_step_where_the_sampler_foresees_the_picture(load: Load) -> None:
    backend = load("PixArt-alpha")
    for sampler in ("ddim", "ddpm", "euler", "lcm"):
        assert len(backend.generate(ask(sampler=sampler, steps=1)).step_s) == 1
    for sampler in ("native", "dpm++", "unipc"):
        with pytest.raises(ValueError, match=r"^Pix\w+ cannot be run with \w+ in one step; take 2"):
            backend.generate(ask(sampler=sampler, steps=1))


@pytest.mark.parametrize(
    ("solver", "steps", "times"), [(HeunDiscreteScheduler, 4, 7), (PNDMScheduler, 4, 5)]
)
def test_a_pipeline_that_tells_of_whole_steps_counts_those_asked_for(
    solver: type[SchedulerMixin], steps: int, times: int, tmp_path: Path
) -> None:
    """They call the network more often: Heun twice a step, PNDM once more in its first."""
    folder = str(OTHERS["PixArt-alpha"](tmp_path))
    solver.from_config(PNDMScheduler(skip_prk_steps=True).config).save_pretrained(
        Path(folder) / "scheduler"
    )
    index = Path(folder) / "model_index.json"
    named = json.loads(index.read_text()) | {"scheduler": ["diffusers", solver.__name__]}
    index.write_text(json.dumps(named))
    told: list[Step] = []
    backend = ImageBackend.load(folder, device="cpu")
    drawn = backend.generate(ask(steps=steps), told.append)
    assert len(backend._pipeline.scheduler.timesteps) == times
    assert [(step.index, step.num_steps) for step in told] == [(at, steps) for at in range(steps)]
    assert drawn.num_steps == steps


@EVERY
def test_bf16_as_a_speed_draws_the_same_picture_but_for_rounding(model: str, load: Load) -> None:
    speed = parse_speed("bf16")
    backend = ImageBackend.load(load(model).model, device="cpu", speed=speed)
    drawn = pixels(backend.generate(ask(guidance_scale=3, speed=speed)))
    difference = np.abs(drawn - pixels(load(model).generate(ask(guidance_scale=3))))
    assert 0 < difference.mean() < 8


def test_prx_guides_one_picture_at_a_time_and_says_so(load: Load) -> None:
    """Its own package is not here: another pipeline stands in, of which only the name is asked."""
    pipeline = copy(load("Z-Image")._pipeline)
    pipeline.__class__ = type("PRXPipeline", (type(pipeline),), {})
    for allowed in ({"batch": 1, "guidance_scale": 4.0}, {"batch": 2, "guidance_scale": 1.0}):
        check_request(pipeline, ask(**allowed))
    with pytest.raises(ValueError, match=r"^batch: PRXPipeline guides one picture at a time; take"):
        check_request(pipeline, ask(batch=2, guidance_scale=4.0))
