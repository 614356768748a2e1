"""Make the bundled sample voices: `python -m diffusion_bench.training.echo.sample_voices`.

They are nobody's: flite's voices (permissive licence), changed by WORLD into speakers that no
network was trained on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer

from diffusion_bench.backends.catalog import MODELS_FOLDER
from diffusion_bench.training.echo.aligned import SAMPLE_RATE, speak_flite
from diffusion_bench.training.echo.speakers import Speaker, put_together, take_apart

TEXT = (
    "The river was quiet that morning, and a thin mist lay over the fields. "
    "Would you like some more tea, or shall we walk to the old bridge?"
)
LICENCE = "MIT; made with flite's voice {base} (CMU, permissive licence)"
VOICES = {
    "ada": (
        "Ada, a synthetic woman's voice",
        Speaker("ada", "slt", 196.0, 1.15, 1.04, 1.0, 0.05, 0.97, ((2.4, 0.6, 2.0),)),
    ),
    "ben": (
        "Ben, a synthetic man's voice",
        Speaker("ben", "rms", 104.0, 1.25, 0.96, 2.0, 0.0, 1.02, ((1.4, 0.5, -2.0),)),
    ),
    "cleo": (
        "Cleo, a synthetic voice, brighter and quicker",
        Speaker("cleo", "awb", 168.0, 1.2, 1.12, 3.0, 0.1, 1.08, ((3.1, 0.7, 3.0),)),
    ),
}


def main(
    folder: Annotated[Path, typer.Option(help="Where to write them.")] = MODELS_FOLDER / "voices",
) -> None:
    """Write NAME.flac and NAME.json of each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (title, speaker) in VOICES.items():
        spoken = put_together(take_apart(speak_flite(TEXT, speaker.base)), speaker)
        samples = spoken.samples.astype(np.float32) / 32768
        soundfile.write(folder / f"{name}.flac", samples, SAMPLE_RATE, subtype="PCM_16")
        facts = {
            "title": title,
            "licence": LICENCE.format(base=speaker.base),
            "transcript": TEXT,
        }
        text = json.dumps(facts, indent=2) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
