"""Energy and money per image, from the energy of a cell."""

from __future__ import annotations

from diffusion_bench.records import MOST_PRICE, Record, VoiceRequest
from diffusion_bench.reports.schema import Cell
from diffusion_bench.reports.stats import Summary

JOULES_PER_KWH = 3.6e6


class Cost(Record):
    """What an image, or a second of speech, takes. `None`: no energy, or no tariff, or not one.

    `net_energy_per_image_j` leaves out what the device draws when idle. The cost is of the gross
    energy, in the tariff's currency; of the device only, not of the machine at the wall. The gross
    energy, and so the cost, may be off by `energy_uncertainty_percent` either way.
    """

    energy_per_image_j: float | None = None
    net_energy_per_image_j: float | None = None
    cost_per_1000_images: float | None = None
    energy_per_audio_s_j: float | None = None
    energy_uncertainty_percent: float | None = None


def cost_of(cell: Cell, summary: Summary | None, tariff: float | None = None) -> Cost:
    """Return the energy and cost of an image; `tariff` is money per kilowatt-hour.

    Raise ValueError for a tariff that is none.
    """
    if tariff is not None and not 0 <= tariff < MOST_PRICE:  # NaN is neither
        raise ValueError(
            f"the tariff {tariff:g} is not a price per kWh; "
            f"give one of 0 or more and below {MOST_PRICE:,.0f}"
        )
    if summary is None or summary.energy_j is None:
        return Cost()
    unsure_j = summary.energy_uncertainty_j
    percent = None if not unsure_j or not summary.energy_j else 100 * unsure_j / summary.energy_j
    if isinstance(cell.request, VoiceRequest):
        seconds = summary.audio_s
        return Cost(
            energy_per_audio_s_j=summary.energy_j / seconds if seconds else None,
            energy_uncertainty_percent=percent,
        )
    batch, gross_j, net_j = cell.request.batch, summary.energy_j, summary.net_energy_j
    per_image_j = gross_j / batch
    return Cost(
        energy_per_image_j=per_image_j,
        net_energy_per_image_j=None if net_j is None else net_j / batch,
        cost_per_1000_images=cost_per_1000(per_image_j, tariff),
        energy_uncertainty_percent=percent,
    )


def cost_per_1000(joules: float | None, tariff: float | None) -> float | None:
    """Return the cost of 1000 images at so many joules each, `None` where either is not known."""
    if joules is None or tariff is None:
        return None
    return joules * 1000 / JOULES_PER_KWH * tariff
