"""Train the bundled scorer: `python -m diffusion_bench.training.scorer --help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from diffusion_bench.training.picturebook.tokenizer import new_tokenizer
from diffusion_bench.training.scorer.export import export, export_reference
from diffusion_bench.training.scorer.networks import Scorer
from diffusion_bench.training.scorer.train import train_scorer


def main(
    work: Annotated[
        Path, typer.Option(help="Checkpoints and logs; a killed run goes on from here.")
    ] = Path("build/scorer"),
    out: Annotated[Path, typer.Option(help="The model folder to write.")] = Path(
        "build/scorer/model"
    ),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves torch's choice.")] = 0,
) -> None:
    """Train the scorer and export it: half an hour of one CPU core with bf16."""
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    tokenizer = new_tokenizer(work / "tokenizer")
    scorer = Scorer(tokenizer).to(device)
    train_scorer(scorer, tokenizer, folder=work / "scorer", device=device)
    export(scorer.cpu(), tokenizer, out)
    export_reference(out)
    typer.echo(f"wrote {out}")


if __name__ == "__main__":
    typer.run(main)
