"""What the fast path gains: our `--speed auto` against the stock StableDiffusionPipeline.

    python benchmarks/self/fast_path.py --rounds 15

The bundled model draws the same requests, in fp32, DDIM, 20 steps, one picture and eight at once.
The stock pipeline is diffusers' own class, loaded and called as its documentation shows, eager.
Each round draws once with both, and the order turns with every round. What `auto` chose is printed
and is not part of the time; nor are loading and the first call of each. Wall seconds decide; beside
them stand processor seconds, which other work on the machine hardly changes. Ends with code 1 where
the gain, the difference of the pictures, or one picture's time misses its figure.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import psutil
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from diffusion_bench.backends.catalog import find_model
from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.library_messages import quiet_libraries
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest
from diffusion_bench.reports.stats import median_interval

LEAST_GAIN = 1.5
MOST_S = 1.5  # one picture
MOST_DIFFERENCE = 2.0  # mean, of 255
PROMPT = "a cat on a blue background"
SHAPES = (1, 8)


def stock(model: str) -> Any:
    """Return the stock pipeline, with its usual progress bar off."""
    quiet_libraries()
    pipeline = StableDiffusionPipeline.from_pretrained(
        find_model(model).location, use_safetensors=True
    )
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def timed(draw: Callable[[], list[Any]]) -> tuple[float, float, np.ndarray]:
    """Return wall seconds, processor seconds and (batch, height, width, 3) pixels of a call."""
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    images = draw()
    wall_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    return wall_s, cpu_s, np.stack([np.asarray(image, dtype=float) for image in images])


def compare(engine: Engine, pipeline: Any, request: ImageRequest, rounds: int) -> bool:
    """Print what one shape gives; return whether it keeps its figures."""
    backend, _ = engine.backend_for(request)
    noise = backend.initial_latents(request)

    def ours() -> list[Any]:
        return list(engine.generate(request).images)

    def theirs() -> list[Any]:
        return list(
            pipeline(
                [request.prompt] * request.batch,
                width=request.width,
                height=request.height,
                num_inference_steps=request.steps,
                guidance_scale=request.guidance_scale,
                latents=noise.clone(),
            ).images
        )

    engine.generate(request)
    theirs()
    walls: dict[str, list[float]] = {"ours": [], "stock": []}
    cpus: dict[str, list[float]] = {"ours": [], "stock": []}
    pixels: dict[str, np.ndarray] = {}
    ways = {"ours": ours, "stock": theirs}
    for number in range(rounds):
        for name in ("ours", "stock") if number % 2 == 0 else ("stock", "ours"):
            wall_s, cpu_s, pixels[name] = timed(ways[name])
            walls[name].append(wall_s)
            cpus[name].append(cpu_s)
    difference = float(np.abs(pixels["ours"] - pixels["stock"]).mean())
    gains = [s / o for s, o in zip(walls["stock"], walls["ours"], strict=True)]
    interval = median_interval(gains)
    gain, one_s = median(gains), median(walls["ours"]) / request.batch
    cpu_gain = median(cpus["stock"]) / median(cpus["ours"])
    print(f"batch {request.batch}: speed {backend.speed}")
    print(f"  stock {median(walls['stock']):.3f} s, ours {median(walls['ours']):.3f} s a call")
    within = "" if interval is None else f", interval {interval.low:.2f} to {interval.high:.2f}"
    print(f"  {gain:.2f} times the images/s{within}; by processor seconds {cpu_gain:.2f}")
    print(f"  {one_s:.3f} s a picture; pictures {difference:.3f} of 255 apart (mean)")
    kept = gain >= LEAST_GAIN and difference <= MOST_DIFFERENCE
    return kept and (request.batch > 1 or one_s < MOST_S)


def main() -> int:
    """Print both shapes and the verdict; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="calls of each, at least 6")
    parser.add_argument("--speed", default="auto", help="as of diffusion-bench generate")
    arguments = parser.parse_args()
    if arguments.rounds < 6:
        parser.error(f"--rounds {arguments.rounds}: at least 6 are needed for an interval")
    entry = find_model(BUNDLED_MODEL)
    engine, pipeline = Engine("cpu"), stock(BUNDLED_MODEL)
    print(
        f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, load average "
        f"{psutil.getloadavg()[0]:.1f}; {entry.side} x {entry.side}, 20 steps, "
        f"guidance {entry.guidance_scale:g}, {arguments.rounds} rounds"
    )
    kept = []
    for batch in SHAPES:
        request = ImageRequest(
            prompt=PROMPT,
            width=entry.side,
            height=entry.side,
            steps=20,
            guidance_scale=entry.guidance_scale,
            batch=batch,
            speed=arguments.speed,
        )
        kept.append(compare(engine, pipeline, request, arguments.rounds))
    print("within the figures" if all(kept) else "NOT within the figures")
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
