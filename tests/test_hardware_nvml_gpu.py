"""What NVML does in the field, a test a row: one GPU has the fault, and the other notices nothing.

The rows come from the issues of other GPU monitors; each goes through the real bindings and the
compiled stand-in for the driver's library.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest
from nvml_fake import build_stub, run_with_stub

BOTH = "sensor = open_sensor(); answer = dump(sensor.read()), dump(sensor.cards())"
UNSUPPORTED = "this GPU or its driver does not support it"


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_stub(tmp_path_factory.mktemp("nvml"))


def errors(*functions: str, code: int, gpu: int = 0) -> str:
    return ";".join(f"{function}@{gpu}={code}" for function in functions)


def assert_untouched(reading: dict[str, Any]) -> None:
    """The second GPU of the stub tells everything."""
    assert reading["missing"] == {}
    assert (reading["power_w"], reading["memory_used_mib"]) == (100, 512)


def test_wsl_2_loses_use_and_processes_and_counts_memory_by_version_1(stub: Path) -> None:
    refused = errors(
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetComputeRunningProcesses",
        "nvmlDeviceGetGraphicsRunningProcesses",
        code=3,
    )
    broken = errors("nvmlDeviceGetMemoryInfo_v2", code=999)
    readings, cards = run_with_stub(stub, BOTH, errors=f"{refused};{broken}")
    assert readings[0]["missing"] == dict.fromkeys(
        ("utilization_percent", "memory_utilization_percent", "processes"), UNSUPPORTED
    )
    assert readings[0]["memory_used_mib"] == 768
    assert cards[0]["methods"]["memory_used_mib"] == "nvml v1"
    assert_untouched(readings[1])


def test_windows_hides_what_a_program_holds_and_not_that_it_is_there(stub: Path) -> None:
    readings, _ = run_with_stub(stub, BOTH, compute="4000;4001", process_mib="-1")
    assert readings[0]["processes"] == [
        {"pid": 4000, "memory_mib": None},
        {"pid": 4001, "memory_mib": None},
    ]
    assert "WDDM" in readings[0]["missing"]["processes.memory_mib"]
    assert readings[0]["memory_used_mib"] == 512  # never the sum of what is hidden


def test_a_program_that_computes_and_draws_is_one_program(stub: Path) -> None:
    readings, _ = run_with_stub(stub, BOTH, compute="4000;4001", graphics="4001;5000")
    assert [process["pid"] for process in readings[0]["processes"]] == [4000, 4001, 5000]


def test_what_a_program_holds_is_taken_from_the_list_that_tells_it(stub: Path) -> None:
    readings, _ = run_with_stub(stub, BOTH, compute="4000", graphics="4000", drawing_mib="-1")
    assert readings[0]["processes"] == [{"pid": 4000, "memory_mib": 1024}]
    assert readings[0]["missing"] == {}


def test_programs_are_told_apart_by_a_driver_that_lists_them_in_longer_entries(stub: Path) -> None:
    """Drivers 535.43 to 535.86 do, by version 3 (XuehaiPan/nvitop, pull request 79)."""
    readings, _ = run_with_stub(stub, BOTH, compute="4000;4001;4002", graphics="5000", wide="1")
    assert readings[0]["processes"] == [
        {"pid": pid, "memory_mib": 1024} for pid in (4000, 4001, 4002, 5000)
    ]


def test_readings_that_lack_the_same_share_the_note_of_it(stub: Path) -> None:
    """They are kept by the ten thousand."""
    look_twice = """
    sensor = open_sensor()
    first, second = (sensor.read()[0] for _ in range(2))
    answer = dict(first.missing), first.missing is second.missing
    """
    missing, shared = run_with_stub(
        stub, look_twice, errors=errors("nvmlDeviceGetFanSpeed", code=3)
    )
    assert missing == {"fan_percent": UNSUPPORTED}
    assert shared


def test_a_card_that_does_not_tell_who_draws_lists_who_computes(stub: Path) -> None:
    refused = errors("nvmlDeviceGetGraphicsRunningProcesses", code=3)
    readings, _ = run_with_stub(stub, BOTH, compute="4000", errors=refused)
    assert readings[0]["processes"] == [{"pid": 4000, "memory_mib": 1024}]


MIG = {
    "gpus": "NVIDIA A100-SXM4-40GB|40960|250;NVIDIA GeForce RTX 3060|12288|100",
    "mig": "NVIDIA A100-SXM4-40GB MIG 1g.5gb|4864;NVIDIA A100-SXM4-40GB MIG 2g.10gb|9856",
    "errors": ";".join(
        [
            errors("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryInfo_v2", code=4),
            errors("nvmlDeviceGetUtilizationRates", code=3),
            errors("nvmlDeviceGetUtilizationRates", code=3, gpu=8),
            errors("nvmlDeviceGetUtilizationRates", code=3, gpu=9),
        ]
    ),
}


def test_a_card_split_by_mig_is_followed_by_its_instances(stub: Path) -> None:
    (card, other, small, large), cards = run_with_stub(stub, BOTH, **MIG)
    assert [gpu["index"] for gpu in (card, other, small, large)] == [0, 1, 2, 3]
    assert [gpu["parent_index"] for gpu in (card, other, small, large)] == [None, None, 0, 0]
    assert card["missing"]["memory_used_mib"] == "the driver does not permit it to this user"
    assert (card["utilization_percent"], card["power_w"]) == (None, 250)
    assert [gpu["memory_total_mib"] for gpu in (small, large)] == [4864, 9856]
    assert small["uuid"].startswith("MIG-")
    assert small["missing"]["utilization_percent"] == UNSUPPORTED
    assert small["power_w"] is small["energy_j"] is None  # not the card's, which all share
    assert small["missing"]["energy_j"] == "instances of MIG share it; see GPU 0"
    assert [gpu["mig_enabled"] for gpu in cards] == [True, False, None, None]
    assert_untouched(other)


def test_a_chip_that_shares_the_hosts_memory_shows_the_hosts(stub: Path) -> None:
    refused = errors(
        "nvmlDeviceGetMemoryInfo",
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetEnforcedPowerLimit",
        "nvmlDeviceGetFanSpeed",
        code=3,
    )
    readings, cards = run_with_stub(stub, BOTH, gpus="NVIDIA GB10|0|80;B|1|100", errors=refused)
    total_mib = psutil.virtual_memory().total / 2**20
    assert readings[0]["memory_total_mib"] == pytest.approx(total_mib)
    assert 0 < readings[0]["memory_used_mib"] < total_mib
    assert readings[0]["missing"].keys() == {"power_limit_w", "fan_percent"}
    assert cards[0]["methods"]["memory_used_mib"] == "host memory, which the GPU shares"
    assert [card["unified_memory"] for card in cards] == [True, False]
    assert_untouched(readings[1])


@pytest.mark.parametrize("code", [4, 10, 13, 999])
def test_memory_that_is_hidden_for_another_reason_is_not_taken_for_the_hosts(
    stub: Path, code: int
) -> None:
    hidden = errors("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryInfo_v2", code=code)
    readings, cards = run_with_stub(stub, BOTH, errors=hidden)
    assert readings[0]["memory_used_mib"] is readings[0]["memory_total_mib"] is None
    assert cards[0]["unified_memory"] is None
    assert cards[0]["missing"]["unified_memory"] == readings[0]["missing"]["memory_used_mib"]
    assert_untouched(readings[1])


def test_a_grace_hopper_says_that_its_energy_is_the_whole_modules(stub: Path) -> None:
    cards = "NVIDIA GH200 480GB|97871|500;NVIDIA H200|143771|100"
    readings, infos = run_with_stub(stub, BOTH, gpus=cards)
    assert [gpu["power_scope"] for gpu in readings] == ["module", "gpu"]
    assert [card["power_scope"] for card in infos] == ["module", "gpu"]


@pytest.mark.parametrize(
    ("refused", "watts", "way"),
    [((), 700, "instant"), (("POWER_INSTANT",), 690, "average")],
)
def test_a_grace_hoppers_power_is_the_whole_modules_as_its_energy_is(
    stub: Path, refused: tuple[str, ...], watts: float, way: str
) -> None:
    cards = "NVIDIA GH200 480GB|97871|500;B|1|100"
    readings, infos = run_with_stub(stub, BOTH, gpus=cards, errors=errors(*refused, code=3))
    assert readings[0]["power_w"] == watts
    assert infos[0]["methods"]["power_w"] == way
    assert_untouched(readings[1])


def test_power_of_another_scope_than_the_energys_is_no_power(stub: Path) -> None:
    cards = "NVIDIA GH200 480GB|97871|500;B|1|100"
    refused = errors("POWER_INSTANT", "POWER_AVERAGE", code=3)
    readings, _ = run_with_stub(stub, BOTH, gpus=cards, errors=refused)
    assert readings[0]["power_w"] is None
    assert readings[0]["missing"] == {"power_w": UNSUPPORTED}
    assert_untouched(readings[1])


def test_a_driver_without_the_newer_questions_is_asked_the_older_ones(
    tmp_path: Path,
) -> None:
    """The symbols are really not in the library: what the bindings say then is their own."""
    old = build_stub(tmp_path, "-DNVML_STUB_OLD")
    readings, cards = run_with_stub(old, BOTH, reasons="0x20", compute="4000", graphics="5000")
    assert (readings[0]["memory_used_mib"], readings[0]["power_w"]) == (768, 140)
    assert readings[0]["throttle_reasons"] == ["sw_thermal"]
    assert [process["pid"] for process in readings[0]["processes"]] == [4000, 5000]
    assert readings[0]["missing"] == {}
    assert cards[0]["missing"] == {"mig_enabled": "this driver is too old to tell"}
    assert cards[0]["methods"] == {
        "memory_used_mib": "nvml v1",
        "power_w": "average",
        "throttle_reasons": "throttle reasons",
    }


def test_a_guest_without_power_and_clocks_keeps_the_rest(stub: Path) -> None:
    refused = errors(
        "POWER_INSTANT",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetEnforcedPowerLimit",
        "nvmlDeviceGetTotalEnergyConsumption",
        "SM_CLOCK",
        "MEMORY_CLOCK",
        "nvmlDeviceGetPerformanceState",
        code=3,
    )
    readings, _ = run_with_stub(stub, BOTH, errors=refused)
    guest = readings[0]
    assert guest["missing"] == dict.fromkeys(
        (
            *("power_w", "power_limit_w", "energy_j", "energy_update_s"),
            *("sm_clock_mhz", "memory_clock_mhz", "performance_state"),
        ),
        UNSUPPORTED,
    )
    assert (guest["memory_used_mib"], guest["temperature_c"]) == (512, 55)
    assert_untouched(readings[1])


def test_every_field_can_be_absent_on_its_own(stub: Path) -> None:
    functions = {
        "performance_state": "nvmlDeviceGetPerformanceState",
        "fan_percent": "nvmlDeviceGetFanSpeed",
        "pcie_generation_now": "nvmlDeviceGetCurrPcieLinkGeneration",
        "pcie_width_now": "nvmlDeviceGetCurrPcieLinkWidth",
        "processes": "nvmlDeviceGetComputeRunningProcesses",
        "sm_clock_mhz": "SM_CLOCK",
        "memory_clock_mhz": "MEMORY_CLOCK",
        "power_limit_w": "nvmlDeviceGetEnforcedPowerLimit",
        "uuid": "nvmlDeviceGetUUID",
    }
    for field, function in functions.items():
        readings, _ = run_with_stub(stub, BOTH, errors=errors(function, code=3))
        assert readings[0][field] is None
        assert readings[0]["missing"] == {field: UNSUPPORTED}
        assert_untouched(readings[1])
    for field, function in (
        ("ecc_enabled", "nvmlDeviceGetEccMode"),
        ("mig_enabled", "nvmlDeviceGetMigMode"),
    ):
        _, cards = run_with_stub(stub, BOTH, errors=errors(function, code=3))
        assert cards[0][field] is None
        assert cards[0]["missing"] == {field: UNSUPPORTED}


LOSE = """
from diffusion_bench.hardware.nvml import NvmlSensor
now_s = 0.0
sensor = NvmlSensor(clock=lambda: now_s)
sensor.read()
stub().nvmlStubError(b"*", 0, 0, {code})
answer = [dump(sensor.read())]
"""
COME_BACK = """
stub().nvmlStubError(b"*", 0, 0, 0)
now_s = 4.0
answer.append(dump(sensor.read()))
now_s = 6.0
answer.append(dump(sensor.read()))
"""


@pytest.mark.parametrize("code", [15, 16, 999])
def test_a_gpu_that_falls_off_the_bus_is_lost_alone_and_may_come_back(
    stub: Path, code: int
) -> None:
    gone, early, back = run_with_stub(stub, LOSE.format(code=code) + COME_BACK)
    assert gone[0]["power_w"] is early[0]["power_w"] is None
    assert "the GPU is lost" in gone[0]["missing"]["power_w"]
    assert gone[0]["missing"].keys() >= {"processes", "fan_percent", "energy_j"}
    assert (back[0]["power_w"], back[0]["fan_percent"], back[0]["missing"]) == (150, 30, {})
    for readings in (gone, early, back):
        assert_untouched(readings[1])


def test_a_gpu_that_came_back_tells_everything_at_once(stub: Path) -> None:
    """What is asked once a second was last asked of the lost one, and would be missing so long."""
    looks = """
now_s = 4.9
sensor.read()
stub().nvmlStubError(b"*", 0, 0, 0)
now_s = 5.1
answer = dump(sensor.read())
"""
    back = run_with_stub(stub, LOSE.format(code=15) + looks)
    assert (back[0]["power_w"], back[0]["fan_percent"], back[0]["missing"]) == (150, 30, {})


def test_another_card_in_the_place_of_a_lost_one_is_not_taken_for_it(stub: Path) -> None:
    swap = LOSE.format(code=15) + "stub().nvmlStubSwap(0)" + COME_BACK
    _, _, back = run_with_stub(stub, swap)
    assert back[0]["power_w"] is None
    assert "another one is in its place" in back[0]["missing"]["power_w"]
    assert_untouched(back[1])


def test_a_lost_gpu_is_not_asked_for_at_every_look(stub: Path) -> None:
    count = """
    for now_s in (0.1, 0.2, 4.9):
        sensor.read()
    answer = [stub().nvmlStubCalls(b"nvmlDeviceGetHandleByIndex", 0)]
    now_s = 5.1
    sensor.read()
    sensor.read()
    answer.append(stub().nvmlStubCalls(b"nvmlDeviceGetHandleByIndex", 0))
    """
    code = LOSE.format(code=15) + "\n".join(line[4:] for line in count.splitlines())
    assert run_with_stub(stub, code) == [1, 2]


def test_what_no_trace_keeps_is_asked_once_a_second(stub: Path) -> None:
    count = """
    from diffusion_bench.hardware.nvml import NvmlSensor
    now_s = 0.0
    sensor = NvmlSensor(clock=lambda: now_s)
    for tick in range(21):
        now_s = tick / 10
        fans = [gpu.fan_percent for gpu in sensor.read()]
    calls = [stub().nvmlStubCalls(name, 0) for name in
             (b"nvmlDeviceGetFanSpeed", b"nvmlDeviceGetEnforcedPowerLimit",
              b"nvmlDeviceGetPerformanceState", b"MEMORY_CLOCK", b"nvmlDeviceGetTemperature",
              b"SM_CLOCK", b"nvmlDeviceGetCurrentClocksEventReasons", b"POWER_INSTANT",
              b"nvmlDeviceGetMemoryInfo_v2", b"nvmlDeviceGetUtilizationRates")]
    answer = calls, fans
    """
    calls, fans = run_with_stub(stub, count)
    assert fans == [30, 30]
    assert calls[:4] == [3] * 4
    assert calls[4:8] == [21] * 4
    assert calls[8] == 22  # once more for all of it, which never changes
    assert calls[9] == 21 + 3  # the memory's once a second


def test_a_field_that_was_told_and_then_is_refused_says_so_and_is_not_asked_again(
    stub: Path,
) -> None:
    look = """
    sensor = open_sensor()
    answer = [sensor.read()[0].temperature_c]
    stub().nvmlStubError(b"nvmlDeviceGetTemperature", 0, 0, 3)
    calls = stub().nvmlStubCalls(b"nvmlDeviceGetTemperature", 0)
    looks = [sensor.read()[0] for _ in range(3)]
    answer += [dict(look.missing) for look in looks]
    answer.append(stub().nvmlStubCalls(b"nvmlDeviceGetTemperature", 0) - calls)
    """
    before, *missing, asked = run_with_stub(stub, look)
    assert before == 55
    assert missing == [{"temperature_c": UNSUPPORTED}] * 3
    assert asked == 1


@pytest.mark.parametrize("step_ms", [20, 100])
def test_the_energy_counters_update_period_is_found_by_watching(stub: Path, step_ms: int) -> None:
    watch = """
    from diffusion_bench.hardware import nvml
    from diffusion_bench.hardware.energy_counter import find_update_periods

    def rest(seconds):
        stub().nvmlStubAdvanceMs(1)
        clock[0] += 0.001

    clock = [0.0]
    nvml.find_update_periods = lambda counters: find_update_periods(
        counters, clock=lambda: clock[0], sleep=rest
    )
    sensor = open_sensor()
    answer = dump(sensor.read()), dump(sensor.cards())
    """
    readings, cards = run_with_stub(stub, watch, clock="manual", energy_ms=str(step_ms))
    assert [gpu["energy_update_s"] for gpu in readings] == pytest.approx([step_ms / 1000] * 2)
    assert [gpu["energy_update_s"] for gpu in cards] == pytest.approx([step_ms / 1000] * 2)


def test_a_gpu_without_a_counter_says_so_of_its_period_too(stub: Path) -> None:
    refused = errors("nvmlDeviceGetTotalEnergyConsumption", code=3)
    readings, _ = run_with_stub(stub, BOTH, errors=refused)
    assert readings[0]["missing"] == {"energy_j": UNSUPPORTED, "energy_update_s": UNSUPPORTED}
    assert_untouched(readings[1])
