"""Gradio's check that its server answers, with the patience that a busy machine needs."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr
from gradio import networking

ANSWER_S = 120.0  # for a server to answer itself


def launch_page(page: gr.Blocks, **options: Any) -> None:
    """Launch the page; raise RuntimeError where its own server does not answer it.

    Gradio asks that server once, for three seconds, which on a busy machine is not enough, and then
    advises a public link.
    """
    answers = networking.url_ok

    def answers_in_time(url: str) -> bool:
        give_up_s = time.monotonic() + ANSWER_S
        while not answers(url):
            if time.monotonic() >= give_up_s:
                return False
        return True

    networking.url_ok = answers_in_time
    try:
        page.launch(**options)
    except ValueError as error:
        if "localhost is not accessible" not in str(error):
            raise
        raise RuntimeError(
            f"the page's own server did not answer at {page.local_url} for {ANSWER_S:.0f} s: the "
            "machine is too busy, or a proxy stands between, which NO_PROXY=localhost,127.0.0.1 "
            "keeps away"
        ) from None
    finally:
        networking.url_ok = answers
