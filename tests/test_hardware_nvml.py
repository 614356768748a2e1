"""NVML through its real bindings and a stand-in driver library: every fault of the field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from nvml_fake import build_stub, run_with_stub

READ = "answer = dump(open_sensor().read())"
REASON = "answer = open_sensor().reason"


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_stub(tmp_path_factory.mktemp("nvml"))


def test_two_gpus_read_every_field_in_its_unit(stub: Path) -> None:
    first, second = run_with_stub(stub, READ, clock="manual", compute="4000", energy_ms="100")
    assert first == {
        "index": 0,
        "parent_index": None,
        "name": "NVIDIA GeForce RTX 4090",
        "uuid": "GPU-00000000-0000-0000-0000-000000000000",
        "utilization_percent": 42,
        "memory_utilization_percent": 17,
        "memory_used_mib": 512,
        "memory_total_mib": 24564,
        "power_w": 150,
        "power_limit_w": 300,
        "power_scope": "gpu",
        "energy_j": 1000,
        "energy_update_s": None,
        "temperature_c": 55,
        "sm_clock_mhz": 2520,
        "memory_clock_mhz": 10501,
        "performance_state": 2,
        "throttle_reasons": [],
        "pcie_generation_now": 1,
        "pcie_width_now": 8,
        "fan_percent": 30,
        "processes": [{"pid": 4000, "memory_mib": 1024}],
        "missing": {"energy_update_s": "the energy counter did not move twice within 0.5 s"},
    }
    assert (second["index"], second["name"], second["power_w"]) == (
        1,
        "NVIDIA GeForce RTX 3060",
        100,
    )


def test_the_cards_carry_the_driver_and_the_ways_of_measuring(stub: Path) -> None:
    card = run_with_stub(stub, "answer = dump(open_sensor().cards())")[1]
    assert 0 < card.pop("energy_update_s") < 0.5
    assert card == {
        "index": 1,
        "parent_index": None,
        "vendor": "nvidia",
        "name": "NVIDIA GeForce RTX 3060",
        "uuid": "GPU-00000000-0000-0000-0000-000000000001",
        "memory_total_mib": 12288,
        "power_limit_w": 200,
        "power_limit_default_w": 205,
        "pcie_generation": 4,
        "pcie_width": 16,
        "display_active": False,
        "ecc_enabled": False,
        "mig_enabled": False,
        "unified_memory": False,
        "power_scope": "gpu",
        "driver": "999.99",
        "methods": {
            "memory_used_mib": "nvml v2",
            "power_w": "instant",
            "throttle_reasons": "event reasons",
        },
        "missing": {},
    }


def test_a_field_one_gpu_does_not_know_is_none_with_a_reason_and_costs_no_other(stub: Path) -> None:
    first, second = run_with_stub(stub, READ, errors="nvmlDeviceGetTemperature@1=3")
    assert second["temperature_c"] is None
    assert second["missing"] == {"temperature_c": "this GPU or its driver does not support it"}
    assert second["power_w"] == 100
    assert (first["temperature_c"], first["missing"]) == (55, {})


@pytest.mark.parametrize("code", [3, 13])
def test_what_a_gpu_refuses_for_good_is_not_asked_again(stub: Path, code: int) -> None:
    look_five_times = """
    sensor = open_sensor()
    looks = [sensor.read()[0].temperature_c for _ in range(5)]
    answer = looks, stub().nvmlStubCalls(b"nvmlDeviceGetTemperature", 0)
    """
    errors = f"nvmlDeviceGetTemperature={code}"
    assert run_with_stub(stub, look_five_times, errors=errors) == [[None] * 5, 1]


def test_a_passing_error_is_asked_again(stub: Path) -> None:
    recover = """
    sensor = open_sensor()
    before = sensor.read()[0]
    stub().nvmlStubError(b"nvmlDeviceGetTemperature", -1, 0, 0)
    answer = before.temperature_c, before.missing, sensor.read()[0].temperature_c
    """
    before, missing, after = run_with_stub(stub, recover, errors="nvmlDeviceGetTemperature=10")
    assert (before, missing, after) == (None, {"temperature_c": "NVML: Timeout"}, 55)


@pytest.mark.parametrize("code", [3, 13, 999])
def test_memory_falls_back_to_version_1_where_2_fails(stub: Path, code: int) -> None:
    look = """
    sensor = open_sensor()
    answer = dump(sensor.read()), dump(sensor.cards())
    """
    readings, cards = run_with_stub(stub, look, errors=f"nvmlDeviceGetMemoryInfo_v2@0={code}")
    assert [gpu["memory_used_mib"] for gpu in readings] == [768, 512]
    assert [card["methods"]["memory_used_mib"] for card in cards] == ["nvml v1", "nvml v2"]
    assert readings[0]["missing"] == {}


def test_a_figure_does_not_change_its_meaning_during_a_run(stub: Path) -> None:
    """Version 1 counts what the driver reserves: one look by it would draw a step in the trace."""
    look = """
    sensor = open_sensor()
    answer = [sensor.read()[0].memory_used_mib]
    stub().nvmlStubError(b"nvmlDeviceGetMemoryInfo_v2", 0, 0, 10)
    answer += [sensor.read()[0].memory_used_mib, sensor.read()[0].missing]
    """
    before, after, missing = run_with_stub(stub, look)
    assert (before, after, missing) == (512, None, {"memory_used_mib": "NVML: Timeout"})


def test_power_is_the_instant_one_and_the_average_where_there_is_none(stub: Path) -> None:
    look = "sensor = open_sensor(); answer = dump(sensor.read()), dump(sensor.cards())"
    readings, cards = run_with_stub(stub, look, errors="POWER_INSTANT@0=3")
    assert [gpu["power_w"] for gpu in readings] == [140, 100]
    assert [card["methods"]["power_w"] for card in cards] == ["average", "instant"]


def test_every_reason_for_lower_clocks_has_its_name(stub: Path) -> None:
    names = [
        run_with_stub(stub, READ, reasons=str(1 << bit))[0]["throttle_reasons"][0]
        for bit in (2, 5, 6)
    ]
    assert names == ["sw_power_cap", "sw_thermal", "hw_thermal"]
    both = run_with_stub(stub, READ, reasons="0x1ff")[0]["throttle_reasons"]
    assert both == [
        "gpu_idle",
        "applications_clocks",
        "sw_power_cap",
        "hw_slowdown",
        "sync_boost",
        "sw_thermal",
        "hw_thermal",
        "hw_power_brake",
        "display_clock",
    ]


def test_a_reason_newer_than_this_program_is_not_taken_for_none(stub: Path) -> None:
    assert run_with_stub(stub, READ, reasons="0x204")[0]["throttle_reasons"] == [
        "sw_power_cap",
        "reason_0x200",
    ]


def test_an_older_driver_is_asked_by_the_older_name(stub: Path) -> None:
    old = {"reasons": "0x40", "errors": "nvmlDeviceGetCurrentClocksEventReasons=13"}
    assert run_with_stub(stub, READ, **old)[0]["throttle_reasons"] == ["hw_thermal"]
    older = "nvmlDeviceGetCurrentClocksThrottleReasons=13;" + old["errors"]
    first = run_with_stub(stub, READ, errors=older)[0]
    assert first["throttle_reasons"] is None
    assert first["missing"] == {"throttle_reasons": "this driver is too old to tell"}


def test_a_card_that_answers_no_extra_question_is_not_lost(stub: Path) -> None:
    """WSL 2 answers unknown questions with an unknown error."""
    extras = ("MaxPcieLinkGeneration", "MaxPcieLinkWidth", "PowerManagementDefaultLimit")
    errors = ";".join(f"nvmlDeviceGet{name}=999" for name in (*extras, "DisplayActive"))
    look = "sensor = open_sensor(); answer = dump(sensor.cards()), dump(sensor.read())"
    cards, readings = run_with_stub(stub, look, errors=errors)
    assert set(cards[0]["missing"]) == {
        "pcie_generation",
        "pcie_width",
        "power_limit_default_w",
        "display_active",
    }
    assert (readings[0]["power_w"], readings[0]["missing"]) == (150, {})


OTHERS = """
import os
from diffusion_bench.hardware import nvml
nvml.sees_every_process = lambda: {sees_all}
os.environ["NVML_STUB_COMPUTE"] = f"{{os.getpid()}};4000;4001"
sensor = open_sensor()
own = {{os.getpid()}}
answer = [sensor.other_processes(0, own), sensor.other_processes(1, own | {{4000}})]
"""
SEEING = OTHERS.format(sees_all=True)


def test_other_programs_that_compute_are_counted_without_our_own(stub: Path) -> None:
    assert run_with_stub(stub, SEEING) == [[2, ""], [1, ""]]


def test_programs_of_the_desktop_are_not_counted(stub: Path) -> None:
    assert run_with_stub(stub, SEEING, graphics="4001;5000") == [[1, ""], [0, ""]]


def test_all_programs_count_where_the_driver_does_not_tell_who_draws(stub: Path) -> None:
    errors = "nvmlDeviceGetGraphicsRunningProcesses=3"
    assert run_with_stub(stub, SEEING, errors=errors) == [[2, ""], [1, ""]]


@pytest.mark.parametrize(("code", "words"), [(10, "Timeout"), (999, "unknown error"), (15, "lost")])
def test_who_draws_not_told_at_one_look_makes_no_others_of_a_desktop(
    stub: Path, code: int, words: str
) -> None:
    errors = f"nvmlDeviceGetGraphicsRunningProcesses@0={code}"
    first, second = run_with_stub(stub, SEEING, graphics="4000;4001", errors=errors)
    assert first[0] is None
    assert words in first[1]
    assert second == [0, ""]


def test_in_a_container_nobody_else_listed_cannot_be_told(stub: Path) -> None:
    first, second = run_with_stub(stub, OTHERS.format(sees_all=False), graphics="4001")
    assert first == [1, ""]
    assert second == [None, "the driver may hide the programs outside this container"]


def test_a_gpu_that_does_not_tell_its_programs_says_why(stub: Path) -> None:
    errors = "nvmlDeviceGetComputeRunningProcesses=3"
    assert run_with_stub(stub, SEEING, errors=errors)[0] == [
        None,
        "this GPU or its driver does not support it",
    ]


def test_the_processes_of_a_gpu_that_is_not_there_cannot_be_told(stub: Path) -> None:
    ask = "answer = open_sensor().other_processes(7, ())"
    assert run_with_stub(stub, ask) == [None, "the driver shows no GPU 7"]


@pytest.mark.parametrize(("code", "words"), [(15, "fell off the bus"), (999, "unknown error")])
def test_a_lost_gpu_is_said_and_the_other_goes_on(stub: Path, code: int, words: str) -> None:
    lose = f"""
    sensor = open_sensor()
    sensor.read()
    stub().nvmlStubError(b"*", 0, 0, {code})
    sensor.read()
    calls = stub().nvmlStubCalls(b"nvmlDeviceGetTemperature", 0)
    answer = dump(sensor.read())
    answer.append(stub().nvmlStubCalls(b"nvmlDeviceGetTemperature", 0) - calls)
    """
    lost, alive, asked_again = run_with_stub(stub, lose)
    assert lost["name"] == "NVIDIA GeForce RTX 4090"
    assert lost["power_w"] is lost["memory_used_mib"] is None
    assert words in lost["missing"]["power_w"]
    assert words in lost["missing"]["sm_clock_mhz"]
    assert (alive["power_w"], alive["missing"]) == (100, {})
    assert asked_again == 0


def test_a_gpu_lost_in_the_middle_of_a_look_keeps_what_it_told(stub: Path) -> None:
    lose = """
    sensor = open_sensor()
    stub().nvmlStubError(b"nvmlDeviceGetTemperature", 0, 0, 15)
    answer = dump(sensor.read())
    """
    first, _ = run_with_stub(stub, lose)
    assert (first["utilization_percent"], first["power_w"]) == (42, 150)
    assert "lost" in first["missing"]["temperature_c"]
    assert "lost" in first["missing"]["sm_clock_mhz"]


def test_one_unknown_error_is_a_fields_trouble_and_not_a_lost_gpu(stub: Path) -> None:
    look = "sensor = open_sensor(); sensor.read(); answer = dump(sensor.read())"
    first, _ = run_with_stub(stub, look, errors="nvmlDeviceGetTemperature@0=999")
    assert first["missing"] == {"temperature_c": "the driver answers with an unknown error"}
    assert first["power_w"] == 150


def test_a_name_that_is_not_text_costs_only_the_name(stub: Path) -> None:
    (gpu,) = run_with_stub(stub, READ, gpus="RTX \udcff|1024|50")
    assert (gpu["name"], gpu["power_w"]) == (None, 50)
    assert gpu["missing"].keys() == {"name", "power_scope"}  # the scope is known by the name
    assert gpu["missing"]["name"] == "the driver's answer is not text"


def test_a_name_in_bytes_is_read(stub: Path) -> None:
    """Bindings before 11.5 hand out bytes."""
    old = 'pynvml.nvmlDeviceGetName = lambda handle: b"Tesla"\n' + READ
    assert [gpu["name"] for gpu in run_with_stub(stub, old)] == ["Tesla", "Tesla"]


def test_a_hashed_uuid_tells_two_cards_apart_and_names_neither(stub: Path) -> None:
    hashing = """
    from diffusion_bench.hardware.sensors import uuid_hash
    answer = [uuid_hash(card.uuid) for card in open_sensor().cards()]
    """
    first, second = run_with_stub(stub, hashing)
    assert first != second
    assert re.fullmatch("[0-9a-f]{12}", first)
    assert first not in "GPU-00000000-0000-0000-0000-000000000000"


def test_a_gpu_that_is_not_handed_out_is_listed_with_the_reason(stub: Path) -> None:
    first, second = run_with_stub(stub, READ, errors="nvmlDeviceGetHandleByIndex@0=4")
    assert first["name"] is None
    assert first["missing"]["name"] == "the driver does not permit it to this user"
    assert second["power_w"] == 100


def test_a_gpu_off_the_bus_that_has_no_handle_and_no_error_of_its_own_is_lost(stub: Path) -> None:
    first, second = run_with_stub(stub, READ, errors="nvmlDeviceGetHandleByIndex@0=999")
    told = set(first["missing"].values())
    assert "the GPU is lost: the driver answers with an unknown error when it is asked for" in told
    assert second["power_w"] == 100


@pytest.mark.parametrize(
    ("code", "words"),
    [("9", "not loaded"), ("18", "reboot"), ("12", "driver library"), ("4", "NVML error 4")],
)
def test_a_driver_that_does_not_start_is_a_sentence_not_an_error(
    stub: Path, code: str, words: str
) -> None:
    assert words in run_with_stub(stub, REASON, init=code)


def test_without_the_driver_library_there_is_a_sentence(tmp_path: Path) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has an NVIDIA driver")
    sensor = "sensor = open_sensor(); answer = sensor.reason, sensor.read(), sensor.cards()"
    reason, readings, cards = run_with_stub(tmp_path, sensor)
    assert "driver" in reason
    assert (readings, cards) == ([], [])


def test_a_driver_without_a_gpu_is_no_gpu(stub: Path) -> None:
    assert (
        run_with_stub(stub, REASON, gpus="none") == "the NVIDIA driver is loaded and reports no GPU"
    )


def test_a_closed_sensor_answers_with_reasons(stub: Path) -> None:
    close = "sensor = open_sensor(); sensor.close(); sensor.close(); answer = dump(sensor.read())"
    first, _ = run_with_stub(stub, close)
    assert first["missing"]["power_w"] == "the sensor is closed"
    assert first["name"] == "NVIDIA GeForce RTX 4090"


def test_the_outdated_pynvml_package_is_named_with_the_cure(stub: Path, tmp_path: Path) -> None:
    (tmp_path / "pynvml").mkdir()
    (tmp_path / "pynvml" / "__init__.py").write_text("class NVMLError(Exception): pass\n")
    hide = f"""
    import importlib, sys
    sys.modules.pop("pynvml")
    sys.path.insert(0, {str(tmp_path)!r})
    importlib.invalidate_caches()
    answer = open_sensor().reason
    """
    assert re.search("hides nvidia-ml-py; run: pip uninstall -y pynvml", run_with_stub(stub, hide))


MEASURE_2_S = """
from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.energy import measure_energy

now_s = 0.0
sampler = Sampler(open_sensor(), clock=lambda: now_s)
sampler.look()
for _ in range(40):  # 20 Hz
    stub().nvmlStubAdvanceMs(50)
    now_s += 0.05
    sampler.look()
energy, method = measure_energy(sampler.history(), 0, 0.0, 2.0, [])
answer = energy.total_j, method
"""


def test_150_w_for_2_s_are_300_j_by_the_counter(stub: Path) -> None:
    value, method = run_with_stub(stub, MEASURE_2_S, clock="manual")
    assert method == "counter"
    assert value == pytest.approx(300, abs=1e-6)


def test_150_w_for_2_s_are_300_j_by_integration_within_1_percent(stub: Path) -> None:
    errors = "nvmlDeviceGetTotalEnergyConsumption=3"
    value, method = run_with_stub(stub, MEASURE_2_S, clock="manual", errors=errors)
    assert method == "integrated power"
    assert value == pytest.approx(300, rel=0.01)


def test_readings_of_two_gpus_are_small_enough_to_keep_an_hour_of_them(stub: Path) -> None:
    """At 10 Hz an hour is 36,000: with 5 KB each below 180 MB."""
    weigh = """
    import gc, tracemalloc
    from diffusion_bench.hardware.sampler import Sampler
    sampler = Sampler(open_sensor())
    sampler.look(), sampler.look()
    gc.collect()
    tracemalloc.start()
    for _ in range(300):
        sampler.look()
    answer = len(sampler.latest().gpus), tracemalloc.get_traced_memory()[0] / 300
    """
    gpus, size = run_with_stub(stub, weigh, compute="4000;4001", errors="nvmlDeviceGetFanSpeed=3")
    assert gpus == 2
    assert size < 5000
