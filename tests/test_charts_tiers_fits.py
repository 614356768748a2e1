"""Whether it fits: as reports measured exactly that work on that card, else as predicted."""

from __future__ import annotations

import pytest
from fakes import make_cell, make_header

from diffusion_bench.charts.style import COLOURS
from diffusion_bench.charts.tiers.bars import row_key
from diffusion_bench.charts.tiers.fits import fits_of
from diffusion_bench.charts.tiers.limits import held_back_by
from diffusion_bench.charts.tiers.measured import Here, findings_of, timed_cells
from diffusion_bench.charts.tiers.numbers import TierRow, tier_rows
from diffusion_bench.charts.tiers.room import room_figure
from diffusion_bench.charts.tiers.runnable import runnable_on, runnable_table
from diffusion_bench.charts.tiers.steps import predicted_rate
from diffusion_bench.charts.tiers.why import fit_table, why
from diffusion_bench.reports.digests import ReportDigest, digest_of
from diffusion_bench.reports.schema import Report
from diffusion_bench.tiers.cards import find_card
from diffusion_bench.tiers.path import UpgradePath
from diffusion_bench.tiers.two_gpus import TwoGpus
from diffusion_bench.tiers.workload import parse_workload

GPU = "NVIDIA GeForce RTX 4070 Ti"
SD15 = {
    "model": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "width": 512,
    "height": 512,
    "batch": 4,
    "precision": "fp16",
    "steps": 20,
}
FLUX = {
    "model": "black-forest-labs/FLUX.1-schnell",
    "width": 1024,
    "height": 1024,
    "batch": 1,
    "precision": "bf16",
    "steps": 4,
    "guidance_scale": 1.0,
}
SD15_WORDS = "sd15 512x512 b4 fp16 20"
FLUX_WORDS = "flux1-schnell 1024x1024 b1 bf16 4"
HERE = Here(frozenset({"mine"}))


def digest(*, mine: bool = False, source: str = "friend.jsonl", **cell: object) -> ReportDigest:
    header = make_header(gpu=GPU)
    cell = {"nvml_used_mib": 6144.0} | cell
    found = digest_of(Report(header=header, cells=(make_cell(**cell),), source=source))
    return found._replace(gpu_hash="mine") if mine else found


def out_of_memory(asked: dict[str, object], **given: object) -> ReportDigest:
    return digest(status="oom", message="out of memory: 2 GiB asked", **asked, **given)


def row(words: str, *digests: ReportDigest, gpu: str = "RTX 4070 Ti", count: int = 1) -> TierRow:
    tier = {"name": "tier", "gpu": gpu, "count": count, "ram_gib": 128, "cores": 8}
    path = UpgradePath.model_validate({"tier": [tier]})
    (found,) = tier_rows(path, [parse_workload(words)], findings_of(digests, HERE))
    return found


def test_what_a_report_drew_without_a_remedy_fits_whatever_was_predicted() -> None:
    predicted = row(FLUX_WORDS)
    assert (predicted.fit_kind, predicted.fit_basis, predicted.ran) == ("predicted", "", None)
    assert "model offload" in predicted.remedies or "4-bit weights" in predicted.remedies
    found = row(FLUX_WORDS, digest(wall_s=(80.0,) * 3, **FLUX))
    assert found.seconds_per_image == 80
    assert (found.fit, found.fit_kind, found.remedies) == ("fits", "imported report", ())
    basis = "imported report: at batch 1, without a remedy, it ran in friend.jsonl (peak 6 GiB)"
    assert found.fit_basis == basis
    assert found.price == ""
    assert "VRAM" not in held_back_by(found)


def test_what_ran_out_of_memory_here_is_not_told_to_fit() -> None:
    plain = row(SD15_WORDS)
    assert plain.fit == "fits"
    found = row(SD15_WORDS, out_of_memory(SD15, mine=True, source="mine.jsonl"))
    assert found.fit != "fits"
    assert found.remedies
    assert found.fit_kind == "predicted"  # that the remedies help
    basis = "measured here: at batch 4, without a remedy, it ran out of memory in mine.jsonl"
    assert found.fit_basis == basis
    assert found.seconds_per_image == pytest.approx(plain.seconds_per_image * found.slower)
    assert "VRAM" in held_back_by(found)


def test_where_no_remedy_helps_what_ran_out_has_no_time_and_a_measured_verdict() -> None:
    asked = SD15 | {"batch": 64, "width": 2048, "height": 2048, "precision": "fp32"}
    words = "sd15 2048x2048 b64 fp32 20"
    assert "whatever is tried" in held_back_by(row(words))
    found = row(words, out_of_memory(asked, mine=True))
    assert (found.fit, found.fit_kind) == ("does not fit", "measured here")
    assert found.seconds_per_image is None
    assert "it did not fit, measured here" in held_back_by(found)


def test_a_time_of_others_is_none_of_a_card_that_ran_out_of_memory() -> None:
    ran = digest(wall_s=(9.0,) * 3, **SD15)
    assert row(SD15_WORDS, ran).seconds_per_image == pytest.approx(9 / 4)
    found = row(SD15_WORDS, ran, out_of_memory(SD15, mine=True))
    assert [one.kind for one in found.evidence] == ["predicted"]
    assert found.ran is False


def test_what_ran_with_its_memory_unread_is_not_told_to_fit_and_keeps_its_time() -> None:
    """Two such cells were "fits (measured here)", though a driver may have spilled them."""
    plain = row(FLUX_WORDS)
    unread = digest(wall_s=(80.0,) * 3, nvml_used_mib=None, mine=True, **FLUX)
    for digests in ([unread], [unread, unread]):
        found = row(FLUX_WORDS, *digests)
        assert (found.fit, found.fit_kind, found.ran) == (plain.fit, "predicted", None)
        assert found.remedies == plain.remedies != ()
        assert found.seconds_per_image == 80
        assert found.fit_basis == (
            "measured here: at batch 1, without a remedy, it ran with its memory unread, "
            "and may have spilled, in friend.jsonl"
        )


def test_a_reading_of_others_goes_before_none_of_ours_and_none_tells_of_other_batches() -> None:
    unread = digest(nvml_used_mib=None, mine=True, **FLUX)
    found = row(FLUX_WORDS, unread, digest(**FLUX))
    assert (found.fit, found.fit_kind) == ("fits", "imported report")
    four = digest(nvml_used_mib=None, mine=True, **FLUX | {"batch": 4})
    assert row(FLUX_WORDS, four).fit_basis == ""
    split, alone = "one model split", "it fits one card; splitting only slows it"
    two = ways(row(SD15_WORDS, digest(nvml_used_mib=None, mine=True, **SD15), count=2))
    assert two[split].reason == alone  # as predicted: an unread run is none that failed


def test_this_machines_reports_go_before_others() -> None:
    ran = digest(wall_s=(9.0,) * 3, mine=True, **SD15)
    found = row(SD15_WORDS, ran, out_of_memory(SD15))
    assert (found.fit, found.fit_kind) == ("fits", "measured here")


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        (["ran"], "fits"),
        (["ran", "unread"], "fits"),
        (["ran", "ran out"], "tight"),
        (["ran", "full"], "tight"),
        (["ran", "spilled"], "tight"),
        (["spilled"], "spilled"),
        (["spilled", "unread"], "spilled"),
        (["unread", "unread"], None),
        (["unread", "ran out"], None),
        (["spilled", "ran out"], "spilled"),
        (["ran out", "ran out"], "does not fit"),
    ],
)
def test_reports_of_one_kind_are_one_verdict(outcomes: list[str], verdict: str | None) -> None:
    made = {
        "ran": digest(nvml_used_mib=6000.0, **SD15),
        "unread": digest(nvml_used_mib=None, **SD15),
        "full": digest(nvml_used_mib=12_000.0, **SD15),
        "spilled": digest(nvml_used_mib=13_000.0, **SD15),
        "ran out": out_of_memory(SD15),
    }
    (one,) = fits_of([made[name] for name in outcomes], frozenset())
    assert one.verdict == verdict
    assert one.kind == "imported report"


def test_each_outcome_is_told_with_the_reports_it_is_of() -> None:
    digests = [
        digest(nvml_used_mib=6000.0, source="good.jsonl", **SD15),
        digest(nvml_used_mib=12_000.0, source="full.jsonl", **SD15),
        digest(nvml_used_mib=13_000.0, source="slow.jsonl", **SD15),
        out_of_memory(SD15, source="bad.jsonl"),
    ]
    (one,) = fits_of(digests, frozenset())
    assert one.words == (
        "imported report: at batch 4, without a remedy, it ran in good.jsonl, full.jsonl "
        "(peak 11.7 GiB), spilled into the machine's memory in slow.jsonl (peak 12.7 GiB), "
        "ran out of memory in bad.jsonl"
    )


@pytest.mark.parametrize("label", ["emulated", "contended"])
@pytest.mark.parametrize("kind", ["cells", "failed"])
def test_a_card_that_was_not_free_or_not_whole_says_nothing_of_its_memory(label, kind) -> None:
    one = digest(**SD15) if kind == "cells" else out_of_memory(SD15)
    assert len(fits_of([one], frozenset())) == 1
    marked = tuple(cell._replace(labels=f"extrapolated,{label}") for cell in getattr(one, kind))
    assert fits_of([one._replace(**{kind: marked})], frozenset()) == []


@pytest.mark.parametrize(
    "words",
    [
        "sd15 512x512 b3 fp16 20",
        "sd15 512x520 b4 fp16 20",
        "sd15 512x512 b4 fp32 20",
        "sd21 512x512 b4 fp16 20",
    ],
)
def test_a_verdict_is_of_exactly_that_work_whatever_its_steps(words: str) -> None:
    measured = out_of_memory(SD15)
    assert row("sd15 512x512 b4 fp16 50", measured).ran is False
    assert row(words, measured).ran is None
    assert row(SD15_WORDS, measured, gpu="RTX 4090").ran is None


def ways(found: TierRow) -> dict[str, TwoGpus]:
    return {way.way: way for way in found.two_gpus}


def test_two_cards_go_by_what_one_of_them_measured() -> None:
    half = out_of_memory(SD15 | {"batch": 2})
    assert ways(row(SD15_WORDS, count=2))["one batch split"].remedies == ()
    assert ways(row(SD15_WORDS, half, count=2))["one batch split"].remedies != ()


def test_what_spilled_keeps_its_time_and_is_predicted_as_what_ran_out() -> None:
    spilled = digest(wall_s=(80.0,) * 3, nvml_used_mib=13_000.0, **FLUX)
    for count in (1, 2):
        plain, found = row(FLUX_WORDS, count=count), row(FLUX_WORDS, spilled, count=count)
        assert found.seconds_per_image == 80
        assert "spilled into the machine's memory" in found.evidence[0].source
        assert "it spilled into the machine's memory in friend.jsonl" in found.fit_basis
        assert (found.ran, found.fit_kind) == (False, "predicted")
        assert found.remedies == plain.remedies != ()
        assert predicted_rate(found) == predicted_rate(plain)
        assert found.two_gpus == plain.two_gpus
        assert held_back_by(found).startswith("VRAM: it fits with")


def test_what_spilled_where_no_remedy_helps_has_its_time_and_no_predicted_rate() -> None:
    asked = SD15 | {"batch": 64, "width": 2048, "height": 2048, "precision": "fp32"}
    spilled = digest(wall_s=(9000.0,) * 3, nvml_used_mib=13_000.0, mine=True, **asked)
    found = row("sd15 2048x2048 b64 fp32 20", spilled)
    assert (found.fit, found.fit_kind) == ("does not fit", "measured here")
    assert found.seconds_per_image == pytest.approx(9000 / 64)
    assert [one.kind for one in found.evidence] == ["measured here"]
    assert predicted_rate(found) is None
    assert held_back_by(found).startswith("VRAM: it did not fit, measured here")


def test_the_speed_of_a_cell_that_spilled_corrects_no_prediction() -> None:
    ran, spilled = (
        digest(wall_s=(80.0,) * 3, nvml_used_mib=used_mib, mine=True, **FLUX)
        for used_mib in (11_000.0, 13_000.0)
    )
    other = "flux1-schnell 512x512 b1 bf16 4"
    assert row(other, ran).seconds_per_image != row(other).seconds_per_image
    assert row(other, spilled).seconds_per_image == row(other).seconds_per_image
    assert len(timed_cells(ran)) == 1
    assert timed_cells(spilled) == []


def test_what_ran_needs_no_remedy_at_a_smaller_batch() -> None:
    four = digest(**FLUX | {"batch": 4})
    asked = "flux1-schnell 1024x1024 b{} bf16 4"
    assert row(asked.format(5), four).remedies == row(asked.format(5)).remedies != ()
    found = row(asked.format(2), four, count=2)
    assert (found.fit, found.fit_kind, found.remedies) == ("fits", "predicted", ())
    assert "at batch 4, without a remedy, it ran in friend.jsonl" in found.fit_basis
    halves = ways(row(asked.format(4), four, count=2))["one batch split"]
    assert (halves.share, halves.remedies) == ((2, 2), ())


def test_a_smaller_batch_than_a_tight_one_fits_where_it_is_predicted_to() -> None:
    tight = digest(nvml_used_mib=12_000.0, **SD15)
    assert row(SD15_WORDS, tight).fit == "tight"
    assert row("sd15 512x512 b2 fp16 20", tight).fit == "fits"


@pytest.mark.parametrize("used_mib", [None, 13_000.0])
def test_what_ran_out_or_spilled_is_not_without_a_remedy_at_a_larger_batch(used_mib) -> None:
    half = SD15 | {"batch": 2}
    two = digest(nvml_used_mib=used_mib, **half) if used_mib else out_of_memory(half)
    assert row("sd15 512x512 b1 fp16 20", two).remedies == ()
    found = row(SD15_WORDS, two, count=2)
    assert row(SD15_WORDS).remedies == ()
    assert found.remedies != ()
    assert "at batch 2" in found.fit_basis
    assert ways(found)["two jobs"].remedies != ()


def test_the_batch_itself_goes_before_its_neighbours() -> None:
    three, four = out_of_memory(SD15 | {"batch": 3}, mine=True), digest(**SD15)
    assert row(SD15_WORDS, three, four).fit == "fits"
    assert row("sd15 512x512 b3 fp16 20", three, four).ran is False


def test_a_model_is_split_over_cards_that_ran_out_of_memory_and_over_none_that_ran_it() -> None:
    split, alone = "one model split", "it fits one card; splitting only slows it"
    assert ways(row(SD15_WORDS, count=2))[split].reason == alone
    assert ways(row(SD15_WORDS, out_of_memory(SD15), count=2))[split].images_per_hour
    ran = row(FLUX_WORDS, digest(**FLUX), count=2)
    assert ways(ran)[split].reason == alone


def test_measured_and_predicted_verdicts_never_look_alike() -> None:
    found = row(FLUX_WORDS, digest(wall_s=(80.0,) * 3, nvml_used_mib=11_000.0, **FLUX))
    plain = row(FLUX_WORDS)
    assert found.verdict == "fits (imported report)"
    assert plain.verdict == f"{plain.fit} (predicted)"
    header, table = fit_table([found, plain])
    measured, predicted = (dict(zip(header, line, strict=True)) for line in table)
    assert measured["verdict"].endswith("(imported report)")
    assert measured["measured"].endswith("it ran in friend.jsonl (peak 10.7 GiB)")
    assert predicted["verdict"].endswith("(predicted)")
    assert predicted["measured"] == ""
    told = why([found], row_key(found))
    assert "(imported report)\n- imported report: at batch 1, without a remedy, it ran" in told


def test_what_a_card_can_run_goes_by_what_was_measured_and_tells_them_apart() -> None:
    card = find_card("RTX 4070 Ti").card
    assert card is not None
    works = [parse_workload(words) for words in (SD15_WORDS, FLUX_WORDS)]
    known = findings_of([digest(**FLUX), out_of_memory(SD15)], HERE)
    room = runnable_on(card, known, workloads=works)
    sd15, flux = room.runs
    assert (flux.verdict, flux.largest_batch) == ("fits (imported report)", None)
    assert "out of memory" in sd15.fit_basis
    assert sd15.largest_batch is None  # more than 4 were predicted to fit, and 4 did not
    _, table = runnable_table(room)
    assert all(one.fit_basis in line[-1] for one, line in zip(room.runs, table, strict=True))
    names = [bar.name for bar in room_figure(room).data]
    assert names == [
        "fits, imported report",
        "fits with a remedy, predicted",
    ]


def test_a_bar_is_the_measured_peak_in_the_look_and_by_the_name_of_what_was_measured() -> None:
    """SDXL was a green bar to the predicted 13.4 GiB of 12, called measured at a peak of 10.4."""
    card = find_card("RTX 4070 Ti").card
    assert card is not None
    works = [parse_workload(words) for words in (SD15_WORDS, FLUX_WORDS, "sd21 512x512 b1 fp16 20")]
    reports = [
        digest(nvml_used_mib=6144.0, mine=True, **SD15),
        digest(nvml_used_mib=11_000.0, **FLUX),
    ]
    room = runnable_on(card, findings_of(reports, HERE), workloads=works)
    assert [one.peak_gib for one in room.runs] == [6.0, 11_000 / 1024, None]
    figure = room_figure(room)
    bars = {bar.name: bar for bar in figure.data}
    theirs, mine = bars["fits, imported report"], bars["fits, measured here"]
    predicted = bars["fits, predicted"]
    assert (list(mine.x), list(theirs.x)) == ([6.0], [11_000 / 1024])
    assert list(predicted.x) == [room.runs[2].memory_gib]
    assert mine.error_x.array is theirs.error_x.array is None
    assert len(predicted.error_x.array) == 1
    # The paleness is in the colour, which bar and legend share, and not in an opacity.
    assert predicted.marker.opacity is None
    assert predicted.marker.color.startswith("rgba(")
    assert mine.marker.color == theirs.marker.color == COLOURS[2]
    assert mine.marker.line != theirs.marker.line
    told = {one.y: one.text for one in figure.layout.annotations if one.bgcolor}
    assert told == {mine.y[0]: "measured here", theirs.y[0]: "imported report"}
    header, table = runnable_table(room)
    assert [line[header.index("measured peak (GiB)")] for line in table] == [
        6.0,
        11_000 / 1024,
        None,
    ]


def test_a_peak_is_of_where_it_ran_and_of_exactly_that_work() -> None:
    ran = digest(nvml_used_mib=6144.0, **SD15)
    spilled = digest(nvml_used_mib=13_000.0, **SD15)
    assert row(SD15_WORDS, ran, spilled).peak_gib == 6
    assert row("sd15 512x512 b2 fp16 20", ran).peak_gib is None
    assert row(SD15_WORDS, out_of_memory(SD15)).peak_gib is None
    assert row(SD15_WORDS).peak_gib is None
