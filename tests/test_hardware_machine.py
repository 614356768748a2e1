"""What a report's header says of the machine, and what it does not."""

from __future__ import annotations

import platform

import psutil
import pytest

from diffusion_bench.hardware.machine import (
    MachineInfo,
    SoftwareInfo,
    cpu_name_in,
    describe_machine,
    describe_software,
    version_constant,
)
from diffusion_bench.hardware.sensors import NoGpu
from diffusion_bench.reports.schema import Machine, Software


def test_the_machine_is_described_without_its_name() -> None:
    machine = describe_machine(NoGpu("there is none"))
    assert machine.no_gpu == "there is none"
    assert machine.cores_logical == psutil.cpu_count()
    assert machine.ram_mib == pytest.approx(psutil.virtual_memory().total / 2**20)
    assert "" not in (machine.os, machine.architecture, machine.cpu)
    assert platform.node() not in machine.model_dump_json()


@pytest.mark.usefixtures("without_proc")
def test_without_proc_the_machine_is_described_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glob.glob", lambda pattern: [])  # nor does /sys tell of the cores
    machine = describe_machine(NoGpu("there is none"))
    assert machine.ram_mib > 0
    assert machine.cores_physical is None
    assert machine.cores_logical == psutil.cpu_count()


def test_the_fields_are_those_of_a_report() -> None:
    assert MachineInfo.model_fields.keys() == Machine.model_fields.keys()
    untold = {"gradio", "rocm"}  # the name of a torch's version has its ROCm
    assert SoftwareInfo.model_fields.keys() - untold <= Software.model_fields.keys()


def test_versions_are_those_installed() -> None:
    import torch

    software = describe_software()
    assert software.python == platform.python_version()
    assert torch.__version__.startswith(software.torch)
    assert software.cuda == torch.version.cuda


@pytest.mark.parametrize(
    ("source", "version"),
    [
        ("from typing import Optional\ncuda: Optional[str] = '13.0'\n", "13.0"),
        ("cuda = '12.8'\n", "12.8"),
        ("cuda: Optional[str] = None\n", None),
        ("hip = '7.0'\n", None),
    ],
)
def test_a_cuda_build_is_read_without_running_anything(source: str, version: str | None) -> None:
    assert version_constant(source, "cuda") == version


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        (
            "processor\t: 0\nmodel name\t: AMD  Ryzen 9 7950X\n\nprocessor\t: 1\n",
            "AMD Ryzen 9 7950X",
        ),
        ("processor : 0\nModel\t: Raspberry Pi 5\n", "Raspberry Pi 5"),
        ("processor : 0\nmodel name :\n", "unknown processor"),
        ("", "unknown processor"),
    ],
)
def test_the_processors_name_is_found_or_said_unknown(cpuinfo: str, name: str) -> None:
    assert cpu_name_in(cpuinfo) == name
