"""The samplers sample: on a distribution whose best denoiser is known, they give it back."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
import torch
from diffusers import DDPMScheduler

from diffusion_bench.diffusion.schedulers import build_scheduler

MEAN, DEVIATION = 3.0, 0.5  # far outside [-1, 1], where clipping would show
EPSILON = {
    "_class_name": "PNDMScheduler",
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "epsilon",
    "steps_offset": 1,
    "skip_prk_steps": True,
}
VELOCITY = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
}


def best_prediction(x: torch.Tensor, alpha_bar: torch.Tensor, kind: str) -> torch.Tensor:
    """Return E[eps | x] or E[v | x] when x0 is normal with MEAN and DEVIATION."""
    signal, noise = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    variance = alpha_bar * DEVIATION**2 + 1 - alpha_bar
    centred = x - signal * MEAN
    x0 = MEAN + signal * DEVIATION**2 / variance * centred
    eps = noise / variance * centred
    return eps if kind == "epsilon" else signal * eps - noise * x0


def sample(sampler: str, config: dict[str, object], steps: int, **options: float) -> torch.Tensor:
    scheduler = build_scheduler(sampler, config)
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(1)
    # Start from the noise schedule's own last marginal, which still holds a little signal.
    last = scheduler.alphas_cumprod[scheduler.timesteps[0]].double()
    noise = torch.randn(20_000, 1, generator=generator, dtype=torch.float64)
    x = last.sqrt() * MEAN + (last * DEVIATION**2 + 1 - last).sqrt() * noise
    kind = str(config["prediction_type"])
    for t in scheduler.timesteps:
        prediction = best_prediction(x, scheduler.alphas_cumprod[t].double(), kind)
        x = scheduler.step(prediction, t, x, generator=generator, **options).prev_sample
    return x


@pytest.mark.parametrize("config", [EPSILON, VELOCITY], ids=["epsilon", "v_prediction"])
@pytest.mark.parametrize(
    ("sampler", "options"), [("ddim", {"eta": 0.0}), ("ddim", {"eta": 1.0}), ("ddpm", {})]
)
def test_a_sampler_gives_back_the_distribution_it_was_shown(
    config: dict[str, object], sampler: str, options: dict[str, float]
) -> None:
    x = sample(sampler, config, 200, **options)
    assert x.mean().item() == pytest.approx(MEAN, abs=0.06)
    assert x.std().item() == pytest.approx(DEVIATION, rel=0.08)


def test_ddim_without_eta_adds_no_noise_and_ddpm_does() -> None:
    config = VELOCITY
    for sampler, options, same in (("ddim", {"eta": 0.0}, True), ("ddpm", {}, False)):
        scheduler = build_scheduler(sampler, config)
        scheduler.set_timesteps(10)
        x = torch.full((4, 1), 0.3)
        t = scheduler.timesteps[3]
        one, two = (
            scheduler.step(
                x, t, x, generator=torch.Generator().manual_seed(seed), **options
            ).prev_sample
            for seed in (1, 2)
        )
        assert torch.equal(one, two) is same


def test_ddpm_keeps_ddims_variance_at_eta_one() -> None:
    ddim, ddpm = (build_scheduler(name, VELOCITY) for name in ("ddim", "ddpm"))
    for scheduler in (ddim, ddpm):
        scheduler.set_timesteps(50)
    for t, following in zip(ddim.timesteps[:-1], ddim.timesteps[1:], strict=True):
        assert ddpm._get_variance(t) == pytest.approx(
            float(ddim._get_variance(t, following)), rel=1e-3
        )


def test_the_larger_variance_is_sigma_hat_of_the_stride_that_is_taken() -> None:
    """Song et al. (2021), section 5.1: sigma-hat^2 = 1 - alpha_bar_t / alpha_bar_before."""
    large = build_scheduler("ddpm-large", EPSILON)
    large.set_timesteps(50)
    t, before = (int(each) for each in large.timesteps[10:12])
    expected = 1 - large.alphas_cumprod[t] / large.alphas_cumprod[before]
    drawn = large.step(
        torch.zeros(50_000, 1),
        t,
        torch.zeros(50_000, 1),
        generator=torch.Generator().manual_seed(1),
    ).prev_sample
    assert drawn.var().item() == pytest.approx(expected.item(), rel=0.03)
    small = build_scheduler("ddpm", EPSILON)
    small.set_timesteps(50)
    assert small._get_variance(t) < expected


def test_the_models_own_schedule_is_kept_and_latents_are_not_clipped() -> None:
    for sampler in ("ddim", "ddpm"):
        scheduler = build_scheduler(sampler, {**EPSILON, "clip_sample": True, "thresholding": True})
        assert scheduler.config.clip_sample is False
        assert scheduler.config.thresholding is False
        assert scheduler.config.beta_schedule == "scaled_linear"
        assert scheduler.config.steps_offset == 1
    trailing = build_scheduler("ddpm", VELOCITY)
    trailing.set_timesteps(10)
    assert int(trailing.timesteps[0]) == 999


def test_a_large_variance_of_the_models_own_ddpm_is_not_taken_over() -> None:
    own = DDPMScheduler(variance_type="fixed_large").config
    assert build_scheduler("ddpm", own).config.variance_type == "fixed_small"


def test_an_unknown_sampler_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown sampler 'heun'; known: ddim, ddpm, .*native"):
        build_scheduler("heun", EPSILON)


@pytest.mark.parametrize("config", [EPSILON, VELOCITY], ids=["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", ["dpm++", "euler", "unipc"])
def test_a_deterministic_solver_gives_back_the_distribution(
    config: dict[str, object], sampler: str
) -> None:
    scheduler = build_scheduler(sampler, config, 100)
    scheduler.set_timesteps(100)
    x = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = x * scheduler.init_noise_sigma
    alpha_bars = build_scheduler("ddim", config).alphas_cumprod.double()
    for t in scheduler.timesteps:
        seen = scheduler.scale_model_input(x, t)
        prediction = best_prediction(seen, alpha_bars[int(t)], str(config["prediction_type"]))
        x = scheduler.step(prediction, t, x).prev_sample
    # Pure noise is not quite the schedule's last marginal, which holds 7 percent of the signal.
    assert x.mean().item() == pytest.approx(MEAN, abs=0.15)
    assert x.std().item() == pytest.approx(DEVIATION, rel=0.1)


FLOWS = {
    "SD 3": {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0},
    "FLUX.1-dev": {
        "_class_name": "FlowMatchEulerDiscreteScheduler",
        "shift": 3.0,
        "use_dynamic_shifting": True,
    },
    # It has a schedule of betas in its configuration, which means nothing.
    "Sana": {
        "_class_name": "DPMSolverMultistepScheduler",
        "beta_schedule": "linear",
        "prediction_type": "flow_prediction",
        "use_flow_sigmas": True,
        "flow_shift": 3.0,
    },
}


@pytest.mark.parametrize("config", FLOWS.values(), ids=FLOWS)
@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "lcm"])
def test_a_flow_matching_model_is_refused_by_name(config: dict[str, object], sampler: str) -> None:
    with pytest.raises(
        ValueError, match=rf"{config['_class_name']}.*flow matching.* {sampler} is not defined"
    ):
        build_scheduler(sampler, config)


def test_the_models_own_shift_is_kept_by_whatever_name_it_has() -> None:
    for name in ("SD 3", "Sana"):
        assert build_scheduler("euler", FLOWS[name]).config.shift == 3.0
        assert build_scheduler("unipc", FLOWS[name]).config.flow_shift == 3.0


def test_a_flow_matching_model_is_told_by_what_it_predicts_too() -> None:
    told = {"beta_schedule": "linear", "prediction_type": "flow_prediction"}
    with pytest.raises(ValueError, match=r"flow matching.* ddim is not defined"):
        build_scheduler("ddim", told)


@pytest.mark.parametrize("config", FLOWS.values(), ids=FLOWS)
@pytest.mark.parametrize("sampler", ["dpm++", "euler", "unipc", "native"])
def test_a_sampler_of_flow_matching_gives_back_the_distribution(
    config: dict[str, object], sampler: str
) -> None:
    scheduler = build_scheduler(sampler, config)
    shifts = {"mu": 1.15} if config.get("use_dynamic_shifting") else {}
    scheduler.set_timesteps(100, **shifts)
    # From straight noise to data: x = (1 - s) x0 + s noise, and the network says noise - x0.
    x = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(1))
    for t in scheduler.timesteps:
        s = float(t) / 1000
        variance = (1 - s) ** 2 * DEVIATION**2 + s**2
        centred = x - (1 - s) * MEAN
        x0 = MEAN + (1 - s) * DEVIATION**2 / variance * centred
        x = scheduler.step(s / variance * centred - x0, t, x).prev_sample
    assert x.mean().item() == pytest.approx(MEAN, abs=0.06)
    assert x.std().item() == pytest.approx(DEVIATION, rel=0.1)


def test_a_shift_that_the_pipeline_says_is_left_alone_where_the_model_shifts_by_a_fixed_one() -> (
    None
):
    fixed = build_scheduler("dpm++", FLOWS["SD 3"])
    plain = build_scheduler("dpm++", FLOWS["SD 3"])
    fixed.set_timesteps(10, mu=2.0)  # as the pipeline of FLUX.1 does, whatever the model
    plain.set_timesteps(10)
    assert torch.equal(fixed.timesteps, plain.timesteps)


def test_native_is_the_models_own_scheduler_with_its_own_settings() -> None:
    native = build_scheduler("native", {**EPSILON, "set_alpha_to_one": True})
    assert type(native).__name__ == "PNDMScheduler"
    assert native.config.set_alpha_to_one is True


def test_the_models_own_scheduler_too_takes_no_timestep_past_the_last_it_was_trained_on() -> None:
    native = build_scheduler("native", EPSILON, 1000)
    native.set_timesteps(1000)
    assert int(native.timesteps.max()) == 999
    assert build_scheduler("native", EPSILON, 999).config.steps_offset == 1


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "ddpm-large"])
def test_more_steps_than_a_model_was_trained_on_are_refused_before_it_is_loaded(sampler) -> None:
    few = {**EPSILON, "num_train_timesteps": 100}
    assert build_scheduler(sampler, few, 100)
    with pytest.raises(
        ValueError, match=f"^{sampler} takes at most the model's 100 steps, not 101$"
    ):
        build_scheduler(sampler, few, 101)


def test_a_configuration_that_names_no_scheduler_has_no_native_one() -> None:
    """diffusers writes the name when a scheduler is saved: one that was just made has none."""
    with pytest.raises(ValueError, match="names no scheduler"):
        build_scheduler("native", DDPMScheduler().config)


def test_a_schedule_that_is_not_of_betas_takes_its_own_sampler_only() -> None:
    config = {"_class_name": "EDMEulerScheduler", "sigma_data": 0.5}
    for sampler in ("ddim", "dpm++", "euler"):
        with pytest.raises(ValueError, match=rf"EDMEulerScheduler.*{re.escape(sampler)} is not"):
            build_scheduler(sampler, config)
    assert type(build_scheduler("native", config)).__name__ == "EDMEulerScheduler"


def test_lcm_ends_on_the_picture_it_predicts_and_takes_few_steps() -> None:
    scheduler = build_scheduler("lcm", EPSILON, 1)
    scheduler.set_timesteps(1)
    t = scheduler.timesteps[0]
    noise = torch.randn(1000, 1, generator=torch.Generator().manual_seed(1))
    x = scheduler.add_noise(torch.full_like(noise, MEAN), noise, t)
    drawn = scheduler.step(noise, t, x).prev_sample
    assert torch.allclose(drawn, torch.full_like(drawn, MEAN), atol=1e-2)
    with pytest.raises(ValueError, match="lcm takes at most 50 steps, not 51"):
        build_scheduler("lcm", EPSILON, 51)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm++", "euler", "unipc"])
def test_where_the_last_timestep_has_no_signal_it_comes_first_and_nothing_overflows(
    sampler: str,
) -> None:
    config = {
        **EPSILON,
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "leading",
    }
    scheduler = build_scheduler(sampler, config, 10)
    scheduler.set_timesteps(10)
    assert int(scheduler.timesteps[0]) == 999
    x = torch.randn(4, 1, generator=torch.Generator().manual_seed(1)) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        v = best_prediction(
            scheduler.scale_model_input(x, t), scheduler.alphas_cumprod[int(t)], "v_prediction"
        )
        x = scheduler.step(v, t, x).prev_sample
    assert torch.isfinite(x).all()
    assert x.mean().item() == pytest.approx(MEAN, abs=1.0)


@pytest.mark.parametrize("config", [EPSILON, VELOCITY], ids=["epsilon", "cosine"])
def test_the_first_sigma_of_euler_can_be_held_in_fp16(config: dict[str, object]) -> None:
    scheduler = build_scheduler("euler", config, 20)
    scheduler.set_timesteps(20)
    assert float(scheduler.init_noise_sigma) * 6 < torch.finfo(torch.float16).max


@pytest.mark.parametrize("steps", [501, 600, 999, 1000])
@pytest.mark.parametrize("sampler", ["dpm++", "euler", "unipc"])
def test_many_steps_begin_at_pure_noise_and_never_stand_still(sampler: str, steps: int) -> None:
    scheduler = build_scheduler(sampler, EPSILON, steps)
    scheduler.set_timesteps(steps)
    taken = [int(t) for t in scheduler.timesteps]
    assert taken[0] == 999
    assert len(taken) == steps
    assert all(one > other for one, other in pairwise(taken))


@pytest.mark.parametrize("config", [EPSILON, VELOCITY], ids=["shifted by one", "trailing"])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_as_many_steps_as_were_trained_take_every_timestep_once(
    config: dict[str, object], sampler: str
) -> None:
    scheduler = build_scheduler(sampler, config, 1000)
    scheduler.set_timesteps(1000)
    assert scheduler.timesteps.tolist() == list(range(999, -1, -1))
    # With fewer the shift that the model was tuned with is kept.
    fewer = build_scheduler(sampler, config, 999)
    assert fewer.config.steps_offset == config.get("steps_offset", 0)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm++", "euler", "unipc", "native"])
@pytest.mark.parametrize("steps", [61, 103, 499])
def test_trailing_timesteps_are_as_many_as_asked_for_and_none_is_before_zero(
    sampler: str, steps: int
) -> None:
    scheduler = build_scheduler(sampler, {"_class_name": "DDIMScheduler", **VELOCITY}, steps)
    scheduler.set_timesteps(steps)
    assert len(scheduler.timesteps) == steps
    assert all(now > after >= 0 for now, after in pairwise(scheduler.timesteps.tolist()))
    if hasattr(scheduler, "sigmas"):
        assert len(scheduler.sigmas) == steps + 1
        assert scheduler.sigmas[-1] == 0
