"""Programs that do the same thing in the same moment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence


def told_at_once(program: str, arguments: Sequence[str]) -> list[str]:
    """Return what each run of a Python program prints after all of them are "up".

    The program prints "up", reads a line, and then does what is to meet.
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    runs = [subprocess.Popen([sys.executable, "-c", program, each], **pipes) for each in arguments]
    for run in runs:
        assert run.stdout.readline() == "up\n"
    for run in runs:
        run.stdin.write("\n")
        run.stdin.flush()
    return [run.communicate()[0].strip() for run in runs]
