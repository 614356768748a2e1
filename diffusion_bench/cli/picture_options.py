"""The options of `generate`, each with its help. What is not given is `None`: the model's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Prompt = Annotated[str | None, typer.Argument(help="What to draw.")]
Model = Annotated[
    str | None,
    typer.Option(
        help="A catalog name, a folder or a hub id (owner/name, or owner/name@commit); the bundled "
        "one if not given."
    ),
]
Sampler = Annotated[
    str | None,
    typer.Option(
        help="ddim, ddpm, ddpm-large, dpm++, euler, unipc, lcm or native; the model's usual one if "
        "not given."
    ),
]
Eta = Annotated[float | None, typer.Option(help="DDIM's noise: 0 none, 1 as much as DDPM.")]
Steps = Annotated[int | None, typer.Option(help="Denoising steps, 1 to 1000.")]
Guidance = Annotated[
    float | None, typer.Option(help="Guidance scale; 1 or less turns guidance off.")
]
GuidanceRescale = Annotated[
    float | None,
    typer.Option(help="0 to 1: how much strong guidance is kept from overexposing; 0.7 is usual."),
]
Negative = Annotated[str | None, typer.Option(help="What to keep out of the picture.")]
Seed = Annotated[
    int | None, typer.Option(help="Decides the initial noise; -1 picks one; 0 if not given.")
]
NoiseSeed = Annotated[
    int | None, typer.Option(help="Decides the noise DDPM adds; as --seed if not given.")
]
VariationSeed = Annotated[
    int | None,
    typer.Option(help="The picture to vary towards; counts up in a batch; -1 picks one."),
]
VariationStrength = Annotated[
    float | None, typer.Option(help="How far to vary, 0 to 1; 0.1 is a near relative.")
]
Image = Annotated[
    Path | None, typer.Option(help="A picture to start from, scaled and cut to --size.")
]
Mask = Annotated[
    Path | None,
    typer.Option(help="A picture as large as --image: only what is white in it is drawn anew."),
]
Strength = Annotated[
    float | None,
    typer.Option(help="How much of --image is drawn anew, up to 1; 0.75 if not given."),
]
Size = Annotated[str | None, typer.Option(help="Pixels: 64, or 96x64 (width x height).")]
Pictures = Annotated[int | None, typer.Option(help="Pictures at once; seeds count up.")]
Precision = Annotated[str | None, typer.Option(help="fp32, bf16 or fp16.")]
Speed = Annotated[
    str | None,
    typer.Option(
        help="plain, auto (measures and remembers what is best here), or options: bf16, "
        "bf16-products, packed, channels-last, prompts, keys, traced, one-thread, compile, "
        "cuda-graphs, plain-attention, sliced-attention, split-guidance, sliced-vae, tiled-vae, "
        "model-offload, sequential-offload, no-grad."
    ),
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1, mps; the best there is if not given.")
]
Out = Annotated[Path | None, typer.Option(help="The PNG to write; picture.png if not given.")]
Batch = Annotated[
    Path | None,
    typer.Option(
        help="Draw each row of a CSV with the columns prompt and out, and seed if it has one. "
        "Its paths are from its own folder."
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="With --batch: also rows whose file is there already.")
]
Recipe = Annotated[
    Path | None, typer.Option("--from", help="Draw again what made this PNG, from what it carries.")
]
NoParameters = Annotated[
    bool, typer.Option("--no-parameters", help="Write what made the picture into no file.")
]
