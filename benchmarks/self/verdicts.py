"""What compare says of the same machine twice, and of one sampler made a tenth slower.

    python benchmarks/self/verdicts.py [--repeats 24] [--rounds 8] [--out FOLDER]

Runs a sweep three times: as it is, as it is again, and with every DDPM step followed by a wait of a
tenth of it. Prints how many cells get which verdict. Ends with code 1 unless at least 95 percent of
the cells are "same" the second time, at least 90 percent of DDPM's are "slower" the third time, and
none of DDIM's is. With a folder the three reports stay there.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from diffusion_bench.bench.runner import run_sweep
from diffusion_bench.bench.sweep import Sweep, parse_sweep
from diffusion_bench.reports.compare import Row, compare
from diffusion_bench.reports.read import read_report
from diffusion_bench.reports.schema import Report

SAME, SLOWER = 0.95, 0.90
SWEEP = """
name = "verdicts"
repeats = {repeats}
rounds = {rounds}
[stop]
noise = 0.03
min_time_s = 1.0
max_time_s = 60.0
max_repeats = {most}
[axes]
steps = [10, 20, 40]
resolution = [64, 96]
"""

# Runs in the worker before anything else. The wait is a share of the time since the last step
# ended, so that it is a tenth at every size.
SLOW_DDPM = """
import sys, threading, time

def make_slow():
    while "DDPMScheduler" not in vars(sys.modules.get("diffusers.schedulers.scheduling_ddpm", sys)):
        time.sleep(0.005)
    scheduler = sys.modules["diffusers.schedulers.scheduling_ddpm"].DDPMScheduler
    step, ended = scheduler.step, [None]
    def slow_step(self, *given, **named):
        result = step(self, *given, **named)
        now = time.perf_counter()
        if ended[0] is not None and now - ended[0] < 1.0:
            until = now + 0.1 * (now - ended[0])
            while time.perf_counter() < until:
                pass
        ended[0] = time.perf_counter()
        return result
    scheduler.step = slow_step

threading.Thread(target=make_slow, daemon=True).start()
"""


def run(sweep: Sweep, path: Path, *, slow_folder: Path | None = None) -> Report:
    """Run a sweep; with a folder, its worker takes what lies there at its start."""
    before = os.environ.get("PYTHONPATH", "")
    if slow_folder is not None:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(slow_folder), before]))
    try:
        for progress in run_sweep(sweep, path):
            if progress.cell is not None:
                done = f"{path.stem} {progress.num_done}/{progress.num_cells}"
                print(f"  {done}", end="\r", flush=True)
    finally:
        os.environ["PYTHONPATH"] = before
    return read_report(path)


def count(rows: list[Row], sampler: str) -> Counter[str]:
    """Return how many cells of a sampler got which verdict."""
    return Counter(row.verdict for row in rows if row.request.sampler == sampler)


def main() -> int:
    """Print the verdicts; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=24, help="calls of a cell, at least")
    parser.add_argument("--rounds", type=int, default=8, help="passes that they are spread over")
    parser.add_argument("--out", type=Path, help="an empty folder for the reports, to be kept")
    asked = parser.parse_args()
    most = max(30, 2 * asked.repeats)
    sweep = parse_sweep(SWEEP.format(repeats=asked.repeats, rounds=asked.rounds, most=most))
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "slow").mkdir()
        (folder / "slow" / "sitecustomize.py").write_text(SLOW_DDPM, encoding="utf-8")
        first = run(sweep, folder / "first.jsonl")
        again = run(sweep, folder / "again.jsonl")
        slow = run(sweep, folder / "slow.jsonl", slow_folder=folder / "slow")
    twice, slowed = compare([first, again]), compare([first, slow])
    same = sum(row.verdict == "same" for row in twice) / len(twice)
    ddpm, ddim = count(slowed, "ddpm"), count(slowed, "ddim")
    slower = ddpm["slower"] / ddpm.total()
    print(f"the same machine twice: {dict(Counter(row.verdict for row in twice))}, {same:.0%} same")
    print(f"DDPM a tenth slower: DDPM {dict(ddpm)}, DDIM {dict(ddim)}")
    for row in twice + slowed:
        if row.ratio is not None:
            request = row.request
            print(
                f"  {request.sampler} {request.steps} {request.width} {row.ratio:.3f} {row.reason}"
            )
    good = same >= SAME and slower >= SLOWER and not ddim["slower"]
    print(f"{'within' if good else 'NOT within'} {SAME:.0%} same, {SLOWER:.0%} slower, 0 wrong")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
