"""A driver that hangs: who asks it goes on, and what it could not tell is marked."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from nvml_fake import build_stub, run_with_stub, stub_environment
from processes import wait_until
from warm_workers import WarmStart

from diffusion_bench.hardware import facts
from diffusion_bench.hardware.nvml_health import DriverHealth
from diffusion_bench.hardware.patience import PatientSensor
from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.sensors import GpuInfo, HungDriver, NoGpu
from diffusion_bench.records import GpuReading

SOON_S = 0.05
LONG_S = 60.0  # nothing here waits so long, unless it is broken


class Stuck:
    """A GPU whose questions wait for `go_on` once `hang` was called."""

    reason = None

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()
        self.asked = 0
        self.asked_for_others = 0
        self.closed = 0

    def hang(self) -> None:
        self.go_on.clear()

    def read(self) -> tuple[GpuReading, ...]:
        self.asked += 1
        self.go_on.wait(LONG_S)
        return (GpuReading(index=3, name="RTX", power_w=100.0),)

    def cards(self) -> tuple[GpuInfo, ...]:
        self.go_on.wait(LONG_S)
        return (GpuInfo(index=3, name="RTX", memory_total_mib=1024.0),)

    def other_processes(self, gpu_index: int, own_pids: Collection[int]) -> tuple[int | None, str]:
        self.asked_for_others += 1
        self.go_on.wait(LONG_S)
        return 5, ""

    def close(self) -> None:
        self.closed += 1


class Unforeseen(Exception):
    """An error of the bindings' own, or a bug of ours."""


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    driver = Stuck()
    yield driver
    driver.go_on.set()


@pytest.fixture
def patient(stuck: Stuck) -> Iterator[PatientSensor]:
    sensor = PatientSensor(lambda: stuck, limit_s=SOON_S)
    yield sensor
    stuck.go_on.set()
    sensor.close()


def test_a_driver_that_answers_is_only_passed_on(patient: PatientSensor) -> None:
    assert patient.reason is None
    assert patient.read()[0].power_w == 100
    assert patient.cards()[0].name == "RTX"
    assert patient.other_processes(3, ()) == (5, "")


def test_every_question_to_a_driver_that_hangs_is_answered_with_the_reason(
    stuck: Stuck, patient: PatientSensor
) -> None:
    stuck.hang()
    (reading,) = patient.read()
    assert (reading.index, reading.name, reading.memory_total_mib) == (3, "RTX", 1024)
    assert reading.power_w is None
    assert "the driver hangs: it has not answered for" in reading.missing["power_w"]
    assert {"index", "name", "memory_total_mib"}.isdisjoint(reading.missing)
    untold = {name for name, value in reading if value is None} - {"parent_index"}
    assert untold - {"missing"} <= reading.missing.keys()
    assert patient.cards()[0].name == "RTX"
    assert "the driver hangs" in patient.other_processes(3, ())[1]


def test_a_hanging_driver_gets_no_second_question_and_goes_on_where_it_left(
    stuck: Stuck, patient: PatientSensor
) -> None:
    stuck.hang()
    for _ in range(20):
        patient.read()
    assert stuck.asked == 1
    stuck.go_on.set()
    assert wait_until(lambda: patient.read()[0].power_w == 100, limit_s=LONG_S)
    assert stuck.asked <= 3


def test_a_driver_that_is_known_to_hang_keeps_nobody_for_the_limit(stuck: Stuck) -> None:
    patient = PatientSensor(lambda: stuck, limit_s=0.5)
    stuck.hang()
    patient.read()
    start_s = time.monotonic()
    for _ in range(20):
        patient.read()
    assert time.monotonic() - start_s < 5  # not 20 times the limit


def test_a_question_that_was_given_up_is_not_asked_later(
    stuck: Stuck, patient: PatientSensor
) -> None:
    stuck.hang()
    first = threading.Thread(target=patient.read)
    first.start()
    assert wait_until(lambda: stuck.asked == 1, limit_s=LONG_S)
    count, why = patient.other_processes(3, ())
    assert count is None
    assert "the driver hangs" in why
    first.join(LONG_S)
    stuck.go_on.set()
    assert wait_until(lambda: patient.read()[0].power_w == 100, limit_s=LONG_S)
    assert stuck.asked_for_others == 0


@pytest.mark.parametrize("kind", [ValueError, TimeoutError, Unforeseen])
def test_what_a_driver_raises_reaches_who_asked(stuck: Stuck, kind: type[Exception]) -> None:
    patient = PatientSensor(lambda: stuck, limit_s=LONG_S)

    def broken() -> tuple[GpuReading, ...]:
        raise kind("nonsense from the driver")

    working, stuck.read = stuck.read, broken  # type: ignore[method-assign]
    with pytest.raises(kind, match="nonsense from the driver"):
        patient.read()
    stuck.read = working  # type: ignore[method-assign]
    assert patient.read()[0].power_w == 100
    patient.close()


def test_a_driver_that_does_not_start_is_no_gpu_with_the_reason() -> None:
    held = threading.Event()

    def start() -> NoGpu:
        held.wait(LONG_S)
        return NoGpu("too late")

    sensor = PatientSensor(start, limit_s=SOON_S, open_limit_s=SOON_S)
    try:
        assert sensor.reason is not None
        assert "the driver hangs" in sensor.reason
        assert (sensor.read(), sensor.cards()) == ((), ())
        opened = sensor.opened()
        assert isinstance(opened, HungDriver)
        assert opened.reason == sensor.reason
    finally:
        held.set()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Whom the doctor asked what may hang with the driver."""
    found: set[str] = set()

    def ask_driver() -> DriverHealth:
        found.add("driver")
        return DriverHealth()

    def is_available() -> bool:
        found.add("torch")
        return False

    monkeypatch.setattr(facts, "ask_driver", ask_driver)
    monkeypatch.setattr("torch.cuda.is_available", is_available)
    return found


@pytest.mark.parametrize("sensor", [HungDriver("it hangs"), NoGpu("the driver hangs: not it")])
def test_only_a_driver_that_hangs_is_not_asked_by_the_doctor(
    sensor: NoGpu, asked: set[str]
) -> None:
    seen = facts.gather_facts(sensor)
    hangs = isinstance(sensor, HungDriver)
    assert (seen.no_gpu, seen.driver_hangs) == (sensor.reason, sensor.reason if hangs else None)
    assert asked == (set() if hangs else {"driver", "torch"})
    assert seen.torch_says.threads  # which it can tell without


def test_a_driver_that_hangs_since_it_was_opened_is_not_asked_by_the_doctor_either(
    stuck: Stuck, patient: PatientSensor, asked: set[str]
) -> None:
    stuck.hang()
    seen = facts.gather_facts(patient, rest=lambda seconds: None)
    assert seen.driver_hangs is not None
    assert "it has not answered for" in seen.driver_hangs
    assert [card.name for card in seen.gpus] == ["RTX"]
    assert asked == set()


def test_a_card_that_takes_seconds_to_wake_is_no_driver_that_hangs(
    stuck: Stuck, patient: PatientSensor, asked: set[str]
) -> None:
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        if rests.count(facts.WAKE_S) == 2:
            stuck.go_on.set()
            time.sleep(SOON_S)  # for what was asked before

    stuck.hang()
    seen = facts.gather_facts(patient, rest=rest)
    assert rests.count(facts.WAKE_S) == 2
    assert seen.driver_hangs is None
    assert [(one.name, one.power_w) for one in seen.gpu_readings] == [("RTX", 100.0)]
    assert asked == {"driver", "torch"}


def test_closing_neither_waits_for_a_hanging_driver_nor_leaves_a_thread(stuck: Stuck) -> None:
    def drivers() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "gpu-driver"}

    others = drivers()
    sensor = PatientSensor(lambda: stuck, limit_s=SOON_S)
    stuck.hang()
    sensor.read()
    sensor.close()
    assert stuck.closed == 0
    assert "the sensor is closed" in sensor.read()[0].missing["power_w"]
    stuck.go_on.set()
    assert wait_until(lambda: not drivers() - others, limit_s=LONG_S)
    again = PatientSensor(lambda: stuck, limit_s=LONG_S)
    again.close()
    again.close()
    assert stuck.closed == 1


def test_the_sampler_goes_on_while_a_reading_hangs_and_marks_the_gap(
    stuck: Stuck, patient: PatientSensor
) -> None:
    with Sampler(patient, interval_s=0.01) as sampler:
        assert wait_until(lambda: len(sampler.history()) >= 3, limit_s=LONG_S)
        stuck.hang()
        before = len(sampler.history())
        assert wait_until(lambda: len(sampler.history()) >= before + 10, limit_s=LONG_S)
        stuck.go_on.set()
        assert wait_until(lambda: sampler.history()[-1].gpus[0].power_w == 100, limit_s=LONG_S)
    hung = [look for look in sampler.history() if look.gpus[0].power_w is None]
    assert len(hung) >= 9
    assert all("the driver hangs" in look.gpus[0].missing["power_w"] for look in hung)
    assert all(look.host.ram_used_mib for look in hung)
    # The first of them waited for the limit: what should have been looked at meanwhile is a gap.
    late = [look.gap_s for look in sampler.history() if look.gap_s]
    assert max(late) >= SOON_S


def test_a_call_that_hangs_in_the_real_bindings_stops_nobody(tmp_path: Path) -> None:
    """The call sleeps in C for a minute. Bindings that kept the GIL meanwhile would fail it."""
    hang = """
    import time
    from diffusion_bench.hardware.sampler import Sampler
    sensor = open_sensor()
    sensor._limit_s = 0.1
    with Sampler(sensor, interval_s=0.05) as sampler:
        while not sampler.history():
            time.sleep(0.01)
        stub().nvmlStubHang(b"nvmlDeviceGetTemperature", 1, 60_000)
        before = len(sampler.history())
        while len(sampler.history()) < before + 20:
            time.sleep(0.01)
        asked = time.monotonic()
        last = sampler.look()
        took_s = time.monotonic() - asked
        cards = len(sensor.cards())
    sensor.close()
    answer = took_s, dump(last.gpus), cards, stub().nvmlStubCalls(b"nvmlDeviceGetTemperature", 1)
    """
    start_s = time.monotonic()
    took_s, gpus, cards, calls = run_with_stub(build_stub(tmp_path), hang)
    assert took_s < 1
    assert cards == 2
    assert [gpu["name"] for gpu in gpus] == ["NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3060"]
    assert all("the driver hangs" in gpu["missing"]["temperature_c"] for gpu in gpus)
    assert calls >= 2
    assert time.monotonic() - start_s < 50  # nor does the end of the program wait


def test_a_program_ends_while_a_driver_hangs(tmp_path: Path) -> None:
    program = """
import pynvml
from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.sensors import open_sensor
sensor = open_sensor()
sensor._limit_s = 0.1
pynvml.nvmlLib.nvmlStubHang(b"nvmlDeviceGetTemperature", 0, 60_000)
with Sampler(sensor, interval_s=0.01) as sampler:
    reading = sampler.look()
sensor.close()
print(reading.gpus[1].missing["power_w"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=stub_environment(build_stub(tmp_path)),
        capture_output=True,
        text=True,
        timeout=50,  # the call takes longer
        check=True,
    )
    assert "the driver hangs" in done.stdout
    assert done.stderr == ""


@pytest.mark.slow
def test_a_sweep_goes_on_while_a_driver_hangs_and_its_trace_has_the_hole(
    tmp_path: Path, warm_start: WarmStart
) -> None:
    sweep = f"""
    from pathlib import Path
    from diffusion_bench.bench.runner import run_sweep
    from diffusion_bench.bench.sweep import parse_sweep
    from diffusion_bench.reports.read import read_report
    plan = 'name = "hung"\\nrepeats = 30\\n[axes]\\nsteps = [2]\\nsampler = ["ddim"]'
    path = Path({str(tmp_path)!r}) / "hung.jsonl"
    hung = False
    for event in run_sweep(parse_sweep(plan), path, device="cpu"):
        if event.kind == "repeated" and not hung:
            hung = True
            stub().nvmlStubHang(b"nvmlDeviceGetTemperature", 1, 5000)
    (cell,) = read_report(path).cells
    answer = hung, cell.status, cell.message, len(cell.samples), cell.trace.model_dump()
    """
    hung, status, message, samples, trace = run_with_stub(
        build_stub(tmp_path), warm_start.program() + textwrap.dedent(sweep)
    )
    assert hung
    assert (status, message, samples) == ("ok", "", 30)
    power_w = trace["gpus"][0]["power_w"]
    assert 150 in power_w
    assert None in power_w
    assert None not in power_w[: power_w.index(None)]
    seen = [used for used, watts in zip(trace["ram_used_mib"], power_w, strict=True) if not watts]
    assert any(seen)  # the host was read all the while
