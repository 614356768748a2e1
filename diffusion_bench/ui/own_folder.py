"""A temporary folder of the app's own: it goes when the app ends, or when the next one begins."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from diffusion_bench.backends.device import cache_lock

PREFIX = "diffusion-bench-app-"
LOCK = "in-use.lock"


@contextmanager
def own_folder(parent: Path) -> Iterator[Path]:
    """Make a folder for as long as the `with` block lasts; what killed apps left there goes first.

    An app holds the lock in its folder while it lives: the system frees it when a process dies.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        # Of all apps that begin: a folder without its lock would be taken for a dead one's.
        with cache_lock("app-folders.lock"):
            _remove_left_behind(parent)
            temporary = tempfile.TemporaryDirectory(
                prefix=PREFIX, dir=parent, ignore_cleanup_errors=True
            )
            folder = Path(stack.enter_context(temporary))
            stack.enter_context(FileLock(folder / LOCK, thread_local=False))
        yield folder


def _remove_left_behind(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        if _is_ours(folder):
            try:
                with FileLock(folder / LOCK, timeout=0):
                    pass
            except (Timeout, OSError):
                continue
            shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    """Return whether an app of this user made a folder: others may write to where it lies, too."""
    if folder.is_symlink() or not (folder / LOCK).is_file():
        return False
    return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
