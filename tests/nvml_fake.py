"""Two NVIDIA GPUs that are not there: builds `nvml_stub.c` and runs Python with it.

The stub is loaded by another process only. Once it is in a process, every later look for NVML
finds it, so that tests which come after would see GPUs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FLAGS = ("-std=c11", "-D_DEFAULT_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared")

PRELUDE = """
import json, pynvml
from diffusion_bench.hardware.sensors import open_sensor

def stub():
    return pynvml.nvmlLib

def dump(records):
    return [record.model_dump() for record in records]
"""


def build_stub(folder: Path) -> Path:
    """Compile the stub into `folder`, and return it; skips the test where that cannot be done."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not sys.platform.startswith("linux"):
        pytest.skip("the NVML stub is found through LD_LIBRARY_PATH, which only Linux has")
    if compiler is None:
        pytest.skip("no C compiler to build the NVML stub with")
    library = folder / "libnvidia-ml.so.1"
    source = Path(__file__).with_name("nvml_stub.c")
    command = [compiler, *FLAGS, f"-Wl,-soname,{library.name}", "-o", library, source]
    subprocess.run(command, check=True)
    return folder


def stub_environment(folder: Path, **scenario: str) -> dict[str, str]:
    """Return an environment in which NVML is the stub; `gpus="A|1024|50"` sets NVML_STUB_GPUS."""
    told = {f"NVML_STUB_{name.upper()}": value for name, value in scenario.items()}
    return {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(ROOT), **told}


def run_with_stub(folder: Path, code: str, **scenario: str) -> Any:
    """Return what `code`, run in a Python with the stub, leaves in `answer`."""
    script = PRELUDE + textwrap.dedent(code) + "\nprint(json.dumps(answer))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=stub_environment(folder, **scenario),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
