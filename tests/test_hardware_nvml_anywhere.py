"""What is written around NVML's bindings, on every system: no compiler and no library is needed."""

from __future__ import annotations

import pynvml
import pytest
from nvml_stand_in import standing_in

from diffusion_bench.hardware.nvml import NvmlSensor
from diffusion_bench.hardware.nvml_errors import NOT_SUPPORTED
from diffusion_bench.hardware.nvml_health import CardHealth, DriverHealth, ask_driver
from diffusion_bench.hardware.sensors import open_sensor


def test_every_field_is_read_and_what_stands_is_said() -> None:
    with standing_in():
        sensor = NvmlSensor()
        (reading,) = sensor.read()
        (card,) = sensor.cards()
        sensor.close()
    assert (reading.name, reading.power_w, reading.memory_used_mib) == (
        "NVIDIA GeForce RTX 4090",
        150,
        512,
    )
    assert (reading.throttle_reasons, reading.processes) == (("sw_power_cap",), ())
    assert reading.missing.keys() == {"energy_update_s"}
    assert card.missing.keys() == {"energy_update_s"}
    assert (card.driver, card.mig_enabled) == ("999.99", False)


@pytest.mark.parametrize(
    ("function", "code", "field", "reason"),
    [
        ("nvmlDeviceGetTemperature", 3, "temperature_c", NOT_SUPPORTED),
        ("nvmlDeviceGetTemperature", None, "temperature_c", "this driver is too old to tell"),
        ("nvmlDeviceGetFanSpeed", 4, "fan_percent", "the driver does not permit it to this user"),
        ("nvmlDeviceGetName", 10, "name", "NVML: Timeout"),
    ],
)
def test_an_error_is_a_reason_in_words(
    function: str, code: int | None, field: str, reason: str
) -> None:
    with standing_in({function: code}):
        sensor = NvmlSensor()
        (reading,) = sensor.read()
        sensor.close()
    assert getattr(reading, field) is None
    assert reading.missing[field] == reason
    assert reading.utilization_percent == 42


def test_a_driver_without_the_newer_functions_is_asked_the_older() -> None:
    newer = ("nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetFieldValues")
    with standing_in(dict.fromkeys(newer)):
        sensor = NvmlSensor()
        (reading,) = sensor.read()
        sensor.close()
    assert (reading.memory_used_mib, reading.power_w) == (768, 140)


TOO_OLD = "this driver is too old to tell"
LISTS = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses")


@pytest.mark.parametrize(("versions", "processes"), [((3,), ()), ((2,), ()), ((3, 2), None)])
def test_a_driver_that_lists_processes_by_one_version_or_none_keeps_its_other_figures(
    versions: tuple[int, ...], processes: tuple[()] | None
) -> None:
    """The bindings have an error of their own for this, which is none of NVML's."""
    lacking = [f"{name}_v{version}" for name in LISTS for version in versions]
    with standing_in(dict.fromkeys(lacking)):
        sensor = open_sensor()
        (reading,) = sensor.read()
        _, no_others = sensor.other_processes(0, ())
        sensor.close()
    assert reading.processes == processes
    assert (reading.missing.get("processes") == TOO_OLD) is (processes is None)
    assert (no_others == TOO_OLD) is (processes is None)
    assert (reading.power_w, reading.fan_percent) == (150, 30)


@pytest.mark.parametrize(
    ("code", "words"), [(9, "not loaded"), (18, "reboot"), (12, "driver"), (999, "NVML error 999")]
)
def test_a_driver_that_does_not_start_is_a_sentence(code: int, words: str) -> None:
    with standing_in({"nvmlInitWithFlags": code}):
        sensor = open_sensor()
    assert sensor.reason is not None
    assert words in sensor.reason


def test_a_driver_that_is_gone_when_it_is_let_go_of_is_no_error() -> None:
    with standing_in({"nvmlShutdown": 1}):
        sensor = NvmlSensor()
        assert sensor.cards()
        sensor.close()
        with pytest.raises(pynvml.NVMLError):  # so that what is let go of is really gone
            pynvml.nvmlShutdown()


OF_THE_DOCTOR = (
    "nvmlSystemGetCudaDriverVersion_v2",
    "nvmlDeviceGetCudaComputeCapability",
    "nvmlDeviceGetPersistenceMode",
    "nvmlDeviceGetTotalEccErrors",
    "nvmlDeviceGetGpuMaxPcieLinkGeneration",
    "nvmlDeviceGetPciInfo_v3",
)


def test_a_driver_that_is_gone_when_the_doctor_has_asked_is_no_error() -> None:
    with standing_in({**dict.fromkeys(OF_THE_DOCTOR, 3), "nvmlShutdown": 1}):
        assert ask_driver() == DriverHealth(start_code=0, cards=(CardHealth(index=0),))
