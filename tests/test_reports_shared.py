"""Cells of several devices in reports: what they say, how they are kept, compared and shown."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from fakes import make_cell, make_header

from diffusion_bench.charts.page import to_html
from diffusion_bench.charts.tiers.bars import bars_numbers, bars_table
from diffusion_bench.charts.tiers.measured import Here, findings_of, together_of
from diffusion_bench.charts.tiers.numbers import tier_rows
from diffusion_bench.charts.tiers.why import why
from diffusion_bench.records import (
    DevicesPlan,
    ImageRequest,
    MachineState,
    Memory,
    Speed,
    Trace,
    digest,
)
from diffusion_bench.reports.digests import digest_of
from diffusion_bench.reports.doctor import examine_report
from diffusion_bench.reports.export import to_csv
from diffusion_bench.reports.index import ReportIndex
from diffusion_bench.reports.markdown import to_markdown
from diffusion_bench.reports.overall import overall
from diffusion_bench.reports.read import UnreadableReport, parse_report, read_report
from diffusion_bench.reports.schema import (
    DeviceJob,
    Energy,
    GpuCard,
    Header,
    ModelFacts,
    Report,
    SharedCell,
)
from diffusion_bench.reports.shared import (
    compare_shared,
    device_names,
    shared_table,
    summarise_shared,
)
from diffusion_bench.reports.store import ReportWriter, to_line
from diffusion_bench.reports.unfinished import finished_ids
from diffusion_bench.tiers.path import parse_path
from diffusion_bench.tiers.workload import parse_workload

REQUEST = ImageRequest(
    prompt="a cat",
    model="stable-diffusion-v1-5/stable-diffusion-v1-5",
    width=512,
    height=512,
    batch=8,
    precision="fp16",
    steps=20,
    guidance_scale=7.5,
)
CARD = "NVIDIA GeForce RTX 4090"
PAIR = DevicesPlan(names=("cuda:0", "cuda:1"), share=("jobs", "batch"))
PATH = parse_path(
    '[[tier]]\nname = "two"\ngpu = "RTX 4090"\ncount = 2\nram_gib = 64\ncores = 12\n', "test"
)


def header(plan: DevicesPlan = PAIR, gpus: tuple[str, ...] = (CARD, CARD)) -> Header:
    made = make_header(cells=(REQUEST,), gpu=gpus[0])
    cards = tuple(
        GpuCard(index=index, name=name, uuid_hash=f"hash{index}", memory_total_mib=24564.0)
        for index, name in enumerate(gpus)
    )
    return made.model_copy(
        update={
            "machine": made.machine.model_copy(update={"gpus": cards}),
            "plan": made.plan.model_copy(update={"devices": plan}),
        }
    )


def job(index: int, **given: Any) -> DeviceJob:
    values: dict[str, Any] = {
        "device": f"cuda:{index}",
        "gpu_index": index,
        "status": "ok",
        "batch": 8,
        "seed": 0,
        "alone_s": (3.9, 4.0, 4.1),
        "begin_s": (0.001, 0.002, 0.001),
        "end_s": (4.5, 5.0, 5.5),
        "memory": Memory(nvml_used_mib=9000.0 + index),
        "energy": Energy(total_j=3000.0, window_s=15.0, method="counter"),
    }
    return DeviceJob.model_validate(values | given)


def cell(*jobs: DeviceJob, share: str = "jobs", head: Header | None = None, **given: Any) -> Any:
    jobs = jobs or (job(0), job(1))
    head = head or header()
    values: dict[str, Any] = {
        "cell_id": head.shared_id(REQUEST, share),  # type: ignore[arg-type]
        "request": REQUEST,
        "share": share,
        "order": 0,
        "started_utc": "2026-01-02T03:05:00Z",
        "status": "ok",
        "jobs": jobs,
    }
    return SharedCell.model_validate(values | given)


def report(*cells: SharedCell, source: str = "two.jsonl") -> Report:
    return Report(header=header(), shared=cells or (cell(),), source=source)


def test_pictures_an_hour_are_of_the_last_end_and_efficiency_of_each_alone() -> None:
    found = summarise_shared(cell(job(0, end_s=(3.0, 3.0, 3.0)), job(1)))
    assert found is not None
    assert found.wall_s == 5.0
    assert found.images_per_hour == pytest.approx(3600 * 16 / 5)
    assert found.alone_per_hour == (7200.0, 7200.0)
    assert found.efficiency == pytest.approx(3600 * 16 / 5 / 14_400)
    assert found.speedup == pytest.approx(1.6)
    assert found.energy_per_image_j == pytest.approx(6000 / 48)
    unequal = summarise_shared(cell(job(0), job(1, alone_s=(8.0, 8.0, 8.0))))
    assert unequal is not None
    assert unequal.speedup == pytest.approx(1.6), "over the fastest alone"
    halves = summarise_shared(cell(job(0, batch=4), job(1, batch=4), share="batch"))
    assert halves is not None
    assert halves.alone_per_hour == (7200.0, 7200.0), "of the whole request"


def test_a_job_of_more_calls_counts_all_their_pictures() -> None:
    found = summarise_shared(cell(job(0, calls=3), job(1)))
    assert found is not None
    assert found.pictures == 32


def test_every_card_has_a_part_in_the_pictures_of_a_split_model() -> None:
    whole = cell(job(0, alone_s=()), job(1, alone_s=()), share="model")
    found = summarise_shared(whole)
    assert found is not None
    assert found.pictures == 8
    assert found.efficiency is None
    assert found.alone_per_hour == (None, None)


def test_a_job_on_apples_gpu_has_its_name_beside_the_processors() -> None:
    mac = header(gpus=("Apple M3 GPU",))
    jobs = (job(0, device="mps", gpu_index=None), job(1, device="cpu", gpu_index=None))
    assert device_names(cell(*jobs), mac) == ("Apple M3 GPU", "Test CPU")


def test_a_device_that_could_not_work_alone_leaves_efficiency_untold() -> None:
    found = summarise_shared(cell(job(0, alone_s=()), job(1)))
    assert found is not None
    assert found.efficiency is None
    assert found.speedup == pytest.approx(1.6)


def test_a_failed_cell_has_no_figures_and_its_jobs_keep_theirs() -> None:
    lost = job(1, status="oom", message="no memory", end_s=(), begin_s=())
    failed = cell(job(0), lost, status="oom", message="cuda:1, job 2 of 2: no memory")
    assert summarise_shared(failed) is None
    _, (row,) = shared_table(report(failed))
    assert "4.998, 9000, 1000" in row[10]
    assert row[-1] == "cuda:1, job 2 of 2: no memory"


def test_devices_and_share_are_part_of_the_name_of_a_cell() -> None:
    one = header()
    others = [
        header(DevicesPlan(names=("cuda:0", "cuda:2"))),
        header(DevicesPlan(names=("cuda:0", "cuda:1", "cuda:2"))),
    ]
    names = {one.shared_id(REQUEST, "jobs"), one.shared_id(REQUEST, "batch"), one.cell_id(REQUEST)}
    names |= {other.shared_id(REQUEST, "jobs") for other in others}
    assert len(names) == 5
    assert one.planned_ids() == (one.shared_id(REQUEST, "jobs"), one.shared_id(REQUEST, "batch"))


def test_a_report_keeps_shared_cells_and_knows_which_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "two.jsonl"
    with ReportWriter.create(path, header()) as writer:
        writer.append(cell())
    back = read_report(path)
    assert back.shared == (cell(),)
    assert finished_ids(back) == {cell().cell_id}
    assert digest_of(back).unfinished == 1
    assert [found.title for found in examine_report(back)] == ["1 of 2 planned cells are absent"]
    writer, before = ReportWriter.resume(path, header())
    writer.close()
    assert before.shared == back.shared


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"cell_id": "0" * 16}, "the line was changed after it was measured"),
        ({"jobs": (job(0), job(2))}, "not those of the plan"),
        ({"jobs": (job(0), job(1, begin_s=(5.0,), end_s=(4.0,)))}, "cannot have been measured"),
        ({"jobs": (job(0), job(1, begin_s=(0.0,), end_s=(4.0,)))}, "not every device has every"),
    ],
)
def test_a_line_that_no_sweep_writes_is_refused(change, complaint) -> None:
    changed = cell().model_copy(update=change)
    with pytest.raises(UnreadableReport, match=complaint):
        parse_report(to_line(header()) + to_line(changed), "bad.jsonl")


def test_a_job_has_an_end_for_every_start() -> None:
    with pytest.raises(ValueError, match="3 starts and 1 ends"):
        job(0, end_s=(4.0,))


def test_two_reports_of_the_same_pair_are_compared_by_seconds_a_picture() -> None:
    slow = tuple(2 * end for end in (4.5, 5.0, 5.5, 4.9, 5.1, 5.2))
    begins = (0.001,) * 6
    fast = cell(*(job(i, end_s=tuple(s / 2 for s in slow), begin_s=begins) for i in (0, 1)))
    slower = cell(*(job(i, end_s=slow, begin_s=begins) for i in (0, 1)))
    (row,) = compare_shared([report(fast), report(slower, source="other.jsonl")])
    assert row.verdict == "slower"
    assert row.ratio == pytest.approx(2.0, rel=0.1)
    jobs = (job(0, end_s=slow, begin_s=begins, calls=3), job(1, end_s=slow, begin_s=begins))
    (row,) = compare_shared([report(fast), report(cell(*jobs), source="other.jsonl")])
    assert row.ratio == pytest.approx(1.0), "twice the time for twice the pictures"
    lost = slower.model_copy(update={"status": "oom"})
    (row,) = compare_shared([report(fast), report(lost, source="other.jsonl")])
    assert (row.verdict, row.reason) == ("cannot compare", "oom in other.jsonl")


def test_reports_of_several_devices_have_a_verdict_as_a_whole_wherever_they_are_compared() -> None:
    slow = (9.0, 10.0, 11.0, 9.8, 10.2, 10.4)
    begins = (0.001,) * 6
    ways = ("jobs", "batch")
    both = [
        report(
            *(
                cell(*(job(i, end_s=ends, begin_s=begins) for i in (0, 1)), share=way)
                for way in ways
            ),
            source=source,
        )
        for source, ends in (("one.jsonl", tuple(s / 2 for s in slow)), ("two.jsonl", slow))
    ]
    (whole,) = overall(both)
    assert (whole.verdict, whole.counts) == ("slower", {"slower": 2})
    assert whole.ratio == pytest.approx(2.0, rel=0.1)
    assert whole.worst_name.endswith(("jobs on 2", "batch on 2"))
    (mixed,) = overall([report(cell()), report(cell(share="batch"), source="other.jsonl")])
    assert (mixed.verdict, mixed.counts) == ("cannot compare", {"cannot compare": 2})
    page = to_html(both)
    assert page.count("<p>2 cells, 0 of them without figures.</p>") == 2
    _, _, table = page.partition("<summary>Table</summary>")
    rows = [row for row in table.partition("</table>")[0].split("<tr") if "slower" in row]
    assert [way for row in rows for way in ways if f"{way} on 2" in row] == list(ways)


def test_what_only_one_of_two_reports_has_is_told_and_not_compared() -> None:
    other = report(cell(share="batch"), source="other.jsonl")
    rows = compare_shared([report(), other])
    assert [(row.verdict, row.reason) for row in rows] == [
        ("cannot compare", "not measured in other.jsonl"),
        ("cannot compare", "not measured in two.jsonl"),
    ]
    assert [row.cell.rpartition(", ")[2] for row in rows] == ["jobs on 2", "batch on 2"]
    assert "not measured in other.jsonl" in to_markdown([report(), other])


def test_pairs_that_did_other_work_are_not_compared_and_what_differs_is_named() -> None:
    """The request is one and the same: the model behind its name, or the way to measure, is not."""

    def measured(revision: str, protocol_version: int = 2) -> Report:
        head = header()
        facts = ModelFacts(name=REQUEST.model, revision=revision)
        plan = head.plan.model_copy(update={"models": (facts,)})
        update = {"plan": plan, "protocol_version": protocol_version}
        head = head.model_copy(update=update)
        return Report(header=head, shared=(cell(head=head),), source=f"{revision}.jsonl")

    (row,) = compare_shared([measured("one"), measured("two")])
    assert (row.verdict, row.ratio) == ("cannot compare", None)
    assert row.reason == "this is not the same work: model.revision: one and two"
    (row,) = compare_shared([measured("one"), measured("one", 3)])
    assert row.reason == "this is not the same work: protocol version: 2 and 3"
    (row,) = compare_shared([measured("one"), measured("one")])
    assert row.ratio == pytest.approx(1.0)


def test_a_shared_cell_named_by_earlier_versions_is_read_under_todays_name() -> None:
    """They named it by every field of its request, later ones at their default too."""
    facts = ModelFacts(name=REQUEST.model, revision="one")
    head = header()
    head = head.model_copy(update={"plan": head.plan.model_copy(update={"models": (facts,)})})
    whole = digest({"request": REQUEST.model_dump(mode="json"), "revision": "one"})
    old = digest({"cell": whole, "devices": PAIR.names, "share": "jobs"})
    back = parse_report(to_line(head) + to_line(cell(head=head, cell_id=old)), "old.jsonl")
    assert back.shared == (cell(head=head),)
    assert back.shared[0].cell_id == head.shared_id(REQUEST, "jobs") != old


def test_tables_and_pages_show_devices_share_and_efficiency() -> None:
    text = to_markdown([report()])
    assert "the sweep measures on cuda:0 and cuda:1 at once" in text
    assert "jobs 8 + 8" in text
    assert "80%" in text
    page = to_html([report()])
    assert "Several devices at once: two.jsonl" in page
    assert f"cuda:1 ({CARD})" in page


def test_shared_cells_that_differ_in_one_setting_are_named_apart() -> None:
    plain, packed = cell(), cell(request=REQUEST.model_copy(update={"speed": Speed(packed=True)}))
    two = report(plain, packed)
    header, rows = shared_table(two)
    words = [row[header.index("work")] for row in rows]
    assert words[0].endswith("batch 8, speed plain")
    assert words[1].endswith("batch 8, speed packed")
    assert [words[0] in row.cell for row in compare_shared([two, two])] == [True, False]
    assert [row["speed"] for row in csv.DictReader(io.StringIO(to_csv([two])))] == [
        "plain",
        "packed",
    ]


def test_a_spreadsheet_has_the_shared_cells_after_the_others_and_the_same_columns_without() -> None:
    lost = job(1, status="oom", begin_s=(), end_s=(), energy=None)
    both = report(cell(), cell(job(0), lost, status="oom", message="=cuda:1: out of memory"))
    alone = Report(header=header(), cells=(make_cell(),), source="one.jsonl")
    rows = list(csv.DictReader(io.StringIO(to_csv([alone, both]))))
    plain, good, failed = rows
    assert (plain["share"], plain["images_per_hour"], plain["status"]) == ("", "", "ok")
    assert (good["share"], good["devices"]) == ("jobs 8 + 8", "cuda:0, cuda:1")
    assert good["device"] == f"{CARD}; {CARD}"
    assert float(good["images_per_hour"]) == pytest.approx(16 * 3600 / 5.0)
    assert float(good["efficiency"]) == pytest.approx(4.0 / 5.0)
    assert (failed["status"], failed["median_s"]) == ("oom", "")
    assert failed["message"] == "'=cuda:1: out of memory"
    assert "share" not in to_csv([alone]).splitlines()[0].split(",")
    assert to_csv([both]).count("\n") == 3


def test_the_index_keeps_shared_cells_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "two.jsonl"
    with ReportWriter.create(path, header()) as writer:
        writer.append(cell())
    index = ReportIndex(tmp_path / "index")
    (fresh,) = index.ask([path]).digests
    (kept,) = index.ask([path]).digests
    assert kept == fresh
    assert len(kept.shared) == 1
    assert kept.shared[0].gpus == ((CARD, 24564.0, "hash0"), (CARD, 24564.0, "hash1"))


def test_a_measured_pair_stands_beside_the_prediction_and_is_not_mixed_with_it() -> None:
    here = Here(frozenset({"hash0", "hash1"}))
    workload = parse_workload("sd15 512x512 b8 fp16 20 steps")
    alone = tier_rows(PATH, [workload], findings_of([], here))
    known = findings_of([digest_of(report())], here)
    (row,) = rows = tier_rows(PATH, [workload], known)
    assert row.two_gpus == alone[0].two_gpus
    assert row.evidence == alone[0].evidence
    (measured,) = row.measured_together
    assert (measured.kind, measured.way) == ("measured here", "two jobs")
    assert measured.images_per_hour == pytest.approx(3600 * 16 / 5)
    assert measured.efficiency == pytest.approx(0.8)
    _, table = bars_table(bars_numbers(rows, "images an hour"))
    kinds = [line[3] for line in table if "2 GPUs" in line[3]]
    assert kinds[0] == "measured here, 2 GPUs, two jobs"
    assert "predicted, 2 GPUs, two jobs" in kinds
    told = why(rows, "two | sd15 512x512 b8 fp16 20 steps")
    assert "80% of the sum of each alone" in told


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["as numbered", "the other way round"])
@pytest.mark.parametrize("first", ["RTX 4090", "RTX 3090"])
def test_the_share_of_each_card_stands_in_the_order_of_the_tiers_cards(
    order: tuple[int, int], first: str
) -> None:
    names, batches = (CARD, "NVIDIA GeForce RTX 3090"), (6, 2)
    head = header(gpus=tuple(names[card] for card in order))
    jobs = [job(place, batch=batches[card]) for place, card in enumerate(order)]
    split = Report(header=head, shared=(cell(*jobs, share="batch", head=head),), source="a.jsonl")
    second = "RTX 3090" if first == "RTX 4090" else "RTX 4090"
    pair = f'gpu = "{first}"\nother_gpu = "{second}"\nram_gib = 64\ncores = 12\n'
    workload = parse_workload("sd15 512x512 b8 fp16 20 steps")
    path = parse_path(f'[[tier]]\nname = "two"\n{pair}', "test")
    (row,) = tier_rows(path, [workload], findings_of([digest_of(split)]))
    (measured,) = row.measured_together
    assert measured.cards == (first, second)
    told = "6 + 2" if first == "RTX 4090" else "2 + 6"
    assert f"one batch split ({told})" in measured.words


def test_a_pair_with_a_lowered_power_limit_is_told_apart_from_one_without() -> None:
    head = header()
    first, second = head.machine.gpus
    lowered = second.model_copy(update={"power_limit_w": 300.0, "power_limit_default_w": 450.0})
    machine = head.machine.model_copy(update={"gpus": (first, lowered)})
    slow = report().model_copy(
        update={"header": head.model_copy(update={"machine": machine}), "source": "slow.jsonl"}
    )
    found = together_of([digest_of(report()), digest_of(slow)])
    assert [one.limited for one in found] == [False, True]
    assert "lowered" not in found[0].words
    assert found[1].words.endswith("slow.jsonl, at a lowered power limit")


def test_another_pair_another_workload_and_a_spoiled_cell_are_no_evidence() -> None:
    here = Here(frozenset({"hash0", "hash1"}))
    workload = parse_workload("sd15 512x512 b8 fp16 20 steps")
    other = parse_workload("sd15 512x512 b4 fp16 20 steps")
    good = findings_of([digest_of(report())], here)
    assert tier_rows(PATH, [other], good)[0].measured_together == ()
    for label in ("contended", "throttled", "emulated", "one processor"):
        spoiled = findings_of([digest_of(report(cell(labels=(label,))))], here)
        assert spoiled.together == ()
    unequal = header(gpus=(CARD, "NVIDIA GeForce RTX 3090"))
    mixed = Report(header=unequal, shared=(cell(head=unequal),), source="unequal.jsonl")
    found = findings_of([digest_of(mixed)], here)
    assert found.together[0].cards == ("RTX 3090", "RTX 4090")
    assert tier_rows(PATH, [workload], found)[0].measured_together == ()
    imported = findings_of([digest_of(report())], Here(frozenset({"hash0"})))
    assert imported.together[0].kind == "imported report"


def limited_report(*cells: SharedCell) -> Report:
    """Return a report of two cards that may draw 450 W each."""
    head = header()
    gpus = tuple(
        card.model_copy(update={"power_limit_w": 450.0 + 100 * card.index})
        for card in head.machine.gpus
    )
    machine = head.machine.model_copy(update={"gpus": gpus})
    return Report(header=head.model_copy(update={"machine": machine}), shared=cells, source="two")


def drawn(power_w: float, window_s: float = 15.0, **more: float) -> dict[str, Energy]:
    whole = Energy(total_j=power_w * window_s, window_s=window_s, method="counter", **more)
    return {"energy": whole}


BUSY = MachineState(cpu_percent=80.0)
GAP = tuple(i / 5 for i in range(20)) + tuple(9 + i / 5 for i in range(20))
ODD_SHARED = {
    "zero energy": (drawn(0.0), {}, "zero or negative", "cuda:1: 0 J"),
    "power": (drawn(200_000.0), {}, "more power than the card", "cuda:1: 200000 W, limit 550 W"),
    "net": (
        drawn(200.0, idle_power_w=20.0, net_j=2000.0),
        {},
        "does not follow",
        "cuda:1: net 2000 J",
    ),
    "window": (drawn(200.0, 4.0), {}, "shorter than its calls", "cuda:1: 4 s for calls of 15 s"),
    "equal starts": ({"end_s": (5.0,) * 3}, {}, "too equal", "cuda:1: 3 starts of exactly 5.0 s"),
    "equal alone": ({"alone_s": (4.0,) * 3}, {}, "too equal", "cuda:1: 3 calls alone of exactly"),
    "label": ({}, {"labels": ("throttled",)}, "spoils it", "throttled"),
    "trial": ({}, {"labels": ("one processor",)}, "spoils it", "one processor"),
    "busy": ({}, {"before": BUSY}, "spoils it", "processor 80 % busy"),
    "gap": ({}, {"trace": Trace(at_s=GAP)}, "gaps in the readings", "without a reading"),
    "silent": ({}, {"status": "failed"}, "without what their status needs", "without a message"),
    "early": ({}, {"started_utc": "2020-01-01T00:00:00Z"}, "before the report was begun", ""),
    "place": ({}, {"order": 1}, "taken twice", ""),
    "unplanned": ({}, {"cell_id": "0" * 16}, "not in the report's plan", ""),
}


@pytest.mark.parametrize(("one", "whole", "title", "detail"), ODD_SHARED.values(), ids=ODD_SHARED)
def test_what_cannot_be_so_of_several_devices_is_found_with_the_device(
    one: dict[str, Any], whole: dict[str, Any], title: str, detail: str
) -> None:
    other = cell(share="batch", order=1)
    sound = limited_report(cell(), other)
    assert [found.title for found in examine_report(sound)] == ["nothing implausible in 2 cells"]
    found = examine_report(limited_report(cell(job(0), job(1, **one), **whole), other))
    told = [finding for finding in found if title in finding.title]
    assert len(told) == 1
    assert detail in told[0].detail
    assert "nothing implausible" not in "".join(finding.title for finding in found)
    if told[0].detail:
        assert "jobs on 2" in told[0].detail


def test_an_older_report_has_no_shared_cells() -> None:
    old = make_header(cells=(REQUEST,))
    lines = to_line(old).replace(b'"schema_version":8', b'"schema_version":5')
    lines = lines.replace(b'"devices":null,', b"")
    back = parse_report(lines + to_line(make_cell(**REQUEST.model_dump())), "old.jsonl")
    assert back.shared == ()
    assert back.header.plan.devices is None
    assert back.header.planned_ids() == (back.cells[0].cell_id,)


def test_a_shared_cell_that_was_tried_again_accuses_no_other_of_a_clock_set_back() -> None:
    """It has its place in the plan and its new time; its line stands behind the others."""
    head = header()
    failed = cell(
        job(0, status="oom", message="no room", begin_s=(), end_s=()), job(1), status="oom"
    )
    split = cell(share="batch", order=1, started_utc="2026-01-02T03:06:00Z")
    again = cell(started_utc="2026-01-02T04:00:00Z")
    lines = b"".join(map(to_line, (head, failed, split, again)))
    found = examine_report(parse_report(lines, "two.jsonl"))
    assert [one.title for one in found if "started before" in one.title] == []
