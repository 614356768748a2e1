from __future__ import annotations

import socket

import pytest

from diffusion_bench.ui.address import free_port, is_loopback


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
