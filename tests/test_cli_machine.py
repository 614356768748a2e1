"""What the machine's commands print."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from subprocess import PIPE
from typing import Any

import psutil
import pytest
from command_line import run
from fakes import make_cell, make_header, write_report
from nvml_fake import build_stub, stub_environment
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from diffusion_bench.hardware.machine import describe_machine, describe_software
from diffusion_bench.hardware.machine_card import machine_card
from diffusion_bench.hardware.sensors import open_sensor
from diffusion_bench.records import Reading
from diffusion_bench.reports.schema import GpuCard, Machine
from diffusion_bench.reports.store import to_line

ROOT = Path(__file__).parents[1]
LIMIT_S = 60


def reading_of(line: str) -> Reading:
    """Return the reading of a JSON line, which has its time of day too."""
    told = json.loads(line)
    assert told.pop("at_utc").endswith("Z")
    return Reading.model_validate_json(json.dumps(told), strict=True)


def test_the_machine_card_comes_first_unbroken_however_narrow_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert run("hardware", "--interval", "0.2") == 0
    with closing(open_sensor()) as sensor:
        card = machine_card(describe_machine(sensor), describe_software())
    assert capsys.readouterr().out.startswith(f"{card}\n")


def test_a_json_line_says_when_it_was_read(capsys: pytest.CaptureFixture[str]) -> None:
    before = datetime.now(UTC)
    assert run("hardware", "--json", "--count", "2", "--interval", "0.3") == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    times = [datetime.fromisoformat(told["at_utc"]) for told in (first, second)]
    assert before < times[0] < times[1] < datetime.now(UTC)
    between_s = (times[1] - times[0]).total_seconds()
    assert between_s == pytest.approx(second["at_s"] - first["at_s"], abs=0.1)


def test_a_json_line_is_a_reading(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("hardware", "--json", "--interval", "0.2") == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    assert output.count("\n") == 1
    reading = reading_of(output)
    assert reading.gpus or reading.no_gpu
    # One look alone could not tell it.
    assert reading.host.cpu_percent is not None
    assert 0 <= reading.host.cpu_percent <= 100


def test_each_core_is_told_after_the_usual_second(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("hardware", "--json") == 0
    reading = reading_of(capsys.readouterr().out)
    assert len(reading.host.core_percents) == psutil.cpu_count()


def test_a_count_ends_the_stream_and_each_line_is_a_reading(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("hardware", "--json", "--count", "3", "--interval", "0.02") == 0
    lines = capsys.readouterr().out.splitlines()
    times = [reading_of(line).at_s for line in lines]
    assert len(times) == 3
    assert times == sorted(times)


def test_without_a_terminal_watching_prints_a_line_a_reading(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("hardware", "--watch", "--count", "2", "--interval", "0.02") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("CPU ")]
    assert len(lines) == 2
    assert all("; memory " in line for line in lines)


def start(*options: str, environment: dict[str, str] | None = None, **pipes: Any) -> Any:
    """Start the command `hardware` in a process of its own, unbuffered by nobody but itself."""
    command = [sys.executable, "-m", "diffusion_bench", "hardware", "--interval", "0.02", *options]
    return subprocess.Popen(command, text=True, env=environment, **pipes)


def test_a_stream_is_flushed_by_line_and_ends_quietly_when_its_reader_leaves() -> None:
    with start("--watch", "--json", stdout=PIPE, stderr=PIPE) as process:
        reading_of(process.stdout.readline())  # while it goes on
        assert process.poll() is None
        process.stdout.close()
        assert process.wait(LIMIT_S) == 0
        assert process.stderr.read() == ""


def test_metrics_are_served_beside_a_stream_of_json() -> None:
    with start("--json", "--prometheus", "0", stdout=PIPE, stderr=PIPE) as process:
        for _ in range(2):
            reading_of(process.stdout.readline())
        assert process.stderr.readline().startswith("Metrics are at http://127.0.0.1:")
        process.stdout.close()
        assert process.wait(LIMIT_S) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX's")
def test_in_a_terminal_it_is_a_live_table_of_the_last_minutes_until_ctrl_c(tmp_path: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    wide = stub_environment(build_stub(tmp_path), gpus="A|1024|50") | {
        "COLUMNS": "120",
        "LINES": "60",
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
    }
    with start("--watch", environment=wide, stdin=theirs, stdout=theirs, stderr=PIPE) as process:
        os.close(theirs)
        shown = ""
        while shown.count("the last minutes") < 3:
            shown += os.read(ours, 4096).decode(errors="replace")
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # Linux' word for the other side's end
            while os.read(ours, 4096):
                pass
        assert process.wait(LIMIT_S) == 130
        assert process.stderr.read().strip() == "interrupted"
    os.close(ours)
    assert "GPU 0 A" in shown
    assert "▄" in shown  # the stub's GPU is 42 % busy


def test_metrics_are_served_to_this_machine_and_read_by_prometheus_own_parser(
    tmp_path: Path,
) -> None:
    stub = stub_environment(build_stub(tmp_path))
    with start("--prometheus", "0", environment=stub, stdout=PIPE, stderr=PIPE) as process:
        told = process.stderr.readline()
        address = told.rpartition(" ")[2].strip()
        assert address.startswith("http://127.0.0.1:")

        def scrape() -> dict[str, Metric]:
            with urllib.request.urlopen(address, timeout=LIMIT_S) as answer:
                text = answer.read().decode()
            return {each.name: each for each in text_string_to_metric_families(text)}

        while not (metrics := scrape()):  # until the first look
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 130
    power = metrics["diffusion_bench_gpu_power_watts"].samples
    assert [(sample.labels["gpu"], sample.value) for sample in power] == [("0", 150), ("1", 100)]
    assert metrics["diffusion_bench_gpu_energy_joules"].type == "counter"


def test_a_taken_port_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run("hardware", "--prometheus", str(port), "--count", "1") == 2
    error = capsys.readouterr().err
    assert error == f"error: port {port} is in use; --prometheus 0 takes a free one\n"


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_a_port_that_cannot_be_is_one_clear_line(
    port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("hardware", "--prometheus", port) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--prometheus" in error


def test_the_machine_is_shown_with_its_gpus_or_why_there_are_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("hardware", "--interval", "0.05") == 0
    shown = capsys.readouterr().out
    assert "CPU: " in shown
    assert "no GPU: " in shown or "GPU 0" in shown


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


def test_what_a_lost_gpu_does_not_tell_has_its_reason_once(tmp_path: Path) -> None:
    cards = "A|1024|50;B|2048|60"
    environment = stub_environment(build_stub(tmp_path), gpus=cards, errors="*@0=15")
    command = [sys.executable, "-m", "diffusion_bench", "hardware", "--interval", "0.05"]
    environment["COLUMNS"] = "300"
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.count("the GPU is lost: it fell off the bus") == 1
    assert "use, memory in use, power, temperature, " in shown.stdout
    assert "60.0 of 120.0 W" in shown.stdout  # of the other one


def test_a_card_that_cuda_programs_cannot_see_is_told_beside_its_readings(tmp_path: Path) -> None:
    two = stub_environment(build_stub(tmp_path), gpus="A|1024|50;A|1024|50")
    command = [sys.executable, "-m", "diffusion_bench", "hardware", "--interval", "0.05"]
    for visible, told in (("1", "hides GPU 0 from CUDA programs"), ("0,1", "")):
        environment = two | {"CUDA_VISIBLE_DEVICES": visible}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        lines = [line for line in done.stdout.splitlines() if "CUDA_VISIBLE_DEVICES" in line]
        assert lines == ([f"CUDA_VISIBLE_DEVICES={visible} {told}"] if told else [])
        assert "GPU 0 A" in done.stdout  # its readings are there all the same


@pytest.mark.usefixtures("without_proc")
def test_a_machine_without_proc_is_shown_with_what_is_unknown_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert run("hardware", "--interval", "0.05") == 0
    shown, errors = capsys.readouterr()
    assert "Memory: " in shown
    assert "cannot tell: the system does not tell its memory" in shown
    assert errors == ""


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


def test_the_doctor_marks_a_report_of_another_machine_as_imported_and_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(open_sensor()) as sensor:
        here = describe_machine(sensor)
    foreign, head = tmp_path / "foreign.jsonl", make_header(cells=[make_cell().request])
    own, seen = tmp_path / "own.jsonl", here.model_dump(exclude={"gpus"})
    gpus = tuple(GpuCard(index=gpu.index, name=gpu.name or "unknown") for gpu in here.gpus)
    machine = Machine(**seen, gpus=gpus)
    for path, header in ((foreign, head), (own, head.model_copy(update={"machine": machine}))):
        path.write_bytes(to_line(header) + to_line(make_cell()))
    assert run("doctor", str(foreign)) == 0
    assert "note: imported, unverified" in capsys.readouterr().out
    assert run("doctor", "--json", str(own), str(foreign)) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    marked = [each["report"] for each in found if each["title"] == "imported, unverified"]
    assert marked == [str(foreign)]


def test_the_doctor_tells_other_tools_a_json_line_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = tmp_path / "forged.jsonl"
    forged.write_bytes(to_line(make_header()) + to_line(make_cell(wall_s=(1.0,) * 5)))
    assert run("doctor", "--json", str(forged)) == 1
    findings = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {finding["report"] for finding in findings} == {str(forged)}
    assert findings[0]["level"] == "problem"
    assert set(findings[0]) == {"report", "level", "title", "detail", "advice"}


@pytest.mark.skipif(sys.platform != "linux", reason="names of any letters")
def test_json_is_json_whatever_the_encoding_of_the_output(tmp_path: Path) -> None:
    """Of cp1252, as in a pipe of Windows: `\\xfc` and `\\U0001f642` would be no JSON."""
    name = "f\u00fcr \U0001f642.jsonl"
    write_report(tmp_path / name, make_cell())
    for encoding in ("ascii", "cp1252"):
        done = subprocess.run(
            [sys.executable, "-m", "diffusion_bench", "doctor", "--json", name],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
            capture_output=True,
            check=True,
        )
        assert {json.loads(line)["report"] for line in done.stdout.splitlines()} == {name}
