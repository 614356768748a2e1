"""The pictures of the model card: `python -m diffusion_bench.training.echo.pictures --help`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from diffusion_bench.training.drawing import save_losses

CURVES = {"mel_distance": "mel distance (deviations)", "word_error_rate": "word error rate"}


def main(
    work: Annotated[Path, typer.Option(help="The folder that was trained in.")],
    steps: Annotated[Path, typer.Option(help="What step_curve printed.")],
    out: Annotated[Path, typer.Option(help="The model's folder.")],
) -> None:
    """Draw the losses of what was trained there, and what steps are worth, into the model's folder.

    Of a run that went on from an exported model there is a picture of its own, `refined.png`.
    """
    stages = sorted(log.parent.name for log in work.glob("*/losses.jsonl"))
    if not stages:
        raise typer.BadParameter(f"nothing was trained in {work}: it has no losses.jsonl")
    name = "refined.png" if stages[0].startswith("refined-") else "losses.png"
    save_losses(work, out / name, stages, seen="sentences")
    save_steps(_rows(steps), out / "steps.png")


def save_steps(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw each figure of `step_curve` against steps, a line a sampler."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(CURVES), figsize=(10, 3), layout="constrained")
    for panel, (name, title) in zip(panels, CURVES.items(), strict=True):
        for sampler in dict.fromkeys(row["sampler"] for row in rows):
            own = [row for row in rows if row["sampler"] == sampler]
            panel.plot([r["steps"] for r in own], [r[name] for r in own], "o-", label=sampler)
        panel.set(xlabel="steps", ylabel=title, xscale="log")
        panel.grid(alpha=0.3)
        panel.legend()
    figure.savefig(path, dpi=80)


def _rows(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


if __name__ == "__main__":
    typer.run(main)
