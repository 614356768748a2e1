"""Whichever way the program is started, Ctrl-C ends it in silence while it is still importing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
MODULE, _, FUNCTION = SCRIPTS["diffusion-bench"].partition(":")
DOORS = {
    "module": ["-m", "diffusion_bench", "--version"],
    "script": ["-c", f"from {MODULE} import {FUNCTION}; {FUNCTION}()", "--version"],
    "app": ["app.py", "--help"],
}


@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl-C")
@pytest.mark.parametrize("door", DOORS)
def test_ctrl_c_while_modules_are_imported_is_130_in_silence(door: str) -> None:
    # Python itself tells each module that it has imported, in a line of its own.
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", *DOORS[door]],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            if line.rpartition("|")[2].strip().startswith("typer"):
                process.send_signal(signal.SIGINT)
                break
        said = [line for line in process.stderr if not line.startswith("import time:")]
        assert process.wait(60) == 130
        assert "".join(said) + process.stdout.read() == ""
