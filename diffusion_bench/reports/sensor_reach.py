"""How far back one look at a sensor reaches: what is shorter than that, it cannot tell apart."""

from __future__ import annotations

from diffusion_bench.reports.schema import GpuCard

# NVML's power register moves about every 0.1 s, and older drivers tell the mean of about a second
# only; its utilisation is of "between 1 second and 1/6 second" (nvmlUtilization_t), of which the
# longer is believed.
POWER_REFRESH_S, POWER_MEAN_S = 0.1, 1.0
UTILIZATION_WINDOW_S = 1.0


def power_reach_s(card: GpuCard | None) -> float:
    """Return of how many of the last seconds a card's power is told."""
    return POWER_MEAN_S if card and card.power_method == "average" else POWER_REFRESH_S
