"""What is shown of the inside of a picture: it is what happened, and looking changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from tiny_models import save_tiny_sd
from tiny_pipelines import save_pixart

from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.inside.anatomy import anatomy, without_skips
from diffusion_bench.backends.inside.film import added_noise, evenly, film, show_each
from diffusion_bench.backends.inside.guidance import guided
from diffusion_bench.backends.inside.noised import noised, usual_timesteps
from diffusion_bench.backends.inside.recorder import Recorder, SeenStep, clean_of
from diffusion_bench.backends.inside.viewer import Viewer
from diffusion_bench.diffusion.schedulers import build_scheduler
from diffusion_bench.records import BUNDLED_MODEL, Cancelled, ImageRequest

REQUEST = ImageRequest(prompt="a cat on a blue background", steps=5, seed=3, width=64, height=64)


@pytest.fixture(scope="module")
def backend():
    return ImageBackend.load(BUNDLED_MODEL, device="cpu")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A Stable Diffusion that predicts epsilon."""
    return ImageBackend.load(str(save_tiny_sd(tmp_path_factory.mktemp("sd"))), device="cpu")


def pixels(picture) -> np.ndarray:
    return np.asarray(picture, dtype=np.int16)


def with_sampler(sampler: str, **other) -> ImageRequest:
    return REQUEST.model_copy(update={"sampler": sampler} | other)


def has_hooks(backend) -> bool:
    return any(
        module._forward_hooks or module._forward_pre_hooks for module in backend.denoiser.modules()
    )


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_a_picture_that_was_looked_at_is_the_picture(backend, sampler):
    request = with_sampler(sampler)
    seen = film(backend, request)
    assert np.array_equal(pixels(seen.picture), pixels(backend.generate(request).images[0]))
    assert not has_hooks(backend)


def test_a_film_goes_from_noise_to_the_picture(backend):
    seen = film(backend, REQUEST, most=4)
    assert [frame.at.step for frame in seen.frames] == [1, 2, 4, 5]
    assert [step.step for step in seen.progress] == [1, 2, 3, 4, 5]
    assert seen.frames[0].at.noise > 0.999
    signals = [step.signal for step in seen.progress]
    assert signals == sorted(signals)
    # Where steps divide the 1000, the last one of DDIM ends at what is seen under its noise.
    assert seen.progress[-1].to_final < 1e-5 < seen.progress[0].to_final
    last = pixels(show_each(backend, [seen.latents], REQUEST)[0])
    assert np.abs(last - pixels(seen.picture)).max() <= 1
    first = pixels(show_each(backend, [backend.initial_latents(REQUEST)[0]], REQUEST)[0])
    assert np.array_equal(first, pixels(seen.frames[0].noisy))


def test_ddim_adds_no_noise_and_ddpm_that_of_its_posterior(backend):
    request = with_sampler("ddpm", steps=10)
    uneven = with_sampler("ddim", steps=15)  # 1000 is no multiple of it: timesteps are rounded
    assert max(step.added_noise for step in film(backend, uneven, most=1).progress) < 1e-5
    scheduler = build_scheduler("ddpm", backend.schedule, request.steps)
    scheduler.set_timesteps(request.steps)
    seen = film(backend, request)
    for step in seen.progress:
        expected = float(scheduler._get_variance(step.timestep)) ** 0.5
        assert step.added_noise == pytest.approx(expected, rel=0.06, abs=1e-3)


def test_fresh_noise_is_told_from_what_was_kept():
    generator = torch.Generator().manual_seed(0)
    clean, old, fresh = (torch.randn(4, 64, 64, generator=generator) for _ in range(3))
    noisy = 0.6 * clean + 0.8 * old

    def step(following):
        return SeenStep(0, 0, 0.6, 0.8, noisy, clean, None, following)

    kept = 0.8 * clean + 0.5 * old
    assert added_noise(step(kept + 0.33 * fresh)) == pytest.approx(0.33, rel=0.02)
    assert added_noise(step(kept)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_the_picture_under_the_noise_follows_from_any_kind_of_answer(kind):
    clean, noise = torch.randn(2, 3, 4, 4)
    noisy = 0.6 * clean + 0.8 * noise
    answers = {"epsilon": noise, "v_prediction": 0.6 * noise - 0.8 * clean, "sample": clean}
    assert torch.allclose(clean_of(kind, 0.6, 0.8)(answers[kind], noisy), clean, atol=1e-5)


def test_an_answer_of_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="'flow_prediction'"):
        clean_of("flow_prediction", 0.6, 0.8)


def test_the_seen_picture_is_the_samplers_own(tiny):
    """diffusers' DDIM tells the x_0 it goes by: ours is that, for epsilon as for v."""
    recorder = Recorder()
    told = []

    class Telling:
        def __call__(self, pipeline):
            own = pipeline.scheduler.step

            def step(output, timestep, sample, *more, **named):
                named["return_dict"] = True
                result = own(output, timestep, sample, *more, **named)
                told.append(result.pred_original_sample[0].float())
                return (result.prev_sample,)

            step.__signature__ = __import__("inspect").signature(own)
            pipeline.scheduler.step = step
            return recorder.watching(pipeline)

    tiny.generate(REQUEST, watching=Telling())
    assert len(told) == len(recorder.steps) == REQUEST.steps
    for ours, theirs in zip(recorder.steps, told, strict=True):
        assert torch.allclose(ours.clean, theirs, atol=1e-3)


def test_guidance_goes_from_one_answer_past_the_other(backend):
    recorder = Recorder()
    backend.generate(REQUEST, watching=recorder.watching)
    for step in recorder.steps:
        without, prompted = step.passes
        expected = without + REQUEST.guidance_scale * (prompted - without)
        assert torch.allclose(step.clean, expected, atol=1e-3)


def test_guidance_shows_each_scale_and_the_answers_of_its_own(backend):
    shown = guided(backend, REQUEST, (1.0, 3.0, 6.0))
    assert [each.scale for each in shown] == [1.0, 3.0, 6.0]
    assert [len(each.apart) for each in shown] == [0, 5, 5]
    assert [len(each.moments) for each in shown] == [0, 5, 0]
    assert min(shown[1].apart) > 0
    own = backend.generate(REQUEST.model_copy(update={"guidance_scale": 6.0})).images[0]
    assert np.array_equal(pixels(shown[2].picture), pixels(own))
    moment = shown[1].moments[0]
    assert not np.array_equal(pixels(moment.without_prompt), pixels(moment.with_prompt))


def test_a_model_without_a_noise_schedule_is_refused_and_left_as_it_was():
    class Pipeline:
        scheduler = FlowMatchEulerDiscreteScheduler()

    own = Pipeline.scheduler.step
    with (
        pytest.raises(ValueError, match="no noise schedule in betas"),
        Recorder().watching(Pipeline()),
    ):
        pass
    assert Pipeline.scheduler.step == own


def test_a_look_that_is_given_up_leaves_nothing_behind(backend):
    def give_up(step):
        raise Cancelled("cancelled")

    for look in (
        lambda: film(backend, REQUEST, Viewer(give_up)),
        lambda: anatomy(backend, REQUEST, 2, give_up),
        lambda: without_skips(backend, REQUEST, (0.5,), give_up),
    ):
        with pytest.raises(Cancelled):
            look()
        assert not has_hooks(backend)


def test_a_look_can_be_given_up_between_two_decodings(backend):
    shown = []

    def check():
        shown.append(None)
        if len(shown) == 3:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        film(backend, REQUEST, Viewer(check=check))
    assert len(shown) == 3


def test_a_network_that_tells_its_variance_too_is_looked_into_without_it(tmp_path):
    """PixArt's transformer answers twice the channels; the pipeline leaves the second half out."""
    backend = ImageBackend.load(str(save_pixart(tmp_path / "pixart")), device="cpu")
    request = REQUEST.model_copy(update={"guidance_scale": 4.5})
    assert len(film(backend, request, most=2).frames) == 2
    (shown,) = guided(backend, request, (4.5,))
    assert len(shown.apart) == REQUEST.steps


def test_the_blocks_make_up_the_network(backend):
    seen = anatomy(backend, REQUEST, 3)
    assert [block.way for block in seen.blocks] == [
        *("in", "down", "down", "middle", "up", "up", "out")
    ]
    unet = backend.denoiser
    assert seen.parameters == sum(each.numel() for each in unet.parameters())
    time_and_text = sum(each.numel() for each in unet.time_embedding.parameters())
    norm = sum(each.numel() for each in unet.conv_norm_out.parameters())
    parts = sum(block.parameters for block in seen.blocks)
    assert parts + time_and_text + norm == seen.parameters
    assert seen.blocks[0].rows == seen.blocks[-1].rows == 2 * seen.blocks[1].rows
    # What the way down puts aside is what the way up takes.
    aside = [shape for block in seen.blocks if block.way in ("in", "down") for shape in block.skips]
    taken = [shape for block in seen.blocks if block.way == "up" for shape in reversed(block.skips)]
    assert taken == aside[::-1]
    assert taken == [(160, 2, 2), (128, 2, 2), (128, 4, 4), (128, 4, 4)]  # of 64 pixels
    # Each transformer block looks at the picture first, at the prompt second.
    assert [block.attentions for block in seen.blocks] == [0, 2, 2, 2, 4, 4, 0]
    assert all(block.reading == block.attentions / 2 for block in seen.blocks)
    levels = np.asarray(seen.blocks[0].activity)
    assert (levels.min(), levels.max()) == (0, 255)
    assert not has_hooks(backend)


def test_the_timestep_of_the_maps_is_that_of_the_step(backend):
    steps = film(backend, REQUEST).progress
    assert anatomy(backend, REQUEST, 3).timestep == steps[2].timestep
    with pytest.raises(ValueError, match="step 6 is none of 1 to 5"):
        anatomy(backend, REQUEST, 6)


def test_skips_at_full_strength_are_the_picture_and_without_them_it_is_another(backend):
    whole, half, none = (drawn for _, drawn in without_skips(backend, REQUEST, (1.0, 0.5, 0.0)))
    own = pixels(backend.generate(REQUEST).images[0])
    assert np.array_equal(pixels(whole.images[0]), own)
    weaker, gone = (np.abs(pixels(each.images[0]) - own).mean() for each in (half, none))
    assert 0 < weaker < gone


def test_a_transformer_is_no_u_net(tmp_path):
    backend = ImageBackend.load(str(save_pixart(tmp_path / "pixart")), device="cpu")
    for look in (lambda: anatomy(backend, REQUEST, 1), lambda: without_skips(backend, REQUEST, [])):
        with pytest.raises(ValueError, match="is no U-Net"):
            look()


def test_a_noised_picture_begins_as_it_is_and_ends_as_noise(backend):
    latents = film(backend, REQUEST, most=1).latents
    steps = noised(backend, REQUEST, latents, usual_timesteps(1000))
    assert [step.level.timestep for step in steps] == [0, 142, 285, 428, 570, 713, 856, 999]
    picture = pixels(show_each(backend, [latents], REQUEST)[0]).astype(float)

    def likeness(step) -> float:
        return float(np.corrcoef(picture.ravel(), pixels(step.pixels).ravel())[0, 1])

    found = [likeness(step) for step in steps]
    assert found[0] > 0.99
    assert found == sorted(found, reverse=True)
    assert abs(found[-1]) < 0.1
    noise = show_each(backend, [backend.initial_latents(REQUEST)[0]], REQUEST)[0]
    assert np.abs(pixels(noise) - pixels(steps[-1].latents)).mean() < 2


@pytest.mark.parametrize("timestep", [-1, 1000])
def test_a_timestep_outside_the_schedule_is_refused(backend, timestep):
    with pytest.raises(ValueError, match=f"timestep {timestep} is none of 0 to 999"):
        noised(backend, REQUEST, torch.zeros(32, 4, 4), [timestep])


def test_frames_are_even_and_have_both_ends():
    assert evenly(3, 10) == [0, 1, 2]
    assert evenly(20, 5) == [0, 5, 10, 14, 19]
    assert evenly(20, 1) == [19]
