"""The command line. Each command imports what it needs when it runs, so that `--help` is quick.

pictures.py    generate
voices.py      clone, voices
looking.py     show noising, denoising, unet, guidance, speech
sweeps.py      sweep
comparing.py   compare
explain.py     explain
machine.py     hardware, doctor
tiers.py       predict, tiers
watermark.py   watermark detect, watermark embed
web.py         app
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Sequence
from errno import EPIPE
from glob import glob
from io import TextIOWrapper
from typing import TextIO

import typer

from diffusion_bench import __version__
from diffusion_bench.cli.comparing import compare
from diffusion_bench.cli.explain import explain
from diffusion_bench.cli.looking import show
from diffusion_bench.cli.machine import doctor, hardware
from diffusion_bench.cli.pictures import generate
from diffusion_bench.cli.sweeps import sweep
from diffusion_bench.cli.telling import is_unread, tell
from diffusion_bench.cli.tiers import predict, tiers
from diffusion_bench.cli.voices import clone, voices
from diffusion_bench.cli.watermark import watermark
from diffusion_bench.cli.web import serve_app

app = typer.Typer(
    name="diffusion-bench",
    help="Try diffusion, see how it works, measure it on your own machine, compare GPUs.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (
    generate,
    clone,
    voices,
    sweep,
    compare,
    explain,
    predict,
    tiers,
    hardware,
    doctor,
):
    app.command()(_command)
app.command(name="app")(serve_app)
app.add_typer(show)
app.add_typer(watermark)

MISTAKE = 2
INTERRUPTED = 130
UNREAD = 141  # 128 and the number of SIGPIPE
ANY_NAME = "diffusion-bench-any-name"  # how outputs encode what their encoding lacks


@app.callback(invoke_without_command=True)
def version(
    show: bool = typer.Option(False, "--version", help="Show the version and end."),
) -> None:
    """Try diffusion, see how it works, measure it on your own machine, compare GPUs."""
    if show:
        typer.echo(__version__)
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process: 0 done, 2 a mistake told in one line, 130 interrupted.

    `doctor` ends with 1 where it found a problem, `watermark detect` where a file has no mark. 141
    where who reads the output has gone (`| head`), as where SIGPIPE ends a program: what was not
    read is no verdict.
    """
    _print_any_name()
    try:
        code = _run(arguments)
    except BrokenPipeError:
        code = UNREAD
    _end_quietly()
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    """Run a command and return its exit code; raise BrokenPipeError where nobody reads it."""
    try:
        code = _told(arguments)
    except typer.TyperException as error:
        # Without arguments the help is shown, as an exception that has nothing else to say.
        code = _complain(text) if (text := _mistake(error)) else MISTAKE
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except ImportError as error:  # not installed, or the system maps no more memory
        code = _complain(
            f"a library cannot be loaded: {error}; install what requirements.txt names, and see "
            "that memory is free"
        )
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        if is_unread(error):
            raise BrokenPipeError from error
        code = _complain(_one_line(error))
    if code == INTERRUPTED:  # also typer's own answer to Ctrl-C, which it gives in silence
        tell("interrupted")
    return code if isinstance(code, int) else 0


def _mistake(error: typer.TyperException) -> str:
    """Return what was typed wrong; of a command that is none also which there are."""
    text = error.format_message()
    context = getattr(error, "ctx", None)
    if context is None or not text.startswith("No such command"):
        return text
    there = " There" if text.endswith("?") else "; there"
    return f"{text.rstrip('.')}{there} are {', '.join(context.command.list_commands(context))}"


def _told(arguments: Sequence[str] | None) -> object:
    """Run a command and hand over all that it printed; raise as `_run` does, and what it raises."""
    try:
        code = app(args=_typed() if arguments is None else arguments, standalone_mode=False)
    except SystemExit as end:
        # So rich and typer answer a closed pipe, while they handle it.
        if isinstance(end.__context__, OSError) and end.__context__.errno == EPIPE:
            raise BrokenPipeError from end
        raise
    for stream in _outputs():
        stream.flush()
    return code


def _typed() -> list[str]:
    """Return the arguments as they were typed, but for reports that a pattern names.

    Windows' shells leave that to programs. Typer would do it there to every word, and take `$$`,
    `%name%`, `~` and `?` of prompts and passwords for something else.
    """
    return [name for word in sys.argv[1:] for name in _named_reports(word) or [word]]


def _named_reports(word: str) -> list[str]:
    return sorted(glob(word)) if "*" in word and word.endswith(".jsonl") else []


def _outputs() -> list[TextIO]:
    return [stream for stream in (sys.stdout, sys.stderr) if stream is not None]


def _print_any_name() -> None:
    """Let no character end a command that has done its work: names of files hold any byte."""
    codecs.register_error(ANY_NAME, _byte_or_escape)
    for stream in _outputs():
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=ANY_NAME)


def _byte_or_escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode a byte that was no text as that byte, what the output cannot show by its number."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def _end_quietly() -> None:
    """Let go of what nobody takes: Python would complain when it flushes at its own end."""
    for stream in _outputs():
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _one_line(error: Exception) -> str:
    from pydantic import ValidationError

    from diffusion_bench.records import explain

    return explain(error) if isinstance(error, ValidationError) else str(error)


def _complain(text: str) -> int:
    line = " ".join(text.split()) or "something went wrong and did not say what"
    tell(f"error: {line}")
    return MISTAKE
