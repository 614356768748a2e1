"""What the machine's commands print."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fakes import make_cell, make_header
from nvml_fake import build_stub, stub_environment

from diffusion_bench.cli import main
from diffusion_bench.records import Reading
from diffusion_bench.reports.store import to_line


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


@pytest.mark.parametrize(
    ("scenario", "shown"),
    [
        ({"reasons": "0x44"}, "sw_power_cap, hw_thermal"),
        ({}, "nothing"),
        ({"errors": "nvmlDeviceGetCurrentClocksEventReasons=999"}, "nothing"),
        (
            {
                "errors": "nvmlDeviceGetCurrentClocksEventReasons=13;"
                "nvmlDeviceGetCurrentClocksThrottleReasons=13"
            },
            "cannot tell",
        ),
    ],
)
def test_what_lowers_a_gpus_clocks_is_shown(
    tmp_path: Path, scenario: dict[str, str], shown: str
) -> None:
    environment = stub_environment(build_stub(tmp_path), gpus="A|1024|50", **scenario)
    command = [sys.executable, "-m", "diffusion_bench", "hardware", "--interval", "0.05"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    (row,) = (line for line in done.stdout.splitlines() if "clocks lowered by" in line)
    assert shown in row


def test_the_doctor_says_what_it_found_and_fails_for_problems_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = run("doctor")
    shown = capsys.readouterr().out
    assert code == (1 if "problem: " in shown else 0)
    levels = [line.partition(":")[0] for line in shown.splitlines() if line[:1].strip()]
    assert len(levels) >= 3
    assert set(levels) <= {"ok", "note", "warning", "problem"}


def test_the_doctor_examines_reports_and_fails_for_one_that_cannot_be_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = Path(__file__).parent / "data" / "report_format_1.jsonl"
    assert run("doctor", str(sound)) == 0
    shown = capsys.readouterr().out
    assert "note: 2 of 4 planned cells are absent" in shown
    assert "Python" not in shown  # the machine was not examined
    forged = tmp_path / "forged.jsonl"
    forged.write_bytes(to_line(make_header()) + to_line(make_cell(wall_s=(1.0,) * 5)))
    assert run("doctor", str(sound), str(forged)) == 1
    shown = capsys.readouterr().out
    assert f"{forged}:\n" in shown
    assert "problem: samples too equal to have been measured" in shown
    assert run("doctor", str(tmp_path / "none.jsonl")) == 2
    assert "no such file" in capsys.readouterr().err
