"""Python programs that find torch and diffusers imported, each in a process of its own.

They are forked as warm workers are (`warm_workers.py`), and read their environment as a fresh
process does. What starts from nothing is seen to by a test or more of each file that asks for them.
"""

from __future__ import annotations

import importlib
import os
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Timer

from warm_workers import WarmStart

LONGEST_S = 250.0


def run_warm(
    start: WarmStart,
    *arguments: object,
    env: dict[str, str] | None = None,
    cwd: str | Path = ".",
    text: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run Python with `-c` or `-m` and arguments as `subprocess.run` does; `text` is its input.

    Where there is no fork the process is a fresh one.
    """
    command = [sys.executable, *map(str, arguments)]
    environment = dict(os.environ if env is None else env)
    if sys.platform != "linux":
        return subprocess.run(
            command, env=environment, cwd=cwd, input=text, capture_output=True, text=True
        )
    process = start.popen(command, env=environment, cwd=cwd)
    late = Timer(LONGEST_S, process.kill)
    late.start()
    with ThreadPoolExecutor(1) as reader:
        errors = reader.submit(process.stderr.read)
        with process.stdin:
            process.stdin.write(text)
        with process.stdout, process.stderr:
            output = process.stdout.read()
            told = errors.result()
    code = process.wait()
    late.cancel()
    return subprocess.CompletedProcess(command, code, output, told)


def be(arguments: list[str]) -> None:
    """Become the program that Python's arguments name, in a fork that lives for it alone."""
    _open_anew()
    _read_the_environment_anew()
    how, what, *sys.argv[1:] = arguments
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        assert how == "-c"
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})


def _open_anew() -> None:
    """Let standard input, output and errors be as Python opens them: here they are pipes."""
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _read_the_environment_anew() -> None:
    """Let the hub's client, and whoever took its settings, have those of the environment now."""
    from huggingface_hub import constants, hf_api

    before = dict(vars(constants))
    importlib.reload(constants)
    changed = {name: new for name, new in vars(constants).items() if before.get(name) != new}
    for module in list(sys.modules.values()):
        own = vars(module) if module is not None else {}
        if str(own.get("__name__")).partition(".")[0] in ("huggingface_hub", "diffusers"):
            for name in changed.keys() & own.keys():
                if own[name] == before[name]:
                    own[name] = changed[name]
    hf_api.api.endpoint = constants.ENDPOINT
