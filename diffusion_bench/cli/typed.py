"""Which options a person typed, and which have their usual value."""

from __future__ import annotations

import typer


def typed(context: typer.Context, name: str) -> bool:
    """Return whether an option stood on the command line, by its function's argument."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
