"""The DDIM paper's table on a model: `python -m diffusion_bench.training.quality_table --help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffusion_bench.backends.catalog import find_model
from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.model_facts import model_facts
from diffusion_bench.backends.scoring.clip import ClipScorer
from diffusion_bench.backends.scoring.scorers import BUNDLED_SCORER
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest, QualityPlan
from diffusion_bench.training.quality_table.page import to_markdown
from diffusion_bench.training.quality_table.published import published
from diffusion_bench.training.quality_table.rows import STEPS, measure_rows, read_rows


def main(
    model: Annotated[str, typer.Option(help="A bundled model or a folder.")] = BUNDLED_MODEL,
    scorer: Annotated[str, typer.Option(help="The bundled scorer or a folder.")] = BUNDLED_SCORER,
    out: Annotated[
        Path, typer.Option(help="Rows, a line each; a killed run goes on from here.")
    ] = Path("build/quality_table.jsonl"),
    pictures: Annotated[int, typer.Option(help="Pictures a row.")] = 5000,
    steps: Annotated[str, typer.Option(help="Steps, with commas.")] = ",".join(map(str, STEPS)),
    side: Annotated[int, typer.Option(help="Pixels of a side; 0 is the model's own.")] = 0,
    guidance: Annotated[float, typer.Option(help="Below 0 is the model's usual one.")] = -1.0,
    batch: Annotated[int, typer.Option(help="Pictures at once.")] = 64,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; the best if not given.")] = None,
    only_print: Annotated[bool, typer.Option(help="Measure nothing; print what is kept.")] = False,
) -> None:
    """Measure what is missing of the table, then print it as Markdown beside the published one."""
    if not only_print:
        entry = find_model(model)
        backend = ImageBackend.load(model, device=device)
        request = ImageRequest(
            prompt="captions of the scorer",
            model=model,
            width=side or entry.side,
            height=side or entry.side,
            guidance_scale=entry.guidance_scale if guidance < 0 else guidance,
        )
        rows = measure_rows(
            backend,
            request,
            ClipScorer.load(scorer, device=backend.device),
            QualityPlan(pictures=pictures, scorer=scorer, prompts="captions", batch=batch),
            out,
            revision=model_facts(model).revision,
            steps=[int(each) for each in steps.split(",")],
        )
        for row in rows:
            told = f"{row.setting}, {row.steps} steps: {row.distance.value:.4g}"
            typer.echo(
                f"{told} ({row.distance.low:.4g} to {row.distance.high:.4g}), {row.wall_s:.0f} s",
                err=True,
            )
    typer.echo(to_markdown(read_rows(out), published()))


if __name__ == "__main__":
    typer.run(main)
