"""What a shared app's server takes in of one request, before Gradio reads it into memory."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

UPLOADS_VARIABLE = "GRADIO_TEMP_DIR"
MOST_BYTES = 2**20  # of a request: texts and numbers of the page
# Of one that brings files, each of which has Gradio's limit. The editor's one picture is read into
# memory, uploads go to a disk.
MOST_FILE_BYTES = {
    "/gradio_api/upload": 256 * 2**20,
    "/gradio_api/component_server": 66 * 2**20,
}
# Writes what a page holds, a megabyte, to the disk, for a button that no tab has.
CLOSED = "/gradio_api/deep_link"
LEFT_FREE_BYTES = 2 * 2**30  # of the disk that files go to


class Intake:
    """ASGI middleware that refuses what is larger than any page's request (413).

    Files are refused as well where their disk is nearly full (507): its owner works on it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting its bytes as they come: a length may not be told, or lie."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].rstrip("/")
        if path == CLOSED:
            await PlainTextResponse("Not Found", 404)(scope, receive, send)
            return
        # JSON is made into objects that take twenty times as much.
        is_form = Headers(scope=scope).get("content-type", "").startswith("multipart/form-data")
        brings_files = is_form and path in MOST_FILE_BYTES
        most = MOST_FILE_BYTES[path] if brings_files else MOST_BYTES
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise HTTPException(413, f"a request may have {most} bytes at most")
            if brings_files and _free_bytes() < LEFT_FREE_BYTES:
                raise HTTPException(507, "this machine has no room left for files")
            return message

        await self._app(scope, counted, send)


def _free_bytes() -> int:
    return shutil.disk_usage(os.environ.get(UPLOADS_VARIABLE) or tempfile.gettempdir()).free
