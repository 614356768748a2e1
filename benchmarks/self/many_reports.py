"""Ten thousand imported reports: how long the tabs and the command `tiers` take to answer.

    python benchmarks/self/many_reports.py
    python benchmarks/self/many_reports.py --reports 1000

Makes small reports of 6 cells in a temporary folder, and times: reading every one of them in full
as `compare` would (on a part of them, scaled up), the command the first time (it stops reading when
its patience ends), until all of them are indexed, the command and the tab's answer after that; and
what the tabs Benchmark and Reports ask of the folder.
Prints seconds by the clock and of the processor, and the latter as a share of reading all in full.
Ends with code 1 where an answer takes longer than the limit by the clock, so that it needs a
machine without other work.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from diffusion_bench.hardware.machine import describe_machine
from diffusion_bench.hardware.sensors import NoGpu
from diffusion_bench.records import ImageRequest, Memory, Stages
from diffusion_bench.reports.index import INDEX_NAME, ReportIndex
from diffusion_bench.reports.read import read_report
from diffusion_bench.reports.schema import (
    Cell,
    GpuCard,
    Header,
    Machine,
    Plan,
    Sample,
    Software,
)
from diffusion_bench.reports.store import to_line
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.report_files import ReportFolder
from diffusion_bench.ui.upgrades import ALL, Question, Upgrades, shipped_text

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 3.0
REPEATS = 5
FULLY_READ = 500  # reports, from which reading all of them is told
CARDS = (
    ("NVIDIA GeForce RTX 3060", 12288.0),
    ("NVIDIA GeForce RTX 4070 Ti", 12282.0),
    ("NVIDIA GeForce RTX 4090", 24564.0),
    ("NVIDIA GeForce RTX 5080", 16303.0),
)
ANSWERS = (
    "command, the first time",
    "tab, most not read yet",
    "command, all known",
    "tab, all known",
    "estimate, the first time",
    "estimate, all known",
    "unfinished, all known",
    "Reports tab",
)
MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"


def write_reports(folder: Path, count: int) -> list[Path]:
    """Write reports that differ in card and time; return their paths."""
    return [write_report(folder / f"{number:05}.jsonl", number) for number in range(count)]


def write_report(path: Path, number: int) -> Path:
    """Write a report of 6 cells with 5 samples each."""
    name, memory_mib = CARDS[number % len(CARDS)]
    requests = [
        ImageRequest(
            prompt="a cat",
            model=MODEL,
            width=512,
            height=512,
            precision="fp16",
            guidance_scale=7.5,
            steps=steps,
            batch=batch,
        )
        for steps in (20, 50)
        for batch in (1, 2, 4)
    ]
    gpu = GpuCard(index=0, name=name, uuid_hash=f"{number:016x}", memory_total_mib=memory_mib)
    header = Header(
        tool_version="0",
        report_id=f"{number:08x}",
        created_utc="2026-01-02T03:04:05Z",
        machine=Machine(
            os="Linux", architecture="x86_64", cpu="CPU", cores_logical=8, ram_mib=32e3, gpus=(gpu,)
        ),
        software=Software(python="3.11.7", torch="2.11.0"),
        plan=Plan(name="many", device="cuda:0", warmups=1, repeats=5, cells=tuple(requests)),
    )
    cells = [_cell(header, request, order, number) for order, request in enumerate(requests)]
    path.write_bytes(to_line(header) + b"".join(map(to_line, cells)))
    return path


def _cell(header: Header, request: ImageRequest, order: int, number: int) -> Cell:
    call_s = (0.2 + 0.03 * request.steps * request.batch) * (1 + number % 97 / 1000)
    walls = [call_s * (1 + 0.01 * repeat) for repeat in range(5)]
    return Cell(
        cell_id=header.cell_id(request),
        request=request,
        order=order,
        started_utc="2026-01-02T03:04:06Z",
        status="ok",
        stop_reason="fixed count",
        samples=tuple(_sample(wall, request.steps) for wall in walls),
        memory=Memory(missing={"rss_mib": "not asked"}),
    )


def _sample(wall_s: float, steps: int) -> Sample:
    stages = Stages(text_encoder_s=0.02, denoising_s=wall_s - 0.1, decoder_s=0.05, other_s=0.03)
    return Sample(wall_s=wall_s, stages=stages, step_s=((wall_s - 0.1) / steps,) * steps)


class Spent(NamedTuple):
    """Seconds by the clock, and of the processor: on a machine with other work they differ."""

    wall_s: float
    cpu_s: float


def spent(work: Callable[[], Any]) -> Spent:
    """Return what a call takes, the processes it waits for included."""
    start_s, before = time.perf_counter(), os.times()
    work()
    wall_s, after = time.perf_counter() - start_s, os.times()
    return Spent(wall_s, sum(after[:4]) - sum(before[:4]))


def middle(tried: Iterable[Spent]) -> Spent:
    """Return the medians."""
    return Spent(*map(median, zip(*tried, strict=True)))


def command(folder: Path, cache: Path, *options: str) -> Spent:
    """Return what the command `tiers FOLDER` takes, from its start to its end."""
    words = [sys.executable, "-m", "diffusion_bench", "tiers", str(folder), *options]
    environment = {**os.environ, "DIFFUSION_BENCH_CACHE": str(cache)}
    return spent(
        lambda: subprocess.run(words, cwd=ROOT, env=environment, check=True, capture_output=True)
    )


def tab(folder: Path, cache: Path, outbox: Path) -> Spent:
    """Return what the first full answer of the tab's handler takes, figures drawn."""
    upgrades = Upgrades(
        ReportFolder(folder),
        ReportIndex(cache / INDEX_NAME),
        Outbox(outbox),
        lambda: describe_machine(NoGpu("no GPU: a benchmark")),
    )
    question = Question(path=shipped_text(), workloads=(), use=ALL)
    return spent(lambda: next(iter(upgrades.views(question, "seconds an image"))))


def estimate(folder: Path, cache: Path) -> Spent:
    """Return what the tab *Benchmark* takes, when it opens, to know how long a sweep takes."""
    reports = ReportFolder(folder, ReportIndex(cache / INDEX_NAME))
    return spent(lambda: reports.measured_with("CPU"))


def unfinished(folder: Path, cache: Path) -> Spent:
    """Return what the list of reports to go on with takes."""
    return spent(ReportFolder(folder, ReportIndex(cache / INDEX_NAME)).unfinished)


def reports_tab(folder: Path) -> Spent:
    """Return what the tab *Reports* takes to list reports and to open the newest one."""
    reports = ReportFolder(folder)
    return spent(lambda: reports.read(reports.newest()[0]))


def measure(paths: Sequence[Path], cache: Path, outbox: Path) -> dict[str, Spent]:
    """Return what each way of asking takes, by its name."""
    folder, part = paths[0].parent, paths[:FULLY_READ]
    few = spent(lambda: [read_report(path) for path in part])
    full = Spent(*(value * len(paths) / len(part) for value in few))
    tab(folder, cache / "another", outbox)  # plotly is imported once in a page's life
    return {
        "reading all in full": full,
        "command, the first time": command(folder, cache),
        "tab, most not read yet": tab(folder, cache, outbox),
        "estimate, the first time": estimate(folder, cache / "another"),
        "command, reading the rest": command(folder, cache, "--patience", "0"),
        "command, all known": middle(command(folder, cache) for _ in range(REPEATS)),
        "tab, all known": middle(tab(folder, cache, outbox) for _ in range(REPEATS)),
        "estimate, all known": middle(estimate(folder, cache) for _ in range(REPEATS)),
        "unfinished, all known": middle(unfinished(folder, cache) for _ in range(REPEATS)),
        "Reports tab": middle(reports_tab(folder) for _ in range(REPEATS)),
    }


def main() -> int:
    """Print the table and the verdict; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reports", type=int, default=10_000)
    count = parser.parse_args().reports
    with tempfile.TemporaryDirectory() as place:
        folder, cache, outbox = (Path(place) / name for name in ("reports", "cache", "outbox"))
        for each in (folder, cache, outbox):
            each.mkdir()
        rows = measure(write_reports(folder, count), cache, outbox)
    full = rows["reading all in full"]
    for name, one in rows.items():
        share = one.cpu_s / full.cpu_s
        print(f"{name:26} {one.wall_s:7.2f} s   {one.cpu_s:7.2f} s of the processor   {share:6.1%}")
    slowest = max(rows[name].wall_s for name in ANSWERS)
    within = slowest <= LIMIT_S
    print(f"slowest answer {slowest:.2f} s: {'within' if within else 'NOT within'} {LIMIT_S:g} s")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
