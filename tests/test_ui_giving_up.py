from __future__ import annotations

from contextvars import copy_context
from itertools import count

import gradio as gr
import pytest
from gradio.context import LocalContext
from ui_server import served

from diffusion_bench.records import Cancelled
from diffusion_bench.ui.complaints import said_and_raised
from diffusion_bench.ui.giving_up import Cancel

BUTTONS = {
    *("t2i-cancel", "t2i-compare-cancel", "voice-cancel", "voice-compare-cancel"),
    "bench-cancel",
    *(f"look-{name}-cancel" for name in ("noising", "denoising", "unet", "guidance", "speech")),
}


def on_page(session, call, *arguments):
    """Return what a call returns where the page of that session asks."""

    def ask():
        LocalContext.request.set(gr.Request(session_hash=session))
        return call(*arguments)

    return copy_context().run(ask)


def drawn():
    yield "drawn"


class Steps:
    """Work that yields its steps without end, and notes that it was closed."""

    def __init__(self):
        self.closed = False

    def __iter__(self):
        try:
            yield from (f"Step {number}." for number in count(1))
        finally:
            self.closed = True


def test_the_last_thing_said_of_cancelled_work_is_that_it_was_cancelled():
    wanted, steps = Cancel(), Steps()
    views = said_and_raised(wanted.until(iter(steps)), str)

    assert [next(views), next(views)] == ["Step 1.", "Step 2."]
    wanted.cancel()

    assert list(views) == ["Cancelled."]
    assert steps.closed


def test_one_page_cancels_all_of_its_own_work_and_no_other_pages():
    wanted = Cancel()
    mine = [wanted.until(iter(Steps())) for _ in range(2)]
    other = wanted.until(iter(Steps()))
    for views in mine:
        on_page("mine", next, views)
    on_page("other", next, other)

    on_page("mine", wanted.cancel)

    for views in mine:
        with pytest.raises(Cancelled):
            on_page("mine", next, views)
    assert on_page("other", next, other) == "Step 2."


def test_one_cancel_button_leaves_the_work_of_another_one():
    pictures, speech = Cancel(), Cancel()
    views = speech.until(iter(Steps()))
    next(views)

    pictures.cancel()

    assert next(views) == "Step 2."


def test_what_was_cancelled_before_does_not_end_what_is_asked_for_next():
    wanted = Cancel()
    first = wanted.until(iter(Steps()))
    next(first)
    wanted.cancel()
    with pytest.raises(Cancelled):
        next(first)

    assert list(wanted.until(drawn())) == ["drawn"]
    wanted.cancel()  # with nothing under way
    assert list(wanted.until(drawn())) == ["drawn"]


def test_work_that_ended_failed_or_was_left_is_forgotten():
    def failing():
        yield "begun"
        raise ValueError("broken")

    wanted = Cancel()
    list(wanted.until(drawn()))
    with pytest.raises(ValueError, match="broken"):
        list(wanted.until(failing()))
    left = Steps()
    views = wanted.until(iter(left))
    next(views)
    views.close()

    assert left.closed
    assert wanted._wanted == {}


@pytest.mark.parametrize(
    "options", [{}, {"host": "0.0.0.0", "auth": "ann:correct-horse"}], ids=["own", "shared"]
)
def test_every_cancel_button_ends_work_in_order_and_nothing_waits_unseen(options, tmp_path):
    with served(reports=tmp_path, **options) as page:
        names = {number: block.elem_id for number, block in page.blocks.items()}
        clicks = [
            (names.get(target), event)
            for event in page.fns.values()
            for target, kind in event.targets
            if kind == "click"
        ]

    wired = {name for name, event in clicks if event.name == "cancel"}
    assert wired == BUTTONS
    assert not any(event.cancels for event in page.fns.values()), "its stream would be dropped"
    watched = (
        "generate",
        "compare",
        "speak",
        "compare_speech",
        "sweep",
        "resume_sweep",
        "estimate",
    )
    limits = {event.api_name: event.concurrency_limit for event in page.fns.values()}
    assert [limits[name] for name in watched] == [None] * len(watched)
