"""The command line, run in the process of its test."""

from __future__ import annotations

import pytest

from diffusion_bench.cli import main


def run(*arguments: object) -> int:
    """Run a command; return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def complaint(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one line on standard error; check that nothing else was said.

    It is that of the command with these arguments, which ends with 2, else what was said last.
    """
    if arguments:
        assert run(*arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("error: ")
    assert errors.endswith("\n")
    assert errors.count("\n") == 1, errors
    return errors
