"""The machine card: lines of text to copy, the same on the page and in a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nvml_fake import build_stub, run_with_stub

from diffusion_bench.hardware.machine import MachineInfo, SoftwareInfo
from diffusion_bench.hardware.machine_card import machine_card
from diffusion_bench.hardware.sensors import GpuInfo

DESCRIBE = """
from diffusion_bench.hardware.machine import describe_machine
answer = describe_machine(open_sensor()).model_dump()
"""


@pytest.mark.parametrize(
    ("gpu", "line"),
    [
        (
            GpuInfo(index=0, name="RTX", memory_total_mib=12282.0, driver="570"),
            "GPU 0: RTX, 12282 MiB, driver 570",
        ),
        (
            GpuInfo(
                index=1,
                parent_index=0,
                power_limit_w=120.0,
                power_limit_default_w=170.0,
                pcie_generation=4,
                pcie_width=16,
                ecc_enabled=True,
                mig_enabled=True,
            ),
            "GPU 1 (MIG, of GPU 0): unknown, memory unknown, driver unknown, "
            "power limit 120 W (default 170 W), PCIe 4.0 x16, ECC on, MIG on",
        ),
    ],
)
def test_it_names_gpu_driver_and_versions(gpu: GpuInfo, line: str) -> None:
    machine = MachineInfo(
        os="Linux", architecture="x86_64", cpu="CPU", cores_logical=4, ram_mib=8192.0, gpus=(gpu,)
    )

    text = machine_card(machine, SoftwareInfo(python="3.11", torch="2.11.0", cuda="13.0"))

    assert line in text.splitlines()
    assert "torch 2.11.0 for CUDA 13.0" in text


@pytest.mark.parametrize(
    ("vendor", "rocm", "words"),
    [
        ("amd", "7.1", "torch 2.11.0 for ROCm 7.1"),
        ("apple", None, "torch 2.11.0 for Apple's Metal"),
        ("nvidia", None, "torch 2.11.0 without CUDA"),
    ],
)
def test_it_says_for_what_torch_is_built(vendor: str, rocm: str | None, words: str) -> None:
    gpu = GpuInfo(index=0, vendor=vendor)
    machine = MachineInfo(
        os="any", architecture="any", cpu="CPU", cores_logical=4, ram_mib=8192.0, gpus=(gpu,)
    )
    software = SoftwareInfo(python="3.11", torch="2.11.0", rocm=rocm)
    assert words in machine_card(machine, software)


def described(stub: Path, **told: str) -> MachineInfo:
    """Return what a process with the compiled library says of its machine."""
    return MachineInfo.model_validate_json(json.dumps(run_with_stub(stub, DESCRIBE, **told)))


def test_it_says_which_gpus_the_program_cannot_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = described(build_stub(tmp_path), gpus="A|1024|50;A|1024|50")
    cards = []
    for visible in ("0,1", "1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        cards.append(machine_card(info, SoftwareInfo(python="3.11")).splitlines())
    both, second = cards
    assert sum(line.startswith("GPU ") for line in both) == 4
    assert second == [*both, "CUDA_VISIBLE_DEVICES=1 hides GPU 0 from CUDA programs"]


@pytest.mark.parametrize(
    ("refused", "memory", "power"),
    [
        ((), "memory in use without what the driver keeps (NVML v2)", "power of the moment"),
        (
            ("nvmlDeviceGetMemoryInfo_v2", "POWER_INSTANT"),
            "memory in use with what the driver keeps (NVML v1)",
            "power as its mean of about a second",
        ),
    ],
)
def test_it_says_how_memory_and_power_are_read(
    tmp_path: Path, refused: tuple[str, ...], memory: str, power: str
) -> None:
    info = described(build_stub(tmp_path), errors=";".join(f"{each}@0=3" for each in refused))
    lines = machine_card(info, SoftwareInfo(python="3.11")).splitlines()
    (line,) = [line for line in lines if line.startswith("GPU 0 is read so: ")]
    assert memory in line
    assert power in line
