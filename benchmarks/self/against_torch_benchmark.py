"""Our median against `torch.utils.benchmark` on the same call, in the same process.

    python benchmarks/self/against_torch_benchmark.py --pairs 30

Both time the bundled model's whole pipeline call; ours with its hooks on stages and steps, torch's
Timer bare. They alternate, first one, then the other, then the other way round. Ends with code 1
where the two medians differ by more than the limit.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch.utils.benchmark import Timer

from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.pipeline_calls import call_arguments
from diffusion_bench.diffusion.schedulers import build_scheduler
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest

LIMIT = 0.02
CELL = ImageRequest(prompt="a cat on a blue background", steps=20)


def bare_timer(backend: ImageBackend) -> Timer:
    """Return torch's timer of the call that `backend.generate` makes, without our hooks."""
    pipeline = backend._pipeline
    pipeline.scheduler = build_scheduler(CELL.sampler, backend._schedule, CELL.steps)
    noise, generators = backend.initial_latents(CELL), backend._noise_generators(CELL)
    arguments = call_arguments(pipeline, CELL, noise=noise, generators=generators)

    @torch.inference_mode()
    def call() -> None:
        pipeline(**arguments)

    return Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())


def main() -> int:
    """Print the two medians, their ratio and the verdict; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=30, help="calls of each kind, at least 10")
    pairs = parser.parse_args().pairs
    if pairs < 10:
        parser.error(f"--pairs {pairs}: at least 10 are needed for medians worth comparing")
    backend = ImageBackend.load(BUNDLED_MODEL)
    timer = bare_timer(backend)
    for _ in range(3):
        backend.generate(CELL)
    ours: list[float] = []
    torchs: list[float] = []
    for pair in range(pairs):
        turns = [
            lambda: ours.append(backend.generate(CELL).wall_s),
            lambda: torchs.append(timer.timeit(1).median),
        ]
        for turn in reversed(turns) if pair % 2 else turns:
            turn()
    ratio = median(ours) / median(torchs)
    within = abs(ratio - 1) <= LIMIT
    print(f"{'ours':22} median {1000 * median(ours):8.2f} ms of {pairs}")
    print(f"{'torch.utils.benchmark':22} median {1000 * median(torchs):8.2f} ms of {pairs}")
    print(f"ratio {ratio:.4f}: {'within' if within else 'NOT within'} {LIMIT:.0%} of 1")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
