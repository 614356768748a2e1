"""What the cards of the image models are made of: pictures, grids of them, curves of losses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from diffusion_bench.diffusion.schedulers import build_scheduler

GUIDANCE_SCALE = 3.0


@torch.inference_mode()
def draw(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    *,
    sampler: str = "ddim",
    steps: int = 20,
    seed: int = 0,
    batch: int = 36,
) -> np.ndarray:
    """Return (captions, side, side, 3) uint8 pictures."""
    pipeline.scheduler = build_scheduler(sampler, dict(pipeline.scheduler.config))
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for start in range(0, len(captions), batch):
        pictures = pipeline(
            list(captions[start : start + batch]),
            num_inference_steps=steps,
            guidance_scale=GUIDANCE_SCALE,
            generator=generator,
            output_type="np",
        ).images
        drawn.append(pictures)
    return (np.concatenate(drawn) * 255).round().astype(np.uint8)


def save_grid(pictures: np.ndarray, path: Path, *, columns: int, scale: float = 1) -> None:
    """Save pictures (n, side, side, 3) as one PNG, row by row."""
    side = round(pictures.shape[1] * scale)
    grid = Image.new("RGB", (columns * side, -(-len(pictures) // columns) * side))
    for number, picture in enumerate(pictures):
        tile = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
        grid.paste(tile, (number % columns * side, number // columns * side))
    grid.save(path, optimize=True)


def save_losses(work: Path, path: Path, stages: Sequence[str], *, seen: str = "images") -> None:
    """Draw the training losses against what was seen, a panel a stage."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(
        1, len(stages), figsize=(11, 3), layout="constrained", squeeze=False
    )
    for stage, panel in zip(stages, panels[0], strict=True):
        text = (work / stage / "losses.jsonl").read_text(encoding="utf-8")
        rows = [json.loads(line) for line in text.splitlines()]
        panel.plot([row["images"] / 1000 for row in rows], [row["loss"] for row in rows])
        panel.set(title=f"{stage}, {rows[-1]['hours']:.2f} h", xlabel=f"{seen} (thousands)")
        panel.set(ylabel="loss", yscale="log")
        panel.grid(alpha=0.3)
    figure.savefig(path, dpi=80)
