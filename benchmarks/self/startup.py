"""Time from process start to the first HTTP 200: `python app.py` against a one-button Gradio page.

    python benchmarks/self/startup.py --repeats 5

Both run with the same interpreter, alternately, so that a warm file cache favours neither. The
first pair is not counted. Ends with code 1 if the app is more than the limit slower.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 2.0  # by how much the app may be slower
GIVE_UP_S = 120.0
POLL_S = 0.02

ONE_BUTTON = """
import sys
import gradio as gr
with gr.Blocks() as page:
    gr.Button("go")
page.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True)
"""

PROGRAMS = {
    "python app.py": ["app.py", "--port"],
    "one button": ["-c", ONE_BUTTON],
}


def free_port() -> int:
    """Return a port of the loopback address that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    """Return whether a GET of / gives 200 on that port."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GIVE_UP_S)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def time_to_first_answer_s(arguments: list[str]) -> float:
    """Start a program that serves a page, return the seconds to its first 200, and end it.

    The port is added to `arguments`. Raises RuntimeError, with the program's last line, when it
    ends or does not answer in time.
    """
    port = free_port()
    environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
    with tempfile.TemporaryFile() as output:
        start_s = time.perf_counter()
        server = subprocess.Popen(
            [sys.executable, *arguments, str(port)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while not answers(port):
                waited_s = time.perf_counter() - start_s
                if server.poll() is not None or waited_s > GIVE_UP_S:
                    raise RuntimeError(f"no answer after {waited_s:.1f} s: {last_line(output)}")
                time.sleep(POLL_S)
            return time.perf_counter() - start_s
        finally:
            server.kill()
            server.wait()


def last_line(output: IO[bytes]) -> str:
    """Return the last line a program wrote, or that it wrote none."""
    output.seek(0)
    lines = output.read().decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it printed nothing")


def measure(repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each program, one value a repeat, after one pair not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for repeat in range(repeats + 1):
        for name, arguments in PROGRAMS.items():
            elapsed_s = time_to_first_answer_s(arguments)
            if repeat:
                seconds[name].append(elapsed_s)
    return seconds


def main() -> int:
    """Print the table and the verdict; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="counted pairs, at least 3")
    repeats = parser.parse_args().repeats
    if repeats < 3:
        parser.error(f"--repeats {repeats}: at least 3 are needed for a median worth printing")
    seconds = measure(repeats)
    for name, values in seconds.items():
        each = "  ".join(f"{value:.2f}" for value in values)
        print(f"{name:15} median {median(values):5.2f} s   each {each}")
    app, button = (median(values) for values in seconds.values())
    within = app - button <= LIMIT_S
    verdict = "within" if within else "NOT within"
    print(
        f"{'difference':15}        {app - button:5.2f} s   {app / button:.2f} times as long, "
        f"{verdict} the limit of {LIMIT_S:g} s"
    )
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
