"""Energy and cost of an image: from what was measured, at the user's tariff, else nothing."""

from __future__ import annotations

import math

import pytest
from fakes import make_cell, make_report

from diffusion_bench.reports.cost import Cost, cost_of
from diffusion_bench.reports.export import to_csv, to_rows
from diffusion_bench.reports.markdown import to_markdown
from diffusion_bench.reports.schema import Cell, Energy
from diffusion_bench.reports.stats import summarise
from diffusion_bench.ui.figures import cell_table


def powered_cell() -> Cell:
    whole = Energy(total_j=720.0, window_s=6.0, method="counter", idle_power_w=20.0, net_j=600.0)
    return make_cell(wall_s=(2.0, 2.0, 2.0), batch=4).model_copy(update={"energy": whole})


def test_an_images_energy_is_gross_and_net_and_costs_the_gross():
    cell = powered_cell()
    found = cost_of(cell, summarise(cell), tariff=0.30)
    assert (found.energy_per_image_j, found.net_energy_per_image_j) == (60.0, 50.0)
    assert found.cost_per_1000_images == pytest.approx(60_000 / 3.6e6 * 0.30)


def test_no_image_takes_more_net_than_gross_energy_where_one_call_took_far_longer():
    cell = make_cell(wall_s=(2.0, 2.0, 2.0, 2.0, 4.0))
    taken = zip(cell.samples, (200.0, 200.0, 200.0, 200.0, 400.0), strict=True)
    samples = tuple(one.model_copy(update={"energy_j": joules}) for one, joules in taken)
    whole = Energy(total_j=1200.0, window_s=12.0, method="counter", idle_power_w=1.0, net_j=1188.0)
    cell = cell.model_copy(update={"samples": samples, "energy": whole})
    found = cost_of(cell, summarise(cell))
    assert found.energy_per_image_j == pytest.approx(240.0)
    assert found.net_energy_per_image_j == pytest.approx(237.6)


def test_every_export_says_how_far_an_energy_may_be_off_and_how_it_was_had():
    cell = powered_cell()
    whole = cell.energy.model_copy(update={"uncertainty_j": 180.0, "method": "integrated power"})
    report = make_report(cell.model_copy(update={"energy": whole}))
    (row,) = to_rows([report])
    assert row["energy_uncertainty_j"] == pytest.approx(60.0)  # of a call
    assert row["energy_uncertainty_percent"] == pytest.approx(25.0)
    assert (row["energy_method"], row["energy_scope"]) == ("integrated power", "gpu")
    assert "| energy ± (%) |" in to_markdown([report])
    assert "energy ±" not in to_markdown([make_report(powered_cell())])
    table = cell_table([report])
    assert dict(zip(table["headers"], table["data"][0], strict=True))["energy ± (%)"] == "25"


def test_without_energy_or_tariff_there_is_no_cost():
    assert cost_of(make_cell(), summarise(make_cell()), tariff=0.30) == Cost()
    assert cost_of(powered_cell(), summarise(powered_cell())).cost_per_1000_images is None
    assert cost_of(powered_cell(), None, tariff=0.3) == Cost()


@pytest.mark.parametrize("tariff", [-0.1, math.nan, math.inf, 2e9])
def test_a_tariff_that_is_none_is_refused(tariff):
    with pytest.raises(
        ValueError, match="price per kWh; give one of 0 or more and below 1,000,000,000"
    ):
        cost_of(powered_cell(), None, tariff)


def test_every_export_has_the_cost():
    report = make_report(powered_cell())
    (row,) = to_rows([report], tariff=0.30)
    assert row["cost_per_1000_images"] == pytest.approx(0.005)
    assert "0.005" in to_csv([report], tariff=0.30)
    assert "| cost of 1000 images |" in to_markdown([report], tariff=0.30)
    assert "cost" not in to_markdown([report])
