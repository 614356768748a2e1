"""Waiting for processes, without sleeping longer than they take."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil


def has_ended(pid: int) -> bool:
    """Return whether a process is gone, or a zombie that nobody has waited for."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition: Callable[[], bool], limit_s: float) -> bool:
    """Return whether the condition came to hold within the limit."""
    give_up_at = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.02)
    return True
