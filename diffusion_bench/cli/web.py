"""The command that serves the app."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from diffusion_bench.cli.picture_options import Device
from diffusion_bench.cli.telling import tell


def serve_app(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.", min=0, max=65535)] = 7860,
    share: Annotated[
        bool, typer.Option("--share", help="Also make a public link, behind a password.")
    ] = False,
    auth: Annotated[
        str | None,
        typer.Option(
            help="USER:PASSWORD to ask everybody for, who then is a guest; made up for --share if "
            "not given."
        ),
    ] = None,
    device: Device = None,
    reports: Annotated[
        Path | None, typer.Option(help="Where reports lie; ./reports if not given.")
    ] = None,
) -> None:
    """Serve the web app.

    diffusion-bench app

    diffusion-bench app --port 8080 --share

    diffusion-bench app --host 0.0.0.0 --auth ann:correct-horse
    """
    if sys.stderr.isatty():  # some seconds pass, and more the first time
        tell("Starting.")
    from diffusion_bench.ui.launch import launch

    launch(host=host, port=port, share=share, auth=auth, device=device, reports=reports)
