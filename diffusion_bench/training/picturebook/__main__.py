"""Train the bundled image model: `python -m diffusion_bench.training.picturebook --help`.

On several cores with one process each:
`torchrun --standalone --nproc-per-node 2 -m diffusion_bench.training.picturebook --threads 1`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from diffusion_bench.training.crew import crew
from diffusion_bench.training.loop import restore
from diffusion_bench.training.picturebook.autoencoder import (
    new_autoencoder,
    psnr_db,
    train_autoencoder,
    train_decoder,
)
from diffusion_bench.training.picturebook.denoiser import (
    NUM_SHARDS,
    encode_scenes,
    load_shards,
    new_denoiser,
    train_denoiser,
)
from diffusion_bench.training.picturebook.export import assemble, export
from diffusion_bench.training.picturebook.tokenizer import new_tokenizer

SIDE = 128
Stage = Literal["all", "autoencoder", "scenes", "denoiser", "decoder", "export"]
STAGES = ("autoencoder", "scenes", "denoiser", "decoder", "export")


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
    stage: Annotated[
        Stage, typer.Option(help="One stage only; they follow in this order.")
    ] = "all",
    shards: Annotated[int, typer.Option(help="Files of 20,000 encoded scenes.")] = NUM_SHARDS,
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
    wanted = STAGES if stage == "all" else (stage,)
    if "autoencoder" in wanted and autoencoder is None:
        _autoencoder(work, device, compiled=compiled)
    trained = autoencoder or work / "autoencoder" / "normalised"
    vae = AutoencoderKL.from_pretrained(trained).float().to(device)
    if "scenes" in wanted:
        _scenes(work, vae, tokenizer, shards, device)
    denoiser = new_denoiser(tokenizer).to(device)
    if "denoiser" in wanted:
        scenes, folder = load_shards(work / "scenes"), work / "denoiser"
        train_denoiser(denoiser, scenes, tokenizer, folder=folder, device=device, compiled=compiled)
    if "decoder" in wanted:
        train_decoder(vae, side=SIDE, folder=work / "decoder", device=device)
        typer.echo(f"reconstruction PSNR {psnr_db(vae, side=SIDE, device=device):.2f} dB")
    if "export" in wanted and crew().leads:
        restore(denoiser, work / "denoiser")
        if (work / "decoder" / "checkpoint.pt").exists():
            restore(vae.decoder, work / "decoder")
        export(assemble(vae.cpu(), denoiser.cpu(), tokenizer), out)
        typer.echo(f"wrote {out}")


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
    work: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, shards: int, device: str
) -> None:
    folder = work / "scenes"
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(crew().rank, shards, crew().size):
        path = folder / f"{shard:02}.pt"
        if path.exists():
            continue
        scenes = encode_scenes(vae, tokenizer, side=SIDE, shard=shard, device=device)
        part = path.with_suffix(".part")
        torch.save((scenes.latents, scenes.tokens, scenes.labels), part)
        part.replace(path)
        typer.echo(f"encoded {path}")
    crew().wait()


if __name__ == "__main__":
    typer.run(main)
