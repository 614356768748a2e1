"""The sweep that extrapolates long cells against the same sweep with every step timed.

    python benchmarks/self/adaptive_vs_exhaustive.py benchmarks/ddpm_vs_ddim.toml --batch 1

The two take turns, one visit of a cell each, so that drift of the machine is in both; the wall time
of each is the sum of its turns. Prints both and their ratio, and for every extrapolated cell its
total against the measured one. Cells that both timed whole, and the probes of each visit, show how
far the machine moved between turns; the first steps of the long calls against all their steps show
the error of the rule itself. What a run takes once (the start of its worker, the loading of its
model) is in both wall times, and weighs the more the fewer its cells and rounds are: the ratio
without it is printed too. Ends with code 1 unless the ratio of the whole is at least 10, every
total is within 3 percent and 9 of 10 intervals cover the measured median. The whole file takes
hours on two CPU cores; `--rounds 1` runs one pass of the file, with a pass's calls even where they
are unsteady.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from diffusion_bench.bench.runner import run_sweep
from diffusion_bench.bench.sweep import Sweep, read_sweep
from diffusion_bench.reports.compare import compare
from diffusion_bench.reports.labels import name_request
from diffusion_bench.reports.read import read_report
from diffusion_bench.reports.schema import Cell, Extrapolation, Report
from diffusion_bench.reports.stats import Summary, summarise

RATIO, ERROR, COVERED = 10.0, 0.03, 0.9


class Turns:
    """A sweep that is run a visit at a time, and the wall seconds of its turns."""

    def __init__(self, sweep: Sweep, path: Path) -> None:
        self.path = path
        self.spent_s = 0.0
        self.starting_s: float | None = None  # before the first visit
        self._events = run_sweep(sweep, path)

    def visit(self) -> bool:
        """Go on until a visit has ended; return whether there was one."""
        # Locks lie there: the two take turns, and neither is to wait for the other's device.
        os.environ["DIFFUSION_BENCH_CACHE"] = str(self.path.with_suffix(".cache"))
        start_s = time.perf_counter()
        try:
            for progress in self._events:
                if self.starting_s is None and progress.kind == "ready":
                    self.starting_s = time.perf_counter() - start_s
                if progress.cell is not None:
                    print(f"  {self.path.stem} {progress.num_done}", end="\r", flush=True)
                    return True
            return False
        finally:
            self.spent_s += time.perf_counter() - start_s


def run_in_turn(*runs: Turns) -> None:
    """Run sweeps to their ends, each a visit at a time."""
    left = list(runs)
    while left:
        left = [run for run in left if run.visit()]


def shortened(sweep: Sweep, rounds: int) -> Sweep:
    """Return a sweep of so many of its rounds, with their calls and no stop rule."""
    calls = math.ceil(sweep.repeats / sweep.rounds) * rounds
    return sweep.model_copy(update={"rounds": rounds, "repeats": calls, "stop": None})


def summaries(report: Report) -> dict[str, tuple[str, Summary]]:
    """Return what each measured cell's samples say, and its name, by cell."""
    found = {cell.cell_id: (cell, summarise(cell)) for cell in report.cells}
    return {
        name: (name_request(cell.request), summary)
        for name, (cell, summary) in found.items()
        if summary is not None
    }


def compare_totals(found: Summary, true: Summary) -> tuple[float, bool]:
    """Return the relative error of a total, and whether its interval holds the true median."""
    reach = found.interval_s
    inside = reach is not None and reach.low <= true.median_s <= reach.high
    return found.median_s / true.median_s - 1, inside


def judge(adaptive: Report, exhaustive: Report) -> tuple[float, float]:
    """Print a line a cell; return the largest error and the share of intervals that cover."""
    truth = summaries(exhaustive)
    errors, covered = [], []
    for name, (words, found) in summaries(adaptive).items():
        if not found.extrapolated:
            continue
        true = truth[name][1]
        error, inside = compare_totals(found, true)
        errors.append(abs(error))
        covered.append(inside)
        reach = found.interval_s
        bounds = f"[{reach.low:.3f}, {reach.high:.3f}]" if reach else "[no interval]"
        print(
            f"{words:42} {found.median_s:8.3f} s {bounds}  every step "
            f"{true.median_s:8.3f} s  {error:+.2%} {'covered' if inside else 'NOT covered'}"
        )
    if not covered:
        raise SystemExit("no cell was extrapolated: take a sweep with more steps than it times")
    return max(errors), sum(covered) / len(covered)


def cut_short(cell: Cell, measured_steps: int) -> Cell:
    """Return a cell that was timed whole as if its calls had ended after so many steps."""
    samples = []
    for sample in cell.samples:
        left_s = sum(sample.step_s[measured_steps:])
        denoising_s = sample.stages.denoising_s - left_s
        update = {
            "wall_s": sample.wall_s - left_s,
            "step_s": sample.step_s[:measured_steps],
            "stages": sample.stages.model_copy(update={"denoising_s": denoising_s}),
        }
        samples.append(sample.model_copy(update=update))
    rule = Extrapolation(measured_steps=measured_steps, rule="cut short of a call timed whole")
    return cell.model_copy(update={"samples": tuple(samples), "extrapolation": rule})


def judge_rule(exhaustive: Report, measured_steps: int) -> tuple[list[float], float] | None:
    """Return the rule's errors on the long calls' own steps, smallest first, and what it covers."""
    errors, covered = [], []
    for cell in exhaustive.cells:
        whole = summarise(cell)
        if whole is None or cell.whole_steps <= measured_steps:
            continue
        told = summarise(cut_short(cell, measured_steps))
        assert told is not None
        error, inside = compare_totals(told, whole)
        errors.append(abs(error))
        covered.append(inside)
    return (sorted(errors), sum(covered) / len(covered)) if covered else None


def shifts(adaptive: Report, exhaustive: Report) -> list[float]:
    """Return how much longer the cells took the second time that both sweeps timed whole."""
    later = summaries(exhaustive)
    return [
        later[name][1].median_s / found.median_s - 1
        for name, (_, found) in summaries(adaptive).items()
        if not found.extrapolated and name in later
    ]


def net_errors(adaptive: Report, exhaustive: Report) -> list[float]:
    """Return how far the totals are off in the machine's own pace, smallest first."""
    long = {cell.cell_id for cell in adaptive.cells if cell.extrapolation is not None}
    rows = compare([exhaustive, adaptive])
    return sorted(
        abs(row.net_ratio - 1) for row in rows if row.net_ratio is not None and row.cell_id in long
    )


def show_apart(adaptive: Report, exhaustive: Report) -> None:
    """Print what the machine did between the sweeps, and what the rule is off by without it."""
    if moved := shifts(adaptive, exhaustive):
        print(
            f"cells timed whole by both: {min(moved):+.1%} to {max(moved):+.1%} the second time, "
            f"median {median(moved):+.1%}: the machine's own"
        )
    if errors := net_errors(adaptive, exhaustive):
        print(
            f"totals in the machine's own pace: errors of {len(errors)} cells "
            f"{median(errors):.2%} in the median, {errors[-1]:.2%} at most"
        )
    measured = adaptive.header.plan.measured_steps
    if measured and (found := judge_rule(exhaustive, measured)):
        errors, covered = found
        print(
            f"the rule on the long calls' own first {measured} steps: errors of {len(errors)} "
            f"cells {median(errors):.2%} in the median, {errors[-1]:.2%} at most, "
            f"intervals that cover {covered:.0%}"
        )


def once_s(run: Turns, report: Report) -> float:
    """Return the seconds of a run that it takes once, however many cells and rounds it has."""
    return (run.starting_s or 0.0) + sum(cell.load_s or 0.0 for cell in report.cells)


def main() -> int:
    """Run both, print the verdict, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--resolution", type=int, nargs="+", help="instead of the file's")
    parser.add_argument("--batch", type=int, nargs="+", help="instead of the file's")
    parser.add_argument("--sampler", nargs="+", help="instead of the file's")
    parser.add_argument("--rounds", type=int, help="instead of all of the file's")
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder of both reports")
    asked = parser.parse_args()
    sweep = read_sweep(asked.sweep)
    names = ("resolution", "batch", "sampler")
    axes = {name: tuple(v) for name in names if (v := getattr(asked, name))}
    sweep = sweep if asked.rounds is None else shortened(sweep, asked.rounds)
    sweep = sweep.model_copy(update={"axes": sweep.axes.model_copy(update=axes)})
    asked.out.mkdir(exist_ok=True)
    stamp = int(time.time())
    short = Turns(sweep, asked.out / f"adaptive_{stamp}.jsonl")
    long = Turns(sweep.exhaustive(), asked.out / f"exhaustive_{stamp}.jsonl")
    run_in_turn(short, long)
    adaptive, exhaustive = read_report(short.path), read_report(long.path)
    error, covered = judge(adaptive, exhaustive)
    show_apart(adaptive, exhaustive)
    ratio = long.spent_s / short.spent_s
    print(f"adaptive {short.spent_s:.0f} s, every step {long.spent_s:.0f} s: ratio {ratio:.1f}")
    once = once_s(short, adaptive), once_s(long, exhaustive)
    without = (long.spent_s - once[1]) / (short.spent_s - once[0])
    print(
        f"of these {once[0]:.1f} and {once[1]:.1f} s, once a run, started the worker and loaded "
        f"the model: ratio {without:.1f} without"
    )
    print(f"largest error {error:.2%}, intervals that cover {covered:.0%}")
    good = ratio >= RATIO and error <= ERROR and covered >= COVERED
    print(f"{'within' if good else 'NOT within'} {RATIO:g} times, {ERROR:.0%}, {COVERED:.0%}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
