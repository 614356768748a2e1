"""The command that draws: generate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from diffusion_bench.cli import picture_options as options
from diffusion_bench.cli.refusals import refuse_beside

if TYPE_CHECKING:
    from diffusion_bench.cli.drawing import Drawing, Settings


def generate(
    prompt: options.Prompt = None,
    model: options.Model = None,
    sampler: options.Sampler = None,
    eta: options.Eta = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    guidance_rescale: options.GuidanceRescale = None,
    negative: options.Negative = None,
    seed: options.Seed = None,
    noise_seed: options.NoiseSeed = None,
    variation_seed: options.VariationSeed = None,
    variation_strength: options.VariationStrength = None,
    image: options.Image = None,
    mask: options.Mask = None,
    strength: options.Strength = None,
    size: options.Size = None,
    pictures: options.Pictures = None,
    precision: options.Precision = None,
    speed: options.Speed = None,
    device: options.Device = None,
    out: options.Out = None,
    batch: options.Batch = None,
    overwrite: options.Overwrite = False,
    recipe: options.Recipe = None,
    no_parameters: options.NoParameters = False,
) -> None:
    """Draw a picture from a prompt.

    diffusion-bench generate "a cat on a blue background" --out cat.png

    diffusion-bench generate "a robot above a cake" --sampler ddpm --steps 50 --seed 7

    diffusion-bench generate "a castle at dusk" --model stable-diffusion-v1-5/stable-diffusion-v1-5

    diffusion-bench generate "a cat on mars" --image photo.png --mask sky.png --strength 0.9

    diffusion-bench generate --batch prompts.csv --speed auto

    diffusion-bench generate --from cat.png --out again.png
    """
    from diffusion_bench.cli.drawing import Drawing, Settings

    settings = Settings(
        model=model,
        sampler=sampler,
        eta=eta,
        steps=steps,
        guidance_scale=guidance,
        guidance_rescale=guidance_rescale,
        negative_prompt=negative,
        seed=seed,
        noise_seed=noise_seed,
        variation_seed=variation_seed,
        variation_strength=variation_strength,
        strength=strength,
        size=size,
        batch=pictures,
        precision=precision,
        speed=speed,
    )
    drawing = Drawing(device, parameters=not no_parameters, image=image, mask=mask)
    _perform(
        drawing, settings, prompt=prompt, out=out, batch=batch, overwrite=overwrite, recipe=recipe
    )


def _perform(
    drawing: Drawing,
    settings: Settings,
    *,
    prompt: str | None,
    out: Path | None,
    batch: Path | None,
    overwrite: bool,
    recipe: Path | None,
) -> None:
    """Draw the rows of a batch, a recipe again, or a prompt: what was asked for, and only one."""
    if overwrite and batch is None:
        raise ValueError("--overwrite belongs to --batch; one picture always replaces --out")
    if batch is not None:
        told = {"PROMPT": prompt, "--from": recipe, "--out": out, "--pictures": settings.batch}
        refuse_beside("--batch", told)
        _draw_rows(drawing, batch, settings, overwrite=overwrite)
    elif recipe is not None:
        refuse_beside("--from", {"PROMPT": prompt, **settings.given()})
        drawing.draw_again(recipe, out)
    elif prompt is None:
        raise ValueError(
            "say what to draw, as in 'a cat on a blue background', or give --batch or --from"
        )
    else:
        drawing.draw(prompt, settings, out)


def _draw_rows(drawing: Drawing, file: Path, settings: Settings, *, overwrite: bool) -> None:
    from diffusion_bench.cli.batch_rows import perform_rows, read_rows

    if str(file).isdecimal() and not file.exists():
        raise ValueError(f"--batch takes a CSV file; for {file} pictures at once say --pictures")
    rows = read_rows(file, needed=("prompt", "out"), optional=("seed",), kept=drawing.kept)
    drawing.check(settings)
    perform_rows(
        rows, lambda row: drawing.draw_row(row, settings), done="drawn", keep=not overwrite
    )
