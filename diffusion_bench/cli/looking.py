"""The commands that look inside, all of them `show`: noising, denoising, unet, guidance, speech."""

from __future__ import annotations

import csv as csv_format
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from diffusion_bench.cli import picture_options as options
from diffusion_bench.cli import voice_options
from diffusion_bench.cli.drawing import Settings as PictureSettings
from diffusion_bench.cli.drawing import step_bar
from diffusion_bench.cli.refusals import refuse_unwritable
from diffusion_bench.cli.telling import WAIT_S, moving_bar, tell, tell_written, waiting
from diffusion_bench.cli.voice_settings import Settings as VoiceSettings
from diffusion_bench.records import BUNDLED_VOICE

if TYPE_CHECKING:
    from diffusion_bench.ui.looks import Found

# `ui.looks.MOST_STEPS`, which a test holds to this; its module is too heavy for a help.
Steps = Annotated[
    int | None, typer.Option(help="Denoising steps, 1 to 250; the model's usual ones if not given.")
]
Out = Annotated[
    Path | None, typer.Option(help="The PNG to write; named after what is shown if not given.")
]
Film = Annotated[
    Path | None,
    typer.Option(help="Also an animated GIF: noise that grows, or DDIM and DDPM up to the end."),
]
Csv = Annotated[Path | None, typer.Option(help="Also the numbers of its chart, as CSV.")]
Sounds = Annotated[Path | None, typer.Option(help="Also a folder of what can be heard, as WAV.")]

Voice = Annotated[
    str | None,
    typer.Option(help=f"A bundled or saved voice, see `voices`; {BUNDLED_VOICE} if not given."),
]

show = typer.Typer(
    name="show",
    help="""Show what happens inside a picture or a sentence, as a sheet of pictures.

    diffusion-bench show denoising "an astronaut riding a horse on mars" --out steps.png

    diffusion-bench show speech "It begins with noise." --sounds heard
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _add(what: str, words: str, *, example: str) -> None:
    """Add the command of a look at a picture."""

    def look(
        prompt: Annotated[str, typer.Argument(help="What to draw.")] = "a cat on a blue background",
        model: options.Model = None,
        steps: Steps = None,
        guidance: options.Guidance = None,
        seed: options.Seed = None,
        size: options.Size = None,
        precision: options.Precision = None,
        device: options.Device = None,
        out: Out = None,
        film: Film = None,
        csv: Csv = None,
    ) -> None:
        settings = PictureSettings(
            model=model,
            steps=steps,
            guidance_scale=guidance,
            seed=seed,
            size=size,
            precision=precision,
        )
        files = _Files(out or Path(f"{what}.png"), film, csv)
        _show_picture(what, prompt, settings, device, files)

    look.__doc__ = f"""{words}

    diffusion-bench show {what}

    diffusion-bench show {what} "{example}" --out {what}.png
    """
    show.command(what)(look)


_add("noising", "Show a picture under more and more noise.", example="a red apple")
_add(
    "denoising",
    "Show DDIM and DDPM step by step from one noise.",
    example="an astronaut riding a horse on mars",
)
_add(
    "unet",
    "Show what the blocks of the network hand on, and the picture with weaker skips.",
    example="a cat on a blue background",
)
_add(
    "guidance",
    "Show the answers with the prompt and without, and several scales.",
    example="a robot above a cake",
)


@show.command()
def speech(
    text: Annotated[
        str, typer.Argument(help="One sentence to say.")
    ] = "Diffusion begins with noise, and step by step a voice comes out of it.",
    voice: Voice = None,
    steps: Steps = None,
    seed: voice_options.Seed = None,
    device: voice_options.Device = None,
    out: Out = None,
    film: Film = None,
    csv: Csv = None,
    sounds: Sounds = None,
) -> None:
    """Show how a sentence comes to be: the plan, what DDIM and DDPM add to it, and the sound.

    diffusion-bench show speech

    diffusion-bench show speech "It begins with noise." --sounds heard --film noise.gif
    """
    files = _Files(out or Path("speech.png"), film, csv)
    from diffusion_bench.backends.engine import Engine
    from diffusion_bench.backends.inside.viewer import go_on
    from diffusion_bench.backends.voice.voices import find_voice
    from diffusion_bench.ui.looking import save_sounds
    from diffusion_bench.ui.speech_looking import check_speech, look_at_speech, title_of

    settings = VoiceSettings(steps=steps, seed=seed)
    request = settings.request(text).model_copy(update={"voice": voice or BUNDLED_VOICE})
    check_speech(request)
    files.check()
    known = find_voice(request.voice, request.model)
    if sounds is not None:
        _make_folder(sounds)
    with moving_bar(request.steps) as moved:
        found = Engine(device).look_at_voice(
            request,
            lambda backend: look_at_speech(backend, request, known, moved, go_on),
            wait_s=WAIT_S,
            on_wait=waiting(),
        )
    files.write(title_of(request), found)
    if sounds is not None:
        for path in save_sounds("speech", found, sounds).values():
            typer.echo(path)
    tell(found.words)


def _show_picture(
    what: str, prompt: str, settings: PictureSettings, device: str | None, files: _Files
) -> None:
    from diffusion_bench.backends.engine import Engine
    from diffusion_bench.backends.inside.viewer import Viewer
    from diffusion_bench.backends.library_messages import quiet_libraries

    quiet_libraries()  # before what is imported next imports them
    from diffusion_bench.ui.looking import picture_title
    from diffusion_bench.ui.looks import LOOKS, check

    request = settings.request(prompt)
    check(what, request)
    if files.film is not None and not LOOKS[what].has_film:
        raise ValueError(f"--film: there is none of {what}, only of noising, denoising and speech")
    files.check()
    run = LOOKS[what].run
    with step_bar(request) as on_step:
        found = Engine(device).look(
            request,
            lambda backend: run(backend, request, Viewer(on_step)),
            wait_s=WAIT_S,
            on_wait=waiting(),
        )
    files.write(picture_title(request), found)
    tell(found.words)


class _Files(NamedTuple):
    """The files of a look."""

    sheet: Path
    film: Path | None
    csv: Path | None

    def check(self) -> None:
        """Raise ValueError, before any work, for one that cannot be written."""
        for option, path, ending in (
            ("--out", self.sheet, ".png"),
            ("--film", self.film, ".gif"),
            ("--csv", self.csv, ".csv"),
        ):
            if path is not None:
                refuse_unwritable(option, path, (ending,))

    def write(self, title: str, found: Found) -> None:
        """Write them, each whole or not at all, and tell of each."""
        from diffusion_bench.ui.looking import save_film, to_sheet
        from diffusion_bench.ui.pictures.contact_sheet import draw_sheet

        sheet = to_sheet(title, found)
        _write(self.sheet, lambda file: draw_sheet(sheet).save(file, format="PNG"))
        if self.film is not None:
            _write(self.film, lambda file: save_film(found.frames, file))
        if self.csv is not None:
            _write(self.csv, lambda file: file.write(_as_csv(found).encode()))


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"--sounds {path}: no folder can be made there: {error.strerror}"
        ) from None


def _write(path: Path, save: Callable[[io.BytesIO], object]) -> None:
    """Write what `save` puts into a file; it is whole or not there."""
    from diffusion_bench.whole_file import write_whole

    content = io.BytesIO()
    save(content)
    write_whole(path, content.getvalue())
    tell_written(path)


def _as_csv(found: Found) -> str:
    """Return the table of the chart. It has no text but our own, which starts no formula."""
    text = io.StringIO()
    writer = csv_format.writer(text, lineterminator="\n")
    writer.writerow(found.chart.table["headers"])
    writer.writerows(found.chart.table["data"])
    return text.getvalue()
