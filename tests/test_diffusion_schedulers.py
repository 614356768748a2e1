"""The samplers sample: on a distribution whose best denoiser is known, they give it back."""

from __future__ import annotations

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
    with pytest.raises(ValueError, match="unknown sampler 'euler'; known: ddim, ddpm"):
        build_scheduler("euler", EPSILON)


def test_a_flow_matching_model_is_refused_by_name() -> None:
    config = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    with pytest.raises(ValueError, match=r"FlowMatchEulerDiscreteScheduler.*flow matching"):
        build_scheduler("ddim", config)


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
