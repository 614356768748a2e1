"""The engine's own memory: a sweep's two processes against a bare diffusers script.

    python benchmarks/self/engine_memory.py

Both draw the same pictures with the bundled model. Peaks of the resident set are read while they
run. Ends with code 1 where the worker takes more than the limit over the bare script.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from diffusion_bench.backends.catalog import MODELS_FOLDER
from diffusion_bench.records import BUNDLED_MODEL

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 1.10
MIB = 2**20
SWEEP = 'name = "memory"\nrepeats = 3\n[axes]\nsampler = ["ddim"]\nsteps = [20]\n'
BARE = f"""
from diffusers import DDIMScheduler, StableDiffusionPipeline
pipeline = StableDiffusionPipeline.from_pretrained({str(MODELS_FOLDER / BUNDLED_MODEL)!r})
pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
for _ in range(4):
    pipeline("a cat on a blue background", num_inference_steps=20)
"""


def peaks_mib(command: list[str]) -> dict[str, float]:
    """Return the peak resident set of a program and of its largest child, in MiB."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    peaks = {"parent": 0.0, "child": 0.0}
    seen = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            resident = {"parent": seen.memory_info().rss}
            resident["child"] = max((c.memory_info().rss for c in seen.children()), default=0)
        except psutil.Error:
            continue
        for name, rss in resident.items():
            peaks[name] = max(peaks[name], rss / MIB)
        time.sleep(0.02)
    if process.returncode:
        assert process.stderr is not None
        raise RuntimeError(process.stderr.read()[-500:])
    return peaks


def main() -> None:
    """Print the peaks, the ratio and the verdict; ends with 1 past the limit."""
    with tempfile.TemporaryDirectory() as folder:
        sweep = Path(folder) / "memory.toml"
        sweep.write_text(SWEEP, encoding="utf-8")
        report = Path(folder) / "memory.jsonl"
        command = ["-m", "diffusion_bench", "sweep", str(sweep), "--out", str(report)]
        ours = peaks_mib([sys.executable, *command])
    bare = peaks_mib([sys.executable, "-c", BARE])
    ratio = ours["child"] / bare["parent"]
    within = ratio <= LIMIT
    print(f"bare diffusers script        {bare['parent']:7.0f} MiB")
    print(f"sweep: worker                {ours['child']:7.0f} MiB")
    print(f"sweep: runner beside it      {ours['parent']:7.0f} MiB")
    print(f"worker / bare {ratio:.3f}: {'within' if within else 'NOT within'} {LIMIT:g}")
    if not within:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
