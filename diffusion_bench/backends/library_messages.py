"""What diffusers and transformers print while they load, kept from the person who waits."""

from __future__ import annotations


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
