"""Train the bundled image model: `python -m diffusion_bench.training.picturebook --help`.

On several cores with one process each:
`torchrun --standalone --nproc-per-node 2 -m diffusion_bench.training.picturebook --threads 1`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from diffusers import AutoencoderKL, StableDiffusionPipeline
from transformers import CLIPTokenizer

from diffusion_bench.training.crew import crew
from diffusion_bench.training.loop import Schedule, refined_folder, restore
from diffusion_bench.training.picturebook.autoencoder import (
    new_autoencoder,
    psnr_db,
    train_autoencoder,
    train_decoder,
)
from diffusion_bench.training.picturebook.denoiser import (
    DENOISER,
    FREEDOM,
    NUM_SHARDS,
    REFINED,
    REFINED_FREEDOM,
    Denoiser,
    encode_scenes,
    load_shards,
    new_denoiser,
    train_denoiser,
)
from diffusion_bench.training.picturebook.export import assemble, export
from diffusion_bench.training.picturebook.scenes import Freedom
from diffusion_bench.training.picturebook.tokenizer import new_tokenizer

SIDE = 128
Stage = Literal["all", "autoencoder", "scenes", "denoiser", "decoder", "export"]
STAGES = ("autoencoder", "scenes", "denoiser", "decoder", "export")
OF_THE_DENOISER = ("scenes", "denoiser", "export")  # what there is to do with a trained model


def main(
    work: Annotated[
        Path, typer.Option(help="Checkpoints and logs; a killed run goes on from here.")
    ] = Path("build/picturebook"),
    out: Annotated[Path, typer.Option(help="The model folder to write.")] = Path(
        "build/picturebook/model"
    ),
    autoencoder: Annotated[
        Path | None, typer.Option(help="A trained one to take, such as the app's; none is trained.")
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",  # torchrun would take --start for one of its own
            help="An exported model to go on with: its denoiser, with objects at any place.",
        ),
    ] = None,
    stage: Annotated[
        Stage, typer.Option(help="One stage only; they follow in this order.")
    ] = "all",
    shards: Annotated[int, typer.Option(help="Files of 20,000 encoded scenes.")] = NUM_SHARDS,
    steps: Annotated[
        int | None, typer.Option(help="Of the denoiser, the last of them at a falling rate.", min=1)
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves torch's choice.")] = 0,
    compiled: Annotated[bool, typer.Option(help="Compile the networks with torch.")] = True,
) -> None:
    """Train autoencoder, denoiser and decoder in turn, then export.

    Each stage that has finished in WORK is not run again. At the pace of the model card that is
    more than nine hours of two CPU cores with bf16.
    """
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    tokenizer = new_tokenizer(work / f"tokenizer-{crew().rank}")
    course = _course(work, autoencoder, start, stage)
    if "autoencoder" in course.stages:
        _autoencoder(course.work, device, compiled=compiled)
    vae = AutoencoderKL.from_pretrained(course.autoencoder).float().to(device)
    if "scenes" in course.stages:
        _scenes(course, vae, tokenizer, shards, device)
    denoiser = _denoiser(tokenizer, start).to(device)
    if "denoiser" in course.stages:
        train_denoiser(
            denoiser,
            load_shards(course.work / "scenes"),
            tokenizer,
            folder=course.work / "denoiser",
            device=device,
            schedule=replace(course.schedule, steps=steps or course.schedule.steps),
            compiled=compiled,
        )
    if "decoder" in course.stages:
        train_decoder(vae, side=SIDE, folder=course.work / "decoder", device=device)
        typer.echo(f"reconstruction PSNR {psnr_db(vae, side=SIDE, device=device):.2f} dB")
    if "export" in course.stages and crew().leads:
        restore(denoiser, course.work / "denoiser")
        if (course.work / "decoder" / "checkpoint.pt").exists():
            restore(vae.decoder, course.work / "decoder")
        export(assemble(vae.cpu(), denoiser.cpu(), tokenizer), out)
        typer.echo(f"wrote {out}")


@dataclass(frozen=True)
class _Course:
    """What is run, where, and what a run that goes on from a model does otherwise."""

    work: Path
    autoencoder: Path
    stages: tuple[str, ...]
    schedule: Schedule = DENOISER
    freedom: Freedom = FREEDOM


def _course(work: Path, autoencoder: Path | None, start: Path | None, stage: Stage) -> _Course:
    whole = STAGES if start is None else OF_THE_DENOISER
    if stage not in ("all", *whole):
        raise typer.BadParameter(f"with --from the stages are {', '.join(whole)}")
    stages = tuple(name for name in whole if stage in ("all", name))
    if start is not None:
        refined = refined_folder(work, start)
        return _Course(refined, start / "vae", stages, REFINED, REFINED_FREEDOM)
    if autoencoder is None:
        return _Course(work, work / "autoencoder" / "normalised", stages)
    return _Course(work, autoencoder, tuple(name for name in stages if name != "autoencoder"))


def _denoiser(tokenizer: CLIPTokenizer, start: Path | None) -> Denoiser:
    denoiser = new_denoiser(tokenizer)
    if start is not None:
        denoiser.begin_as(StableDiffusionPipeline.from_pretrained(start, use_safetensors=True))
    return denoiser


def _autoencoder(work: Path, device: str, *, compiled: bool) -> None:
    folder = work / "autoencoder" / "normalised"
    if folder.exists():
        return
    vae = new_autoencoder().to(device)
    train_autoencoder(vae, side=SIDE, folder=work / "autoencoder", device=device, compiled=compiled)
    if crew().leads:
        typer.echo(f"reconstruction PSNR {psnr_db(vae, side=SIDE, device=device):.2f} dB")
        part = folder.with_suffix(".part")
        vae.save_pretrained(part)
        part.replace(folder)
    crew().wait()


def _scenes(
    course: _Course, vae: AutoencoderKL, tokenizer: CLIPTokenizer, shards: int, device: str
) -> None:
    folder = course.work / "scenes"
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(crew().rank, shards, crew().size):
        path = folder / f"{shard:02}.pt"
        if path.exists():
            continue
        scenes = encode_scenes(
            vae, tokenizer, side=SIDE, shard=shard, freedom=course.freedom, device=device
        )
        part = path.with_suffix(".part")
        torch.save((scenes.latents, scenes.tokens, scenes.labels), part)
        part.replace(path)
        typer.echo(f"encoded {path}")
    crew().wait()


if __name__ == "__main__":
    typer.run(main)
