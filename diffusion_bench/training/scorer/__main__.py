"""Train the bundled scorer: `python -m diffusion_bench.training.scorer --help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from diffusion_bench.training.crew import crew
from diffusion_bench.training.loop import refined_folder
from diffusion_bench.training.picturebook.tokenizer import new_tokenizer
from diffusion_bench.training.scorer.export import export, export_reference, restore_exported
from diffusion_bench.training.scorer.networks import Scorer
from diffusion_bench.training.scorer.train import refine_scorer, train_scorer


def main(
    work: Annotated[
        Path, typer.Option(help="Checkpoints and logs; a killed run goes on from here.")
    ] = Path("build/scorer"),
    out: Annotated[Path, typer.Option(help="The model folder to write.")] = Path(
        "build/scorer/model"
    ),
    start: Annotated[
        Path | None, typer.Option("--from", help="An exported scorer to go on with.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves torch's choice.")] = 0,
) -> None:
    """Train the scorer and export it: 1.3 hours of a CPU core in bf16, or go on with a trained one.

    `torchrun --standalone --nproc-per-node 2 -m ...` shares every batch between two processes.
    """
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    tokenizer = new_tokenizer(work / f"tokenizer_{crew().rank}")
    scorer = Scorer(tokenizer).to(device)
    if start is None:
        train_scorer(scorer, tokenizer, folder=work / "scorer", device=device)
    else:
        restore_exported(scorer, start)
        refine_scorer(scorer, tokenizer, folder=refined_folder(work, start), device=device)
    if not crew().leads:
        return
    export(scorer.cpu(), tokenizer, out)
    export_reference(out)
    typer.echo(f"wrote {out}")


if __name__ == "__main__":
    typer.run(main)
