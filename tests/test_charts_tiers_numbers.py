"""Tiers and workloads: measured where a report exists, predicted where none does."""

from __future__ import annotations

import pytest
from fakes import make_cell, make_header

from diffusion_bench.charts.tiers import pairs as tier_pairs
from diffusion_bench.charts.tiers.measured import Here, findings_of
from diffusion_bench.charts.tiers.numbers import tier_rows
from diffusion_bench.reports.digests import ReportDigest, digest_of
from diffusion_bench.reports.schema import Report
from diffusion_bench.tiers.cards import find_card
from diffusion_bench.tiers.path import UpgradePath, shipped_path
from diffusion_bench.tiers.predict import predict
from diffusion_bench.tiers.rows import need_of
from diffusion_bench.tiers.workload import Workload, parse_workload

ASKED = parse_workload("sd15 512x512 b2 fp16 30")
REQUEST = {
    "model": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "width": 512,
    "height": 512,
    "batch": 2,
    "precision": "fp16",
    "steps": 30,
    "guidance_scale": 7.5,
}


def digest(gpu: str | None = "NVIDIA GeForce RTX 4070 Ti", **cell: object) -> ReportDigest:
    cells = (make_cell(**({"wall_s": (9.0, 9.0, 9.0)} | REQUEST | cell)),)
    return digest_of(Report(header=make_header(gpu=gpu), cells=cells, source="friend.jsonl"))


def path(*gpus: str, **given: object) -> UpgradePath:
    tiers = [
        {"name": f"tier {i}", "gpu": gpu, "ram_gib": 32, "cores": 8} | given
        for i, gpu in enumerate(gpus)
    ]
    return UpgradePath.model_validate({"tier": tiers})


def test_a_row_a_tier_and_workload_with_time_memory_and_interval() -> None:
    rows = tier_rows(shipped_path(), [ASKED, parse_workload("sdxl 1024x1024 b1 fp16 30")])
    assert [row.tier for row in rows] == [tier.name for tier in shipped_path().tiers] * 2
    for row in rows:
        assert row.fit in ("fits", "tight")
        assert row.evidence[0].kind == "predicted"
        assert row.seconds_per_image_low < row.seconds_per_image < row.seconds_per_image_high
        assert row.images_per_hour == pytest.approx(3600 / row.seconds_per_image)
    assert rows[1].seconds_per_image < rows[0].seconds_per_image
    # As sure as the time is: at the middle of its interval it would be no bound.
    assert rows[0].at_most_j_per_image == pytest.approx(285 * rows[0].seconds_per_image_high)


def test_a_report_of_the_cell_stands_in_the_place_of_its_prediction() -> None:
    findings = findings_of([digest()])
    first, second = tier_rows(path("RTX 4070 Ti", "RTX 4090"), [ASKED], findings)
    assert first.evidence[0].kind == "imported report"
    assert first.evidence[0].source == "friend.jsonl"
    assert first.evidence[-1].kind == "predicted"
    assert first.seconds_per_image == pytest.approx(4.5)
    assert second.evidence[0].kind == "predicted"
    card = find_card("RTX 4090").card
    assert card is not None
    # 9 s are longer than predicted: the other card is taken for slower too.
    assert second.evidence[0].seconds > predict(card, ASKED).seconds


def test_a_report_of_this_machine_is_measured_here() -> None:
    findings = findings_of([digest()._replace(gpu_hash="abc")], Here(frozenset({"abc"})))
    (row,) = tier_rows(path("RTX 4070 Ti"), [ASKED], findings)
    assert row.evidence[0].kind == "measured here"


def test_energy_that_was_measured_is_told_beside_the_rated_bound() -> None:
    one = digest()
    cells = tuple(cell._replace(energy_j=900.0) for cell in one.cells)
    (row,) = tier_rows(path("RTX 4070 Ti"), [ASKED], findings_of([one._replace(cells=cells)]))
    assert row.j_per_image == 450
    assert row.at_most_j_per_image == pytest.approx(285 * 4.5)
    (alone,) = tier_rows(path("RTX 4070 Ti"), [ASKED])
    assert alone.j_per_image is None


def test_what_does_not_fit_takes_no_time() -> None:
    huge = Workload(model="sdxl", width=2048, height=2048, batch=64, precision="fp32")
    (row,) = tier_rows(path("RTX 2060 6GB"), [huge])
    assert row.fit == "does not fit"
    assert row.seconds_per_image is None
    assert row.images_per_hour is None
    assert "does not fit" in (row.reason or "")


def test_a_prediction_pays_for_its_remedies_and_its_interval_for_their_doubt() -> None:
    flux = parse_workload("flux1-dev 1024x1024 b1 bf16 28")
    (row,) = tier_rows(path("RTX 4070 Ti", ram_gib=128), [flux])
    (one,) = row.evidence
    assert row.fit == f"fits with {' and '.join(row.remedies)}"
    assert row.slower > 1
    assert row.seconds_per_image == pytest.approx(one.seconds * row.slower)
    assert row.seconds_per_image_low == pytest.approx(one.seconds_low * row.slower_low)
    assert row.seconds_per_image_high == pytest.approx(one.seconds_high * row.slower_high)
    assert row.seconds_per_image_low < row.seconds_per_image < row.seconds_per_image_high
    assert all(name in row.price for name in row.remedies)
    (plain,) = tier_rows(path("RTX 4070 Ti"), [ASKED])
    assert (plain.remedies, plain.slower, plain.price) == ((), 1, "")


def test_a_larger_and_faster_card_does_not_take_longer_for_the_sake_of_its_remedy() -> None:
    """Offload on an RTX 4090 takes longer for FLUX in 4 steps than 4 bits on an RTX 4070 Ti."""
    flux = parse_workload("flux1-schnell 1024x1024 b1 bf16 4")
    small, large = tier_rows(path("RTX 4070 Ti", "RTX 4090", ram_gib=128), [flux])
    assert small.remedies
    assert large.remedies
    assert large.seconds_per_image < small.seconds_per_image


def test_an_unknown_card_cannot_be_told_and_the_others_can() -> None:
    unknown, known = tier_rows(path("RTX 4090 Laptop GPU", "RTX 4090"), [ASKED])
    assert unknown.seconds_per_image is None
    assert "no card is called" in (unknown.reason or "")
    assert known.seconds_per_image


def test_two_cards_are_three_answers_beside_what_one_of_them_does() -> None:
    one, two = tier_rows(path("RTX 4090"), [ASKED]), tier_rows(path("RTX 4090", count=2), [ASKED])
    assert two[0].seconds_per_image == one[0].seconds_per_image
    assert [way.way for way in two[0].two_gpus] == [
        "two jobs",
        "one batch split",
        "one model split",
    ]
    assert two[0].two_gpus[0].speedup == pytest.approx(2)
    assert two[0].two_gpus[1].speedup < 2
    assert two[0].two_gpus[2].seconds is None
    assert one[0].two_gpus == ()


FLUX = parse_workload("flux1-dev 1024x1024 b1 bf16 28")


def split_of_flux() -> float:
    """Return the seconds of FLUX over two cards of 24 GiB."""
    (row,) = tier_rows(path("RTX 4090", count=2, ram_gib=128), [FLUX])
    (split,) = [way for way in row.two_gpus if way.way == "one model split"]
    assert split.seconds is not None
    return split.seconds


def test_a_model_split_over_two_cards_hands_over_its_hidden_state_and_not_the_decoders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = find_card("RTX 4090").card
    assert card is not None
    alone = predict(card, FLUX).seconds
    split = split_of_flux()
    assert alone < split < 1.05 * alone

    def need_of_a_larger_decoder(*asked):
        need = need_of(*asked)
        return need.model_copy(update={"activations_mib": 2 * need.activations_mib})

    monkeypatch.setattr(tier_pairs, "need_of", need_of_a_larger_decoder)
    assert split_of_flux() == pytest.approx(split)


def test_two_jobs_need_ram_for_the_offloaded_weights_of_both() -> None:
    def jobs(ram_gib: int):
        (row,) = tier_rows(path("RTX 4070 Ti", count=2, ram_gib=ram_gib), [FLUX])
        assert row.remedies == ("4-bit weights", "model offload")
        assert row.ram_gib == pytest.approx(12.4, rel=0.01)
        assert row.seconds_per_image
        return row.two_gpus[0]

    assert jobs(64).speedup == pytest.approx(2)
    short = jobs(17)
    assert (short.way, short.images_per_hour) == ("two jobs", None)
    assert short.reason == "25 GiB of weights of the two would wait in RAM, which has room for 14"


def test_a_second_card_and_more_memory_make_nothing_slower() -> None:
    """Two RTX 3060 were slower than one where more RAM had either offload all, a little slower."""
    flux = parse_workload("flux1-schnell 1024x1024 b1 bf16 4")
    (one,) = tier_rows(path("RTX 3060 12GB", ram_gib=32), [flux])
    (two,) = tier_rows(path("RTX 3060 12GB", ram_gib=64, count=2), [flux])
    assert two.seconds_per_image <= one.seconds_per_image
    assert two.two_gpus[0].speedup == pytest.approx(2)


def test_an_unequal_pair_is_as_fast_as_its_faster_card_and_gives_it_more() -> None:
    asked = parse_workload("sd15 512x512 b8 fp16 30")
    (pair,) = tier_rows(path("RTX 4070 Ti", other_gpu="RTX 4090"), [asked])
    (alone,) = tier_rows(path("RTX 4090"), [asked])
    assert pair.seconds_per_image == alone.seconds_per_image
    share = pair.two_gpus[1].share
    assert share is not None
    assert share[0] < share[1]
    assert 1 < (pair.two_gpus[0].speedup or 0) < 2
