"""How much of a picture and how much noise is left at each timestep of a noise schedule.

Ho et al. (2020), eq. 4: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from diffusion_bench.diffusion.schedulers import build_scheduler

# diffusers' names of the schedules that models are trained with, and who brought them. The
# scaled one has the betas of Stable Diffusion 1; its paper's (Rombach et al. 2022) had others.
SCHEDULES = {
    "linear": "linear (Ho et al. 2020)",
    "scaled_linear": "scaled linear (Stable Diffusion 1)",
    "squaredcos_cap_v2": "cosine (Nichol and Dhariwal 2021)",
}
USUAL_BETAS = {  # first and last, of whom SCHEDULES names
    "linear": (1e-4, 0.02),
    "scaled_linear": (0.00085, 0.012),
    "squaredcos_cap_v2": (1e-4, 0.02),  # not used by it
}


class Level(NamedTuple):
    """Factors of picture and noise at a timestep: their squares add up to 1."""

    timestep: int
    signal: float
    noise: float

    @property
    def snr_db(self) -> float | None:
        """Return the signal-to-noise ratio in dB, `None` where there is no signal or no noise."""
        return 20 * math.log10(self.signal / self.noise) if self.signal and self.noise else None


def noise_levels(config: Mapping[str, Any]) -> list[Level]:
    """Return the level of every timestep that a model was trained on, from its schedule's settings.

    Raises ValueError for a schedule without betas (flow matching).
    """
    kept = build_scheduler("ddpm", config).alphas_cumprod.double().clamp(0, 1)
    return [
        Level(timestep, math.sqrt(share), math.sqrt(1 - share))
        for timestep, share in enumerate(kept.tolist())
    ]


def usual_schedules(timesteps: int = 1000) -> dict[str, list[Level]]:
    """Return the levels of the three schedules most models are trained with, by their names."""
    return {
        title: noise_levels(
            {
                "_class_name": "DDPMScheduler",
                "beta_schedule": name,
                "beta_start": USUAL_BETAS[name][0],
                "beta_end": USUAL_BETAS[name][1],
                "num_train_timesteps": timesteps,
            }
        )
        for name, title in SCHEDULES.items()
    }
