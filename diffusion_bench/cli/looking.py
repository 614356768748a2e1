"""The command that looks inside a picture: show."""

from __future__ import annotations

import csv as csv_format
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from diffusion_bench.cli import picture_options as options
from diffusion_bench.cli.refusals import refuse_unwritable

if TYPE_CHECKING:
    from diffusion_bench.ui.looking import Found

What = Literal["noising", "denoising", "unet", "guidance"]


def show(
    what: Annotated[What, typer.Argument(help="What to look at.")],
    prompt: Annotated[str, typer.Argument(help="What to draw.")] = "a cat on a blue background",
    model: options.Model = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    seed: options.Seed = None,
    size: options.Size = None,
    precision: options.Precision = None,
    device: options.Device = None,
    out: Annotated[
        Path | None, typer.Option(help="The PNG to write; WHAT.png if not given.")
    ] = None,
    film: Annotated[
        Path | None, typer.Option(help="Also an animated GIF, of noising and denoising.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Also the numbers of its chart, as CSV.")] = None,
) -> None:
    """Show what happens inside a picture, as a sheet of pictures.

    noising: a picture under more and more noise. denoising: DDIM and DDPM step by step from one
    noise. unet: what the blocks of the network hand on, and the picture with weaker skips.
    guidance: the network's answers with the prompt and without, and several scales.

    diffusion-bench show denoising "an astronaut riding a horse on mars" --out steps.png

    diffusion-bench show unet "a castle at night" --seed 3 --csv blocks.csv
    """
    from diffusion_bench.backends.engine import Engine
    from diffusion_bench.backends.inside.viewer import Viewer
    from diffusion_bench.cli.drawing import WAIT_S, Settings, step_bar
    from diffusion_bench.ui.contact_sheet import draw_sheet
    from diffusion_bench.ui.looking import LOOKS, check, save_film, to_sheet

    request = Settings(
        model=model,
        steps=steps,
        guidance_scale=guidance,
        seed=seed,
        size=size,
        precision=precision,
    ).request(prompt)
    check(what, request)
    out = out or Path(f"{what}.png")
    if film is not None and not LOOKS[what].has_film:
        raise ValueError(f"--film: there is none of {what}, only of noising and denoising")
    for option, path, ending in (
        ("--out", out, ".png"),
        ("--film", film, ".gif"),
        ("--csv", csv, ".csv"),
    ):
        if path is not None:
            refuse_unwritable(option, path, (ending,))
    run = LOOKS[what].run
    with step_bar(request) as on_step:
        found = Engine(device).look(
            request, lambda backend: run(backend, request, Viewer(on_step)), wait_s=WAIT_S
        )
    _write(out, lambda file: draw_sheet(to_sheet(request, found)).save(file, format="PNG"))
    if film is not None:
        _write(film, lambda file: save_film(found.frames, file))
    if csv is not None:
        _write(csv, lambda file: file.write(_as_csv(found).encode()))
    typer.echo(found.words, err=True)


def _write(path: Path, save: Callable[[io.BytesIO], object]) -> None:
    """Write what `save` puts into a file; it is whole or not there."""
    from diffusion_bench.reports.whole_file import write_whole

    content = io.BytesIO()
    save(content)
    write_whole(path, content.getvalue())
    typer.echo(path)


def _as_csv(found: Found) -> str:
    """Return the table of the chart. It has no text but our own, which starts no formula."""
    text = io.StringIO()
    writer = csv_format.writer(text, lineterminator="\n")
    writer.writerow(found.chart.table["headers"])
    writer.writerows(found.chart.table["data"])
    return text.getvalue()
