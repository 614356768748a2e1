"""What the machine's commands print."""

from __future__ import annotations

import pytest

from diffusion_bench.cli import main
from diffusion_bench.records import Reading


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def test_a_json_line_is_a_reading(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("hardware", "--json", "--interval", "0.2") == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    assert output.count("\n") == 1
    reading = Reading.model_validate_json(output, strict=True)
    assert reading.gpus or reading.no_gpu
    # One look alone could not tell it.
    assert reading.host.cpu_percent is not None
    assert 0 <= reading.host.cpu_percent <= 100


def test_the_machine_is_shown_with_its_gpus_or_why_there_are_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("hardware", "--interval", "0.05") == 0
    shown = capsys.readouterr().out
    assert "GiB RAM" in shown
    assert "CPU" in shown
    assert "no NVIDIA GPU: " in shown or "GPU 0" in shown


def test_the_doctor_says_what_it_found_and_fails_for_problems_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = run("doctor")
    shown = capsys.readouterr().out
    assert code == (1 if "problem: " in shown else 0)
    levels = [line.partition(":")[0] for line in shown.splitlines() if line[:1].strip()]
    assert len(levels) >= 3
    assert set(levels) <= {"ok", "note", "warning", "problem"}
