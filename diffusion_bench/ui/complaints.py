"""What went wrong, in one line a person can act on, never a traceback."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import wraps
from typing import ParamSpec, TypeVar

import gradio as gr
from pydantic import ValidationError

from diffusion_bench.backends.device import is_out_of_memory
from diffusion_bench.records import Cancelled, explain
from diffusion_bench.reports.privacy import words_without_names

# A user's mistake, or what a machine may refuse; anything else is a bug and keeps its traceback.
FAULTS = (ValueError, RuntimeError, OSError, MemoryError)
BUG = "Error: a fault of this program; the terminal that it runs in tells more."
LONGEST = 600  # characters
# What to try where memory has run out: of any work, of pictures, of speech.
LESS_WORK = "try less at once, a smaller batch or fp16"
LESS_OF_PICTURES = "try smaller pictures, a smaller batch or fp16"
LESS_OF_SPEECH = "try fewer candidates, 16-bit precision, a smaller model or a shorter recording"

P = ParamSpec("P")
T = TypeVar("T")


def in_one_line(error: BaseException, advice: str = LESS_WORK) -> str:
    """Return what an error says as one line; `advice` is what helps where memory has run out.

    A guest may read it: whose home folder it is is not in it.
    """
    text = explain(error) if isinstance(error, ValidationError) else str(error)
    line = words_without_names(" ".join(text.split())) or type(error).__name__
    if is_out_of_memory(error):
        line = f"out of memory: {advice} ({line})"
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def to_gradio(error: BaseException, advice: str = LESS_WORK) -> gr.Error:
    """Return the error as one that the page shows in its corner."""
    return gr.Error(in_one_line(error, advice), duration=15, print_exception=False)


def complaining(handler: Callable[P, T]) -> Callable[P, T]:
    """Return a handler whose faults are shown on the page as one line."""

    @wraps(handler)
    def handle(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return handler(*args, **kwargs)
        except FAULTS as error:
            raise to_gradio(error) from error

    return handle


def said_and_raised(
    views: Iterator[T],
    say: Callable[[str], T],
    cancelled: str | Callable[[], str] = "Cancelled.",
    *,
    advice: str = LESS_WORK,
) -> Generator[T]:
    """Yield views; where they end in a fault, yield one that says so, then raise it for the page.

    The message in the page's corner goes away, the one in the view stays. `cancelled` is what is
    said of a cancel, `advice` is what helps where memory has run out. A bug is said to be one, so
    that no view goes on saying that work does, and keeps its traceback.
    """
    try:
        yield from views
    except Cancelled:
        yield say(cancelled if isinstance(cancelled, str) else cancelled())
    except FAULTS as error:
        yield say(f"Error: {in_one_line(error, advice)}")
        raise to_gradio(error, advice) from error
    except Exception:
        yield say(BUG)
        raise
