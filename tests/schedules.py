"""The settings of a noise schedule that the tests of charts and of formulas share."""

from __future__ import annotations

# Ho et al. (2020), section 4.
LINEAR = {
    "_class_name": "DDPMScheduler",
    "beta_schedule": "linear",
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "num_train_timesteps": 1000,
}
