"""The machine's own speed in a comparison: what it explains is not called faster or slower."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from fakes import make_cell, make_header, make_report

from diffusion_bench.records import SpeedProbe
from diffusion_bench.reports.compare import Row, compare
from diffusion_bench.reports.machine_shift import machine_shift, other_machine, shift_words
from diffusion_bench.reports.overall import overall
from diffusion_bench.reports.read import UnreadableReport, parse_report
from diffusion_bench.reports.schema import Cell, Extrapolation, GpuCard, Report, Visit
from diffusion_bench.reports.store import to_line

NOISE = (0.995, 0.998, 1.0, 1.002, 1.004, 1.006)  # of the calls of a cell, one a visit
WORK = "some blocks"
FASTER = 1 / 1.08
STARTED = "2026-01-02T03:04:06Z"


def probe(visit: int, pace: float = 1.0, *, after: float | None = None, work: str = WORK) -> Any:
    """Return a probe of a machine that takes `pace` times as long, one of its runs disturbed."""
    after = pace if after is None else after
    before_s, after_s = (
        tuple(0.007 * side * each for each in (4.0, 1.0, 0.99)) for side in (pace, after)
    )
    return SpeedProbe(visit=visit, work=work, before_s=before_s, after_s=after_s)


def probed(
    pace: float = 1.0,
    slower: float = 1.0,
    *,
    work: str = WORK,
    noise: Sequence[float] = NOISE,
    **request: Any,
) -> Cell:
    """Return a cell of one call a visit: `slower` is of its own, `pace` of the machine."""
    cell = make_cell(wall_s=[pace * slower * each for each in noise], **request)
    visits = range(len(noise))
    return cell.model_copy(
        update={
            "visits": tuple(Visit(started_utc=STARTED, calls=1) for _ in visits),
            "machine_speed": tuple(probe(visit, pace, work=work) for visit in visits),
        }
    )


def row(old: Cell, new: Cell, **other: Any) -> Row:
    (found,) = compare([make_report(old), make_report(new, **other)])
    return found


def samplers(pace: float, slower: float = 1.0) -> Report:
    cells = [
        probed(pace, slower if sampler == "ddpm" else 1.0, sampler=sampler, steps=steps)
        for sampler in ("ddim", "ddpm")
        for steps in (10, 20, 40)
    ]
    return make_report(*cells, source=f"{pace:.3f}.jsonl")


def test_one_visit_of_which_the_probe_is_unsure_is_advised_rounds_not_repeats() -> None:
    """Two percent of noise a side are 2.8; of the 5 that may be the same 1.5 are left at 3.5."""
    pair = [probed(), probed(1.04, 1.035)]
    once = (Visit(started_utc=STARTED, calls=len(NOISE)),)
    single = [
        cell.model_copy(update={"visits": once, "machine_speed": cell.machine_speed[:1]})
        for cell in pair
    ]
    found = row(*single)
    assert found.verdict == "cannot tell"
    assert "about 6 rounds would settle it" in found.reason


def test_cells_that_moved_with_the_machine_are_the_same_and_the_row_says_so() -> None:
    reports = [samplers(1.0), samplers(FASTER)]
    rows = compare(reports)
    assert {each.verdict for each in rows} == {"same"}
    for each in rows:
        assert each.ratio == pytest.approx(FASTER, rel=0.002)  # the raw one is not hidden
        assert each.machine_ratio == pytest.approx(FASTER)
        assert each.net_ratio == pytest.approx(1.0, rel=0.002)
        assert "the machine itself was 8 percent faster" in each.reason
        assert "the times alone: ratio 0.926" in each.reason
    (whole,) = overall(reports)
    assert "the machine itself was 8 percent faster, in the mean" in whole.words()[2]
    assert whole.verdict == "same"  # though the mean of the times alone is 0.926
    back = compare(reports[::-1])
    assert {each.verdict for each in back} == {"same"}
    assert "the machine itself was 8 percent slower" in back[0].reason


@pytest.mark.parametrize("pace", [FASTER, 1.0, 1.08])
def test_a_tenth_more_beside_the_machine_is_slower_there_and_nowhere_else(pace: float) -> None:
    verdicts = {"ddim": "same", "ddpm": "slower"}
    for each in compare([samplers(1.0), samplers(pace, slower=1.10)]):
        assert each.verdict == verdicts[each.request.sampler], each.reason


def test_no_cell_that_took_less_time_is_called_slower() -> None:
    """Nor faster, if it took more: a probe that does not fit the cell may not turn a verdict."""
    for pace, slower in ((0.9, 1.09), (1.11, 0.915)):
        found = row(probed(), probed(pace, slower))
        assert found.verdict == "cannot tell"
        assert "but the times say otherwise" in found.reason


def test_what_the_probe_moved_and_the_cell_did_not_is_no_difference_with_a_name() -> None:
    cell = probed(noise=[each * 1 / FASTER for each in NOISE], pace=FASTER)  # its times: as before
    found = row(probed(), cell)
    assert found.ratio == pytest.approx(1.0)
    assert found.verdict == "cannot tell"


def test_between_two_machines_the_probe_is_told_and_judges_nothing() -> None:
    for other, field in (({"cpu": "Other CPU"}, "machine.cpu"), ({"torch": "9"}, "software.torch")):
        found = row(probed(), probed(FASTER), **other)
        assert found.verdict == "faster"
        assert f"8 percent faster (told, not judged by: {field} differs)" in found.reason
        assert (found.machine_ratio is None, found.net_ratio) == (False, None)
        assert row(probed(), probed(1.0, 1.1), **other).verdict == "slower"


def test_where_one_report_has_no_probes_everything_is_as_it_was() -> None:
    old, new = probed(), probed(FASTER)
    bare = [cell.model_copy(update={"machine_speed": ()}) for cell in (old, new)]
    plain = row(*bare)
    assert plain.verdict == "faster"
    assert row(bare[0], new) == row(old, bare[1]) == plain
    # The same holds for another piece of work: more threads, or that of a later version.
    assert row(old, probed(FASTER, work="another")) == plain


def test_probes_of_several_works_are_compared_within_one() -> None:
    old, new = probed(), probed(FASTER)
    strange = tuple(probe(visit, 50.0, work="another") for visit in range(20))
    mixed = new.model_copy(update={"machine_speed": strange + new.machine_speed})
    assert row(old, mixed).machine_ratio == pytest.approx(FASTER)
    assert row(mixed, old).machine_ratio == pytest.approx(1 / FASTER)


def test_drift_within_a_run_is_taken_off_visit_by_visit() -> None:
    def drifting(paces: Sequence[float]) -> Cell:
        cell = probed(noise=[pace * each for pace, each in zip(paces, NOISE, strict=True)])
        speeds = tuple(probe(visit, pace) for visit, pace in enumerate(paces))
        return cell.model_copy(update={"machine_speed": speeds})

    up, down = (0.9, 0.95, 1.0, 1.05, 1.1, 1.15), (1.2, 1.15, 1.1, 1.0, 0.95, 0.9)
    found = row(drifting(up), drifting(down))
    assert found.verdict == "same"
    blind = [cell.model_copy(update={"machine_speed": ()}) for cell in map(drifting, (up, down))]
    assert row(*blind).verdict == "cannot tell"


def test_a_visit_without_a_probe_is_counted_in_the_middle_pace() -> None:
    whole = probed(FASTER)
    partly = whole.model_copy(update={"machine_speed": whole.machine_speed[2:]})
    found = row(probed(), partly)
    assert (found.verdict, found.net_ratio) == ("same", pytest.approx(1.0, rel=0.002))
    odd = whole.model_copy(update={"visits": (Visit(started_utc=STARTED, calls=10**15),)})
    assert row(probed(), odd).verdict == "same"


def test_the_more_the_machine_moved_the_less_a_cell_that_moved_with_it_tells() -> None:
    """A cell may follow the probe by more or less; by how much is not known."""
    near, far = row(probed(), probed(0.95)), row(probed(), probed(0.7))
    assert (near.verdict, far.verdict) == ("same", "cannot tell")
    assert near.net_high is not None
    assert far.net_high is not None
    assert math.log(far.net_high / far.net_ratio) == pytest.approx(0.2 * -math.log(0.7), rel=0.05)


def test_what_the_machine_did_before_and_after_a_visits_calls_counts_alike() -> None:
    both = probe(0, 1.0, after=1.21)
    assert both.pace_s == pytest.approx(1.1 * probe(0).pace_s)
    assert probe(0, 1.1).model_copy(update={"after_s": None}).pace_s == pytest.approx(both.pace_s)


def test_the_product_and_copy_of_an_older_report_are_kept_and_judged_by_no_more() -> None:
    def older(pace: float) -> Cell:
        cell = probed(pace)
        runs = {"product_s": [0.001 * pace], "copy_s": [0.002]}
        probes = [
            {"visit": each.visit, "work": "a product, a copy"} | runs for each in cell.machine_speed
        ]
        report = make_report(cell)
        header, line = (json.loads(to_line(each)) for each in (report.header, report.cells[0]))
        lines = (header | {"schema_version": 6}, line | {"machine_speed": probes})
        data = b"".join(json.dumps(each).encode() + b"\n" for each in lines)
        return parse_report(data, "old.jsonl").cells[0]

    found = row(older(1.0), older(FASTER))
    assert (found.verdict, found.machine_ratio) == ("faster", None)  # as by the times alone
    kept = older(1.0).machine_speed[0]
    assert (kept.product_s, kept.copy_s, kept.pace_s) == ((0.001,), (0.002,), None)


def test_the_error_of_a_shift_is_the_probes_noise_and_a_fifth_of_what_it_moved() -> None:
    shift = machine_shift(probed(noise=NOISE[:2]), probed(0.88))
    assert shift is not None
    noise = 0.02 * math.sqrt(1 / 2 + 1 / 6)
    assert shift.error == pytest.approx(math.hypot(noise, 0.2 * math.log(0.88)))


def test_a_machine_that_may_not_have_moved_leaves_a_cell_the_same() -> None:
    """A probe of one visit is unsure: it must not take away what the times alone can tell."""
    steady = probed(noise=(0.97, 0.99, 1.0, 1.01, 1.03)).model_copy(
        update={"visits": (Visit(started_utc=STARTED, calls=5),)}
    )
    old, new = (
        steady.model_copy(update={"machine_speed": (probe(0, pace),)}) for pace in (1.0, 1.025)
    )
    found = row(old, new)
    assert (found.verdict, found.one_visit) == ("same", False), "it is not of the times alone"


def test_three_visits_and_an_extrapolated_total_are_judged_beside_the_machine_too() -> None:
    few = [each * 1.0 for each in NOISE[:3]]
    assert row(probed(noise=few), probed(FASTER, noise=few)).verdict == "same"

    def long(pace: float, slower: float = 1.0) -> Cell:
        cell = probed(pace, slower, steps=10)
        asked = cell.request.model_copy(update={"steps": 100})
        rule = Extrapolation(measured_steps=10, rule="test")
        return cell.model_copy(
            update={"request": asked, "cell_id": asked.workload_id(), "extrapolation": rule}
        )

    found = row(long(1.0), long(FASTER))
    assert (found.ratio, found.net_ratio) == (
        pytest.approx(FASTER, rel=0.002),
        pytest.approx(1.0, rel=0.002),
    )
    assert found.verdict in ("same", "cannot tell")  # an extrapolated interval is 2 percent wide
    assert row(long(1.0), long(FASTER, 1.3)).verdict == "slower"
    assert found.net_high is not None
    drift = math.hypot(math.log(1.02), math.log(1.02))  # of a total on each side
    error = math.hypot(0.02 * math.sqrt(2 / 6), 0.2 * math.log(FASTER))
    calls = row(probed(), probed(FASTER)).net_high
    assert calls is not None
    assert math.log(found.net_high / found.net_ratio) == pytest.approx(
        math.hypot(math.sqrt(math.log(calls) ** 2 - error**2), error, drift), rel=0.1
    )


def test_extrapolated_totals_of_a_machine_that_drifts_within_a_run_are_counted_in_its_pace() -> (
    None
):
    def long(paces: Sequence[float], slower: float = 1.0) -> Cell:
        walls = [slower * pace * each for pace, each in zip(paces, NOISE, strict=True)]
        cell = probed(noise=walls, steps=10)
        speeds = tuple(probe(visit, pace) for visit, pace in enumerate(paces))
        asked = cell.request.model_copy(update={"steps": 100})
        named = {"request": asked, "cell_id": asked.workload_id(), "machine_speed": speeds}
        rule = Extrapolation(measured_steps=10, rule="test")
        return cell.model_copy(update={**named, "extrapolation": rule})

    up, down = (0.9, 0.95, 1.0, 1.05, 1.1, 1.15), (1.2, 1.15, 1.1, 1.0, 0.95, 0.9)
    assert row(long(up), long(down)).verdict == "same"
    assert row(long(up), long(down, 1.15)).verdict == "slower"
    few = [
        cell.model_copy(update={"samples": cell.samples[:3], "visits": cell.visits[:3]})
        for cell in (long(up), long(down))
    ]
    found = row(*few)  # of three calls there is no interval but that of their steps
    assert found.verdict == "cannot tell"
    assert found.net_high is not None


def test_the_middle_run_of_a_probe_counts() -> None:
    quiet, busy = probed(), probed()
    disturbed = [
        each.model_copy(update={"before_s": (9.0, *each.before_s[1:], each.before_s[1], 0.001)})
        for each in busy.machine_speed
    ]
    shift = machine_shift(quiet, busy.model_copy(update={"machine_speed": tuple(disturbed)}))
    assert shift is not None
    assert shift.ratio == pytest.approx(1.0)
    assert not shift.is_certain


def test_two_percent_are_not_worth_a_word() -> None:
    assert (shift_words(1.0199), shift_words(0.981)) == ("", "")
    assert shift_words(1.06) == "the machine itself was 6 percent slower"


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1.49, "was 49 percent slower"),
        (1.5, "took 1.5 times as long"),
        (2.41, "took 2.4 times as long"),
        (12.34, "took 12.3 times as long"),
        (1 / 1.49, "was 49 percent faster"),
        (1 / 2.41, "was done in 0.41 times the time"),
    ],
)
def test_from_half_as_much_again_on_times_are_told_and_no_percent(ratio: float, words: str) -> None:
    assert shift_words(ratio) == f"the machine itself {words}"


def moving_sweep(rng: random.Random, shift: float, slowed: str = "") -> Report:
    """Return 12 cells in 6 rounds of 3 calls on a machine that drifts about its shifted pace."""
    names = [(sampler, steps) for sampler in ("ddim", "ddpm") for steps in (5, 10, 15, 20, 30, 40)]
    walls: dict[tuple[str, int], list[float]] = {name: [] for name in names}
    probes: dict[tuple[str, int], list[SpeedProbe]] = {name: [] for name in names}
    drift = rng.gauss(0, 0.015)
    for visit in range(6):
        for name in names:
            drift = 0.97 * drift + math.sqrt(1 - 0.97**2) * rng.gauss(0, 0.015)
            pace, own = math.exp(shift + drift), 1.1 if name[0] == slowed else 1.0
            walls[name] += [pace * own * math.exp(rng.gauss(0, 0.02)) for _ in range(3)]
            before, after = (pace * math.exp(rng.gauss(0, 0.01)) for _ in range(2))
            probes[name].append(probe(visit, before, after=after))
    return make_report(
        *(
            make_cell(wall_s=walls[name], sampler=name[0], steps=name[1]).model_copy(
                update={
                    "visits": tuple(Visit(started_utc=STARTED, calls=3) for _ in range(6)),
                    "machine_speed": tuple(probes[name]),
                }
            )
            for name in names
        )
    )


def test_a_drifting_machine_7_percent_faster_is_the_same_in_95_of_100_cells() -> None:
    rng = random.Random(5)
    rows = [
        row for _ in range(4) for row in compare([moving_sweep(rng, 0.0), moving_sweep(rng, -0.07)])
    ]
    found = Counter(row.verdict for row in rows)
    assert found["same"] >= 0.95 * len(rows), found
    assert not found["faster"] + found["slower"]


def test_a_tenth_slower_sampler_is_found_on_a_machine_7_percent_faster() -> None:
    rng = random.Random(6)
    rows = [
        row
        for _ in range(4)
        for row in compare([moving_sweep(rng, 0.0), moving_sweep(rng, -0.07, slowed="ddpm")])
    ]
    slower = [row.request.sampler for row in rows if row.verdict == "slower"]
    assert slower.count("ddpm") >= 0.85 * 24  # the others took no more time than before
    assert slower.count("ddim") == 0


def changed_probe(**values: Any) -> bytes:
    report = make_report(probed())
    header, cell = to_line(report.header), json.loads(to_line(report.cells[0]))
    cell["machine_speed"][0] |= values
    return header + json.dumps(cell).encode() + b"\n"


HOSTILE = {
    "negative": {"before_s": [-0.001]},
    "zero": {"after_s": [0.0]},
    "endless": {"after_s": [1e300]},
    "NaN": {"before_s": [math.nan]},
    "infinite": {"before_s": [math.inf]},
    "no run": {"after_s": []},
    "nothing before": {"before_s": None},
    "half of an older one": {"before_s": None, "product_s": [0.1]},
    "a million runs": {"copy_s": [0.001] * 1_000_000},
    "a visit before the first": {"visit": -1},
    "a visit that no sweep makes": {"visit": 10**9},
    "a novel": {"work": "x" * 10_000},
    "another field": {"secret": 1},
}


@pytest.mark.parametrize("values", HOSTILE.values(), ids=HOSTILE)
def test_a_probe_that_nobody_measured_is_refused_in_one_line(values: dict[str, Any]) -> None:
    with pytest.raises(UnreadableReport) as caught:
        parse_report(changed_probe(**values), "evil.jsonl")
    assert str(caught.value).startswith("evil.jsonl: line 2: ")
    assert len(str(caught.value)) < 400


def test_too_many_probes_are_refused_and_a_report_with_some_comes_back() -> None:
    report = make_report(probed())
    data = to_line(report.header) + to_line(report.cells[0])
    assert parse_report(data, "report.jsonl").cells == report.cells
    cell = json.loads(to_line(report.cells[0]))
    cell["machine_speed"] = cell["machine_speed"][:1] * 20_000
    with pytest.raises(UnreadableReport, match="machine_speed"):
        parse_report(to_line(report.header) + json.dumps(cell).encode() + b"\n", "evil.jsonl")


def test_an_old_report_has_no_probes_and_is_compared_as_before() -> None:
    report = make_report(probed())
    header, cell = json.loads(to_line(report.header)), json.loads(to_line(report.cells[0]))
    header["schema_version"] = 5
    del cell["machine_speed"]
    lines = (json.dumps(line).encode() + b"\n" for line in (header, cell))
    old = parse_report(b"".join(lines), "old.jsonl")
    assert old.cells[0].machine_speed == ()
    (found,) = compare([old, make_report(probed(FASTER))])
    assert (found.verdict, found.machine_ratio) == ("faster", None)


def test_two_cards_of_one_machine_are_told_apart_though_torch_calls_both_cuda_0() -> None:
    header = make_header(gpu="A")
    cards = tuple(GpuCard(index=i, name="A", uuid_hash=each) for i, each in enumerate("ab"))
    machine = header.machine.model_copy(update={"gpus": cards})
    first, second = (
        header.model_copy(
            update={
                "machine": machine,
                "plan": header.plan.model_copy(update={"gpu_uuid_hash": each}),
            }
        )
        for each in "ab"
    )
    assert other_machine(first, second, cards) == "card"
    assert other_machine(first, first, (cards[0], cards[0])) == ""
    # As an older report's cells tell it, whose header names no card.
    assert (
        other_machine(header.model_copy(update={"machine": machine}), second, (cards[1],) * 2) == ""
    )
