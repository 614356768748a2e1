"""The pictures of the model card: `python -m diffusion_bench.training.picturebook.card --help`.

Needs matplotlib for the loss curves (`pip install -e .[train]`). The card's figures are printed by
`python -m diffusion_bench.training.picturebook.evaluate`.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from diffusers import StableDiffusionPipeline

from diffusion_bench.training.drawing import draw, save_grid, save_losses
from diffusion_bench.training.picturebook.evaluate import ask
from diffusion_bench.training.picturebook.scenes import random_scene

NUM_SCENES = 40
STAGES = ("autoencoder", "denoiser", "decoder")
FIELDS_PROMPT = "an astronaut riding a horse on mars"


def main(
    model: Annotated[Path, typer.Option(help="The model folder; the pictures go beside its card.")],
    work: Annotated[
        Path | None, typer.Option(help="The training's folder, for its losses.")
    ] = None,
) -> None:
    """Save the grids of every object, of new scenes and of one caption, and the loss curves."""
    pipeline = StableDiffusionPipeline.from_pretrained(model, use_safetensors=True)
    words = [scene.caption for scene in ask("single", 0, seed=3, every_object=True)]
    chance = random.Random("card")
    scenes = [random_scene(chance).caption for _ in range(NUM_SCENES)]
    for name, captions, columns, scale in (
        ("objects.png", words, 20, 0.5),
        ("scenes.png", scenes, 10, 1.0),
    ):
        pictures = draw(pipeline, captions, seed=5, batch=16)
        save_grid(pictures, model / name, columns=columns, scale=scale)
    save_grid(one_caption(pipeline), model / "one_caption.png", columns=8)
    if work is not None:
        ran = [stage for stage in STAGES if (work / stage / "losses.jsonl").exists()]
        save_losses(work, model / "losses.png", ran)


def one_caption(pipeline: StableDiffusionPipeline) -> np.ndarray:
    """Return 8 pictures of one caption by DDIM, 20 steps, and 8 by DDPM, 100 steps."""
    same = [FIELDS_PROMPT] * 8
    ways = (("ddim", 20), ("ddpm", 100))
    rows = [draw(pipeline, same, sampler=sampler, steps=steps, seed=6) for sampler, steps in ways]
    return np.concatenate(rows)


if __name__ == "__main__":
    typer.run(main)
