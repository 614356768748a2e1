"""The fit verdict: a number against a limit, or a reason why there is none."""

from __future__ import annotations

import pytest
from fakes import NO_GPU, make_cell, make_header, make_report

from diffusion_bench.records import Memory
from diffusion_bench.reports.export import to_rows
from diffusion_bench.reports.fits import fit_lines
from diffusion_bench.reports.memory_fit import fit_verdict
from diffusion_bench.reports.schema import Header

CARD = make_header(gpu="NVIDIA L4")  # 12282 MiB


def emulating(header: Header, mib: float) -> Header:
    plan = header.plan.model_copy(update={"emulated_memory_mib": mib})
    return header.model_copy(update={"plan": plan})


@pytest.mark.parametrize(
    ("memory", "wanted"),
    [
        ({"nvml_used_mib": 8000.0}, "fits"),
        ({"nvml_used_mib": 11_053.0}, "fits"),
        ({"nvml_used_mib": 11_055.0}, "tight"),
        ({"nvml_used_mib": 12_000.0, "torch_reserved_mib": 13_000.0}, "spilled"),
        ({"torch_reserved_mib": 9000.0, "nvml_idle_mib": 500.0}, "fits"),
        ({"torch_reserved_mib": 12_000.0, "nvml_idle_mib": 500.0}, "spilled"),
        ({"torch_reserved_mib": 9000.0}, None),
        ({}, None),
    ],
)
def test_the_peak_of_the_gpu_is_set_against_its_memory(memory, wanted):
    cell = make_cell().model_copy(update={"memory": Memory(**memory)})
    found = fit_verdict(cell, CARD)
    assert found.verdict == wanted
    assert found.reason


def test_a_full_card_that_is_slower_than_its_line_has_spilled():
    full, roomy = (make_cell(nvml_used_mib=mib) for mib in (12_000.0, 6000.0))
    assert fit_verdict(full, CARD).verdict == "tight"
    assert fit_verdict(full, CARD, slow=True).verdict == "spilled"
    assert fit_verdict(roomy, CARD, slow=True).verdict == "fits"


@pytest.mark.parametrize(
    ("times", "fit"), [(3.0, "spilled"), (1.3, "spilled"), (0.7, "tight"), (0.3, "tight")]
)
def test_a_full_card_has_spilled_where_it_is_slower_than_its_line_and_not_where_faster(times, fit):
    cells = [
        make_cell(
            wall_s=(0.02 * steps * (times if steps == 40 else 1.0),) * 3,
            steps=steps,
            nvml_used_mib=12_000.0 if steps == 40 else 6000.0,
        )
        for steps in (10, 20, 40, 80)
    ]
    rows = to_rows([make_report(*cells, gpu="NVIDIA L4")])
    assert [row["fit"] for row in rows] == ["fits", "fits", fit, "fits"]
    assert ("slower than the line" in str(rows[2]["fit_reason"])) == (fit == "spilled")
    assert fit_lines(cells)[0].off_line == (cells[2].cell_id,)  # the doctor's, either way


def test_an_emulated_card_is_judged_by_what_torch_holds_of_it():
    cell = make_cell(nvml_used_mib=9000.0)
    cell = cell.model_copy(update={"memory": Memory(torch_reserved_mib=5800.0)})
    found = fit_verdict(cell, emulating(CARD, 6144.0))
    assert (found.verdict, found.used_mib, found.limit_mib) == ("tight", 5800.0, 6144.0)


def test_on_a_processor_the_process_is_set_against_the_memory_or_its_emulation():
    assert fit_verdict(make_cell(rss_mib=800.0), make_header()).verdict == "fits"
    assert fit_verdict(make_cell(rss_mib=15_000.0), make_header()).verdict == "tight"
    slow = fit_verdict(make_cell(rss_mib=15_000.0), make_header(), slow=True)
    assert slow.verdict == "tight", "a processor has no memory to spill into"
    assert fit_verdict(make_cell(rss_mib=800.0), emulating(make_header(), 700)).verdict == "spilled"


def test_out_of_memory_is_its_own_verdict_and_other_failures_have_none():
    oom = fit_verdict(make_cell(status="oom", message="2 GiB asked"), CARD)
    assert (oom.verdict, oom.reason) == ("out of memory", "2 GiB asked")
    assert fit_verdict(make_cell(status="crashed"), CARD).verdict is None


def test_what_was_not_measured_is_no_verdict_and_says_why():
    assert fit_verdict(make_cell(), CARD).reason == NO_GPU
    memory = Memory(missing={"torch_reserved_mib": "no peak", "nvml_used_mib": "no driver"})
    blind = make_cell().model_copy(update={"memory": memory})
    assert fit_verdict(blind, CARD).reason == "no driver"
    assert fit_verdict(blind, emulating(CARD, 6144.0)).reason == "no peak"
    unknown = CARD.model_copy(update={"plan": CARD.plan.model_copy(update={"device": "cuda:7"})})
    found = fit_verdict(make_cell(nvml_used_mib=1.0), unknown)
    assert (found.verdict, found.used_mib) == (None, 1.0)
