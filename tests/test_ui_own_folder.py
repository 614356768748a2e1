"""What an app wrote for its visitors goes with it, and where it was killed, with the next one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from diffusion_bench.ui.own_folder import LOCK, PREFIX, own_folder

APP = """
import sys
from pathlib import Path
from diffusion_bench.ui.own_folder import own_folder

with own_folder(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_a_folder_goes_with_its_app(tmp_path):
    with own_folder(tmp_path / "new") as folder:
        (folder / "speech.wav").write_bytes(b"sound")
        assert folder.parent == tmp_path / "new"

    assert not folder.exists()


def test_what_a_killed_app_left_goes_with_the_next_one(tmp_path):
    arguments = [sys.executable, "-c", APP, str(tmp_path)]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as app:
        folder = app.stdout.readline().strip()
        (tmp_path / folder / "speech.wav").write_bytes(b"sound")
        with own_folder(tmp_path):
            assert os.path.exists(folder), "it is in use"
        app.kill()
        app.wait()
    assert os.path.exists(folder)

    with own_folder(tmp_path) as mine:
        assert list(tmp_path.iterdir()) == [mine]


def test_what_others_put_there_stays(tmp_path):
    being_made = tmp_path / f"{PREFIX}1"
    being_made.mkdir()
    elsewhere = tmp_path / "mine"
    elsewhere.mkdir()
    (elsewhere / LOCK).touch()
    try:
        (tmp_path / f"{PREFIX}2").symlink_to(elsewhere, target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links")

    with own_folder(tmp_path):
        assert being_made.is_dir()
        assert (elsewhere / LOCK).exists()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="users have numbers on POSIX")
def test_what_another_user_left_stays(tmp_path, monkeypatch):
    theirs = tmp_path / f"{PREFIX}3"
    theirs.mkdir()
    (theirs / LOCK).touch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: theirs.stat().st_uid + 1)
        with own_folder(tmp_path):
            assert theirs.is_dir()

    with own_folder(tmp_path):
        assert not theirs.exists()
