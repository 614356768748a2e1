"""Two NVIDIA GPUs that are not there: builds `nvml_stub.c` and runs Python with it.

The stub is loaded by another process only. Once it is in a process, every later look for NVML
finds it, so that tests which come after would see GPUs. One Python is started a stub; it forks a
child a scenario, which begins without NVML and takes milliseconds instead of a start of Python.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FLAGS = ("-std=c11", "-D_DEFAULT_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared")
LIBRARY = "libnvidia-ml.so.1"
LIMIT_S = 60

PRELUDE = """
import json, pynvml
from diffusion_bench.hardware.sensors import open_sensor

def stub():
    return pynvml.nvmlLib

def dump(records):
    return [record.model_dump() for record in records]
"""

# A line in: code and environment. A line out: the answer, or the traceback.
FORKING = """
import os, signal, sys, traceback
import diffusion_bench.hardware.sampler, diffusion_bench.hardware.nvml, diffusion_bench.records

def scenario(code, environment):
    os.environ.update(environment)
    space = {}
    exec(code, space)
    return space["answer"]

for line in sys.stdin:
    task = json.loads(line)
    pid = os.fork()
    if pid == 0:
        signal.alarm(task["limit_s"])
        try:
            told = {"answer": scenario(task["code"], task["environment"])}
        except BaseException:
            told = {"error": traceback.format_exc()}
        os.write(1, json.dumps(told).encode() + b"\\n")
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status:
        os.write(1, json.dumps({"error": f"the scenario ended with status {status}"}).encode())
        os.write(1, b"\\n")
"""


def why_no_stub() -> str | None:
    """Return why the stub cannot be built or found here, `None` where it can."""
    if not sys.platform.startswith("linux"):
        return "the NVML stub is found through LD_LIBRARY_PATH, which only Linux has"
    return None if _compiler() else "no C compiler to build the NVML stub with"


def build_stub(folder: Path, *flags: str) -> Path:
    """Put the compiled stub into `folder`, and return it; skips the test where there is none."""
    if reason := why_no_stub():
        import pytest  # not before: programs of benchmarks/self run without it

        pytest.skip(reason)
    (folder / LIBRARY).write_bytes(_compiled(_compiler(), *flags))
    return folder


def _compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@cache
def _compiled(compiler: str, *flags: str) -> bytes:
    source = Path(__file__).with_name("nvml_stub.c")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / LIBRARY
        command = [compiler, *FLAGS, *flags, f"-Wl,-soname,{LIBRARY}", "-o", library, source]
        subprocess.run(command, check=True)
        return library.read_bytes()


def stub_environment(folder: Path, **scenario: str) -> dict[str, str]:
    """Return an environment in which NVML is the stub; `gpus="A|1024|50"` sets NVML_STUB_GPUS."""
    return {
        **os.environ,
        "LD_LIBRARY_PATH": str(folder),
        "PYTHONPATH": str(ROOT),
        **_told(scenario),
    }


def run_with_stub(folder: Path, code: str, *, limit_s: int = LIMIT_S, **scenario: str) -> Any:
    """Return what `code`, run in a Python with the stub, leaves in `answer`."""
    python = _python_with(folder)
    assert python.stdin is not None
    assert python.stdout is not None
    task = {
        "code": PRELUDE + textwrap.dedent(code),
        "environment": _told(scenario),
        "limit_s": limit_s,
    }
    python.stdin.write(json.dumps(task) + "\n")
    python.stdin.flush()
    told = json.loads(python.stdout.readline())
    assert "error" not in told, told["error"]
    return told["answer"]


@cache
def _python_with(folder: Path) -> subprocess.Popen[str]:
    python = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + FORKING],
        env=stub_environment(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(python.communicate)  # its input ends, and so does it
    return python


def _told(scenario: dict[str, str]) -> dict[str, str]:
    return {f"NVML_STUB_{name.upper()}": value for name, value in scenario.items()}
