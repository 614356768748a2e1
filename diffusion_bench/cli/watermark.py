"""The commands about the mark in what this project speaks: watermark detect, watermark embed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffusion_bench.cli.refusals import refuse_over, refuse_unwritable
from diffusion_bench.cli.telling import tell

if TYPE_CHECKING:
    from diffusion_bench.audio.watermark.search import Detection

LONGEST_S = 1800.0
NOT_FOUND, MISTAKE = 1, 2
KEY_HELP = "The key of the mark, if it is not this project's own."
FILES_HELP = "Sound files, up to half an hour each; above 48 kHz less."

watermark = typer.Typer(
    name="watermark",
    help="""Look for the inaudible mark in generated speech, or put it there.

    diffusion-bench watermark detect clone.wav
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@watermark.command()
def detect(
    files: Annotated[list[Path], typer.Argument(help=FILES_HELP)],
    key: Annotated[str | None, typer.Option(help=KEY_HELP)] = None,
    json: Annotated[bool, typer.Option("--json", help="A JSON line a file.")] = False,
) -> None:
    """Look for the mark. Ends with 0 if all files have it, 1 if one has not, 2 for a mistake.

    That a file has it means that this program, or one with its key, most likely spoke it. That it
    has not means little: the mark can be taken out, and most generated speech never had it.

    diffusion-bench watermark detect clone.wav

    diffusion-bench watermark detect one.mp3 two.mp3 --json
    """
    code = 0
    for file in files:
        try:
            found = _detect(file, key)
        except (ValueError, OSError) as error:
            tell(f"error: {' '.join(str(error).split())}")
            code = MISTAKE
            continue
        typer.echo(_as_json(file, found) if json else f"{file}: {_words(found)}")
        code = max(code, 0 if found.found else NOT_FOUND)
    raise typer.Exit(code)


@watermark.command()
def embed(
    source: Annotated[Path, typer.Argument(help="The sound file to mark; stereo becomes mono.")],
    out: Annotated[Path, typer.Argument(help="Where to: .wav, .flac, .ogg or .mp3.")],
    key: Annotated[str | None, typer.Option(help=KEY_HELP)] = None,
) -> None:
    """Mark a file that was generated elsewhere. What this program speaks is marked already.

    diffusion-bench watermark embed speech.wav marked.flac
    """
    from diffusion_bench.audio.files import WRITABLE, read_recipe, read_sound, write_sound
    from diffusion_bench.audio.watermark.marking import embed as put
    from diffusion_bench.audio.watermark.pattern import DEFAULT_KEY

    refuse_over([out], {"the file to mark": source}, option="OUT")
    refuse_unwritable("OUT", out, WRITABLE, ending_says_format=True)
    sound = read_sound(source, max_s=LONGEST_S)
    recipe = read_recipe(source) if source.suffix.lower() in WRITABLE else None
    marked = put(sound.samples, sound.sample_rate, key=DEFAULT_KEY if key is None else key)
    write_sound(out, marked, sound.sample_rate, recipe=recipe)
    typer.echo(out)


def _detect(file: Path, key: str | None) -> Detection:
    from diffusion_bench.audio.files import read_sound
    from diffusion_bench.audio.watermark.pattern import DEFAULT_KEY
    from diffusion_bench.audio.watermark.search import detect as look

    sound = read_sound(file, max_s=LONGEST_S)
    return look(sound.samples, sound.sample_rate, key=DEFAULT_KEY if key is None else key)


def _as_json(file: Path, found: Detection) -> str:
    import json

    return json.dumps({"file": str(file)} | found.model_dump(mode="json"), allow_nan=False)


def _words(found: Detection) -> str:
    if not found.found:
        return f"no mark found (agreement {found.score:.1f})"
    return (
        f"marked (agreement {found.score:.1f}; by chance at most {found.p_value:.0e}), most "
        f"clearly from {found.start_s:.1f} to {found.end_s:.1f} s"
    )
