"""Reports as evidence: figures of many are one, ours and others' apart, unfair cells left out."""

from __future__ import annotations

import pytest
from fakes import make_cell, make_header

from diffusion_bench.charts.tiers.left_out import LeftOut, left_out_of, left_out_words
from diffusion_bench.charts.tiers.measured import (
    MANY,
    Here,
    cells_on,
    cells_on_gpu,
    findings_of,
    left_out_here,
    measured_of,
    residuals_of,
    timed_cells,
)
from diffusion_bench.reports.digests import LIMITED, ReportDigest, digest_of
from diffusion_bench.reports.schema import Report
from diffusion_bench.tiers.cards import find_card

REQUEST = {
    "model": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "width": 512,
    "height": 512,
    "batch": 2,
    "precision": "fp16",
    "steps": 30,
    "guidance_scale": 7.5,
}
CARD = "NVIDIA GeForce RTX 4070 Ti"


def digest(gpu: str | None = CARD, source: str = "friend.jsonl", **cell: object) -> ReportDigest:
    cells = (make_cell(**({"wall_s": (9.0, 9.0, 9.0)} | REQUEST | cell)),)
    return digest_of(Report(header=make_header(gpu=gpu), cells=cells, source=source))


def test_a_cell_is_a_workload_guided_only_where_it_asks_for_guidance() -> None:
    (asked,) = timed_cells(digest())
    assert (asked.workload.model, asked.workload.batch, asked.workload.steps) == ("sd15", 2, 30)
    assert asked.workload.guided
    (unguided,) = timed_cells(digest(guidance_scale=1.0))
    assert not unguided.workload.guided


@pytest.mark.parametrize(
    ("model", "passes"),
    [
        ("stabilityai/sdxl-turbo", 2),
        ("black-forest-labs/FLUX.1-schnell", 2),
        ("black-forest-labs/FLUX.1-dev", 1),
    ],
)
def test_a_distilled_model_given_guidance_is_called_twice_unless_it_is_an_input(
    model: str, passes: int
) -> None:
    """FLUX.1-dev takes the scale as an input; the pipelines of the others add a second pass."""
    (cell,) = timed_cells(digest(model=model, guidance_scale=3.5))
    assert cell.workload.guided == (passes == 2)
    (plain,) = timed_cells(digest(model=model, guidance_scale=1.0))
    assert not plain.workload.guided


@pytest.mark.parametrize(
    "unfit",
    [
        {"gpu": None},
        {"gpu": "NVIDIA GeForce RTX 4090"},  # reports 12 GiB: another card by that name
        {"status": "oom", "message": "no memory"},
        {"model": "somebody/else"},
    ],
)
def test_what_says_nothing_of_a_known_card_and_model_is_left_out(unfit) -> None:
    assert measured_of([digest(**unfit)]) == []


@pytest.mark.parametrize("label", ["emulated", "throttled", "contended", "on battery"])
def test_cells_that_measure_something_else_than_the_card_are_left_out(label) -> None:
    plain = digest()
    cells = tuple(cell._replace(labels=f"extrapolated,{label}") for cell in plain.cells)
    unfair = plain._replace(cells=cells)
    assert measured_of([unfair]) == []
    assert left_out_words(left_out_of([plain, unfair])) == f"1 measured cell left out: 1 {label}"
    kept = tuple(cell._replace(labels="extrapolated") for cell in plain.cells)
    assert len(measured_of([plain._replace(cells=kept)])) == 1


def test_what_is_left_out_is_counted_by_its_reason() -> None:
    cpu, foreign = digest(gpu=None), digest(gpu="NVIDIA GeForce RTX 4090")  # with 12 GiB
    contended = cpu._replace(cells=tuple(c._replace(labels="contended") for c in 2 * cpu.cells))
    left_out = left_out_of([cpu, contended, foreign, digest(model="somebody/else")])
    assert left_out_words(left_out) == (
        "4 measured cells left out: 2 contended, 1 on a card that is not known, "
        "1 of a model or size that is not counted"
    )
    here = Here(cpu="Test CPU", cores_logical=4, ram_mib=16000)
    assert left_out_here([cpu, contended, foreign], here) == 2 * [LeftOut("sd15", "contended")]
    assert left_out_here([contended], here._replace(ram_mib=32000)) == []


def test_reports_of_one_cell_are_one_figure_with_their_spread() -> None:
    digests = [digest(wall_s=(float(9 + i),) * 3, source=f"{i}.jsonl") for i in range(11)]
    (one,) = measured_of(digests)
    assert one.seconds == 14
    assert (one.seconds_low, one.seconds_high) == (10, 18)
    assert (one.reports, one.calls) == (11, 33)
    assert one.source == "0.jsonl, 1.jsonl, 2.jsonl and 8 more reports"


def test_of_a_few_reports_the_interval_is_their_range_and_of_one_its_own() -> None:
    few = [digest(wall_s=(float(9 + i),) * 3) for i in range(MANY - 1)]
    (one,) = measured_of(few)
    assert (one.seconds_low, one.seconds_high) == (9, 9 + MANY - 2)
    (single,) = measured_of([digest(wall_s=(8.0, 9.0, 10.0, 8.5, 9.5, 9.1, 8.9))])
    assert single.seconds_low is not None
    assert 8 <= single.seconds_low < 9 < single.seconds_high <= 10


def test_cells_of_two_samplers_in_one_report_are_not_two_reports() -> None:
    ddim, ddpm = digest(wall_s=(9.0, 9.1, 9.2) * 3), digest(sampler="ddpm", wall_s=(9.4, 9.5) * 4)
    (one,) = measured_of([ddim._replace(cells=ddim.cells + ddpm.cells)])
    assert (one.reports, one.calls) == (1, 17)
    assert (one.seconds_low, one.seconds_high) == (ddim.cells[0].low_s, ddpm.cells[0].high_s)
    (two,) = measured_of([ddim, ddpm])
    assert (two.reports, two.seconds_low) == (2, ddim.cells[0].median_s)


def test_samplers_are_one_workload_and_step_counts_are_not() -> None:
    assert len(measured_of([digest(sampler="ddim"), digest(sampler="ddpm")])) == 1
    assert len(measured_of([digest(), digest(steps=31)])) == 2


def test_ours_and_others_are_never_mixed_and_ours_corrects() -> None:
    mine = digest(wall_s=(8.0,) * 3)._replace(gpu_hash="abc")
    both = measured_of([digest(), mine], Here(frozenset({"abc"})))
    assert sorted((one.here, one.seconds) for one in both) == [(False, 9.0), (True, 8.0)]
    (residual,) = residuals_of(both)
    (alone,) = residuals_of([one for one in both if one.here])
    assert residual == alone


def limited(digested: ReportDigest) -> ReportDigest:
    cells = tuple(cell._replace(labels=LIMITED) for cell in digested.cells)
    return digested._replace(cells=cells)


def test_a_card_with_a_lowered_power_limit_is_told_apart_by_its_report() -> None:
    header, cell = make_header(gpu=CARD), make_cell(**REQUEST)
    for limit_w, told in ((200.0, LIMITED), (284.6, ""), (285.0, ""), (320.0, ""), (None, "")):
        limits = {"power_limit_w": limit_w, "power_limit_default_w": 285.0}
        card = header.machine.gpus[0].model_copy(update=limits)
        machine = header.machine.model_copy(update={"gpus": (card,)})
        own = header.model_copy(update={"machine": machine})
        (found,) = digest_of(Report(header=own, cells=(cell,), source="a.jsonl")).cells
        assert found.labels == told


def test_somebodys_lowered_power_limit_stands_as_measured_so_and_corrects_nothing() -> None:
    """An RTX 3090 at 200 W is slower, and says nothing of one at 350."""
    plain, lowered = measured_of([digest(), limited(digest(wall_s=(12.0,) * 3))])
    assert (plain.seconds, plain.rests_on) == (9.0, "friend.jsonl")
    assert (lowered.seconds, lowered.rests_on) == (12.0, "friend.jsonl, at a lowered power limit")
    assert residuals_of([plain, lowered]) == residuals_of([plain])
    assert residuals_of([lowered]) == []
    mine = limited(digest())._replace(gpu_hash="abc")
    (own,) = measured_of([mine], Here(frozenset({"abc"})))
    assert len(residuals_of([own])) == 1


def test_of_our_card_the_cell_without_a_lowered_limit_corrects_whichever_came_last() -> None:
    mine = digest()._replace(gpu_hash="abc")
    slower = limited(digest(wall_s=(12.0,) * 3))._replace(gpu_hash="abc")
    for reports in ([mine, slower], [slower, mine]):
        both = measured_of(reports, Here(frozenset({"abc"})))
        assert [told.seconds for told in residuals_of(both)] == [9.0]


def test_a_user_is_known_by_the_machine_whatever_card_is_in_it() -> None:
    asked = {"batch": 4}
    found = [digest(), digest("NVIDIA GeForce RTX 4090", **asked), digest(**asked)]
    found[1] = found[1]._replace(gpu_memory_mib=24564.0)
    found[2] = found[2]._replace(ram_mib=2 * found[2].ram_mib)
    one, other, stranger = findings_of(found).knowledge.residuals
    assert one.user == other.user != stranger.user
    here = Here(frozenset(), found[0].cpu, found[0].cores_logical, found[0].ram_mib)
    users = [one.user for one in findings_of(found, here).knowledge.residuals]
    assert users == ["", "", stranger.user]


def test_what_two_other_machines_measured_of_a_card_bounds_no_prediction() -> None:
    """One may be slower at one picture than the other at four."""
    one, other = digest(source="a.jsonl"), digest(source="b.jsonl", batch=4)
    both = measured_of([one, other._replace(cells=other.cells + digest(batch=8).cells)])
    assert [told.seconds for told in residuals_of(both[:1])] == [9.0]
    assert [told.seconds for told in residuals_of(both[1:])] == [9.0, 9.0]
    assert [told.seconds for told in residuals_of(both)] == [None] * 3
    alike = measured_of([one, other._replace(source=one.source)])
    assert [told.seconds for told in residuals_of(alike)] == [None] * 2, "of two folders"
    ours = measured_of([one._replace(gpu_hash="abc"), other], Here(frozenset({"abc"})))
    assert [told.seconds for told in residuals_of(ours)] == [9.0, None]


def test_the_processor_is_known_by_its_threads_and_memory_too() -> None:
    cpu = digest(gpu=None, precision="fp32")
    here = Here(cpu="Test CPU", cores_logical=4, ram_mib=16000)
    assert len(cells_on([cpu], here)) == 1
    assert cells_on([cpu], here._replace(ram_mib=32000)) == []
    assert cells_on([cpu], here._replace(cores_logical=8)) == []
    assert cells_on([digest()], here) == []


def test_own_cells_are_of_the_card_asked_for() -> None:
    mine = digest()._replace(gpu_hash="abc")
    here = Here(frozenset({"abc"}))
    assert len(cells_on([mine], here, find_card("RTX 4070 Ti").card)) == 1
    assert cells_on([mine], here, find_card("RTX 4090").card) == []
    assert cells_on([digest()], here, find_card("RTX 4070 Ti").card) == []


def test_cells_of_a_gpu_are_its_own_whatever_card_it_is() -> None:
    mine = digest()._replace(gpu_hash="abc", gpu="NVIDIA GeForce RTX 4090 Laptop GPU")
    assert len(cells_on_gpu([mine, digest()], "abc")) == 1
    assert cells_on_gpu([mine._replace(on_gpu=False)], "abc") == []


def test_own_cells_of_a_card_predict_its_others() -> None:
    cells = [
        make_cell(**(REQUEST | {"batch": b, "steps": n}), wall_s=(0.1 + 0.2 * b * n,) * 3)
        for b in (1, 2, 4)
        for n in (10, 20)
    ]
    report = Report(header=make_header(gpu=CARD), cells=tuple(cells), source="mine.jsonl")
    findings = findings_of([digest_of(report)._replace(gpu_hash="abc")], Here(frozenset({"abc"})))
    card = find_card("RTX 4070 Ti").card
    assert card is not None
    (asked,) = timed_cells(digest(batch=3, steps=15))
    told = findings.knowledge.predict(card, asked.workload)
    assert "6 cells that this machine measured" in told.basis
    assert told.seconds == pytest.approx(0.1 + 0.2 * 3 * 15, rel=0.1)
