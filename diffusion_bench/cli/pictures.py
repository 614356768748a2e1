"""The command that draws: generate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffusion_bench.cli.amounts import peak_words

if TYPE_CHECKING:
    from diffusion_bench.records import Generation, ImageRequest


def generate(
    prompt: Annotated[str, typer.Argument(help="What to draw.")],
    model: Annotated[str, typer.Option(help="A catalog name, a folder or a hub id.")] = "pictogram",
    sampler: Annotated[str, typer.Option(help="ddim or ddpm.")] = "ddim",
    eta: Annotated[float, typer.Option(help="DDIM's noise: 0 none, 1 as much as DDPM.")] = 0.0,
    steps: Annotated[int | None, typer.Option(help="Denoising steps, 1 to 1000.")] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Guidance scale; 1 or less turns guidance off.")
    ] = None,
    negative: Annotated[str, typer.Option(help="What to keep out of the picture.")] = "",
    seed: Annotated[int, typer.Option(help="Decides the initial noise; -1 picks one.")] = 0,
    noise_seed: Annotated[
        int | None, typer.Option(help="Decides the noise DDPM adds; as --seed if not given.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Pixels: 64, or 96x64 (width x height).")] = None,
    batch: Annotated[int, typer.Option(help="Pictures at once; seeds count up.")] = 1,
    precision: Annotated[str, typer.Option(help="fp32, bf16 or fp16.")] = "fp32",
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, mps; the best there is if not given.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("picture.png"),
) -> None:
    """Draw a picture from a prompt.

    diffusion-bench generate "a cat on a blue background" --out cat.png

    diffusion-bench generate "a robot above a cake" --sampler ddpm --steps 50 --seed 7

    diffusion-bench generate "a castle at dusk" --model stable-diffusion-v1-5/stable-diffusion-v1-5
    """
    request = build_request(
        prompt=prompt,
        model=model,
        sampler=sampler,
        eta=eta,
        steps=steps,
        guidance_scale=guidance,
        negative_prompt=negative,
        seed=seed,
        noise_seed=noise_seed,
        size=size,
        batch=batch,
        precision=precision,
    )
    paths = _paths(out, request.batch)
    generation = _draw(request, device)
    from diffusion_bench.backends.pictures import save_png

    for index, (picture, path) in enumerate(zip(generation.images, paths, strict=True)):
        save_png(picture, path, request.of_picture(index))
        typer.echo(path)
    _summarise(generation)


def build_request(*, model: str, size: str | None, seed: int, **settings: Any) -> ImageRequest:
    """Return the request, with the model's own defaults for what was not given.

    A negative seed picks one at random. Raises ValueError for an unknown model or size.
    """
    import secrets

    from diffusion_bench.backends.catalog import find_model
    from diffusion_bench.records import ImageRequest

    entry = find_model(model)
    width, height = parse_size(size) if size else (entry.side, entry.side)
    defaults = {"steps": entry.steps, "guidance_scale": entry.guidance_scale}
    given = {name: value for name, value in settings.items() if value is not None}
    return ImageRequest(
        **{**defaults, **given},
        model=model,
        width=width,
        height=height,
        seed=secrets.randbelow(2**32) if seed < 0 else seed,
    )


def parse_size(size: str) -> tuple[int, int]:
    """Return width and height of "64" or "96x64"."""
    width, cross, height = size.lower().partition("x")
    height = height if cross else width
    if not (width.isdecimal() and height.isdecimal()):
        raise ValueError(
            f"size {size!r} is neither a side, as in 64, nor WIDTHxHEIGHT, as in 96x64"
        )
    return int(width), int(height)


def _paths(out: Path, batch: int) -> list[Path]:
    """Return the files to write; raise ValueError before any work if they cannot be written."""
    if out.suffix.lower() != ".png":
        raise ValueError(f"--out {out} does not end in .png")
    if not out.parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {out.parent}")
    if batch == 1:
        return [out]
    return [out.with_stem(f"{out.stem}-{index}") for index in range(batch)]


def _draw(request: ImageRequest, device: str | None) -> Generation:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from diffusion_bench.backends.engine import Engine
    from diffusion_bench.records import Step

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    # In a pipe rich would draw no bar and end it with an empty line.
    screen = console if console.is_terminal else Console(quiet=True)
    with Progress(*columns, console=screen, transient=True) as progress:
        task = progress.add_task("loading", total=request.steps)

        def on_step(step: Step) -> None:
            progress.update(task, completed=step.index + 1, description="denoising")

        return Engine(device).generate(request, on_step, wait_s=600)


def _summarise(generation: Generation) -> None:
    for warning in generation.warnings:
        typer.echo(f"warning: {warning}", err=True)
    stages = generation.stages
    parts = [
        f"seed {generation.request.seed}",
        f"{generation.wall_s:.2f} s on {generation.device}",
        f"text encoder {stages.text_encoder_s:.3f} s",
        f"denoising {stages.denoising_s:.2f} s",
        f"decoder {stages.decoder_s:.3f} s",
        peak_words(generation.memory),
    ]
    typer.echo(", ".join(parts), err=True)
