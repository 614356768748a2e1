"""Start the command line: `python -m diffusion_bench`, `diffusion-bench` and `app.py`."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

INTERRUPTED = 130  # of the command line's codes, which is not imported yet


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process, as `cli.main` does."""
    at_once = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if at_once:
        # An import that a KeyboardInterrupt breaks off says so in any of many ways.
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from diffusion_bench.cli import main as run

    if at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run(arguments)


if __name__ == "__main__":
    main()
