"""The options of `clone`, each with its help. What is not given is `None`: the model's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffusion_bench.cli.picture_options import Device as Device

ReferenceFile = Annotated[
    Path | None, typer.Option("--reference", help="A recording of the voice to clone, 3 to 15 s.")
]
VoiceName = Annotated[
    str | None, typer.Option("--voice", help="Instead, a bundled or saved voice: see `voices`.")
]
Transcript = Annotated[
    str | None, typer.Option(help="What is said in the recording; some models need it.")
]
Text = Annotated[str | None, typer.Option(help="What to say.")]
TextFile = Annotated[
    Path | None, typer.Option(help="Instead, a UTF-8 file of what to say; - is standard input.")
]
Model = Annotated[
    str | None,
    typer.Option(
        help="A voice model by name, folder or hub id (also owner/name@commit); echo if not given."
    ),
]
Sampler = Annotated[str | None, typer.Option(help="ddim, ddpm, dpm++, unipc or native.")]
Steps = Annotated[int | None, typer.Option(help="Denoising steps, 1 to 1000.")]
Guidance = Annotated[float | None, typer.Option(help="Guidance scale; 1 turns guidance off.")]
Temperature = Annotated[
    float | None,
    typer.Option(help="Scale of the noise, 0 to 2: 1 as in training, lower is clearer."),
]
Eta = Annotated[float | None, typer.Option(help="DDIM's noise: 0 none, 1 as much as DDPM.")]
Speed = Annotated[float | None, typer.Option(help="0.5 speaks half as fast, 2 twice.")]
Seed = Annotated[int | None, typer.Option(help="Decides the noise; -1 picks one; 0 if not given.")]
Candidates = Annotated[
    int | None,
    typer.Option(
        help="Speak so many, seeds counting up (by Tortoise all from one); the likest is --out."
    ),
]
Precision = Annotated[str | None, typer.Option(help="fp32, bf16 or fp16.")]
Vocoder = Annotated[
    str | None,
    typer.Option(
        help="From spectrogram to sound, where the model lets it be chosen: native, griffin-lim, "
        "echo, or from the hub hifi-gan, hifi-gan-22k, univnet, vocos; or a folder, or an id."
    ),
]
Judge = Annotated[
    bool,
    typer.Option(
        "--judge",
        help="Also say how like the reference WavLM finds the voice, and which share of an English "
        "text Whisper mishears; 0.6 GB from the hub, once.",
    ),
]
AgainstSteps = Annotated[
    int | None,
    typer.Option(
        help="Also say it with so many steps, as 1000, and tell how far the spectrograms (mel) are "
        "apart."
    ),
]
Out = Annotated[
    Path | None, typer.Option(help="The wav, flac, ogg or mp3 to write; speech.wav if not given.")
]
Consent = Annotated[
    bool,
    typer.Option(
        "--yes-i-have-consent", help="The person whose voice it is agreed to its being cloned."
    ),
]
NoWatermark = Annotated[
    bool, typer.Option("--no-watermark", help="Do not mark the sound as generated.")
]
SaveVoice = Annotated[
    str | None, typer.Option(help="Also keep the voice, as the model encoded it, by this name.")
]
Batch = Annotated[
    Path | None,
    typer.Option(
        help="A CSV of text and out, and reference or voice, transcript, seed: a row each, the "
        "model loaded once. Its paths are from its own folder."
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="With --batch: also rows whose file is there already.")
]
Recipe = Annotated[
    Path | None, typer.Option("--from", help="Speak again what made this file, from its recipe.")
]
