"""What commands say while another job has the device."""

from __future__ import annotations

import pytest
from command_line import run
from ui_server import busy_device

from diffusion_bench.cli import cloning, drawing, looking
from diffusion_bench.cli.telling import waiting

WAITING = "waiting for the device, at most 10 minutes: another job is on it"


@pytest.mark.parametrize(
    ("module", "command"),
    [
        (drawing, ["generate", "a cat"]),
        (cloning, ["clone", "--voice", "ada", "--text", "Hello."]),
        (looking, ["show", "noising"]),
        (looking, ["show", "speech", "Hello."]),
    ],
    ids=["generate", "clone", "show noising", "show speech"],
)
def test_a_command_says_once_that_it_waits_for_the_device(
    module, command, monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "WAIT_S", 0.5)  # then it gives up
    with busy_device():
        assert run(*command, "--device", "cpu") == 2

    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == WAITING
    assert lines.count(WAITING) == 1
    assert "cpu is busy" in lines[-1]


def test_each_wait_is_told_of_its_own(capsys):
    first, second = waiting(), waiting()
    for on_wait in (first, first, second, second):
        on_wait()

    assert capsys.readouterr().err.splitlines() == [WAITING] * 2
