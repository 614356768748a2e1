"""What diffusers and transformers say while they load, as far as it helps the person who waits."""

from __future__ import annotations

import textwrap

LONGEST = 300  # characters of a reason


def reason_of(error: BaseException) -> str:
    """Return why a library failed, in one line: whole sentences, as many as 300 characters hold.

    Where it points to its stack trace, what stands there: it has advice on its own arguments only.
    """
    text = str(error).strip()
    cause = error.__cause__ or error.__context__
    if "stacktrace above" in text and cause is not None:
        return reason_of(cause)
    if text and isinstance(error, KeyError):  # whose text is the key alone
        text = f"there is no {text}"
    if isinstance(error, ImportError):  # whose one sentence is broken into lines
        text = " ".join(text.split())
    first = text.splitlines()[0] if text else type(error).__name__
    if len(first) <= LONGEST:
        return first
    sentences, end, _ = first[:LONGEST].rpartition(". ")
    return f"{sentences}." if end else textwrap.shorten(first, LONGEST, placeholder=" ...")


def quiet_libraries() -> None:
    """Let the two libraries print errors only, and no progress bars of their own.

    Their notes concern their developers (torchvision is missing, an autoencoder of another class
    than usual); failures arrive as exceptions. Call it before their pipelines are imported.
    """
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    from diffusers.utils import logging as diffusers_logging

    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
