"""What the tests of the app share: a folder with a stand-in model, and the real server."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from diffusion_bench.backends.device import DeviceBusy, hold_device
from diffusion_bench.records import BUNDLED_MODEL
from diffusion_bench.ui.launch import serving

LIMIT_S = 60.0

VALUES: dict[str, Any] = {
    "prompt": "a cat on a blue background",
    "negative_prompt": "",
    "style": "None",
    "model": BUNDLED_MODEL,
    "sampler": "ddim",
    "steps": 2,
    "seed": 7,
    "guidance_scale": 3.0,
    "width": 64,
    "height": 64,
    "batch": 1,
    "rounds": 1,
    "eta": 0.0,
    "noise_seed": -1,
    "guidance_rescale": 0.0,
    "variation_strength": 0.0,
    "variation_seed": -1,
    "precision": "fp32",
    "speed": "plain",
    "live_preview": True,
    "parameters": True,
    "start": None,
    "strength": 0.75,
}
"""The fields of the tab *Text to image*, in the order in which its API takes them."""


def wait_until(holds: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
    """Wait until a condition holds; fail, saying what was waited for, if it never does."""
    give_up_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < give_up_s, f"not within {limit_s:g} s: {what}"
        time.sleep(0.02)


def is_free(device: str = "cpu") -> bool:
    """Return whether nothing holds the device."""
    try:
        with hold_device(device):
            return True
    except DeviceBusy:
        return False


@contextmanager
def busy_device(device: str = "cpu") -> Iterator[None]:
    """Hold the device, as another job would, from a thread of its own."""
    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with hold_device(device):
            held.set()
            leave.wait(LIMIT_S)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(LIMIT_S)
    try:
        yield
    finally:
        leave.set()
        thread.join()


@contextmanager
def served(**options: Any) -> Iterator[Any]:
    """Serve the app on a free port; see `launch.serving`.

    Gradio leaves event loops open when it starts; they are collected here and now, because
    collected inside a test they would fail it.
    """
    with ExitStack() as stack:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            try:
                page = stack.enter_context(serving(device="cpu", **options))
            finally:
                asyncio.set_event_loop(None)
                gc.collect()
        yield page


@contextmanager
def laid_out() -> Iterator[Any]:
    """Yield a page to lay fields out on, that nothing serves; its loops go as those of `served`."""
    import gradio as gr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with gr.Blocks(analytics_enabled=False) as page:
            yield page
        asyncio.set_event_loop(None)
        gc.collect()


def status_of(url: str, body: object = None) -> int:
    """Return the HTTP status of a GET, or of a POST of JSON where there is a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def read_bytes(gallery: list[dict[str, Any]]) -> list[bytes]:
    """Return the files of a gallery as `gradio_client` gives it."""
    return [Path(item["image"]).read_bytes() for item in gallery]
