"""A cell measured in rounds: nothing counts twice, nothing is lost, a kill costs one visit."""

from __future__ import annotations

import json
import random
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest
from fakes import make_cell, make_header, make_trace, write_report
from simulated_card import Card, open_bench

from diffusion_bench.backends.device import CACHE_VARIABLE
from diffusion_bench.bench import cell_run
from diffusion_bench.bench.limit import run_limit
from diffusion_bench.bench.progress import Progress
from diffusion_bench.bench.rounds import in_turn, joined
from diffusion_bench.bench.runner import _Run, run_sweep
from diffusion_bench.bench.setup import open_report
from diffusion_bench.bench.sweep import parse_sweep
from diffusion_bench.bench.worker_messages import Command
from diffusion_bench.bench.workers import Workers
from diffusion_bench.records import (
    ImageRequest,
    MachineState,
    Memory,
    OtherLoad,
    SpeedProbe,
    Trace,
)
from diffusion_bench.reports.doctor import examine_report
from diffusion_bench.reports.read import read_report
from diffusion_bench.reports.schema import Cell, Energy, Visit
from diffusion_bench.reports.stats import summarise
from diffusion_bench.reports.unfinished import finished_ids

pytestmark = pytest.mark.usefixtures("warm_workers", "short_rests")

ROUNDS = parse_sweep(
    # Of 2, 2 and 1 calls.
    'name = "rounds"\nrepeats = 5\nrounds = 3\n[axes]\nsteps = [2]\nresolution = [64]\n'
)


def visit(*wall_s: float, **what: object) -> Cell:
    usual = {"visits": (Visit(started_utc="2026-01-02T03:04:06Z", calls=len(wall_s)),)}
    return make_cell(wall_s=wall_s).model_copy(update=usual | what)


def energy(total_j: float, window_s: float, **other: object) -> Energy:
    usual = {"method": "counter", "idle_power_w": 10.0, "net_j": total_j - 10 * window_s}
    return Energy(**{"total_j": total_j, "window_s": window_s, **usual, **other})


def test_each_of_two_samplers_is_as_often_the_first_of_both(tmp_path: Path) -> None:
    text = 'name = "turns"\nrepeats = 4\nrounds = 4\n[axes]\nsteps = [2, 3]\nresolution = [64]\n'
    plan = parse_sweep(text)
    path = tmp_path / "turns.jsonl"
    run = run_sweep(plan, path, device="cpu")
    started = [e.request for e in run if e.kind == "cell_started" and e.request]
    assert [(r.steps, r.sampler) for r in started] == 2 * [
        *((2, "ddim"), (2, "ddpm"), (3, "ddim"), (3, "ddpm")),
        *((2, "ddpm"), (2, "ddim"), (3, "ddpm"), (3, "ddim")),
    ]
    assert [cell.order for cell in read_report(path).cells] == [0, 1, 2, 3]  # the plan's, as before


def test_samplers_and_etas_of_one_shape_turn_and_nothing_else_moves() -> None:
    axes = {"eta": (0.0, 1.0), "sampler": ("ddim", "ddpm"), "batch": (1, 2)}
    cells = [
        (f"{batch} {sampler} {eta}", ImageRequest(prompt="a cat", **asked))
        for batch in axes["batch"]
        for eta in axes["eta"]
        for sampler in axes["sampler"]
        for asked in [{"batch": batch, "sampler": sampler, "eta": eta if sampler == "ddim" else 0}]
    ]
    names = [name for name, _ in cells]
    assert [name for name, _ in in_turn(cells, 0)] == names
    assert [name for name, _ in in_turn(cells, 1)] == names[3::-1] + names[:3:-1]
    assert [name for name, _ in in_turn(cells, 2)] == names
    assert list(in_turn([], 1)) == []


def test_samples_warm_ups_and_visits_of_all_rounds_are_in_their_order() -> None:
    first = visit(
        1.0, 2.0, warmup_s=(9.0,), stop_reason=None, order=7, load_s=3.0, first_call_s=9.0
    )
    both = joined(first, visit(3.0, warmup_s=(8.0,), order=7))
    assert [sample.wall_s for sample in both.samples] == [1.0, 2.0, 3.0]
    assert both.warmup_s == (9.0, 8.0)
    assert [each.calls for each in both.visits] == [2, 1]
    assert (both.load_s, both.first_call_s, both.order) == (3.0, 9.0, 7)
    assert both.stop_reason == "fixed count"


def test_energy_of_calls_made_for_it_alone_is_that_of_all_visits() -> None:
    """The visits' own windows may have been too short, or long enough in some of them."""
    metered = visit(0.1, energy=energy(400.0, 2.0, calls=20))
    for earlier in (
        visit(0.1, stop_reason=None, missing={"energy": "the window of 0.1 s is shorter than 1 s"}),
        visit(0.1, stop_reason=None, energy=energy(30.0, 1.2, net_j=None)),
    ):
        both = joined(earlier, metered)
        assert both.energy == metered.energy
        assert not {"energy", "net_j"} & set(both.missing)


def probe(visit: int = 0) -> SpeedProbe:
    return SpeedProbe(visit=visit, work="some blocks", before_s=(0.1,))


def test_probes_are_counted_from_the_cells_first_visit_also_where_one_had_none() -> None:
    blind = visit(1.0, missing={"machine_speed": "no memory"})
    both = joined(blind, visit(1.0, machine_speed=(probe(),)))
    assert "machine_speed" not in both.missing
    again = joined(both, visit(1.0, missing={"machine_speed": "no memory"}))
    whole = joined(again, visit(1.0, machine_speed=(probe(),)))
    assert [each.visit for each in whole.machine_speed] == [1, 3]
    assert "machine_speed" not in whole.missing
    assert joined(blind, blind).missing["machine_speed"] == "no memory"


def test_what_one_visit_lacked_and_another_had_is_not_missing() -> None:
    """A later visit may be the first of a new process: after a kill, or a crash before it."""
    why = "the model was already loaded"
    first = visit(1.0, stop_reason=None, missing={"load_s": why, "stop_reason": "more to come"})
    loading = visit(1.0, load_s=3.0, first_call_s=2.0, missing={"compile_s": "nothing compiled"})
    both = joined(first, loading)
    assert (both.load_s, both.first_call_s) == (3.0, 2.0)
    assert both.missing == {"compile_s": "nothing compiled"}
    assert joined(first, first).missing == first.missing


def test_peaks_are_the_largest_labels_and_shares_those_of_all_visits() -> None:
    first = visit(1.0, memory=Memory(rss_mib=5.0), throttle_share={"sw_thermal": 0.3}).model_copy(
        update={"labels": ("throttled",)}
    )
    now = visit(1.0, 1.0, memory=Memory(rss_mib=4.0), labels=("contended",))
    both = joined(first, now)
    assert both.memory.rss_mib == 5.0
    assert both.labels == ("throttled", "contended")
    assert both.throttle_share == pytest.approx({"sw_thermal": 0.1})


def test_the_state_kept_is_that_of_the_first_visit_that_found_the_machine_busy() -> None:
    quiet, busy, busier = (MachineState(cpu_percent=load) for load in (1.0, 60.0, 90.0))
    cell = joined(visit(1.0, before=quiet), visit(1.0, before=busy, labels=("contended",)))
    assert cell.before == busy
    assert joined(cell, visit(1.0, before=busier, labels=("contended",))).before == busy
    assert joined(cell, visit(1.0, before=quiet)).before == busy


def test_energies_add_up_only_where_they_were_had_in_the_same_way() -> None:
    one, two = energy(100.0, 2.0), energy(60.0, 1.0)
    both = joined(visit(1.0, energy=one), visit(1.0, energy=two)).energy
    assert both is not None
    assert (both.total_j, both.window_s, both.net_j) == (160.0, 3.0, 130.0)
    hotter = energy(60.0, 1.0, idle_power_w=40.0, net_j=20.0)
    both = joined(visit(1.0, energy=one), visit(1.0, energy=hotter)).energy
    assert both is not None
    assert both.idle_power_w == pytest.approx(20.0)
    assert both.net_j == pytest.approx(both.total_j - both.idle_power_w * both.window_s)
    integrated = energy(60.0, 1.0, method="integrated power")
    mixed = joined(visit(1.0, energy=one), visit(1.0, energy=integrated))
    assert mixed.energy is None
    assert "integrated power in another" in mixed.missing["energy"]
    restless = energy(60.0, 1.0, idle_power_w=None, net_j=None)
    lost = joined(visit(1.0, energy=one), visit(1.0, energy=restless))
    assert lost.energy is not None
    assert lost.energy.net_j is None
    assert "at rest" in lost.missing["net_j"]
    silent = visit(1.0, missing={"energy": "no counter"})
    assert joined(visit(1.0, energy=one), silent).energy is None
    assert joined(visit(1.0, energy=one), silent).missing["energy"] == "no counter"


def test_a_cell_that_fails_in_a_later_round_keeps_what_the_rounds_before_it_measured() -> None:
    failed = make_cell(status="oom", message="no room", order=7).model_copy(
        update={"stage": "decoder", "asked_mib": 64.0, "labels": ("contended",)}
    )
    told = {"started_utc": "2026-01-02T03:04:00Z", "missing": {"energy": "no counter"}}
    first = visit(1.0, 1.1, order=7, stop_reason=None, **told)
    both = joined(first, failed)
    assert (both.status, both.stage, both.asked_mib) == ("oom", "decoder", 64.0)
    assert both.message == "no room; 2 timed calls are kept of earlier visits"
    assert (both.samples, both.visits, both.memory) == (first.samples, first.visits, first.memory)
    assert (both.order, both.started_utc, both.labels) == (7, first.started_utc, ("contended",))
    assert set(both.missing) == {"energy", "stop_reason", "trace"}
    assert summarise(both) is None, "a cell that failed has no figures"
    long = failed.model_copy(update={"message": "x" * 4000})
    assert Cell.model_validate(joined(first, long).model_dump()).message.endswith("earlier visits")


def test_a_cell_that_was_kept_with_its_failure_is_gone_on_with_when_it_is_tried_again() -> None:
    first = visit(1.0, stop_reason=None, missing={"stop_reason": "more to come"})
    failed = joined(first, make_cell(status="crashed", message="killed"))
    again = joined(failed, visit(1.1))
    assert (again.status, again.message, again.stop_reason) == ("ok", "", "fixed count")
    assert [sample.wall_s for sample in again.samples] == [1.0, 1.1]
    assert again.missing == {}
    twice = joined(failed, make_cell(status="timeout", message="too long"))
    assert (twice.status, twice.samples) == ("timeout", first.samples)
    assert twice.message == "too long; 1 timed call is kept of earlier visits"


def test_what_others_took_is_the_most_of_all_visits_and_a_failed_one_counts() -> None:
    visits = [
        visit(1.0, stop_reason=None, others=OtherLoad(cpu_percent=percent, missing={"x": "y"}))
        for percent in (3.0, 40.0, None)
    ]
    busy = OtherLoad(gpu_processes=2, missing={"cpu_percent": "it failed"})
    failed = make_cell(status="oom", message="no room").model_copy(update={"others": busy})
    cell = joined(joined(joined(visits[0], visits[1]), visits[2]), failed)
    assert cell.others is not None
    assert (cell.others.cpu_percent, cell.others.gpu_processes) == (40.0, 2)
    assert "cpu_percent" not in cell.others.missing
    assert joined(visit(1.0), visits[0]).others == visits[0].others, "older reports hold none"


def test_a_worker_that_is_killed_in_a_later_round_loses_that_visit_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits, begin = [], Workers.begin

    def begin_and_kill_in_the_third(workers: Workers, command: Command) -> None:
        begin(workers, command)
        visits.append(command.request.sampler)
        if len(visits) == 3:
            psutil.Process(workers.pid).kill()

    monkeypatch.setattr(Workers, "begin", begin_and_kill_in_the_third)
    path = tmp_path / "report.jsonl"
    list(run_sweep(ROUNDS, path, device="cpu"))
    report = read_report(path)
    cells = {cell.request.sampler: cell for cell in report.cells}
    lost, whole = cells["ddpm"], cells["ddim"]  # who is first takes turns
    assert (lost.status, len(lost.samples), [v.calls for v in lost.visits]) == ("crashed", 2, [2])
    assert lost.message.endswith("2 timed calls are kept of earlier visits")
    assert (whole.status, len(whole.samples)) == ("ok", 5)
    assert not [found for found in examine_report(report) if found.level == "problem"]
    list(run_sweep(ROUNDS, path, retry=True, device="cpu"))
    again = {cell.request.sampler: cell for cell in read_report(path).cells}
    assert (again["ddpm"].status, len(again["ddpm"].samples)) == ("ok", 5)
    assert again["ddpm"].samples[:2] == lost.samples
    assert again["ddim"] == whole


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()][1:]


def rounds_done(events: list[Progress]) -> list[int]:
    return [event.rounds_done for event in events if event.kind == "round_done"]


@pytest.fixture(scope="module")
def in_rounds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Progress]]:
    """Run the sweep once; return its report and what happened."""
    folder = tmp_path_factory.mktemp("rounds")
    path = folder / "report.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder / "cache"))
        return path, list(run_sweep(ROUNDS, path, device="cpu"))


def test_a_sweep_looks_at_the_machines_own_speed_once_in_every_visit(
    in_rounds: tuple[Path, list[Progress]],
) -> None:
    report = read_report(in_rounds[0])
    threads = report.header.software.torch_threads
    for cell in report.cells:
        assert [probe.visit for probe in cell.machine_speed] == [0, 1, 2]
        assert len({probe.work for probe in cell.machine_speed}) == 1
        assert cell.machine_speed[0].work.endswith(f", {threads} threads")
        assert "machine_speed" not in cell.missing
    before = [len(row["machine_speed"]) for row in lines(in_rounds[0])]  # type: ignore
    assert before == [1, 1, 2, 2, 3, 3]  # kept as they are made: a kill costs one


def test_rounds_pass_through_all_cells_and_the_last_line_of_each_holds_every_call(
    in_rounds: tuple[Path, list[Progress]],
) -> None:
    path, events = in_rounds
    kinds = [event.kind for event in events]
    assert (kinds.count("round"), kinds.count("cell")) == (4, 2)
    told = [(row["request"]["sampler"], len(row["samples"])) for row in lines(path)]  # type: ignore
    samplers = ["ddim", "ddpm", "ddpm", "ddim", "ddim", "ddpm"]  # who is first takes turns
    assert told == list(zip(samplers, (2, 2, 4, 4, 5, 5), strict=True))
    report = read_report(path)
    assert len(report.cells) == 2
    for cell in report.cells:
        assert [each.calls for each in cell.visits] == [2, 2, 1]
        assert len(cell.warmup_s) == 3
        assert (cell.stop_reason, "stop_reason" in cell.missing) == ("fixed count", False)


def test_a_run_tells_of_the_end_of_every_round_but_the_last_which_ends_the_sweep(
    in_rounds: tuple[Path, list[Progress]],
) -> None:
    events = in_rounds[1]
    assert rounds_done(events) == [1, 2]
    assert {event.rounds for event in events if event.kind == "round_done"} == {3}
    kinds = [event.kind for event in events if event.kind in ("round", "round_done", "cell")]
    assert kinds == ["round", "round", "round_done"] * 2 + ["cell"] * 2


def test_the_bar_of_a_run_in_rounds_moves_with_every_visit(
    in_rounds: tuple[Path, list[Progress]],
) -> None:
    """Cells are done in the last round only: a bar of cells would stand until then."""
    visits = [event.bar for event in in_rounds[1] if event.kind in ("round", "cell")]
    assert visits == [(done, 6) for done in range(1, 7)]
    assert next(event.bar for event in in_rounds[1] if event.kind == "ready") == (0, 6)


def test_a_run_that_ends_between_rounds_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    with closing(run_sweep(ROUNDS, path, device="cpu")) as run:
        rounds = 0
        for progress in run:
            rounds += progress.kind == "round"
            if rounds == 3:
                break
    halfway = read_report(path)
    assert finished_ids(halfway) == frozenset()
    before = {cell.cell_id: cell.samples for cell in halfway.cells}
    assert sorted(map(len, before.values())) == [2, 4]
    resumed = list(run_sweep(ROUNDS, path, resume=True, device="cpu"))
    after = read_report(path)
    for cell in after.cells:
        assert len(cell.samples) == 5
        assert cell.samples[: len(before[cell.cell_id])] == before[cell.cell_id]
    assert len(finished_ids(after)) == 2
    assert rounds_done(resumed) == [2], "one cell had its second visit before, the other now"


@pytest.mark.parametrize(
    ("repeats", "rounds", "calls"), [(4, 3, [2, 1, 1]), (5, 3, [2, 2, 1]), (3, 3, [1, 1, 1])]
)
def test_calls_are_spread_over_every_round_that_was_asked_for(repeats, rounds, calls) -> None:
    plan = make_header(cells=[ImageRequest(prompt="a cat")]).plan
    plan = plan.model_copy(update={"repeats": repeats, "rounds": rounds})
    cell: Cell | None = None
    for count in calls:
        assert cell_run._calls_now(plan, cell) == count
        now = visit(*[1.0] * count)
        cell = now if cell is None else joined(cell, now)
    # What a stop rule asks for beyond them is no visit of a single call.
    assert cell_run._calls_now(plan, cell) == calls[0]


def test_a_limit_is_looked_for_with_one_call_of_a_value_in_one_round(tmp_path: Path) -> None:
    path = tmp_path / "limit.jsonl"
    with closing(run_limit(ROUNDS, path, "batch", device="cpu")) as events:
        next(each for each in events if each.kind == "ready")
    plan = read_report(path).header.plan
    assert (plan.repeats, plan.rounds) == (1, 1)


def test_the_lines_of_a_sweep_are_the_same_in_whatever_order_its_cells_were_done() -> None:
    """Else a finished report that is gone on with gets a line that differs in its last digit."""
    chance = random.Random(3)
    cells = [
        make_cell(order=order, steps=steps, wall_s=[steps * chance.uniform(0.1, 0.11)] * 3)
        for order, steps in enumerate((5, 10, 20, 50, 100, 250))
    ]
    bench = open_bench(Card(), *(cell.request for cell in cells))
    before = bench.before.model_copy(update={"cells": tuple(cells)})
    lines = _Run(bench._replace(before=before)).new_fits()
    assert len(lines) == 1
    for _ in range(20):
        chance.shuffle(cells)
        again = before.model_copy(update={"cells": tuple(cells), "fits": tuple(lines)})
        assert _Run(bench._replace(before=again)).new_fits() == []


def test_what_a_report_that_is_gone_on_with_holds_of_readings_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    cell = make_cell(trace=make_trace())
    write_report(path, cell)
    with ExitStack() as stack:
        header = make_header(cells=[cell.request])
        _, before = open_report(stack, path, header, resume=True)
    assert before.cells == (cell.model_copy(update={"trace": Trace()}),)
    assert read_report(path).cells == (cell,)


def test_what_is_sustained_follows_the_last_call_of_all_and_its_readings_are_kept(
    tmp_path: Path,
) -> None:
    """A trace is of the last visit: sustained in the first, there would be no curve of the heat."""
    sweep = parse_sweep(
        'name = "heat"\nrepeats = 2\nrounds = 2\nsustain_s = 0.5\n[axes]\nsampler = ["ddim"]\n'
        "steps = [2]\nresolution = [64]\n"
    )
    path = tmp_path / "heat.jsonl"
    list(run_sweep(sweep, path, device="cpu"))
    first, last = lines(path)
    assert (first["sustained"], len(last["samples"])) == (None, 2)  # type: ignore[arg-type]
    (cell,) = read_report(path).cells
    assert cell.sustained is not None
    assert cell.trace.at_s[-1] >= cell.samples[-1].wall_s + 0.5


def test_what_the_first_visit_compiled_is_what_compiling_took() -> None:
    assert joined(visit(1.0, compile_s=5.0), visit(1.0, compile_s=0.1)).compile_s == 5.0
