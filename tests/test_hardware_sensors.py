"""The sensor of a machine without a GPU, and the sentence for each way to have none."""

from __future__ import annotations

import subprocess
import sys

import pytest

from diffusion_bench.hardware import sensors
from diffusion_bench.hardware.sensors import NoGpu, count_others, explain_no_driver


def test_no_gpu_is_an_object_that_says_why() -> None:
    sensor = NoGpu("there is none")
    assert (sensor.read(), sensor.cards(), sensor.reason) == ((), (), "there is none")
    assert sensor.other_processes(0, set()) == (None, "there is none")
    sensor.close()


@pytest.mark.parametrize(
    ("own", "sees_all", "count", "words"),
    [
        ({7}, True, 2, ""),
        ({7}, False, 2, ""),
        ({7, 8, 9}, True, 0, ""),
        ({7, 8, 9}, False, None, "may hide the programs outside this container"),
        ({5}, True, 3, ""),  # ours is new and does not use the GPU yet
        ({5}, False, None, "do not match"),
        (set(), False, None, "do not match"),
    ],
)
def test_in_a_container_nobody_listed_is_not_nobody_there(
    own: set[int], sees_all: bool, count: int | None, words: str
) -> None:
    found, why = count_others({7, 8, 9, 10}, {10}, own, sees_all=sees_all)
    assert found == count
    assert words in why


@pytest.mark.parametrize(
    ("code", "system", "in_container", "words"),
    [
        (12, "Linux", False, "install its driver"),
        (12, "Windows", False, "install its driver"),
        (12, "Linux", True, "NVIDIA_DRIVER_CAPABILITIES=compute,utility"),
        (12, "Darwin", False, "macOS has no NVIDIA driver"),
        (12, "WSL", False, "install its driver in Windows, and none in here"),
        (12, "WSL", True, "NVIDIA_DRIVER_CAPABILITIES=compute,utility"),
        (9, "Linux", True, "not loaded"),
        (9, "WSL", False, "remove any that was installed in here"),
        (18, "Linux", False, "reboot"),
        (999, "Linux", False, "NVML error 999"),
        (999, "WSL", False, "NVML error 999"),
    ],
)
def test_each_missing_driver_has_its_own_advice(
    code: int, system: str, in_container: bool, words: str
) -> None:
    assert words in explain_no_driver(code, system, in_container=in_container)


@pytest.mark.parametrize("told", [True, False])
def test_a_pod_of_kubernetes_is_a_container(monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    monkeypatch.setattr(sensors, "CONTAINER_MARKS", ())
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    if told:  # as every pod is
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert sensors.is_in_container() is told


def test_the_package_imports_nothing_heavy() -> None:
    modules = "sensors, host, powercap, machine, sampler, trace, state, facts, doctor"
    check = (
        f"import sys; from diffusion_bench.hardware import {modules}; machine.describe_software();"
        "print(sorted({'torch', 'gradio', 'diffusers', 'pynvml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
