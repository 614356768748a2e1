"""How long `tiers` takes with no report, no network and no GPU, against `import torch` alone.

    python benchmarks/self/tiers_answer.py --repeats 5

Both run alternately with the same interpreter; the first pair is not counted. The command runs
without a network where the system lets it be taken away (`unshare -n`). Prints seconds by the clock
and of the processor. Ends with code 1 where the command takes longer than the limit, or has
imported torch.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 2.0
ASK = """
import sys
from diffusion_bench.cli import main
try:
    main(["tiers"])
finally:
    sys.exit(3 if "torch" in sys.modules else 0)
"""
PROGRAMS = {"tiers": ASK, "import torch": "import torch"}


def without_network() -> list[str]:
    """Return the words that run a command without a network, none where that is not allowed."""
    words = ["unshare", "-n"]
    allowed = (
        shutil.which("unshare")
        and not subprocess.run([*words, "true"], capture_output=True, check=False).returncode
    )
    return words if allowed else []


def spent_s(prefix: list[str], program: str) -> tuple[float, float]:
    """Return the seconds of a program by the clock and of the processor; RuntimeError if it fails.

    A program that asked for tiers and imported torch has failed.
    """
    before, start_s = os.times(), time.perf_counter()
    done = subprocess.run(
        [*prefix, sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        check=False,
    )
    wall_s, after = time.perf_counter() - start_s, os.times()
    if done.returncode:
        reason = "it imported torch" if done.returncode == 3 else done.stderr.decode()[-200:]
        raise RuntimeError(f"the program failed: {reason}")
    return wall_s, sum(after[2:4]) - sum(before[2:4])


def main() -> int:
    """Print the table and the verdict; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="counted pairs, at least 3")
    repeats = parser.parse_args().repeats
    if repeats < 3:
        parser.error(f"--repeats {repeats}: at least 3 are needed for a median worth printing")
    prefix = without_network()
    print("without a network" if prefix else "the network could not be taken away here")
    tried: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    for repeat in range(repeats + 1):
        for name, program in PROGRAMS.items():
            one = spent_s(prefix, program)
            if repeat:
                tried[name].append(one)
    walls = {name: median(wall for wall, _ in each) for name, each in tried.items()}
    cpus = {name: median(cpu for _, cpu in each) for name, each in tried.items()}
    for name in PROGRAMS:
        print(f"{name:14} median {walls[name]:5.2f} s   {cpus[name]:5.2f} s of the processor")
    ratio = walls["tiers"] / walls["import torch"]
    within = walls["tiers"] <= LIMIT_S
    print(
        f"{ratio:.2f} of importing torch; {'within' if within else 'NOT within'} {LIMIT_S:g} s, "
        "torch not imported"
    )
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
