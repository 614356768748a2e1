"""Train the bundled image model: `python -m diffusion_bench.training.pictogram --help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import AutoencoderTiny
from transformers import CLIPTokenizer

from diffusion_bench.training.pictogram.autoencoder import (
    new_autoencoder,
    psnr_db,
    train_autoencoder,
    train_decoder,
)
from diffusion_bench.training.pictogram.denoiser import (
    NUM_SCENES,
    Denoiser,
    LatentScenes,
    encode_scenes,
    new_denoiser,
    train_denoiser,
)
from diffusion_bench.training.pictogram.export import assemble, export
from diffusion_bench.training.pictogram.tokenizer import new_tokenizer

SIDE = 64


def main(
    work: Annotated[
        Path, typer.Option(help="Checkpoints and logs; a killed run goes on from here.")
    ] = Path("build/pictogram"),
    out: Annotated[Path, typer.Option(help="The model folder to write.")] = Path(
        "build/pictogram/model"
    ),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves torch's choice.")] = 0,
) -> None:
    """Train autoencoder, denoiser and decoder in turn, then export.

    Each stage that has finished in WORK is not run again. Three hours on one CPU core with bf16.
    """
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    tokenizer = new_tokenizer(work / "tokenizer")
    vae = _autoencoder(work, device)
    scenes = _scenes(work, vae, tokenizer, device)
    denoiser: Denoiser = new_denoiser(tokenizer).to(device)
    train_denoiser(denoiser, scenes, tokenizer, folder=work / "denoiser", device=device)
    train_decoder(vae, side=SIDE, folder=work / "decoder", device=device)
    typer.echo(f"reconstruction PSNR {psnr_db(vae, side=SIDE, device=device):.2f} dB")
    export(assemble(vae, denoiser, tokenizer), out)
    typer.echo(f"wrote {out}")


def _autoencoder(work: Path, device: str) -> AutoencoderTiny:
    folder = work / "autoencoder" / "normalised"
    if not folder.exists():
        vae = new_autoencoder().to(device)
        train_autoencoder(vae, side=SIDE, folder=work / "autoencoder", device=device)
        typer.echo(f"reconstruction PSNR {psnr_db(vae, side=SIDE, device=device):.2f} dB")
        vae.save_pretrained(folder)
    return AutoencoderTiny.from_pretrained(folder).to(device)


def _scenes(
    work: Path, vae: AutoencoderTiny, tokenizer: CLIPTokenizer, device: str
) -> LatentScenes:
    path = work / "scenes.pt"
    if not path.exists():
        scenes = encode_scenes(vae, tokenizer, side=SIDE, count=NUM_SCENES, device=device)
        torch.save((scenes.latents, scenes.tokens, scenes.slots), path)
    return LatentScenes(*torch.load(path, weights_only=True))


if __name__ == "__main__":
    typer.run(main)
