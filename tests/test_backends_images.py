"""Pictures through real diffusers pipelines, tiny ones with random weights and the bundled one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from PIL import Image
from tiny_models import save_tiny_sd, save_tiny_sdxl
from transformers import CLIPConfig, CLIPImageProcessor

from diffusion_bench.backends.catalog import (
    MODELS_FOLDER,
    ModelUnavailable,
    UnknownModel,
    find_model,
)
from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.records import BUNDLED_MODEL, Cancelled, Generation, ImageRequest, Step

SIDE = 32


@pytest.fixture(scope="module")
def sd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sd(tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="module")
def sd(sd_folder: Path) -> ImageBackend:
    return ImageBackend.load(str(sd_folder), device="cpu")


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> ImageBackend:
    return ImageBackend.load(str(save_tiny_sdxl(tmp_path_factory.mktemp("sdxl"))), device="cpu")


@pytest.fixture(scope="module")
def bundled() -> ImageBackend:
    return ImageBackend.load(BUNDLED_MODEL, device="cpu")


def ask(**settings: object) -> ImageRequest:
    return ImageRequest(
        **{
            "prompt": "a cat",
            "model": "tiny",
            "steps": 3,
            "width": SIDE,
            "height": SIDE,
            **settings,
        }
    )


def pixels(generation: Generation) -> np.ndarray:
    return np.stack([np.asarray(image, dtype=int) for image in generation.images])


def test_the_bundled_folder_is_a_stock_pipeline_and_needs_none_of_our_code() -> None:
    program = (
        "import sys\n"
        "from diffusers import StableDiffusionPipeline\n"
        f"p = StableDiffusionPipeline.from_pretrained({str(MODELS_FOLDER / BUNDLED_MODEL)!r},"
        " use_safetensors=True)\n"
        "image = p('a cat on a blue background', num_inference_steps=2).images[0]\n"
        "assert not [m for m in sys.modules if m.startswith('diffusion_bench')]\n"
        "print(type(p).__name__, image.size, p.scheduler.config.num_train_timesteps)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd="/", check=False
    )
    assert done.returncode == 0, done.stderr
    side = find_model(BUNDLED_MODEL).side
    assert done.stdout.split("\n")[0] == f"StableDiffusionPipeline {(side, side)} 1000"


def test_the_bundled_weights_are_safetensors_of_30_megabytes_at_most() -> None:
    files = [path for path in (MODELS_FOLDER / BUNDLED_MODEL).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 30e6
    assert {".bin", ".pt", ".ckpt", ".pkl"}.isdisjoint(path.suffix for path in files)


@pytest.mark.parametrize("model", ["sd", "sdxl", "bundled"])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_every_kind_of_model_draws_with_both_samplers(
    model: str, sampler: str, request: pytest.FixtureRequest
) -> None:
    backend = request.getfixturevalue(model)
    generation = backend.generate(ask(sampler=sampler, batch=2))
    assert [image.size for image in generation.images] == [(SIDE, SIDE)] * 2
    assert len(generation.step_s) == 3
    assert all(seconds > 0 for seconds in generation.step_s)


def test_the_same_request_gives_the_same_picture_and_another_seed_another(
    bundled: ImageBackend,
) -> None:
    first, again, other = (pixels(bundled.generate(ask(seed=seed))) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_noise_seed_changes_ddpm_and_leaves_ddim_alone(bundled: ImageBackend) -> None:
    for sampler, settings, same in (
        ("ddpm", {}, False),
        ("ddim", {"eta": 0.8}, False),
        ("ddim", {}, True),
    ):
        one, two = (
            pixels(bundled.generate(ask(sampler=sampler, noise_seed=noise_seed, **settings)))
            for noise_seed in (1, 2)
        )
        assert np.array_equal(one, two) is same, (sampler, settings)


def test_every_sampler_starts_from_the_same_latents(sd: ImageBackend) -> None:
    starts = []
    for settings in ({}, {"sampler": "ddpm"}, {"eta": 1.0}, {"steps": 1, "noise_seed": 9}):
        seen: list[torch.Tensor] = []
        hook = sd._pipeline.unet.register_forward_pre_hook(
            lambda _, inputs, seen=seen: seen.append(inputs[0].clone())
        )
        sd.generate(ask(seed=4, **settings))
        hook.remove()
        starts.append(seen[0])
    assert all(torch.equal(start, starts[0]) for start in starts)


def test_the_noise_ddpm_adds_first_is_not_the_noise_it_starts_from(sd: ImageBackend) -> None:
    request = ask(seed=4)
    start = sd.initial_latents(request)[0]
    added = torch.randn(start.shape, generator=sd._noise_generators(request)[0])
    assert abs(torch.corrcoef(torch.stack([start.flatten(), added.flatten()]))[0, 1]) < 0.5


def test_a_picture_of_a_batch_is_the_picture_of_its_own_seed(bundled: ImageBackend) -> None:
    for sampler in ("ddim", "ddpm"):
        batch = pixels(bundled.generate(ask(seed=5, batch=3, sampler=sampler)))
        alone = pixels(bundled.generate(ask(seed=7, sampler=sampler)))
        assert np.abs(batch[2] - alone[0]).max() <= 2  # sums in another order


def test_guidance_at_one_runs_one_pass_a_step_and_above_it_two(sd: ImageBackend) -> None:
    sizes = []
    for guidance_scale in (1.0, 3.0):
        hook = sd._pipeline.unet.register_forward_pre_hook(
            lambda _, inputs: sizes.append(len(inputs[0]))
        )
        sd.generate(ask(guidance_scale=guidance_scale, steps=1))
        hook.remove()
    assert sizes == [1, 2]


def test_a_negative_prompt_changes_the_picture(bundled: ImageBackend) -> None:
    plain, without = (
        pixels(bundled.generate(ask(negative_prompt=negative))) for negative in ("", "a dog")
    )
    assert not np.array_equal(plain, without)


def test_the_stages_add_up_to_the_wall_time(bundled: ImageBackend) -> None:
    generation = bundled.generate(ask(steps=8))
    stages = generation.stages
    total = stages.text_encoder_s + stages.denoising_s + stages.decoder_s + stages.other_s
    assert total == pytest.approx(generation.wall_s, rel=1e-6)
    assert sum(generation.step_s) == pytest.approx(stages.denoising_s)
    assert min(stages.text_encoder_s, stages.decoder_s) > 0


def test_a_slow_text_encoder_step_or_decoder_shows_in_its_own_stage(sd: ImageBackend) -> None:
    import time

    pauses = {
        "text_encoder_s": sd._pipeline.text_encoder,
        "denoising_s": sd._pipeline.unet,
        "decoder_s": sd._pipeline.vae.decoder,
    }
    for stage, module in pauses.items():
        hook = module.register_forward_hook(lambda *_: time.sleep(0.3))
        stages = sd.generate(ask(steps=1)).stages.model_dump()
        hook.remove()
        assert stages.pop(stage) >= 0.3
        assert sum(stages.values()) < 0.3, (stage, stages)


def test_a_request_that_is_refused_ends_in_no_stage_of_the_call_before_it(
    sd: ImageBackend,
) -> None:
    sd.generate(ask(steps=1))
    assert sd.stage == "decoder"
    with pytest.raises(ValueError, match="asked for speed packed"):
        sd.generate(ask(speed="packed"))
    assert sd.stage == "load"


def test_the_first_step_is_timed_like_the_others(sd: ImageBackend) -> None:
    import time

    hook = sd._pipeline.unet.register_forward_hook(lambda *_: time.sleep(0.05))
    generation = sd.generate(ask(steps=4))
    hook.remove()
    assert len(generation.step_s) == 4
    assert all(0.05 <= seconds < 0.15 for seconds in generation.step_s)


def test_time_spent_in_the_callers_callback_counts_for_no_step(sd: ImageBackend) -> None:
    import time

    generation = sd.generate(ask(steps=3), lambda step: time.sleep(0.2))
    assert max(generation.step_s) < 0.2
    assert generation.stages.other_s >= 0.6


def test_a_callback_hears_every_step_and_can_look_at_the_picture(bundled: ImageBackend) -> None:
    heard: list[Step] = []
    previews: list[Image.Image] = []

    def on_step(step: Step) -> None:
        heard.append(step)
        previews.extend(step.preview())

    generation = bundled.generate(ask(steps=4), on_step)
    assert [step.index for step in heard] == [0, 1, 2, 3]
    assert [step.timestep for step in heard] == sorted((s.timestep for s in heard), reverse=True)
    assert heard[-1].elapsed_s > heard[0].elapsed_s > 0
    last = np.asarray(previews[-1], dtype=int)
    assert np.abs(last - pixels(generation)[0]).max() <= 1
    # A preview must not be taken for the decoder's stage.
    assert generation.stages.decoder_s < generation.wall_s / 2


def test_a_callback_that_cancels_stops_at_once_and_leaves_the_model_usable(
    sd: ImageBackend,
) -> None:
    steps: list[int] = []

    def on_step(step: Step) -> None:
        steps.append(step.index)
        if step.index == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        sd.generate(ask(steps=50), on_step)
    assert steps == [0, 1]
    before = pixels(sd.generate(ask()))
    assert np.array_equal(before, pixels(sd.generate(ask())))
    assert not sd._pipeline.unet._forward_pre_hooks


def test_unknown_words_are_named_and_the_picture_is_drawn(bundled: ImageBackend) -> None:
    generation = bundled.generate(
        ask(model=BUNDLED_MODEL, prompt="A zorp, on a Blue background, qqux zorp")
    )
    assert generation.warnings == (f"{BUNDLED_MODEL} was not trained on: zorp, qqux; left out",)
    assert bundled.generate(ask(model=BUNDLED_MODEL)).warnings == ()


def test_other_sizes_and_precisions_run(bundled: ImageBackend) -> None:
    odd = 5 * find_model(BUNDLED_MODEL).multiple  # rows of cells, which no level halves evenly
    wide = bundled.generate(ask(width=96, height=odd))
    assert wide.images[0].size == (96, odd)
    half = ImageBackend.load(BUNDLED_MODEL, device="cpu", precision="bf16").generate(ask())
    assert np.abs(pixels(half) - pixels(bundled.generate(ask()))).mean() < 20


def test_memory_that_cannot_be_told_has_a_reason(bundled: ImageBackend) -> None:
    memory = bundled.generate(ask()).memory
    for name, value in memory.model_dump(exclude={"missing"}).items():
        assert (value is None) == (name in memory.missing), name
    if sys.platform == "linux":
        assert memory.rss_mib is not None
        assert 100 < memory.rss_mib < 20_000


def test_the_models_own_sampler_is_as_its_pipeline_corrects_an_old_file(tmp_path: Path) -> None:
    """Stable Diffusion's clips nothing and shifts by one where the file of a schedule is silent."""
    folder = save_tiny_sd(tmp_path, DDIMScheduler(beta_schedule="scaled_linear"))
    file = folder / "scheduler" / "scheduler_config.json"
    told = json.loads(file.read_text())
    silent = {name: told[name] for name in told if name not in ("clip_sample", "steps_offset")}
    file.write_text(json.dumps(silent))
    backend, request = ImageBackend.load(str(folder), device="cpu"), ask(sampler="native")
    stock = StableDiffusionPipeline.from_pretrained(folder, use_safetensors=True)
    drawn = stock(
        request.prompt,
        width=request.width,
        height=request.height,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        latents=backend.initial_latents(request),
    )
    assert np.array_equal(pixels(backend.generate(request))[0], np.asarray(drawn.images[0]))


def test_a_negative_prompt_that_counts_for_nothing_is_told(sd: ImageBackend) -> None:
    silent = sd.generate(ask(negative_prompt="a dog", guidance_scale=2.0)).warnings
    told = sd.generate(ask(negative_prompt="a dog", guidance_scale=1.0)).warnings
    assert {*told} - {*silent} == {"the negative prompt had no effect; it needs guidance above 1"}


def test_a_u_net_with_a_scheduler_of_transformers_is_drawn_with_the_others_it_can_have(
    tmp_path: Path,
) -> None:
    own = FlowMatchEulerDiscreteScheduler()
    backend = ImageBackend.load(str(save_tiny_sd(tmp_path, own)), device="cpu")
    for sampler in ("native", "euler"):
        with pytest.raises(ValueError, match=r"cannot be run with FlowMatchEuler.* take dpm"):
            backend.generate(ask(sampler=sampler))
    for sampler in ("dpm++", "unipc"):
        assert pixels(backend.generate(ask(sampler=sampler))).std() > 0


def test_a_picture_that_a_safety_checker_made_black_is_told(sd_folder: Path) -> None:
    backend = ImageBackend.load(str(sd_folder), device="cpu")
    pipeline = backend._pipeline
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 1, "image_size": 8, "patch_size": 8}
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=8))
    pipeline.register_modules(
        safety_checker=checker, feature_extractor=CLIPImageProcessor(size=8, crop_size=8)
    )
    for most, told in ((-2.0, "made picture 1, 2 of 2 black"), (2.0, None)):  # a cosine's bounds
        torch.nn.init.constant_(checker.concept_embeds_weights, most)
        torch.nn.init.constant_(checker.special_care_embeds_weights, most)
        drawn = backend.generate(ask(steps=1, batch=2))
        assert (pixels(drawn).max() == 0) == bool(told)
        assert [told in warning for warning in drawn.warnings] == ([True] if told else [])
        assert drawn.blackened == ((0, 1) if told else ())


def test_a_model_that_is_not_here_and_cannot_be_fetched_says_so() -> None:
    with pytest.raises(ModelUnavailable, match="not on this machine and could not be fetched"):
        ImageBackend.load("nobody/no-such-model", device="cpu")


def test_a_name_that_is_no_model_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match=f"known: {BUNDLED_MODEL}"):
        ImageBackend.load(f"{BUNDLED_MODEL}x", device="cpu")
    with pytest.raises(UnknownModel, match=r"without model_index\.json"):
        ImageBackend.load(str(tmp_path), device="cpu")


def test_a_broken_folder_is_told_from_a_missing_one(sd_folder: Path, tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(sd_folder, broken)
    weights = next((broken / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        ImageBackend.load(str(broken), device="cpu")


def test_pickled_weights_are_refused(sd_folder: Path, tmp_path: Path) -> None:
    import shutil

    pickled = tmp_path / "pickled"
    shutil.copytree(sd_folder, pickled)
    weights = next((pickled / "unet").glob("*.safetensors"))
    torch.save({}, weights.with_name("diffusion_pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(ModelUnavailable, match="weights in pickles"):
        ImageBackend.load(str(pickled), device="cpu")


def test_a_decoding_that_failed_leaves_the_next_one_its_precision(tmp_path: Path) -> None:
    """SDXL decodes in fp32 what else is fp16, and goes back to that only where all went well."""
    folder = str(save_tiny_sdxl(tmp_path))
    backend = ImageBackend.load(folder, device="cpu", precision="fp16")
    request = ImageRequest(prompt="a cat", steps=2, width=SIDE, height=SIDE)
    (before,) = backend.generate(request).images

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 4.00 GiB")

    failing = backend._pipeline.vae.decoder.register_forward_pre_hook(fail)
    with pytest.raises(torch.OutOfMemoryError):
        backend.generate(request)
    failing.remove()
    (after,) = backend.generate(request).images
    assert np.array_equal(np.asarray(after), np.asarray(before))
