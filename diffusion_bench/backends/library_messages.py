"""What diffusers and transformers say while they load, as far as it helps the person who waits."""

from __future__ import annotations

import logging
import textwrap
import warnings

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


def is_gated(error: BaseException | None) -> bool:
    """Return whether the hub said so: itself, or to a library that put it in words of its own."""
    from huggingface_hub.errors import GatedRepoError

    while error is not None:
        if isinstance(error, GatedRepoError):
            return True
        error = error.__cause__ or error.__context__
    return False


def quiet_libraries() -> None:
    """Let the libraries print errors only, and those two no progress bars of their own.

    Their notes concern their developers (torchvision is missing, an autoencoder of another class
    than usual) or a model's (a setting that diffusers has put right); that the hub's cache is read
    without a network is as it should be. Failures arrive as exceptions. Call it before their
    pipelines are imported.
    """
    from huggingface_hub.utils import logging as hub_logging

    hub_logging.set_verbosity_error()
    warnings.filterwarnings("ignore", "The configuration file of th", FutureWarning)
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    from diffusers.utils import logging as diffusers_logging

    diffusers_logging.set_verbosity(logging.CRITICAL)  # an error that it prints it raises too
    diffusers_logging.disable_progress_bar()
