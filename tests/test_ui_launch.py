from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ui_server import LIMIT_S, served, status_of

from diffusion_bench.ui.launch import free_port, is_loopback, parse_auth

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("auth", ["ann", "ann:", ":secret", ""])
def test_auth_without_user_and_password_is_refused(auth):
    with pytest.raises(ValueError, match="USER:PASSWORD"):
        parse_auth(auth)


def test_a_password_may_hold_colons():
    assert parse_auth("ann:a:b") == ("ann", "a:b")
    assert parse_auth(None) is None


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


def test_sharing_without_a_tunnel_says_so_and_serves_here_behind_a_password(capsys, monkeypatch):
    def no_tunnel(**_):
        raise OSError("no network")

    monkeypatch.setattr("gradio.networking.setup_tunnel", no_tunnel)
    with served(share=True) as page:
        status = status_of(f"{page.local_url}config")

    said = capsys.readouterr().out
    assert status == 401
    assert "user 'guest', password " in said
    assert said.count("No share link") == 1
    assert "antivirus" not in said


def test_an_open_address_without_a_password_is_warned_about(capsys):
    with served(host="0.0.0.0"):
        pass

    assert "Warning: anybody who reaches 0.0.0.0" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl+C")
def test_ctrl_c_ends_cleanly(tmp_path):
    server = subprocess.Popen(
        [sys.executable, "app.py", "--port", "0", "--reports", str(tmp_path), "--device", "cpu"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell that starts tests in the background has them ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    killer = threading.Timer(LIMIT_S, server.kill)
    killer.start()
    try:
        first = server.stdout.readline()
        server.send_signal(signal.SIGINT)
        rest = server.stdout.read()
        assert "Diffusion Bench is at http://127.0.0.1:" in first
        assert server.wait() == 0
        assert rest.strip() == "Ended."
    finally:
        killer.cancel()
        server.kill()
        server.wait()
        server.stdout.close()


def test_nothing_heavy_is_imported_before_the_page_is_up():
    program = (
        "import sys\n"
        "from diffusion_bench.ui.launch import serving\n"
        "with serving(device='cpu'):\n"
        "    print([name for name in ('torch', 'diffusers', 'plotly') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"
