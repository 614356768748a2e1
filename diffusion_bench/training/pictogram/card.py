"""The figures and pictures of the model card: `python -m diffusion_bench.training.pictogram.card`.

Needs matplotlib for the loss curve (`pip install -e .[train]`).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from diffusers import StableDiffusionPipeline

from diffusion_bench.backends.catalog import MODELS_FOLDER
from diffusion_bench.training.drawing import draw, save_grid, save_losses
from diffusion_bench.training.pictogram.evaluate import (
    Asked,
    Score,
    ask_pairs,
    ask_singles,
    score,
)

SAMPLERS = (("ddim", 10), ("ddim", 20), ("ddim", 50), ("ddpm", 20), ("ddpm", 50))
GRID_COLUMNS = 16
STAGES = ("autoencoder", "denoiser", "decoder")


def main(
    model: Annotated[Path, typer.Option(help="The model folder.")] = MODELS_FOLDER / "pictogram",
    work: Annotated[
        Path | None, typer.Option(help="The training's folder, for its losses.")
    ] = None,
    pairs: Annotated[int, typer.Option(help="Pairs to draw a sampler.")] = 144,
    colours: Annotated[int, typer.Option(help="Backgrounds to draw each object on.")] = 1,
) -> None:
    """Score the model, and save the sample grid and loss curve beside its card."""
    pipeline = StableDiffusionPipeline.from_pretrained(model, use_safetensors=True)
    singles = ask_singles(colours, seed=1, sizes=("medium", "big", "small"))
    typer.echo("| pictures | sampler | n | object right | background right | s a picture |")
    typer.echo("|---|---|--:|--:|--:|--:|")
    for sampler, steps in SAMPLERS:
        for what, asked in (("one object", singles), ("two objects", ask_pairs(pairs, seed=2))):
            typer.echo(_row(pipeline, what, asked, sampler, steps))
    _save_grids(pipeline, model)
    if work is not None:
        save_losses(work, model / "losses.png", STAGES)


def _row(
    pipeline: StableDiffusionPipeline, what: str, asked: list[Asked], sampler: str, steps: int
) -> str:
    start_s = time.perf_counter()
    pictures = draw(
        pipeline, [wanted.caption for wanted in asked], sampler=sampler, steps=steps, seed=0
    )
    each_s = (time.perf_counter() - start_s) / len(asked)
    found: Score = score(what, asked, pictures)
    worst = ", ".join(f"{word} {count}" for word, count in list(found.failed.items())[:12])
    typer.echo(f"{what}, {sampler} {steps}: most often wrong: {worst}", err=True)
    return (
        f"| {what} | {sampler} {steps} | {found.num_pictures} | {found.object_share:.1%} "
        f"| {found.background_share:.1%} | {each_s:.3f} |"
    )


def _save_grids(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    every_object = ask_singles(1, seed=3, sizes=("medium",))
    pairs = ask_pairs(2 * GRID_COLUMNS, seed=4)
    asked = [*every_object, *pairs]
    drawn = draw(pipeline, [a.caption for a in asked], sampler="ddim", steps=20, seed=5)
    save_grid(drawn, folder / "samples.png", columns=GRID_COLUMNS)
    same = ["a fox on a blue background"] * GRID_COLUMNS
    rows = [
        draw(pipeline, same, sampler=sampler, steps=steps, seed=6)
        for sampler, steps in (("ddim", 20), ("ddpm", 50))
    ]
    save_grid(np.concatenate(rows), folder / "one_caption.png", columns=GRID_COLUMNS)


if __name__ == "__main__":
    typer.run(main)
