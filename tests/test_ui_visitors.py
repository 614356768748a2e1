from __future__ import annotations

from contextlib import closing
from contextvars import copy_context
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.context import LocalContext
from gradio_client import Client
from gradio_client.exceptions import AppError
from starlette.requests import Request
from ui_server import LIMIT_S, VALUES, busy_device, served, wait_until

from diffusion_bench.backends.engine import Engine
from diffusion_bench.ui.jobs import VISITOR_JOBS, Jobs
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.pictures.drawing import Drawing
from diffusion_bench.ui.visitors import visitor
from diffusion_bench.ui.voice.speaking import Speaking


def asked_by(username=None, session=None, **cookies):
    """Return who asks in a request of that login, session and cookies; the server is number 1."""
    sent = "; ".join(f"{name.replace('_', '-')}={value}" for name, value in cookies.items())
    scope = {"type": "http", "headers": [(b"cookie", sent.encode())]}
    request = Request({**scope, "app": SimpleNamespace(cookie_id="1")})

    def ask():
        LocalContext.request.set(gr.Request(request, username=username, session_hash=session))
        return visitor()

    return copy_context().run(ask)


def test_the_tabs_of_one_login_are_one_visitor_and_another_login_is_another():
    one = asked_by("guest", "tab a", access_token_1="red")
    tab = asked_by("guest", "tab b", access_token_1="red")
    # A browser sends the other one where the page has no https.
    plain = asked_by("guest", "tab c", access_token_unsecure_1="red")
    other = asked_by("guest", "tab d", access_token_1="blue")

    assert one == tab == plain != other


def test_a_cookie_that_the_server_did_not_make_tells_no_new_visitor():
    one = asked_by("guest", "tab a", access_token_1="red")

    assert asked_by("guest", "tab a", access_token_1="red", access_token_2="mine") == one
    assert asked_by(None, "tab a", access_token_1="1") == asked_by(None, "tab a")


def test_without_a_login_each_page_is_a_visitor():
    assert asked_by(None, "tab a") != asked_by(None, "tab b")
    assert visitor() == ""


@pytest.fixture(scope="module")
def shared_page(own_cache, tmp_path_factory):
    reports = tmp_path_factory.mktemp("reports")
    with served(host="0.0.0.0", auth="ann:correct-horse", reports=reports) as page:
        yield page


@pytest.fixture
def log_in(shared_page):
    clients = []

    def client(cookies=None, auth=None):
        # On a busy machine an answer takes longer than the usual five seconds.
        http = {"timeout": LIMIT_S, "cookies": cookies}
        client = Client(shared_page.local_url, auth=auth, verbose=False, httpx_kwargs=http)
        clients.append(client)
        return client

    yield client
    for each in clients:
        each.close()


def test_a_visitors_fourth_job_is_refused_and_another_visitors_first_is_not(log_in):
    def submit(client):
        return client.submit(*VALUES.values(), api_name="/generate")

    def waits(job):
        told = any("Waiting" in str(update[2]) for update in job.outputs())
        return told and not job.done()

    guest = log_in(auth=("ann", "correct-horse"))
    tab = log_in(cookies=dict(guest.cookies))
    other = log_in(auth=("ann", "correct-horse"))
    with busy_device():
        jobs = [submit(guest) for _ in range(VISITOR_JOBS - 1)] + [submit(tab)]
        wait_until(lambda: all(map(waits, jobs)), "the first ones wait")

        for client in (guest, tab):
            with pytest.raises(AppError, match="you have 3 jobs on it already"):
                submit(client).result(timeout=LIMIT_S)
        jobs.append(submit(other))
        wait_until(lambda: waits(jobs[-1]), "another visitor waits")
        jobs[0].cancel()
        wait_until(lambda: _is_let_in(submit, waits, guest, jobs), "a given up place is free")
        for job in jobs:
            job.cancel()


def _is_let_in(submit, waits, client, jobs):
    """Ask again: a place is free once the server has heard of the cancelling."""
    again = submit(client)
    wait_until(lambda: again.done() or waits(again), "an answer")
    if again.done():
        return False
    jobs.append(again)
    return True


def test_a_guest_may_name_no_vocoder_of_his_own(shared_page):
    fields = {block.elem_id: block for block in shared_page.blocks.values()}

    assert not fields["voice-vocoder"].allow_custom_value
    assert "hub" not in fields["voice-vocoder"].info


def test_a_shared_page_says_that_it_is_what_a_visitor_may_have_and_offers_nothing_else(shared_page):
    fields = {block.elem_id: block for block in shared_page.blocks.values()}

    assert fields["guests"].value == (
        "This app is shared. Each visitor may have 3 jobs at a time, running or waiting: pictures "
        "of up to 250 steps and 1024 x 1024 pixels, 8 at a click; speech of up to 250 steps and "
        "600 characters."
    )
    assert "saved" not in fields["voice-voice"].info


@pytest.mark.parametrize("steps", [251, 10**308, 1e308], ids=["251", "digits", "1e308"])
def test_a_guest_is_told_his_own_limit_by_its_field_and_not_the_owners(tmp_path, steps):
    with closing(Jobs()) as jobs:
        drawing, speaking = (
            tab(Engine("cpu"), jobs, Outbox(tmp_path), shared=True) for tab in (Drawing, Speaking)
        )
        for to_request, fields in (
            (drawing.to_request, VALUES),
            (speaking.to_request, {"text": "So be it.", "voice": "ada", "model": "echo"}),
        ):
            with pytest.raises(ValueError, match=r"^steps .* too much .* most is 250$") as told:
                to_request(fields | {"steps": steps})
            assert len(str(told.value)) < 100
