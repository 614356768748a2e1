"""Passwords that a shared app hears: so many wrong ones a minute. Gradio hears all that come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

WITHIN_S = 60.0
MOST_OF_ONE = 10  # wrong passwords of one address
MOST = 60  # of all: an address may be made up, or be a proxy's
NOTICE = f"After {MOST_OF_ONE} wrong passwords none is heard for a minute."


class Logins:
    """ASGI middleware that does not hear a password after too many wrong ones (429)."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._tried: list[tuple[float, str]] = []  # when, and from where

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it where it is a login too many."""
        if scope["type"] != "http" or scope["method"] != "POST" or not _is_login(scope["path"]):
            await self._app(scope, receive, send)
            return
        now_s, address = self._clock(), (scope.get("client") or ("",))[0]
        self._tried = [tried for tried in self._tried if tried[0] > now_s - WITHIN_S]
        of_one = sum(tried[1] == address for tried in self._tried)
        if of_one >= MOST_OF_ONE or len(self._tried) >= MOST:
            answer = PlainTextResponse(NOTICE, 429, {"Retry-After": f"{WITHIN_S:.0f}"})
            await answer(scope, receive, send)
            return
        tried = now_s, address
        self._tried.append(tried)  # before it is heard: many may come at once

        async def answered(message: Message) -> None:
            if message.get("status") == 200 and tried in self._tried:
                self._tried.remove(tried)
            await send(message)

        await self._app(scope, receive, answered)


def _is_login(path: str) -> bool:
    return path.rstrip("/") == "/login"
