"""Comparison: equal work only, clear differences only, and a reason for every verdict."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from fakes import make_cell, make_header, make_report

from diffusion_bench.charts.page import to_html
from diffusion_bench.records import BUNDLED_MODEL
from diffusion_bench.reports.compare import compare
from diffusion_bench.reports.differences import environment_differences
from diffusion_bench.reports.markdown import to_markdown
from diffusion_bench.reports.overall import _by_chance, overall
from diffusion_bench.reports.schema import Extrapolation, ModelFacts, Report, StopRule

SLOW = (1.00, 1.01, 1.02, 1.03, 1.04)


def verdict(old: tuple[float, ...], new: tuple[float, ...]) -> tuple[str, str]:
    (row,) = compare([make_report(make_cell(wall_s=old)), make_report(make_cell(wall_s=new))])
    return row.verdict, row.reason


def extrapolated():
    """Return a cell of 100 steps, of which 10 were run."""
    short = make_cell(wall_s=(1.0, 1.01, 0.99, 1.0), steps=10)
    asked = short.request.model_copy(update={"steps": 100})
    rule = Extrapolation(measured_steps=10, rule="test")
    return short.model_copy(
        update={"request": asked, "cell_id": asked.workload_id(), "extrapolation": rule}
    )


@pytest.mark.parametrize(
    ("new", "wanted"),
    [
        ((0.50, 0.51, 0.52, 0.53, 0.54), "faster"),
        ((2.00, 2.01, 2.02, 2.03, 2.04), "slower"),
        ((1.00, 1.01, 1.02, 1.03, 1.04), "same"),
        ((0.90, 1.01, 1.08, 1.20, 1.30), "cannot tell"),
        ((0.70, 0.80, 0.90, 1.01, 1.10), "cannot tell"),
    ],
)
def test_a_difference_is_named_only_where_the_interval_allows_no_other(new, wanted):
    assert verdict(SLOW, new)[0] == wanted


def test_three_samples_can_be_the_same_and_never_faster_or_slower():
    assert verdict((1.0, 1.0, 1.0), (1.0, 1.01, 1.0))[0] == "same"
    found, reason = verdict((1.0, 1.0, 1.0), (9.0, 9.0, 9.0))
    assert found == "cannot tell"
    assert "repeat 4 times" in reason
    assert verdict((1.0,) * 4, (9.0,) * 4)[0] == "slower"


def test_a_side_with_many_samples_asks_for_no_more_of_them_where_the_other_has_one():
    found, reason = verdict((1.0,) * 10, (9.0,))
    assert found == "cannot tell"
    assert "repeat 2 times or more" in reason
    assert verdict((1.0,) * 10, (9.0,) * 2)[0] == "slower"


def test_a_row_that_cannot_tell_says_how_many_repeats_would_settle_it():
    assert "repeats would settle it" in verdict(SLOW, (0.90, 1.01, 1.08, 1.20, 1.30))[1]
    assert "too close" in verdict(SLOW, (0.97, 1.03, 1.069, 1.11, 1.17))[1]


def test_the_ratio_is_of_the_other_over_the_baseline():
    (row,) = compare([make_report(make_cell(wall_s=(2.0,))), make_report(make_cell(wall_s=(1.0,)))])
    assert (row.baseline_s, row.other_s, row.ratio) == (2.0, 1.0, 0.5)


def test_two_protocols_are_never_compared():
    old = make_report(make_cell(wall_s=SLOW))
    new = make_report(make_cell(wall_s=SLOW), protocol_version=1)
    (row,) = compare([old, new])
    assert (row.verdict, row.ratio) == ("cannot compare", None)
    assert "protocol version: 2 and 1" in row.reason


def test_work_that_only_one_report_has_is_a_row_that_says_so():
    old = make_report(make_cell(steps=10), make_cell(steps=20, status="oom"), source="a.jsonl")
    new = make_report(make_cell(steps=20), make_cell(steps=30), source="b.jsonl")
    rows = {row.request.steps: row for row in compare([old, new])}
    assert {row.verdict for row in rows.values()} == {"cannot compare"}
    assert rows[10].reason == "not measured in b.jsonl"
    assert rows[20].reason == "oom in a.jsonl"
    assert rows[30].reason == "not measured in a.jsonl"


def with_model(report: Report, **facts: str) -> Report:
    models = (ModelFacts(name=BUNDLED_MODEL, **facts),)
    plan = report.header.plan.model_copy(update={"models": models})
    return report.model_copy(update={"header": report.header.model_copy(update={"plan": plan})})


def test_another_revision_of_the_model_is_other_work_and_named():
    old, new = (with_model(make_report(make_cell(wall_s=SLOW)), revision=name) for name in "ab")
    (row,) = compare([old, new])
    assert (row.verdict, row.ratio) == ("cannot compare", None)
    assert "model.revision: a and b" in row.reason
    assert compare([old, old])[0].verdict == "same"
    assert compare([old, make_report(make_cell(wall_s=SLOW))])[0].verdict == "cannot compare"


def test_other_work_at_the_same_place_of_the_grid_is_refused_field_by_field():
    old = make_report(make_cell(wall_s=SLOW, seed=1, guidance_scale=2.0))
    new = make_report(make_cell(wall_s=SLOW, seed=2, guidance_scale=4.0))
    (row,) = compare([old, new])
    assert row.verdict == "cannot compare"
    assert [(d.field, d.baseline, d.other) for d in row.differences] == [
        ("request.guidance_scale", "2.0", "4.0"),
        ("request.seed", "1", "2"),
    ]


def noisy_sweep(rng: random.Random, slowed: str = "") -> Report:
    """Return 50 cells with 2 percent noise within a run and half a percent of each run."""
    cells = []
    for sampler in ("ddim", "ddpm"):
        for steps in range(10, 60, 2):
            base = (0.1 + 0.05 * steps * (1.1 if sampler == slowed else 1.0)) * math.exp(
                rng.gauss(0, 0.005)
            )
            walls = [base * math.exp(rng.gauss(0, 0.02)) for _ in range(8)]
            cells.append(make_cell(wall_s=walls, sampler=sampler, steps=steps))
    return make_report(*cells)


def test_the_same_machine_twice_is_the_same_in_95_of_100_cells():
    rng = random.Random(1)
    rows = [row for _ in range(4) for row in compare([noisy_sweep(rng), noisy_sweep(rng)])]
    found = Counter(row.verdict for row in rows)
    assert found["same"] >= 0.95 * len(rows)
    assert not found["faster"] + found["slower"]


def test_a_tenth_more_time_in_the_steps_of_one_sampler_is_found_there_and_nowhere_else():
    rng = random.Random(2)
    rows = compare([noisy_sweep(rng), noisy_sweep(rng, slowed="ddpm")])
    slower = [row.request.sampler for row in rows if row.verdict == "slower"]
    assert slower.count("ddpm") >= 0.9 * 25
    assert slower.count("ddim") == 0
    assert not [row for row in rows if row.verdict == "faster"]


def test_an_extrapolated_total_is_compared_by_its_interval_and_said_to_be_one():
    cell = extrapolated()
    whole = make_cell(wall_s=[0.2 + 8 * noise for noise in (0.99, 1.0, 1.0, 1.01, 1.0)], steps=100)
    (row,) = compare([make_report(whole), make_report(cell)])
    assert (row.verdict, row.ratio) == ("same", pytest.approx(1.0, abs=0.01))
    assert "other: extrapolated" in row.reason
    one = cell.model_copy(update={"samples": cell.samples[:1]})
    bare = one.samples[0].model_copy(update={"step_s": (0.08, 0.08)})
    blind = cell.model_copy(update={"samples": (bare,)})
    (row,) = compare([make_report(whole), make_report(blind)])
    assert (row.verdict, row.reason) == (
        "cannot tell",
        "other: an extrapolated total has no interval: too few steps were timed",
    )


def test_a_cell_timed_whole_is_not_said_to_be_extrapolated_where_it_lacks_an_interval():
    cell = extrapolated()
    few = make_cell(wall_s=(8.0, 8.1), steps=100)
    (row,) = compare([make_report(few), make_report(cell)])
    assert row.verdict == "cannot tell"
    assert row.reason == "baseline: a median of 2 has no interval: too few calls were timed"


def test_the_whole_names_the_verdict_the_mean_ratio_and_what_else_differs():
    cells = [make_cell(wall_s=SLOW, steps=steps) for steps in (10, 20)]
    slow = [make_cell(wall_s=[2 * s for s in SLOW], steps=10), make_cell(steps=20, status="oom")]
    old = make_report(*cells, source="a.jsonl")
    new = make_report(*slow, source="b.jsonl", torch="9.9")
    (found,) = overall([old, new])
    assert (found.verdict, found.counts) == ("slower", {"slower": 1, "cannot compare": 1})
    assert found.ratio == pytest.approx(2.0, rel=0.03)
    assert [difference.field for difference in found.environment] == ["software.torch"]
    assert "software.torch: 2.11.0 and 9.9" in "\n".join(found.words())
    assert overall([old, old])[0].verdict == "same"
    assert "differing beside the work: nothing" in overall([old, old])[0].words()[-1]


def test_the_whole_says_how_many_of_its_named_cells_were_disturbed_and_none_of_the_others():
    labels = [("contended",), ("contended", "throttled"), ("emulated",), ()]
    old = make_report(*(make_cell(wall_s=SLOW, seed=seed) for seed in range(5)))
    slow = [
        make_cell(wall_s=[2 * s for s in SLOW], seed=seed).model_copy(update={"labels": label})
        for seed, label in enumerate(labels)
    ]
    untold = make_cell(wall_s=(1.0, 9.0), seed=4).model_copy(update={"labels": ("on battery",)})
    for pair in ((old, make_report(*slow, untold)), (make_report(*slow, untold), old)):
        (whole,) = overall(pair)
        assert whole.disturbed == {"contended": 2, "throttled": 1}
        assert [line for line in whole.words() if "2 contended, 1 throttled" in line]
    assert not [line for line in overall([old, old])[0].words() if "disturbed" in line]


def test_one_ratio_is_told_as_one_and_of_several_their_mean():
    old, new = make_cell(wall_s=SLOW), make_cell(wall_s=[2 * s for s in SLOW])
    (alone,) = overall([make_report(old), make_report(new)])
    assert alone.words()[1] == "ratio of times 2 (ddim, 20 steps, 128x128, batch 1)"
    (whole,) = overall([make_report(old, make_cell(seed=1)), make_report(new, make_cell(seed=1))])
    assert whole.words()[1].startswith("mean ratio of times ")


def test_a_setting_that_nobody_made_is_not_set_and_a_fact_that_nobody_could_tell_is_unknown():
    old = make_header(gpu="NVIDIA L4")
    measured = {"stop": StopRule(noise=0.01), "rounds": 3, "sustain_s": 600.0}
    plan = old.plan.model_copy(update=measured)
    (gpu,) = old.machine.gpus
    gpus = (gpu.model_copy(update={"driver": "580.65"}),)
    machine = old.machine.model_copy(update={"gpus": gpus})
    new = old.model_copy(update={"plan": plan, "machine": machine})
    found = {one.field: one for one in environment_differences(old, new)}
    assert found["plan.stop"].baseline == "not set"
    assert found["plan.rounds"].words() == "plan.rounds: 1 and 3"
    assert found["plan.sustain_s"].words() == "plan.sustain_s: not set and 600.0"
    assert found["machine.gpus.0.driver"].words().endswith("unknown and 580.65")


def test_cells_at_one_place_of_the_grid_are_paired_and_told_in_their_order():
    old = make_report(*(make_cell(wall_s=SLOW, seed=seed) for seed in (1, 2)))
    left = [
        make_cell(wall_s=SLOW, steps=steps, seed=seed, order=order)
        for order, (steps, seed) in enumerate([(10, 3), (30, 3), (10, 4)])
    ]
    near = (make_cell(wall_s=SLOW, seed=seed) for seed in (3, 4))
    rows = compare([old, make_report(*left, *near)])
    seeds = [(d.baseline, d.other) for row in rows for d in row.differences]
    assert seeds == [("1", "3"), ("2", "4")]
    asked = [(row.request.steps, row.request.seed) for row in rows[2:]]
    assert asked == [(10, 3), (30, 3), (10, 4)]


def test_an_interval_that_reaches_down_to_nothing_is_said_to():
    cell = extrapolated()
    wild = [
        sample.model_copy(update={"step_s": (0.08, *[pace] * 9)})
        for sample, pace in zip(cell.samples, (0.01, 0.5, 0.01, 0.5), strict=True)
    ]
    whole = make_cell(wall_s=SLOW, steps=100)
    (row,) = compare(
        [make_report(whole), make_report(cell.model_copy(update={"samples": tuple(wild)}))]
    )
    assert (row.verdict, row.reason) == (
        "cannot tell",
        "other: its interval reaches down to nothing",
    )


def test_eight_of_ten_cells_make_no_whole():
    walls = dict(enumerate([2.0] * 8 + [0.7] * 2, start=10))
    new = [make_cell(wall_s=[s * by for s in SLOW], steps=steps) for steps, by in walls.items()]
    old = [make_cell(wall_s=SLOW, steps=steps) for steps in walls]
    (found,) = overall([make_report(*old), make_report(*new)])
    assert (found.verdict, found.counts) == ("mixed", {"slower": 8, "faster": 2})


def test_verdicts_that_contradict_each_other_are_mixed():
    walls = {10: 2.0, 20: 0.5}
    new = [make_cell(wall_s=[s * by for s in SLOW], steps=steps) for steps, by in walls.items()]
    old = [make_cell(wall_s=SLOW, steps=steps) for steps in walls]
    (found,) = overall([make_report(*old), make_report(*new)])
    assert found.verdict == "mixed"
    assert found.best
    assert found.worst
    assert (found.best.request.steps, found.worst.request.steps) == (20, 10)


@pytest.mark.parametrize(
    ("ratios", "whole"),
    [
        ([1.085] * 11 + [0.32], "mixed"),  # a mean of 0.98
        ([1.085] * 11 + [0.6], "slower"),
        ([1 / 1.085] * 11 + [1 / 0.32], "mixed"),
        ([1 / 1.085] * 11 + [1 / 0.6], "faster"),
        ([1.0] * 11 + [3.0], "mixed"),  # a mean of 1.10
        ([1.0] * 11 + [1.5], "same"),
    ],
)
def test_the_whole_has_no_name_that_the_mean_of_its_ratios_contradicts(ratios, whole):
    old = [make_cell(wall_s=SLOW, steps=10 + place) for place in range(len(ratios))]
    new = [
        make_cell(wall_s=[ratio * wall for wall in SLOW], steps=10 + place)
        for place, ratio in enumerate(ratios)
    ]
    (found,) = overall([make_report(*old), make_report(*new)])
    assert found.verdict == whole


def test_cells_without_a_name_make_the_whole_untold_and_not_mixed_where_they_outweigh_the_others():
    unclear = (0.60, 0.75, 0.90, 1.05, 1.30)
    old = [make_cell(wall_s=SLOW, steps=10 + place) for place in range(12)]
    new = [
        make_cell(wall_s=[1.1 * s for s in SLOW] if place < 2 else unclear, steps=10 + place)
        for place in range(12)
    ]
    (found,) = overall([make_report(*old), make_report(*new)])
    assert found.counts == {"cannot tell": 10, "slower": 2}
    assert found.ratio is not None
    assert found.ratio < 1
    assert found.verdict == "cannot tell"


def test_what_only_one_of_two_machines_could_run_is_counted_with_its_reason():
    """What was not tried, or was cancelled, says nothing of what a machine can do."""
    ends = {10: ("ok", "ok"), 20: ("oom", "ok"), 30: ("ok", "oom"), 40: ("ok", "crashed")}
    ends |= {50: ("oom", "oom"), 60: ("cancelled", "ok"), 70: ("ok", "")}
    sides = [
        make_report(
            *(
                make_cell(wall_s=SLOW, steps=n, status=both[side])
                for n, both in ends.items()
                if both[side]
            ),
            source=f"{side}.jsonl",
        )
        for side in (0, 1)
    ]
    (found,) = overall(sides)
    assert found.only_other == {"out of memory": 1}
    assert found.only_baseline == {"out of memory": 1, "crashed": 1}
    words = found.words()
    assert "runs 1 cell that the baseline cannot: out of memory there" in words
    assert "cannot run 2 cells that the baseline runs: 1 out of memory, 1 crashed here" in words
    assert not [line for line in overall([sides[0], sides[0]])[0].words() if "cannot" in line[:12]]
    assert "runs 1 cell that the baseline cannot" in to_html(sides)
    assert "runs 1 cell that the baseline cannot" in to_markdown(sides)


@pytest.mark.parametrize(
    ("named", "cells", "whole"),
    [
        (1, 1, "slower"),
        (1, 2, "slower"),
        (1, 3, "cannot tell"),
        (1, 12, "cannot tell"),
        (2, 12, "slower"),
        (12, 12, "slower"),
    ],
)
def test_the_whole_has_no_name_that_chance_would_give_to_so_few_of_its_cells(named, cells, whole):
    unclear = (0.70, 0.90, 1.02, 1.20, 1.40)
    slow = tuple(2 * wall for wall in SLOW)
    steps = range(10, 10 + cells)
    old = [make_cell(wall_s=SLOW, steps=count) for count in steps]
    new = [
        make_cell(wall_s=slow if place < named else unclear, steps=count)
        for place, count in enumerate(steps)
    ]
    (found,) = overall([make_report(*old), make_report(*new)])
    assert found.counts["slower"] == named
    assert found.verdict == whole


def test_thousands_of_equal_cells_are_the_same_and_their_chance_is_a_number():
    """From 1030 cells on a binomial coefficient is past any float."""
    cells = [make_cell(wall_s=SLOW, seed=seed) for seed in range(1100)]
    (found,) = overall([make_report(*cells), make_report(*cells)])
    assert (found.verdict, found.counts) == ("same", {"same": 1100})
    assert _by_chance(10_000, 10_000, 0.05) == pytest.approx(0, abs=1e-9)
    assert _by_chance(0, 10_000, 0.05) == 1
    assert 0 < _by_chance(270, 5000, 0.05) < 0.2 < 0.8 < _by_chance(230, 5000, 0.05) <= 1
    assert 0 <= _by_chance(300, 5000, 0.05) < 0.001
    exact = 1 - sum(math.comb(12, n) * 0.025**n * 0.975 ** (12 - n) for n in range(2))
    assert _by_chance(2, 12, 0.025) == pytest.approx(exact)


def test_one_report_has_nothing_to_be_compared_with():
    assert compare([make_report(make_cell())]) == []
