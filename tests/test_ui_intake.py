from __future__ import annotations

import asyncio

import pytest
from starlette.exceptions import HTTPException

from diffusion_bench.ui import intake
from diffusion_bench.ui.intake import MOST_BYTES, MOST_FILE_BYTES, Intake

JOIN, UPLOAD = "/gradio_api/queue/join", "/gradio_api/upload"
BLOCK = 2**16


def bytes_read(path, length):
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

        await Intake(app)({"type": "http", "path": path}, receive, None)
        return taken

    return asyncio.run(read())


def test_a_request_of_texts_may_be_a_megabyte_and_one_with_files_more():
    assert bytes_read(JOIN, MOST_BYTES) == MOST_BYTES
    assert bytes_read(UPLOAD, 2 * MOST_BYTES) == 2 * MOST_BYTES
    assert bytes_read("/gradio_api/component_server/", 2 * MOST_BYTES) == 2 * MOST_BYTES


@pytest.mark.parametrize(("path", "most"), [(JOIN, MOST_BYTES), (UPLOAD, MOST_FILE_BYTES)])
def test_what_comes_without_end_is_refused(path, most):
    with pytest.raises(HTTPException) as refused:
        bytes_read(path, 10 * most)

    assert refused.value.status_code == 413


def test_no_files_are_taken_where_the_disk_is_nearly_full(monkeypatch):
    monkeypatch.setattr(intake, "LEFT_FREE_BYTES", 2**62)

    with pytest.raises(HTTPException) as refused:
        bytes_read(UPLOAD, BLOCK)

    assert refused.value.status_code == 507
    assert bytes_read(JOIN, BLOCK) == BLOCK
