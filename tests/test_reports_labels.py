"""The card a report is named after is the one measured on; cells are named by what tells them."""

from __future__ import annotations

import pytest
from fakes import make_cell, make_header, make_report

from diffusion_bench.records import ImageRequest, VoiceRequest
from diffusion_bench.reports.digests import digest_of
from diffusion_bench.reports.export import describe, to_rows
from diffusion_bench.reports.labels import (
    device_name,
    gpu_card,
    name_among,
    name_request,
    report_card,
    report_labels,
    short_texts,
)
from diffusion_bench.reports.memory_fit import fit_verdict
from diffusion_bench.reports.plausible_energy import over_the_limit
from diffusion_bench.reports.schema import Cell, Energy, GpuCard, Header, Report, StopRule

# What torch calls cuda:0 is the faster card, which the driver numbers second.
SMALL = GpuCard(index=0, name="small", uuid_hash="aa", memory_total_mib=8e3, power_limit_w=72.0)
LARGE = GpuCard(index=1, name="large", uuid_hash="bb", memory_total_mib=48e3, power_limit_w=300.0)
ENERGY = Energy(total_j=1000.0, window_s=10.0, method="counter")


def header(uuid_hash: str | None = None) -> Header:
    made = make_header(gpu="small")
    machine = made.machine.model_copy(update={"gpus": (SMALL, LARGE)})
    plan = made.plan.model_copy(update={"gpu_uuid_hash": uuid_hash})
    return made.model_copy(update={"machine": machine, "plan": plan})


def cell(gpu_index: int | None = None) -> Cell:
    made = make_cell(nvml_used_mib=9000.0)
    return made.model_copy(update={"gpu_index": gpu_index, "energy": ENERGY})


@pytest.mark.parametrize(
    ("head", "one"), [(header("bb"), cell()), (header(), cell(1))], ids=["plan", "cell"]
)
def test_of_two_cards_the_one_measured_on_is_named_judged_by_and_learnt_from(
    head: Header, one: Cell
) -> None:
    report = Report(header=head, cells=(one,))
    assert device_name(report) == "large"
    assert describe(report).startswith("large, ")
    assert [row["device"] for row in to_rows([report])] == ["large"]
    found = digest_of(report)
    assert (found.gpu, found.gpu_memory_mib, found.gpu_hash) == ("large", 48e3, "bb")
    fit = fit_verdict(one, head)
    assert (fit.verdict, fit.limit_mib) == ("fits", 48e3)
    assert over_the_limit(one, head) == ""  # 100 W


def test_a_cell_that_failed_is_judged_by_the_card_of_its_plan() -> None:
    assert fit_verdict(cell(), header("bb")).limit_mib == 48e3
    failed = make_cell(status="oom", message="no room")
    report = Report(header=header(), cells=(failed, cell(1)))
    assert report_card(report) == LARGE


def test_an_older_report_that_tells_nothing_has_the_card_of_torchs_number() -> None:
    report = Report(header=header(), cells=(cell(),))
    assert gpu_card(report.header) == report_card(report) == SMALL


def test_a_card_that_the_machine_does_not_list_is_not_taken_for_another() -> None:
    report = Report(header=header("cc"), cells=(cell(),))
    assert report_card(report) is None
    assert device_name(report) == "cuda:0"
    assert fit_verdict(cell(), report.header).verdict is None


def test_what_ran_on_a_processor_is_named_after_it_whatever_cards_there_are() -> None:
    head = header("bb")
    plan = head.plan.model_copy(update={"device": "cpu"})
    report = Report(header=head.model_copy(update={"plan": plan}), cells=(cell(1),))
    assert device_name(report) == "Test CPU"
    assert (digest_of(report).on_gpu, digest_of(report).gpu) == (False, None)


def test_what_ran_on_apples_gpu_is_not_named_after_the_processor_nor_learnt_for_it() -> None:
    made = make_header(gpu="Apple M3 GPU", cpu="Apple M3")
    plan = made.plan.model_copy(update={"device": "mps"})
    mac = made.model_copy(update={"plan": plan})
    one = make_cell(rss_mib=900.0)
    report = Report(header=mac, cells=(one,))
    assert device_name(report) == "Apple M3 GPU"
    assert (digest_of(report).on_gpu, digest_of(report).gpu) == (True, "Apple M3 GPU")
    assert fit_verdict(one, mac).verdict is None  # the resident set lacks what Metal holds


def test_a_cell_is_named_by_what_sweeps_vary() -> None:
    request = ImageRequest(prompt="a", steps=20, batch=4, width=96, height=64)
    assert name_request(request) == "ddim, 20 steps, 96x64, batch 4"
    one = request.model_copy(update={"steps": 1, "eta": 0.5})
    assert name_request(one).startswith("ddim")
    assert "1 step," in name_request(one)
    assert "0.5" in name_request(one)


def test_a_request_alone_is_named_by_unusual_settings_and_one_of_many_by_what_differs() -> None:
    asked = VoiceRequest(text="A sentence to say.", guidance_scale=2.0, speed=1.5)
    assert name_request(asked) == "ddim, 25 steps, 4 words, batch 1, guidance 2, speed 1.5"
    other = asked.model_copy(update={"voice": "bo"})
    assert name_among([asked, other])(other) == "ddim, 25 steps, 4 words, batch 1, voice bo"
    several = [asked, asked.model_copy(update={"model": "other"})]
    assert name_among(several)(several[1]).endswith("batch 1, other")
    assert name_among(several, with_model=True)(several[1]).startswith("other, ddim, ")


def test_a_report_says_how_many_repeats_its_cells_have_and_with_a_stop_rule_that_it_is_the_least():
    fixed = header()
    plan = fixed.plan.model_copy(update={"stop": StopRule()})
    ruled = fixed.model_copy(update={"plan": plan})
    assert ", 3 repeats after 1 warm-up, " in describe(Report(header=fixed))
    assert ", at least 3 repeats after 1 warm-up, " in describe(Report(header=ruled))


@pytest.mark.parametrize(
    ("texts", "short"),
    [
        (("a cat",), ("a cat",)),
        (("an astronaut riding a horse on mars",), ("an astronaut riding a h…",)),
        (
            ("an astronaut riding a horse on mars", "an astronaut riding a horse in space"),
            ("…on mars", "…in space"),
        ),
        (("a cat " * 9 + "up", "a cat " * 9), ("…up", "…")),
        (("x" * 40 + "a", "x" * 40 + "b"), ("x" * 23 + "…", "x" * 23 + "… (2)")),
        (("a b" * 9, "a dog"), ("a ba ba ba ba ba ba ba …"[:23] + "…", "a dog")),
    ],
)
def test_texts_that_begin_alike_are_told_apart_by_where_they_part(texts, short):
    assert short_texts(texts) == dict(zip(texts, short, strict=True))


def test_a_hundred_prompts_have_a_hundred_short_names():
    texts = [
        f"a very long beginning of a prompt, {side} and {n}" for side in "ab" for n in range(50)
    ]
    found = short_texts(texts)
    assert set(found) == set(texts)
    assert len(set(found.values())) == 100


def test_reports_have_different_labels_whatever_their_files_are_called() -> None:
    names = ["a.jsonl", "a.jsonl (2)", "a.jsonl", "a.jsonl"]
    reports = [make_report(make_cell(), source=name) for name in names]
    labels = report_labels(reports)
    assert labels == ["a.jsonl", "a.jsonl (2)", "a.jsonl (3)", "a.jsonl (4)"]
