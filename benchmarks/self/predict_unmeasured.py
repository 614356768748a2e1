"""Cells a machine has not measured, predicted from those it has, against what it then measured.

    diffusion-bench sweep benchmarks/self/predict_unmeasured.toml --out REPORT.jsonl
    python benchmarks/self/predict_unmeasured.py REPORT.jsonl
    python benchmarks/self/predict_unmeasured.py --synthetic

All cells of one resolution, one batch or one number of steps are left out in turn and predicted
from the rest. *Between* are values with a smaller and a larger one left in, *beyond* the outermost.
Each cell is also left out alone. Beside the errors stands how well the cells repeat: the median of
the first half of a cell's calls against that of the rest. No prediction can be nearer than about
half of that, which is the error of the measured median itself. `--synthetic` simulates a machine of
a known law with 1 percent of noise, so that the method can be judged without a quiet machine. Ends
with code 1 where the median over everything is above the limit.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from diffusion_bench.charts.tiers.left_out import UNFAIR
from diffusion_bench.charts.tiers.measured import timed_cells
from diffusion_bench.records import BUNDLED_MODEL
from diffusion_bench.reports.digests import ReportDigest, digest_of
from diffusion_bench.reports.read import read_report
from diffusion_bench.reports.schema import Report
from diffusion_bench.tiers.cost import cost_of
from diffusion_bench.tiers.own_cells import fit_cells, predict_cell
from diffusion_bench.tiers.workload import TimedCell, Workload

LIMIT = 0.05  # of the median error
AXES = {
    "resolution": lambda w: w.width * w.height,
    "batch": lambda w: w.batch,
    "steps": lambda w: w.steps,
}


class Tried(NamedTuple):
    """One cell left out: what was left out with it, and predicted over measured, less 1."""

    left_out: str
    error: float
    inside: bool


def left_out_in_turn(cells: Sequence[TimedCell], *, on_gpu: bool) -> Iterator[Tried]:
    """Yield every cell as predicted without those that share a value with it, and alone."""
    for axis, value_of in AXES.items():
        values = sorted({value_of(cell.workload) for cell in cells})
        for value in values if len(values) > 1 else ():
            where = "beyond" if value in (values[0], values[-1]) else "between"
            gone = [cell for cell in cells if value_of(cell.workload) == value]
            rest = [cell for cell in cells if value_of(cell.workload) != value]
            yield from _tried(f"one {axis}, {where}", gone, rest, on_gpu)
    for index, cell in enumerate(cells):
        rest = [*cells[:index], *cells[index + 1 :]]
        yield from _tried("one cell", [cell], rest, on_gpu)


def _tried(
    name: str, gone: Sequence[TimedCell], rest: Sequence[TimedCell], on_gpu: bool
) -> Iterator[Tried]:
    try:
        law = fit_cells(rest, on_gpu=on_gpu)
    except ValueError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return
    for cell in gone:
        told = predict_cell(law, cell.workload)
        inside = told.seconds_low <= cell.seconds <= told.seconds_high
        yield Tried(name, told.seconds / cell.seconds - 1, inside)


def synthetic_cells(*, on_gpu: bool, seed: int = 0) -> list[TimedCell]:
    """Return the cells of a machine of a known law that `own_cells.py` does not have as such.

    Arithmetic slows as a picture outgrows the caches; a GPU hides its launches behind its work.
    """
    draw = random.Random(seed)
    model, precision, sides = ("sd15", "fp16", (256, 512, 768, 1024))
    if not on_gpu:
        model, precision, sides = (BUNDLED_MODEL, "fp32", (64, 96, 128, 192))
    cells = []
    for side, batch, steps, sampler in product(sides, (1, 2, 4), (10, 20, 50), ("ddim", "ddpm")):
        workload = Workload(
            model=model,
            width=side,
            height=side,
            batch=batch,
            precision=precision,
            steps=steps,
            sampler=sampler,
        )
        step_s, once_s = _true_seconds(workload, on_gpu=on_gpu)
        noise = math.exp(draw.gauss(0, 0.01))
        denoising_s = noise * steps * step_s
        cells.append(TimedCell(workload, denoising_s + noise * once_s, denoising_s))
    return cells


def _true_seconds(workload: Workload, *, on_gpu: bool) -> tuple[float, float]:
    asked = workload.work
    stages = {stage.stage: stage.operators for stage in cost_of(**asked).stages}
    flops = {name: sum(row.flops for row in rows) for name, rows in stages.items()}
    moved = {name: sum(row.bytes_moved for row in rows) for name, rows in stages.items()}
    rate, bandwidth, host_s = (40e12, 0.5e12, 0.011) if on_gpu else (70e9, 12e9, 0.003)
    step = "denoising step"
    slower = 1 + 0.08 * math.tanh(math.log(moved[step] / (2e9 if on_gpu else 1e8)))
    work_s = flops[step] / rate * slower + moved[step] / bandwidth
    launch_s = host_s * (1.03 if workload.sampler == "ddpm" else 1.0)
    rest = [name for name in stages if name != step]
    once_s = sum(flops[name] / rate + moved[name] / bandwidth for name in rest) + 2 * host_s
    return (max(launch_s, work_s) if on_gpu else launch_s + work_s), once_s


def show(title: str, tried: Sequence[Tried]) -> float | None:
    """Print errors by what was left out; return the median over all of them."""
    print(title)
    groups: dict[str, list[Tried]] = defaultdict(list)
    for one in tried:
        groups[one.left_out].append(one)
        groups["all"].append(one)
    for name, group in sorted(groups.items()):
        off = [abs(one.error) for one in group]
        tenth = quantiles(off, n=10, method="inclusive")[-1] if len(off) > 1 else off[0]
        inside = sum(one.inside for one in group) / len(group)
        print(
            f"    {name:26} n {len(off):4}   median {median(off):6.1%}   90th {tenth:6.1%}   "
            f"in the 80 % interval {inside:4.0%}"
        )
    return median(abs(one.error) for one in tried) if tried else None


def show_repeatability(report: Report) -> None:
    """Print how far apart the two halves of a cell's own calls are, the cells that were fair."""
    apart = []
    for cell in report.cells:
        walls = [sample.wall_s for sample in cell.samples]
        half = len(walls) // 2
        if half >= 2 and not UNFAIR & set(cell.labels):
            apart.append(abs(median(walls[:half]) / median(walls[half:]) - 1))
    if apart:
        print(
            f"the cells themselves, half of their calls against the rest: n {len(apart)}, "
            f"median {median(apart):.1%}"
        )


def measured_cells(paths: Sequence[Path]) -> Iterator[tuple[str, list[TimedCell], bool]]:
    """Yield a title, the fair cells of a precision, and whether a GPU measured them."""
    for path in paths:
        report = read_report(path)
        digest = digest_of(report)
        show_repeatability(report)
        fair = timed_cells(digest)
        left_out, count = len(digest.cells) - len(fair), len(digest.cells)
        if left_out:
            words = f"{left_out} of {count} cells are not used ({why_not_used(digest, fair)})"
            print(f"{path.name}: {words}", file=sys.stderr)
        by_precision: dict[str, list[TimedCell]] = defaultdict(list)
        for cell in fair:
            by_precision[cell.workload.precision].append(cell)
        for precision, cells in by_precision.items():
            device = digest.gpu or digest.cpu
            title = f"{path.name}: {device}, {precision}, {len(cells)} cells"
            yield title, cells, digest.on_gpu


def why_not_used(digest: ReportDigest, fair: Sequence[TimedCell]) -> str:
    """Return what keeps cells from being learnt from: their labels, or a model nobody counted."""
    labels = {label for cell in digest.cells for label in cell.labels.split(",")} & UNFAIR
    models = {cell.model for cell in digest.cells}
    uncounted = [] if fair or labels else [f"uncounted model {name}" for name in sorted(models)]
    return ", ".join([*sorted(labels), *uncounted]) or "another model or no denoising"


def main() -> int:
    """Print the errors and the verdict; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", nargs="*", type=Path)
    parser.add_argument("--synthetic", action="store_true", help="machines of a known law")
    arguments = parser.parse_args()
    if not arguments.reports and not arguments.synthetic:
        parser.error("name reports, or --synthetic")
    asked = list(measured_cells(arguments.reports))
    if arguments.synthetic:
        asked += [
            (f"a synthetic {name}", synthetic_cells(on_gpu=on_gpu), on_gpu)
            for name, on_gpu in (("processor", False), ("GPU", True))
        ]
    medians = [
        show(title, list(left_out_in_turn(cells, on_gpu=on_gpu))) for title, cells, on_gpu in asked
    ]
    told = [value for value in medians if value is not None]
    if not told:
        print("nothing to predict: too few fair cells of a counted model")
        return 1
    within = max(told) <= LIMIT
    print(f"largest median {max(told):.1%}: {'within' if within else 'NOT within'} {LIMIT:.0%}")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
