from __future__ import annotations

import asyncio

import pytest
from starlette.exceptions import HTTPException

from diffusion_bench.ui import intake
from diffusion_bench.ui.intake import MOST_BYTES, MOST_FILE_BYTES, Intake

JOIN, UPLOAD = "/gradio_api/queue/join", "/gradio_api/upload"
EDITOR = "/gradio_api/component_server"
FORM, JSON = b"multipart/form-data; boundary=x", b"application/json"
BLOCK = 2**16


def bytes_read(path, length, kind=JSON):
    """Return how many bytes of an endless request's first `length` come through to Gradio."""

    async def read():
        sent = taken = 0

        async def receive():
            nonlocal sent
            sent += BLOCK
            return {"type": "http.request", "body": b"a" * BLOCK, "more_body": sent < length}

        async def app(scope, receive, send):
            nonlocal taken
            more = True
            while more:
                message = await receive()
                taken += len(message["body"])
                more = message["more_body"]

        scope = {"type": "http", "path": path, "headers": [(b"content-type", kind)]}
        await Intake(app)(scope, receive, None)
        return taken

    return asyncio.run(read())


def test_a_request_of_texts_may_be_a_megabyte_and_one_with_files_more():
    assert bytes_read(JOIN, MOST_BYTES) == MOST_BYTES
    assert bytes_read(UPLOAD, 2 * MOST_BYTES, FORM) == 2 * MOST_BYTES
    assert bytes_read(f"{EDITOR}/", 2 * MOST_BYTES, FORM) == 2 * MOST_BYTES


@pytest.mark.parametrize(
    ("path", "kind", "most"),
    [
        (JOIN, JSON, MOST_BYTES),
        (UPLOAD, FORM, MOST_FILE_BYTES[UPLOAD]),
        (EDITOR, FORM, MOST_FILE_BYTES[EDITOR]),
        (EDITOR, JSON, MOST_BYTES),
        ("/gradio_api/call/upload", FORM, MOST_BYTES),
        ("/gradio_api/run/component_server", JSON, MOST_BYTES),
    ],
)
def test_what_comes_without_end_is_refused(path, kind, most):
    assert bytes_read(path, most, kind) == most
    with pytest.raises(HTTPException) as refused:
        bytes_read(path, most + 1, kind)

    assert refused.value.status_code == 413


def test_no_files_are_taken_where_the_disk_is_nearly_full(monkeypatch):
    monkeypatch.setattr(intake, "LEFT_FREE_BYTES", 2**62)

    with pytest.raises(HTTPException) as refused:
        bytes_read(UPLOAD, BLOCK, FORM)

    assert refused.value.status_code == 507
    assert bytes_read(JOIN, BLOCK) == BLOCK
