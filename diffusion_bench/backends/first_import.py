"""The first import of diffusers and transformers, where two threads may ask for it at once."""

from __future__ import annotations

import importlib

LIBRARIES = ("diffusers", "transformers")


def import_libraries() -> None:
    """Import the two libraries, or wait until the thread that does so is done.

    Each replaces itself in `sys.modules` when it is imported, by a module that loads what it is
    asked for. A `from diffusers import` that had to wait for another thread still takes the module
    of before, which has none of the names; `import_module` gives nothing to hold on to. So whatever
    may be the first of a thread of the page to need them calls this before.
    """
    for name in LIBRARIES:
        importlib.import_module(name)
