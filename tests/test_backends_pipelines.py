"""Every pipeline of the catalog: a tiny checkpoint of its class, loaded and drawn with by our code.

Weights are random, so what is asked of pictures is which of them are equal, not what they show.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, HeunDiscreteScheduler, PNDMScheduler, SchedulerMixin
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from drawn_with import Load, loads_once, pixels
from PIL import Image
from tiny_models import save_tiny_sd
from tiny_pipelines import TINY, save_flux, save_lcm

from diffusion_bench.backends import pipeline_calls, starting_image
from diffusion_bench.backends.catalog import catalog, find_model
from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.input_pictures import InputPictures, read_inputs
from diffusion_bench.backends.latents import denoiser_of, latent_shape, pixel_multiple
from diffusion_bench.backends.loading import load_pipeline
from diffusion_bench.backends.pipeline_calls import parameters_of, task_class
from diffusion_bench.backends.samplers import allowed_samplers
from diffusion_bench.backends.speed import arrangement
from diffusion_bench.records import (
    Cancelled,
    ImageRequest,
    SamplerName,
    Speed,
    Step,
    parse_speed,
)

SIDE = 32
SAMPLERS = get_args(SamplerName)
FLOW = ("SD 3.5 medium", "FLUX.1-schnell", "Sana")
FROM_IMAGES = ("SD 1.5", "SDXL", "SDXL-Turbo", "SSD-1B", "SD 3.5 medium", "FLUX.1-schnell")
EVERY = pytest.mark.parametrize("model", TINY)
FROM_IMAGE = pytest.mark.parametrize("model", FROM_IMAGES)


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    return loads_once(TINY, lambda: tmp_path_factory.mktemp("model"))


def ask(**settings: object) -> ImageRequest:
    defaults = {"prompt": "a cat", "model": "tiny", "sampler": "native", "steps": 2}
    return ImageRequest(**{**defaults, "width": SIDE, "height": SIDE, **settings})


def first_inputs(backend: ImageBackend, request: ImageRequest, **inputs: object) -> torch.Tensor:
    """Return the latents the denoiser is first called with."""
    seen: list[torch.Tensor] = []

    def look(_: object, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        seen.append((args[0] if args else kwargs["hidden_states"]).clone())

    hook = denoiser_of(backend._pipeline).register_forward_pre_hook(look, with_kwargs=True)
    backend.generate(request, **inputs)
    hook.remove()
    return seen[0]


def picture(width: int = SIDE, height: int = SIDE) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def half_mask() -> Image.Image:
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (SIDE // 2, 0, SIDE, SIDE))
    return mask


def from_picture(inputs: InputPictures, **settings: object) -> ImageRequest:
    return ask(steps=4, **inputs.digests(), **settings)


def test_each_model_of_the_catalog_has_a_tiny_checkpoint_of_its_class(load: Load) -> None:
    made = {type(load(model)._pipeline).__name__ for model in TINY}
    offered = {entry.pipeline for entry in catalog().values()}
    assert offered == made
    hub = [entry for entry in catalog().values() if entry.source == "hub"]
    assert len(hub) == len(TINY)


@EVERY
def test_every_model_draws_a_batch_with_its_own_sampler_and_shows_it_as_it_forms(
    model: str, load: Load
) -> None:
    heard: list[Step] = []
    previews: list[Image.Image] = []

    def on_step(step: Step) -> None:
        heard.append(step)
        previews[:] = step.preview()

    generation = load(model).generate(ask(width=64, batch=2), on_step)
    assert [image.size for image in generation.images] == [(64, SIDE)] * 2
    assert [step.index for step in heard] == list(range(heard[-1].num_steps))
    assert len(generation.step_s) == len(heard)
    assert generation.stages.text_encoder_s > 0
    assert generation.stages.decoder_s > 0
    last = np.stack([np.asarray(preview, dtype=int) for preview in previews])
    assert np.abs(last - pixels(generation)).max() <= 1


def test_a_preview_is_of_usual_latents_where_a_sampler_lets_them_grow(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = load("SDXL")
    vae = backend._pipeline.vae
    shown: list[float] = []
    decode = vae.decode

    def look(cells: torch.Tensor, **named: object) -> object:
        shown.append(float(cells.std() * vae.config.scaling_factor))
        return decode(cells, **named)

    monkeypatch.setattr(vae, "decode", look)
    backend.generate(ask(sampler="euler", steps=10), lambda step: step.preview() and None)
    # Its sigma is 10 after the first step.
    assert len(shown) == 11
    assert 0.5 < shown[0] < 2


def test_a_preview_is_of_latents_whose_channels_have_a_scale_of_their_own(tmp_path: Path) -> None:
    backend = ImageBackend.load(str(TINY["SDXL"](tmp_path)), device="cpu")
    backend._pipeline.vae.register_to_config(
        latents_mean=[0.5, -1.0, 2.0, 0.0], latents_std=[4.0, 0.5, 1.0, 2.0]
    )
    previews: list[Image.Image] = []
    drawn = backend.generate(ask(), lambda step: previews.extend(step.preview()))
    assert np.abs(np.asarray(previews[-1], dtype=int) - pixels(drawn)[0]).max() <= 1


@EVERY
def test_every_sampler_is_drawn_with_or_refused_in_one_line(model: str, load: Load) -> None:
    backend = load(model)
    starts = []
    for choice in allowed_samplers(find_model(backend.model)):
        request = ask(sampler=choice.name, seed=3)
        if choice.reason is None:
            assert backend.generate(request).images[0].size == (SIDE, SIDE)
            starts.append(backend.initial_latents(request))
        else:
            assert "\n" not in choice.reason
            with pytest.raises(ValueError, match=f"{re.escape(choice.name)} is not defined"):
                backend.generate(request)
    choices = allowed_samplers(find_model(backend.model))
    refused = {choice.name for choice in choices if choice.reason}
    defined = {"dpm++", "euler", "unipc", "native"} if model in FLOW else set(SAMPLERS)
    assert refused == set(SAMPLERS) - defined
    assert all(torch.equal(start, starts[0]) for start in starts)


@EVERY
def test_the_start_is_the_cpus_noise_in_the_shape_the_model_keeps_it(
    model: str, load: Load
) -> None:
    backend = load(model)
    channels, rows, columns = latent_shape(backend._pipeline, 64, SIDE)
    noise = backend.initial_latents(ask(width=64, seed=5))
    own = torch.randn((channels, rows, columns), generator=torch.Generator().manual_seed(5))
    assert torch.equal(noise[0], own)
    # DDIM and flow matching begin at the noise itself.
    sampler = "native" if model in FLOW else "ddim"
    seen = first_inputs(backend, ask(width=64, seed=5, sampler=sampler))[0]
    if model == "FLUX.1-schnell":
        tokens = own.reshape(channels, rows // 2, 2, columns // 2, 2).permute(1, 3, 0, 2, 4)
        own = tokens.reshape(rows * columns // 4, channels * 4)
    assert torch.equal(seen, own)


@EVERY
def test_cancelling_a_step_ends_it_there_and_leaves_the_model_usable(
    model: str, load: Load
) -> None:
    backend = load(model)
    calls: list[int] = []
    steps: list[int] = []

    def on_step(step: Step) -> None:
        steps.append(len(calls))
        if step.index == 1:
            raise Cancelled

    hook = denoiser_of(backend._pipeline).register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(Cancelled):
        backend.generate(ask(steps=20, guidance_scale=1), on_step)
    assert len(calls) == steps[-1] == 2
    hook.remove()
    before = pixels(backend.generate(ask()))
    assert np.array_equal(before, pixels(backend.generate(ask())))


@EVERY
def test_steps_that_are_left_out_are_not_taken_and_a_picture_comes_all_the_same(
    model: str, load: Load
) -> None:
    generation = load(model).generate(ask(steps=6), stop_after=2)
    assert len(generation.step_s) == 2
    assert generation.images[0].size == (SIDE, SIDE)
    assert generation.stages.decoder_s > 0


@EVERY
def test_a_size_the_model_cannot_draw_is_refused_with_the_nearest(model: str, load: Load) -> None:
    backend = load(model)
    step = pixel_multiple(backend._pipeline)
    expected = {"SD 3.5 medium": 16, "FLUX.1-schnell": 16, "PixArt-Sigma": 16, "Sana": 32}
    assert step == expected.get(model, 8)
    assert step == find_model(backend.model).multiple, "what its files tell before it is loaded"
    if step > 8:
        with pytest.raises(
            ValueError, match=f"height 40 is not a multiple of {step}.* are 32 and {32 + step}"
        ):
            backend.generate(ask(height=40))


@EVERY
def test_guidance_takes_a_second_pass_and_the_negative_prompt_counts(
    model: str, load: Load
) -> None:
    backend = load(model)
    rows: list[int] = []

    def look(_: object, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        rows.append(len(args[0] if args else kwargs["hidden_states"]))

    hook = denoiser_of(backend._pipeline).register_forward_pre_hook(look, with_kwargs=True)
    plain = backend.generate(ask(guidance_scale=1))
    alone = sum(rows)
    rows.clear()
    guided = backend.generate(ask(guidance_scale=5))
    assert sum(rows) == 2 * alone
    hook.remove()
    without = backend.generate(ask(guidance_scale=5, negative_prompt="a dog"))
    assert not np.array_equal(pixels(plain), pixels(guided))
    assert not np.array_equal(pixels(guided), pixels(without))


@pytest.mark.parametrize("model", [name for name in TINY if name != "FLUX.1-schnell"])
def test_without_a_negative_prompt_the_picture_is_the_one_that_diffusers_draws_without(
    model: str, load: Load
) -> None:
    backend, request = load(model), ask(guidance_scale=5, batch=2)
    stock = DiffusionPipeline.from_pretrained(backend.model, use_safetensors=True)
    known = parameters_of(type(stock))
    arguments = {
        "prompt": [request.prompt] * request.batch,
        "guidance_scale": request.guidance_scale,
        "num_inference_steps": request.steps,
        "latents": backend.initial_latents(request),
        "generator": backend._noise_generators(request),
        "width": SIDE,
        "height": SIDE,
        "use_resolution_binning": False,
    }
    drawn = stock(**{name: value for name, value in arguments.items() if name in known}).images
    assert (pixels(backend.generate(request)) == [np.asarray(image) for image in drawn]).all()


@EVERY
def test_guidance_is_split_and_the_picture_stays(model: str, load: Load) -> None:
    asked = parse_speed("split-guidance")
    assert isinstance(asked, Speed)
    split = ImageBackend.load(load(model).model, device="cpu", speed=asked)
    layers = (torch.nn.Conv2d, torch.nn.Linear)
    first = next(part for part in split.denoiser.modules() if isinstance(part, layers))
    rows: list[int] = []
    first.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    drawn = pixels(split.generate(ask(guidance_scale=5, batch=2, speed=asked)))
    assert set(rows) == {2}
    whole = pixels(load(model).generate(ask(guidance_scale=5, batch=2)))
    assert np.abs(drawn.astype(float) - whole.astype(float)).mean() < 1


@EVERY
def test_guidance_is_rescaled_or_the_model_says_it_cannot(model: str, load: Load) -> None:
    backend = load(model)
    request = ask(guidance_scale=7, guidance_rescale=0.7)
    if model in (*FLOW, "PixArt-Sigma"):
        with pytest.raises(ValueError, match=r"guidance_rescale: this model's pipeline \(\w+\)"):
            backend.generate(request)
    else:
        plain = backend.generate(ask(guidance_scale=7))
        assert not np.array_equal(pixels(backend.generate(request)), pixels(plain))


def test_a_negative_prompt_is_refused_where_guidance_is_an_input_of_the_network(
    tmp_path: Path,
) -> None:
    backend = ImageBackend.load(str(save_flux(tmp_path, distilled=True)), device="cpu")
    assert backend.generate(ask(guidance_scale=3.5)).images[0].size == (SIDE, SIDE)
    with pytest.raises(ValueError, match="negative_prompt: this model's guidance is an input"):
        backend.generate(ask(guidance_scale=3.5, negative_prompt="a dog"))


def test_a_latent_consistency_model_draws_with_its_sampler_and_refuses_what_it_has_no_place_for(
    tmp_path: Path,
) -> None:
    folder = str(save_lcm(tmp_path))
    assert find_model(folder).sampler == "native"
    choices = allowed_samplers(find_model(folder))
    assert [choice.name for choice in choices if choice.reason is None] == ["lcm", "native"]
    backend = ImageBackend.load(folder, device="cpu")
    for sampler in ("native", "lcm"):
        assert backend.generate(ask(sampler=sampler)).images[0].size == (SIDE, SIDE)
    with pytest.raises(ValueError, match=r"LatentConsis\w+ cannot be run with DDIM\w+; take lcm"):
        backend.generate(ask(sampler="ddim"))
    with pytest.raises(ValueError, match="negative_prompt: this model's guidance is an input"):
        backend.generate(ask(negative_prompt="a dog"))


@EVERY
def test_a_model_changes_and_fills_pictures_or_says_that_it_cannot(model: str, load: Load) -> None:
    backend = load(model)
    for inputs, task in (
        (read_inputs(picture()), "image to image"),
        (read_inputs(picture(), half_mask()), "inpainting"),
    ):
        request = from_picture(inputs, strength=0.5, batch=2)
        if task_class(task, type(backend._pipeline)) is None:
            assert model in ("PixArt-Sigma", "Sana")
            with pytest.raises(ValueError, match=rf"pipeline \(\w+\) has no {task}"):
                backend.generate(request, inputs=inputs)
        else:
            generation = backend.generate(request, inputs=inputs)
            assert [image.size for image in generation.images] == [(SIDE, SIDE)] * 2
            # Half of 4, and one more of PNDM, which calls the network twice in its first step.
            assert len(generation.step_s) == (3 if model == "SD 1.5" else 2)


@FROM_IMAGE
def test_every_allowed_sampler_starts_from_an_image_with_the_same_noise(
    model: str, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = load(model)
    inputs = read_inputs(picture())
    choices = allowed_samplers(find_model(backend.model))
    names = [choice.name for choice in choices if choice.reason is None]
    for name in names:
        request = from_picture(inputs, sampler=name, strength=0.5, seed=1)
        assert len(backend.generate(request, inputs=inputs).step_s) in (1, 2, 3), name
    # The autoencoder's own draw is of the noise's seed; without it only ours is left.
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda own, generator: own.mean)
    name = "euler" if model in FLOW else "ddim"
    one, noisy, other = (
        first_inputs(
            backend, from_picture(inputs, sampler=name, strength=0.5, **seeds), inputs=inputs
        )
        for seeds in ({"seed": 1}, {"seed": 1, "noise_seed": 9}, {"seed": 2})
    )
    assert torch.equal(one, noisy)
    assert not torch.equal(one, other)


@FROM_IMAGE
def test_what_is_black_in_a_mask_stays_as_it_was_to_the_bit(model: str, load: Load) -> None:
    inputs = read_inputs(picture(), half_mask())
    for strength in (0.5, 1.0):
        request = from_picture(inputs, strength=strength)
        drawn = pixels(load(model).generate(request, inputs=inputs))[0]
        own = np.asarray(inputs.image, dtype=int)
        half = SIDE // 2
        assert np.array_equal(drawn[:, :half], own[:, :half])
        assert not np.array_equal(drawn[:, half:], own[:, half:])


THIN = {
    "across a corner of cells": [(20, 20, 26, 26)],
    "a band": [(0, 11, SIDE, 14)],
    "a diagonal": [(at, at, at + 2, at + 2) for at in range(0, SIDE, 2)],
    "a pixel": [(31, 0, 32, 1)],
}


@pytest.mark.parametrize("boxes", THIN.values(), ids=THIN)
@pytest.mark.parametrize("channels", [(4, 9), ()], ids=["diffusers", "ours"])
def test_a_mask_thinner_than_a_cell_of_the_latents_is_drawn_and_only_it(
    channels: tuple[int, ...],
    boxes: list[tuple[int, int, int, int]],
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Without the autoencoder's own draw, what is not drawn anew is the same at every seed.
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda own, generator: own.mean)
    monkeypatch.setattr(pipeline_calls, "FILLING_CHANNELS", channels)
    mask = Image.new("L", (SIDE, SIDE))
    for box in boxes:
        mask.paste(255, box)
    inputs = read_inputs(picture(), mask)
    one, other = (
        pixels(load("SD 1.5").generate(from_picture(inputs, seed=seed), inputs=inputs))[0]
        for seed in (1, 2)
    )
    white, own = np.asarray(mask) > 0, np.asarray(inputs.image, dtype=int)
    assert (one != other).any(axis=2)[white].mean() > 0.5
    assert np.array_equal(one[~white], own[~white])


def test_a_mask_grows_to_whole_cells_of_a_picture_that_is_not_square() -> None:
    mask = Image.new("L", (24, 16))
    mask.putpixel((15, 8), 255)
    grown = starting_image.whole_cells(mask, 8)
    assert grown.getbbox() == (8, 8, 16, 16)
    assert {value for _, value in grown.getcolors()} == {0, 255}


@FROM_IMAGE
def test_filling_at_full_strength_starts_from_the_cpus_noise(model: str, load: Load) -> None:
    inputs = read_inputs(picture(), half_mask())
    sampler = "native" if model in FLOW else "ddim"
    request = from_picture(inputs, strength=1.0, seed=5, sampler=sampler, guidance_scale=1)
    backend = load(model)
    filled = first_inputs(backend, request, inputs=inputs)[0]
    plain = first_inputs(backend, ask(steps=4, seed=5, sampler=sampler, guidance_scale=1))[0]
    assert torch.allclose(filled, plain, atol=1e-5)


def test_the_card_is_let_go_of_also_after_a_picture_from_an_image_and_one_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """diffusers does so at the end of a call of the pipeline that was placed, and of no other."""
    monkeypatch.setattr(arrangement, "check_speed", lambda speed, device, dtype: None)
    folder = str(TINY["SD 1.5"](tmp_path))
    pipeline, speed = load_pipeline(folder, "fp32"), Speed(offload="model")
    backend = ImageBackend(pipeline, model=folder, device="cpu", precision="fp32", speed=speed)
    freed: list[int] = []
    own = pipeline.maybe_free_model_hooks
    monkeypatch.setattr(pipeline, "maybe_free_model_hooks", lambda: freed.append(1) or own())
    inputs = read_inputs(picture())
    backend.generate(from_picture(inputs, speed=speed), inputs=inputs)
    assert freed
    freed.clear()

    def give_up(step: Step) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        backend.generate(ask(speed=speed), give_up)
    assert freed


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offload_on_a_cpu_is_refused_with_the_reason(offload: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="offload moves networks between a card and memory"):
        ImageBackend.load(str(tmp_path), device="cpu", speed=Speed(offload=offload))


@pytest.mark.gpu
@pytest.mark.parametrize("offload", ["model", "sequential"])
@EVERY
def test_offload_on_a_gpu_draws_what_is_drawn_without(
    model: str, offload: str, tmp_path: Path
) -> None:
    folder = str(TINY[model](tmp_path))
    plain = ImageBackend.load(folder, device="cuda").generate(ask(seed=1))
    speed = Speed(offload=offload)
    offloaded = ImageBackend.load(folder, device="cuda", speed=speed).generate(
        ask(seed=1, speed=speed)
    )
    assert np.abs(pixels(plain) - pixels(offloaded)).max() <= 2


def test_a_variation_lies_between_two_pictures_and_ends_at_them(load: Load) -> None:
    backend = load("SD 1.5")

    def start(**settings: object) -> torch.Tensor:
        return backend.initial_latents(ask(seed=1, **settings))[0]

    near = start(variation_seed=2, variation_strength=0.1)
    other = backend.initial_latents(ask(seed=2))[0]
    assert (near - start()).norm() < (near - other).norm()
    assert torch.allclose(start(variation_seed=2, variation_strength=1.0), other, atol=1e-5)
    # On the arc, not on the line: as much noise as any picture starts from.
    middle = start(variation_seed=2, variation_strength=0.5)
    assert middle.std() == pytest.approx(float(start().std()), rel=0.1)
    batch = backend.initial_latents(ask(seed=1, batch=2, variation_seed=2, variation_strength=0.1))
    assert torch.equal(batch[0], near)
    assert torch.equal(batch[1], start(variation_seed=3, variation_strength=0.1))


def test_steps_that_strength_leaves_none_of_are_refused_with_how_many_it_takes(
    load: Load,
) -> None:
    inputs = read_inputs(picture())
    with pytest.raises(ValueError, match=r"4 steps at strength 0\.2 leave none.*take 6 steps"):
        load("SD 1.5").generate(from_picture(inputs, strength=0.2), inputs=inputs)


@pytest.mark.parametrize("model", ["FLUX.1-schnell", "SD 3.5 medium"])
def test_a_weak_strength_is_drawn_with_where_the_pipeline_leaves_a_step(
    model: str, load: Load
) -> None:
    inputs = read_inputs(picture())
    drawn = load(model).generate(from_picture(inputs, strength=0.2), inputs=inputs)
    assert len(drawn.step_s) == 1


def test_a_latent_consistency_model_takes_all_steps_from_a_picture_at_any_strength(
    tmp_path: Path,
) -> None:
    backend, inputs = (
        ImageBackend.load(str(save_lcm(tmp_path)), device="cpu"),
        read_inputs(picture()),
    )
    drawn = backend.generate(from_picture(inputs, strength=0.2), inputs=inputs)
    assert len(drawn.step_s) == 4


def test_a_request_and_its_pictures_must_belong_together(load: Load) -> None:
    inputs = read_inputs(picture())
    request = from_picture(inputs)
    backend = load("SD 1.5")
    with pytest.raises(ValueError, match="starts from an image, which must come with it"):
        backend.generate(request)
    for wrong in (read_inputs(half_mask()), read_inputs(picture(), half_mask())):
        with pytest.raises(ValueError, match="not the one that the request names"):
            backend.generate(request, inputs=wrong)


@pytest.mark.parametrize("sampler", ["ddim", "euler", "dpm++", "native"])
@pytest.mark.parametrize("model", ["SD 1.5", "SDXL"])
def test_our_filling_is_that_of_diffusers_where_both_can(
    model: str, sampler: str, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours is for networks that diffusers' inpainting does not take, as the bundled one."""
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda own, generator: own.mean)
    backend = load(model)
    inputs = read_inputs(picture(), half_mask())
    request = from_picture(inputs, strength=0.75, sampler=sampler)
    theirs = pixels(backend.generate(request, inputs=inputs))
    monkeypatch.setattr(pipeline_calls, "FILLING_CHANNELS", ())
    ours = pixels(backend.generate(request, inputs=inputs))
    assert np.abs(ours - theirs).max() <= 1
    monkeypatch.setattr(starting_image, "_cells", lambda mask, latents: torch.tensor(True))
    assert np.abs(pixels(backend.generate(request, inputs=inputs)) - theirs).max() > 1


@pytest.mark.parametrize("solver", [HeunDiscreteScheduler, PNDMScheduler])
def test_our_filling_keeps_step_with_solvers_that_name_a_timestep_twice(
    solver: type[SchedulerMixin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda own, generator: own.mean)
    scheduler = solver.from_config(PNDMScheduler(skip_prk_steps=True).config)
    backend = ImageBackend.load(str(save_tiny_sd(tmp_path, scheduler)), device="cpu")
    inputs = read_inputs(picture(), half_mask())
    request = from_picture(inputs, strength=0.5, sampler="native")
    theirs = pixels(backend.generate(request, inputs=inputs))
    monkeypatch.setattr(pipeline_calls, "FILLING_CHANNELS", ())
    assert np.abs(pixels(backend.generate(request, inputs=inputs)) - theirs).max() <= 1
