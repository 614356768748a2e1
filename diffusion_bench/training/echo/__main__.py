"""Train the bundled voice model: `python -m diffusion_bench.training.echo --help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
import typer

from diffusion_bench.backends.echo.pipeline import EchoPipeline
from diffusion_bench.backends.echo.vocoder import MelVocoder
from diffusion_bench.training.echo.corpus import SPEAKERS, numbers_of
from diffusion_bench.training.echo.corpus import main as make_corpus
from diffusion_bench.training.echo.data import Corpus, load_corpus
from diffusion_bench.training.echo.export import assemble, export, restored_acoustic
from diffusion_bench.training.echo.train_acoustic import REFINEMENT, train_acoustic
from diffusion_bench.training.echo.train_vocoder import train_vocoder
from diffusion_bench.training.loop import refined_folder, restore

Stage = Literal["all", "corpus", "vocoder", "acoustic", "export"]


def main(
    work: Annotated[
        Path, typer.Option(help="Corpus, checkpoints and logs; a killed run goes on from here.")
    ] = Path("build/echo"),
    out: Annotated[Path, typer.Option(help="The model folder to write.")] = Path(
        "build/echo/model"
    ),
    stage: Annotated[
        Stage, typer.Option(help="One stage only; they follow in this order.")
    ] = "all",
    start: Annotated[
        Path | None,
        typer.Option(
            "--from", help="An exported model, to go on with; its vocoder is kept as it is."
        ),
    ] = None,
    speakers: Annotated[int, typer.Option(help="Speakers of the corpus.", min=1)] = SPEAKERS,
    utterances: Annotated[
        int, typer.Option(help="Sentences of each; the references of one are the others.", min=2)
    ] = 10,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves torch's choice.")] = 0,
) -> None:
    """Make the corpus, train vocoder and acoustic networks, then export.

    A stage that has finished in WORK is not run again. Three to four hours on one CPU core with
    bf16. Needs flite, libespeak-ng and the package's extra `train`.
    """
    if threads:
        torch.set_num_threads(threads)
    if start is not None and stage == "vocoder":
        raise typer.BadParameter("the vocoder of --from is kept as it is: there is nothing to do")
    acoustic = work / "acoustic" if start is None else refined_folder(work, start)
    if stage in ("all", "corpus"):
        make_corpus(work / "corpus", stop=speakers, utterances=utterances)
    if stage in ("all", "vocoder", "acoustic"):
        corpus = load_corpus(work / "corpus", numbers=numbers_of(speakers))
        typer.echo(f"{len(corpus.utterances)} sentences of {len(corpus.of_speaker)} speakers")
        if stage != "acoustic" and start is None:
            train_vocoder(corpus, folder=work / "vocoder", device=device)
        if stage != "vocoder":
            _train_acoustic(corpus, acoustic, start, device)
    if stage in ("all", "export"):
        export(assemble(restored_acoustic(acoustic), _vocoder(work, start)), out)
        typer.echo(f"wrote {out}")


def _train_acoustic(corpus: Corpus, folder: Path, start: Path | None, device: str) -> None:
    if start is None:
        train_acoustic(corpus, folder=folder, device=device)
        return
    given = EchoPipeline.from_pretrained(start)
    train_acoustic(corpus, folder=folder, start=given, schedule=REFINEMENT, device=device)


def _vocoder(work: Path, start: Path | None) -> MelVocoder:
    """Return the vocoder that was trained, or that of the model gone on with."""
    vocoder: MelVocoder = MelVocoder()
    if start is not None:  # its weights only: a loaded network remembers the folder it came from
        vocoder.load_state_dict(EchoPipeline.from_pretrained(start).vocoder.state_dict())
    else:
        restore(vocoder, work / "vocoder")
    return vocoder


if __name__ == "__main__":
    typer.run(main)
