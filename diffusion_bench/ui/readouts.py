"""Boxes of words that are read and not written, and how what they say is told to who cannot see."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.events import Dependency

MOST_LINES = 40  # as tall as the words are: a box that scrolls hides what it says


def readout(value: str | None = None, *, label: str, elem_id: str, **options: Any) -> gr.Textbox:
    """Lay out words to be read; the label names them, shown or not.

    The page's script makes them reachable by keyboard, see `page_script`.
    """
    return gr.Textbox(
        value,
        label=label,
        interactive=False,
        max_lines=MOST_LINES,
        elem_id=elem_id,
        elem_classes=["readout"],
        **options,
    )


def announce(done: Dependency, words: gr.Textbox, *, faults: bool = True) -> None:
    """Let a screen reader say a box's words when an event has ended; what came before is not said.

    `faults` is whether the box says those of the event too; else it is not read after one.
    """
    # Not `then`: after a fault Gradio 6.31 does not come to it.
    for after in (done.success, done.failure) if faults else (done.success,):
        js = "(words) => announce(words)"
        after(None, words, None, js=js, queue=False, api_visibility="private")
