from __future__ import annotations

import asyncio
import socket

import pytest
from starlette.responses import PlainTextResponse

from diffusion_bench.ui.address import OwnNames, free_port, is_loopback


def test_loopback_is_told_from_addresses_others_can_reach():
    hosts = ("127.0.0.1", "localhost", "::1", "0.0.0.0", "192.168.0.2", "example.org")

    assert [is_loopback(host) for host in hosts] == [True, True, True, False, False, False]


def test_a_busy_port_is_one_line_that_names_another():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} is in use.*--port {port + 1}"):
            free_port("127.0.0.1", port)
    assert free_port("127.0.0.1", 0) > 0


def test_an_address_of_another_machine_is_one_line():
    with pytest.raises(ValueError, match=r"cannot listen on 192\.0\.2\.1"):
        free_port("192.0.2.1", 7860)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:7860", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:7860", 200),
        ("[::1]:7860", 200),
        ("evil.example:7860", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:7860", 403),
        ("192.168.1.5:7860", 403),
        ("[::1", 403),
    ],
)
def test_an_app_of_ones_own_answers_to_the_names_of_its_machine_only(host, status):
    told = []

    async def send(message):
        told.append(message)

    scope = {"type": "http", "headers": [(b"host", host.encode())]}
    asyncio.run(OwnNames(PlainTextResponse("the page"))(scope, None, send))

    assert told[0]["status"] == status
    if status == 403:
        assert b"--auth USER:PASSWORD" in told[1]["body"]
