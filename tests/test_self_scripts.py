"""The commands of `benchmarks/self` still call what there is: each one's smallest piece, once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from types import SimpleNamespace

import pytest
from fakes import make_cell, make_report

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "self"))

import adaptive_vs_exhaustive
import against_torch_benchmark
import predict_unmeasured
import startup

from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.bench.sweep import read_sweep
from diffusion_bench.records import BUNDLED_MODEL, SpeedProbe
from diffusion_bench.reports.schema import Cell, Visit

ROOT = Path(__file__).parents[1]


def test_torchs_timer_times_the_very_call_that_ours_does(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = against_torch_benchmark.CELL.model_copy(update={"steps": 2, "width": 64, "height": 64})
    monkeypatch.setattr(against_torch_benchmark, "CELL", cell)
    backend = ImageBackend.load(BUNDLED_MODEL, device="cpu")
    seen: list[tuple[int, ...]] = []
    hook = backend._pipeline.unet.register_forward_pre_hook(
        lambda network, args: seen.append(tuple(args[0].shape))
    )
    backend.generate(cell)
    ours = list(seen)
    assert against_torch_benchmark.bare_timer(backend).timeit(1).median > 0
    hook.remove()
    assert len(ours) == cell.steps
    assert seen == ours * 4  # torch's timer warms up with two calls


def test_a_sweep_of_which_nothing_was_extrapolated_is_refused_in_a_sentence() -> None:
    report = make_report(make_cell())
    with pytest.raises(SystemExit, match="no cell was extrapolated"):
        adaptive_vs_exhaustive.judge(report, report)


def test_both_sweeps_take_turns_visit_by_visit_and_neither_waits_for_the_others_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DIFFUSION_BENCH_CACHE", "before")
    seen: list[tuple[str, str]] = []

    def visiting(visits: int, path: Path) -> Iterator[SimpleNamespace]:
        for visit in range(visits):
            yield SimpleNamespace(kind="ready", cell=None, num_done=visit)  # that ends no turn
            seen.append((path.stem, Path(os.environ["DIFFUSION_BENCH_CACHE"]).stem))
            yield SimpleNamespace(kind="cell", cell="a visit", num_done=visit)

    monkeypatch.setattr(adaptive_vs_exhaustive, "run_sweep", visiting)
    runs = [adaptive_vs_exhaustive.Turns(n, tmp_path / f"{n}.jsonl") for n in (2, 3)]
    adaptive_vs_exhaustive.run_in_turn(*runs)
    assert seen == [(each, each) for each in ("2", "3", "2", "3", "3")]


def test_what_a_run_takes_once_is_its_start_and_its_loading_and_no_visit(
    tmp_path, monkeypatch
) -> None:
    ticks = iter([0.0, 7.0, 9.0, 9.0, 12.0])
    events = [("starting", None), ("ready", None), ("cell", "a visit"), ("cell", "another")]
    made = [SimpleNamespace(kind=kind, cell=cell, num_done=0) for kind, cell in events]
    monkeypatch.setenv("DIFFUSION_BENCH_CACHE", "before")
    monkeypatch.setattr(adaptive_vs_exhaustive, "run_sweep", lambda *_: iter(made))
    monkeypatch.setattr(adaptive_vs_exhaustive.time, "perf_counter", lambda: next(ticks))
    run = adaptive_vs_exhaustive.Turns(None, tmp_path / "run.jsonl")
    assert run.visit()
    assert run.visit()
    first, second = make_cell(), make_cell(steps=50)
    report = make_report(first.model_copy(update={"load_s": 3.0}), second)
    assert (run.spent_s, adaptive_vs_exhaustive.once_s(run, report)) == (12.0, 10.0)


def test_one_of_a_sweeps_rounds_has_that_rounds_calls() -> None:
    sweep = read_sweep(ROOT / "benchmarks" / "ddpm_vs_ddim.toml")
    one = adaptive_vs_exhaustive.shortened(sweep, 1)
    assert (one.rounds, one.repeats, one.stop) == (1, sweep.repeats / sweep.rounds, None)


def test_the_rule_is_told_apart_from_a_machine_that_moved_between_the_two_sweeps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    steady, slowing = [0.02] * 50, [0.02] * 20 + [0.024] * 30
    short = {"steps": 10, "wall_s": [0.5] * 5}
    long = {"steps": 50, "wall_s": [2.0] * 5}
    for steps, off in ((steady, 0.0), (slowing, 0.12 / 2.0)):
        adaptive = make_report(make_cell(**short))
        header = adaptive.header
        plan = header.plan.model_copy(update={"measured_steps": 20})
        adaptive = adaptive.model_copy(update={"header": header.model_copy(update={"plan": plan})})
        later = {**short, "wall_s": [0.55] * 5}
        exhaustive = make_report(make_cell(**later), make_cell(**long, step_s=steps))
        errors, _ = adaptive_vs_exhaustive.judge_rule(exhaustive, 20)
        assert errors == [pytest.approx(off)]
        adaptive_vs_exhaustive.show_apart(adaptive, exhaustive)
        told = capsys.readouterr().out
        assert "+10.0% to +10.0% the second time" in told
        assert f"errors of 1 cells {off:.2%} in the median" in told


def test_totals_are_told_in_the_machines_own_pace_where_both_sweeps_looked_at_it() -> None:
    def long(pace: float) -> Cell:
        cell = make_cell(steps=50, wall_s=[2.0 * pace] * 6, step_s=[0.02 * pace] * 50)
        visits = tuple(Visit(started_utc=cell.started_utc, calls=2) for _ in range(3))
        probes = tuple(
            SpeedProbe(visit=i, work="blocks", before_s=(0.007 * pace,)) for i in range(3)
        )
        return cell.model_copy(update={"visits": visits, "machine_speed": probes})

    short, every = adaptive_vs_exhaustive.cut_short(long(1.0), 20), long(1.1)
    errors = adaptive_vs_exhaustive.net_errors(make_report(short), make_report(every))
    assert errors == [pytest.approx(0.0, abs=1e-6)]
    assert adaptive_vs_exhaustive.net_errors(make_report(every), make_report(every)) == []


def test_the_two_halves_of_a_cells_calls_tell_what_no_prediction_can_beat(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = make_report(make_cell())
    cell = report.cells[0]
    walls = [
        sample.model_copy(update={"wall_s": w})
        for w in (1.0, 1.0, 1.1, 1.1)
        for sample in cell.samples[:1]
    ]
    told = report.model_copy(update={"cells": (cell.model_copy(update={"samples": tuple(walls)}),)})
    predict_unmeasured.show_repeatability(told)
    assert "n 1, median 9.1%" in capsys.readouterr().out


def test_the_errors_that_the_methodology_states_are_those_of_the_report_it_names() -> None:
    text = " ".join((ROOT / "docs" / "methodology.md").read_text(encoding="utf-8").split())
    said = re.search(
        r"`(benchmarks/results/\S+)`\)\. (\d+) were contended .*? the median error is ([\d.]+) "
        r"percent, the 90th percentile ([\d.]+), and (\d+) percent lie",
        text,
    )
    assert said
    [(_, cells, on_gpu)] = predict_unmeasured.measured_cells([ROOT / said[1]])
    tried = list(predict_unmeasured.left_out_in_turn(cells, on_gpu=on_gpu))
    off = [100 * abs(one.error) for one in tried]
    inside = 100 * sum(one.inside for one in tried) / len(tried)
    assert 54 - len(cells) == int(said[2])
    assert median(off) == pytest.approx(float(said[3]), abs=0.05)
    assert quantiles(off, n=10, method="inclusive")[-1] == pytest.approx(float(said[4]), abs=0.05)
    assert inside == pytest.approx(float(said[5]), abs=0.5)
    assert median(off) <= 100 * predict_unmeasured.LIMIT


@pytest.mark.parametrize(("app_s", "verdict", "code"), [(6.0, "within", 0), (8.0, "NOT within", 1)])
def test_the_start_of_the_app_is_told_as_a_difference_and_as_a_ratio(
    app_s: float,
    verdict: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds = {"python app.py": [9.0, app_s, app_s], "one button": [5.0, 3.0, 5.0]}
    monkeypatch.setattr(startup, "measure", lambda repeats: seconds)
    monkeypatch.setattr(sys, "argv", ["startup.py"])
    assert startup.main() == code
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"{app_s - 5:.2f} s   {app_s / 5:.2f} times as long, {verdict} the limit" in last


def test_what_watching_costs_is_measured_without_the_packages_that_tests_need() -> None:
    program = f"""
import runpy, sys
sys.modules["pytest"] = None
sys.argv = ["sampling_cost.py", "--help"]
runpy.run_path({str(ROOT / "benchmarks/self/sampling_cost.py")!r}, run_name="__main__")
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "--rest" in told.stdout
