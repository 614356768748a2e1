from __future__ import annotations

import asyncio

import pytest
from starlette.responses import PlainTextResponse

from diffusion_bench.ui.logins import MOST, MOST_OF_ONE, WITHIN_S, Logins

WRONG, RIGHT = 400, 200


class Door:
    """A server behind `Logins` that answers as it is told, at a time that is told."""

    def __init__(self):
        self.now_s = 0.0
        self.heard = 0
        self.answers = WRONG
        self._logins = Logins(self._app, clock=lambda: self.now_s)

    async def _app(self, scope, receive, send):
        self.heard += 1
        await PlainTextResponse("", self.answers)(scope, receive, send)

    def asked(self, path="/login", method="POST", address="10.0.0.1"):
        """Return the status of the answer."""
        told = []

        async def send(message):
            told.append(message)

        scope = {"type": "http", "method": method, "path": path, "client": (address, 1)}
        asyncio.run(self._logins(scope, None, send))
        return told[0]["status"]


@pytest.fixture
def door():
    return Door()


def test_after_ten_wrong_passwords_none_is_heard_for_a_minute(door):
    assert [door.asked() for _ in range(MOST_OF_ONE)] == [WRONG] * MOST_OF_ONE
    door.answers = RIGHT
    assert door.asked() == door.asked("/login/") == 429
    assert door.heard == MOST_OF_ONE
    assert door.asked("/config") == RIGHT
    assert door.asked(method="GET") == RIGHT

    door.now_s = WITHIN_S
    assert door.asked() == RIGHT


def test_who_knows_the_password_may_log_in_as_often_as_he_likes(door):
    door.answers = RIGHT
    assert {door.asked() for _ in range(2 * MOST)} == {RIGHT}


def test_the_wrong_passwords_of_one_address_leave_the_others_in_but_for_very_many(door):
    for _ in range(2 * MOST_OF_ONE):
        door.asked(address="10.0.0.1")
    assert door.asked(address="10.0.0.2") == WRONG

    for number in range(2 * MOST):
        door.asked(address=f"10.0.1.{number}")
    assert door.heard == MOST
    assert door.asked(address="10.0.0.3") == 429


def test_passwords_that_come_at_once_are_counted_before_one_is_heard(door):
    at_once = 3 * MOST_OF_ONE

    async def slow(scope, receive, send):
        door.heard += 1
        await asyncio.sleep(0.01)
        await PlainTextResponse("", WRONG)(scope, receive, send)

    async def send(message):
        pass

    async def ask():
        logins = Logins(slow)
        scope = {"type": "http", "method": "POST", "path": "/login", "client": ("10.0.0.1", 1)}
        await asyncio.gather(*(logins(scope, None, send) for _ in range(at_once)))

    asyncio.run(ask())

    assert door.heard == MOST_OF_ONE
