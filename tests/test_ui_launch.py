from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from gradio import networking
from ui_server import LIMIT_S, served, status_of

from diffusion_bench.ui import launch, self_check
from diffusion_bench.ui.launch import (
    ended_as_by_ctrl_c,
    is_shared,
    parse_auth,
    reports_folder,
    serving,
)

ROOT = Path(__file__).parents[1]
IMPORT = "import time:"


@pytest.mark.parametrize("auth", ["ann", "ann:", ":secret", ""])
def test_auth_without_user_and_password_is_refused(auth):
    with pytest.raises(ValueError, match="USER:PASSWORD"):
        parse_auth(auth)


def test_a_password_may_hold_colons():
    assert parse_auth("ann:a:b") == ("ann", "a:b")
    assert parse_auth(None) is None


def test_who_is_asked_for_a_password_or_comes_from_elsewhere_is_a_guest():
    login = ("ann", "correct-horse")

    assert not is_shared("127.0.0.1", share=False, login=None)
    assert is_shared("127.0.0.1", share=False, login=login)
    assert is_shared("127.0.0.1", share=True, login=None)
    assert is_shared("0.0.0.0", share=False, login=None)


@pytest.mark.parametrize("inside", [".", "reports"])
def test_reports_in_a_file_are_refused_before_anything_is_started(tmp_path, monkeypatch, inside):
    def started(*_, **__):
        raise AssertionError("it began to start")

    monkeypatch.setattr(launch, "_build", started)
    (tmp_path / "cat.png").touch()
    reports = tmp_path / "cat.png" / inside
    said = r"reports cannot lie in .*: .*cat\.png is a file, not a folder"
    with pytest.raises(ValueError, match=said), serving(reports=reports):
        pass


def test_reports_that_may_not_be_read_are_refused_before_anything_is_started(tmp_path):
    for mode in (0o444, 0o000):
        folder = tmp_path / f"reports-{mode}"
        folder.mkdir(mode=mode)
        if os.access(folder, os.X_OK):
            pytest.skip("this user may read everything")
        with pytest.raises(ValueError, match=f"{mode} cannot be read: no permission"):
            reports_folder(folder)


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


def take_signals():
    """Have the signals of a user end a program: what runs in the background may ignore them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@contextmanager
def started(tmp_path, *flags):
    server = subprocess.Popen(
        [sys.executable, *flags, "app.py", "--port", "0", "--device", "cpu"],
        cwd=ROOT,
        env=os.environ | {"DIFFUSION_BENCH_REPORTS": str(tmp_path / "reports")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=take_signals,
    )
    killer = threading.Timer(3 * LIMIT_S, server.kill)
    killer.start()
    try:
        yield server
    finally:
        killer.cancel()
        server.kill()
        server.wait()
        server.stdout.close()


@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl+C")
def test_nothing_heavy_is_imported_before_the_page_is_up_and_ctrl_c_ends_cleanly(tmp_path):
    # Python itself tells each module that it has imported, in a line of its own.
    with started(tmp_path, "-X", "importtime") as server:
        imported = []
        for line in server.stdout:
            if not line.startswith(IMPORT):
                break
            imported.append(line.rpartition("|")[2].strip())
        server.send_signal(signal.SIGINT)
        # What warms up in another thread may tell of an import in the middle of our line.
        rest = re.sub(f"{re.escape(IMPORT)}.*", "", server.stdout.read())
        assert "Diffusion Bench is at http://127.0.0.1:" in line
        assert {"gradio", "diffusion_bench.ui.build"} <= set(imported)
        assert {"torch", "diffusers", "plotly"}.isdisjoint(imported)
        assert server.wait() == 0
        assert rest.strip() == "Ended."


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_a_signal_that_ends_programs_leaves_nothing_of_a_visitor(tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    with started(tmp_path) as server:
        url = server.stdout.readline().split()[-1]
        files = {"files": ("mine.wav", b"a voice")}
        httpx.post(f"{url}gradio_api/upload", files=files, timeout=LIMIT_S).raise_for_status()
        assert list(temporary.rglob("mine.wav"))
        assert list(temporary.rglob("outbox"))

        server.send_signal(signal.SIGTERM)

        assert server.stdout.read().strip() == "Ended."
        assert server.wait() == 0
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_second_signal_does_not_cut_the_end_short(name):
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)  # what runs in the background may ignore it
    ended = []

    def run():
        with ended_as_by_ctrl_c():
            try:
                os.kill(os.getpid(), number)
            finally:
                os.kill(os.getpid(), number)
                ended.append("in order")

    try:
        with pytest.raises(KeyboardInterrupt):
            run()
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)

    assert ended == ["in order"]


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_as_by_ctrl_c():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_machine_too_busy_to_answer_itself_in_three_seconds_serves_all_the_same(
    tmp_path, monkeypatch
):
    answers, asked = networking.url_ok, []

    def busy_at_first(url):
        asked.append(url)
        return len(asked) > 2 and answers(url)

    monkeypatch.setattr(networking, "url_ok", busy_at_first)
    with served(reports=tmp_path) as page:
        assert status_of(page.local_url) == 200

    assert len(asked) == 3
    assert networking.url_ok is busy_at_first


def test_a_server_that_never_answers_is_told_of_without_advice_to_make_it_public(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(networking, "url_ok", lambda url: False)
    monkeypatch.setattr(self_check, "ANSWER_S", 0.0)

    with (
        pytest.raises(RuntimeError, match=r"did not answer at http://.*NO_PROXY") as error,
        served(reports=tmp_path),
    ):
        pass

    assert "share" not in str(error.value)
