"""The doctor as a whole: one case a finding, fed with facts, and with a driver that answers."""

from __future__ import annotations

from ctypes.util import find_library
from pathlib import Path
from typing import Any

import pytest
from doctor_cases import (
    CARD,
    IDLE,
    NARROW,
    NO_LIBRARY,
    SLOT,
    UNUSABLE,
    bad,
    for_card,
    make_facts,
    with_health,
)
from nvml_fake import build_stub, run_with_stub

from diffusion_bench.hardware.doctor import examine
from diffusion_bench.hardware.nvml_health import DriverHealth
from diffusion_bench.hardware.torch_facts import TorchFacts
from diffusion_bench.records import Finding

HOT = ("gpu_idle", "sw_power_cap", "hw_thermal")
LIMITED = CARD.model_copy(update={"power_limit_w": 120.0, "power_limit_default_w": 170.0})
SLOW_LINK = IDLE.model_copy(update={"pcie_width_now": 16, "pcie_generation_now": 3})
SPLIT = CARD.model_copy(update={"mig_enabled": True})
PART = CARD.model_copy(update={"index": 1, "parent_index": 0})


def test_a_healthy_machine_is_all_ok() -> None:
    assert bad(make_facts()) == []
    assert any(
        "torch can use CUDA on RTX 3060" in finding.title for finding in examine(make_facts())
    )


@pytest.mark.parametrize(
    ("changes", "level", "title", "advice"),
    [
        ({"python": (3, 10)}, "problem", "Python 3.10 is too old", "install Python 3.11"),
        (
            {"torch": None, "torch_says": TorchFacts()},
            "problem",
            "torch is not installed",
            "requirements.txt",
        ),
        (
            {"torch_says": TorchFacts(error="OSError: no c10.dll")},
            "problem",
            "torch 2.11.0 cannot be imported",
            "--force-reinstall -r requirements.txt",
        ),
        (
            {"torch_says": TorchFacts(error="OSError: no c10.dll"), "system": "Windows"},
            "problem",
            "torch 2.11.0 cannot be imported",
            "Visual C++",
        ),
        (
            {"cuda_build": None, "torch_says": UNUSABLE},
            "problem",
            "built for CPU only, and there is an NVIDIA GPU",
            "install a CUDA build",
        ),
        ({"torch_says": UNUSABLE}, "problem", "torch cannot use the GPU", "supports CUDA 13.0"),
        ({"nvml_package": None}, "warning", "nvidia-ml-py is not installed", "pip install"),
        ({"wrong_nvml_package": "11.4.1"}, "warning", "pynvml 11.4.1", "pip uninstall -y pynvml"),
        ({"ram_free_mib": 500}, "warning", "only 500 MiB of memory", "close other programs"),
        ({"disk_free_mib": 500}, "warning", "only 500 MiB of disk", "free some space"),
        ({"disk_free_mib": None}, "note", "cannot tell how much disk", "2048 MiB are free"),
        ({"folder_fault": "Read-only file system"}, "problem", "nothing can be written", "--out"),
        ({"on_battery": True}, "warning", "running on battery", "plug it in"),
        ({"cores": 2}, "note", "4 threads on 2 cores", "OMP_NUM_THREADS=2"),
        ({"cpu_percent": None}, "note", "cannot tell how busy the processor is", "monitor"),
        (
            {"gpu_readings": (IDLE.model_copy(update={"utilization_percent": 60.0}),)},
            "warning",
            "GPU 0 RTX 3060 is 60 % busy already",
            "close what else uses the GPU",
        ),
        (
            {"gpu_readings": (IDLE.model_copy(update={"memory_used_mib": 6000.0}),)},
            "warning",
            "6000 of 12288 MiB of GPU 0 RTX 3060",
            "close what else uses the GPU",
        ),
        (
            {"gpu_readings": (IDLE.model_copy(update={"throttle_reasons": HOT}),)},
            "warning",
            "GPU 0 is slowed down now (hw_thermal)",
            "let it cool down",
        ),
        (
            {"gpus": (LIMITED,)},
            "warning",
            "GPU 0 may use 120 W of its usual 170 W",
            "nvidia-smi -i 0 -pl 170",
        ),
        (
            {"other_gpu_processes": {0: 2, 1: 0}},
            "warning",
            "2 other programs compute on GPU 0",
            "close what else uses the GPU",
        ),
        (
            {"gpu_readings": (IDLE.model_copy(update={"missing": {"power_w": "too old"}}),)},
            "note",
            "does not tell everything",
            "empty in reports",
        ),
        (
            {"torch_says": UNUSABLE, "visible_devices": "-1"},
            "problem",
            "CUDA_VISIBLE_DEVICES=-1 hides every GPU",
            "unset CUDA_VISIBLE_DEVICES",
        ),
        (
            {"torch_says": UNUSABLE, "driver": DriverHealth(start_code=0, cuda=(12, 4))},
            "problem",
            "the driver runs CUDA 12.4, and torch is built for 13.0",
            "update the NVIDIA driver",
        ),
        (
            {"driver": DriverHealth(start_code=18), "kernel_driver": "570.86.15"},
            "problem",
            "driver was updated, and the old one is still loaded",
            "reboot",
        ),
        ({"driver": DriverHealth(start_code=9)}, "problem", "installed and not loaded", "reboot"),
        ({"driver": DriverHealth(start_code=999)}, "problem", "NVML error 999", "dmesg"),
        (
            {"driver": DriverHealth(start_code=999), "system": "Windows"},
            "problem",
            "NVML error 999",
            "Event Viewer",
        ),
        (
            {**NO_LIBRARY, "in_container": True, "nvidia_nodes": True},
            "problem",
            "the utility capability is missing",
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        ),
        (
            {**NO_LIBRARY, "nvidia_nodes": True},
            "problem",
            "libnvidia-ml is not found",
            "nvidia-utils",
        ),
        (for_card((6, 1)), "problem", "(compute capability 6.1) is too old", "an older build"),
        (for_card((13, 0)), "problem", "(compute capability 13.0) is too new", "a newer build"),
        (
            {
                "gpus": (SLOT.model_copy(update={"pcie_generation": 1}),),
                "loaded_readings": (NARROW,),
            },
            "warning",
            "GPU 0 has 4 of 16 PCIe lanes",
            "seat the card",
        ),
        (
            {"gpus": (SLOT,), "gpu_readings": (NARROW,)},
            "note",
            "GPU 0 has 4 of 16 PCIe lanes",
            "seat the card",
        ),
        (
            {"gpus": (SLOT,), "loaded_readings": (SLOW_LINK,)},
            "warning",
            "GPU 0 works at PCIe generation 3 of 4",
            "BIOS",
        ),
        (
            {"gpus": (SLOT,), **with_health(pcie_generation=5)},
            "note",
            "could do PCIe generation 5, its slot 4",
            "another slot",
        ),
        (
            {"gpus": (SLOT,), **with_health(pcie_width=32)},
            "note",
            "could do 32 PCIe lanes, its slot 16",
            "another slot",
        ),
        (
            {"gpus": (CARD.model_copy(update={"display_active": True}),)},
            "note",
            "GPU 0 drives a display",
            "plug the display into",
        ),
        ({"gpus": (SPLIT, PART)}, "note", "split by MIG into 1", "instances of the same size"),
        ({"gpus": (SPLIT,)}, "problem", "MIG on and no instance", "nvidia-smi mig -i 0"),
        (with_health(memory_errors=3), "problem", "had 3 memory errors", "replaced"),
        (with_health(persistence=False), "note", "persistence mode is off", "nvidia-persistenced"),
        ({"wsl": True, "gpus": ()}, "note", "Windows Subsystem for Linux", "install none in here"),
        (
            {"system": "Windows", "gpus": (SLOT,)},
            "note",
            "Windows goes on in the host's",
            "Prefer No Sysmem Fallback",
        ),
        ({"cache_free_mib": 2048.0}, "warning", "only 2.0 GiB free where models", "HF_HOME"),
        ({"ram_mib": 4096.0}, "warning", "this machine has 4.0 GiB of memory", "small ones"),
        (
            {"ram_mib": 65536.0, "ram_limit_mib": 8192.0},
            "note",
            "may use 8.0 of 64.0 GiB",
            "--memory",
        ),
    ],
)
def test_each_fault_has_one_finding_with_advice(
    changes: dict[str, Any], level: str, title: str, advice: str
) -> None:
    (finding,) = bad(make_facts(**changes))
    assert finding.level == level
    assert title in finding.title
    assert advice in finding.advice


@pytest.mark.parametrize(
    "changes",
    [
        {"gpus": (SLOT,), "gpu_readings": (IDLE.model_copy(update={"pcie_generation_now": 1}),)},
        NO_LIBRARY | {"torch_says": TorchFacts(threads=4, cuda_usable=False)},  # no GPU at all
        for_card((8, 9)),
        with_health(memory_errors=0, persistence=True, pcie_generation=4, pcie_width=16),
        {**with_health(persistence=False), "system": "Windows"},
        {"system": "Windows", "gpus": (SLOT.model_copy(update={"driver": "531.10"}),)},
        {"driver": DriverHealth(start_code=0, cuda=(13, 0)), "visible_devices": "0"},
        {"ram_mib": 65536.0, "ram_limit_mib": 65536.0 * 2},
    ],
)
def test_what_is_in_order_is_not_warned_of(changes: dict[str, Any]) -> None:
    assert bad(make_facts(**changes)) == []


def test_the_worst_comes_first() -> None:
    findings = examine(make_facts(python=(3, 9), on_battery=True, disk_free_mib=None))
    assert [finding.level for finding in findings[:4]] == ["problem", "warning", "note", "ok"]


EXAMINE = """
from pathlib import Path
from diffusion_bench.hardware import facts
from diffusion_bench.hardware.doctor import examine
facts.ask_torch = lambda **_: facts.TorchFacts(
    threads=1, cuda_usable=False, architectures=("sm_90",)
)
found = examine(facts.gather_facts(open_sensor(), Path("/tmp")))
"""
TITLES = EXAMINE + "answer = [each.title for each in found]"
WHOLE = EXAMINE + "answer = [each.model_dump() for each in found]"


def test_the_drivers_own_answers_become_findings(tmp_path: Path) -> None:
    stub = build_stub(tmp_path)
    titles = "; ".join(
        run_with_stub(stub, TITLES, health="6|1|0|7|5|12040", mig="A100 MIG 1g.5gb|4864")
    )
    for title in (
        "the driver runs CUDA 12.4, and torch is built for 13.0",
        "GPU 0 (compute capability 6.1) is too old",
        "GPU 1 had 7 memory errors",
        "GPU 1 is put away between programs",
        "GPU 0 could do PCIe generation 5, its slot 4",
        "GPU 1 has 8 of 16 PCIe lanes",
        "GPU 0 drives a display",
        "GPU 0 is split by MIG into 1",
        "GPU 1 may use 200 W of its usual 205 W",
        "GPU 0 NVIDIA GeForce RTX 4090 is 42 % busy already",
    ):
        assert title in titles
    assert "GPU 0 is put away" not in titles  # its display keeps it
    mismatch = run_with_stub(stub, TITLES, init="18")
    assert mismatch[0] == "the NVIDIA driver was updated, and the old one is still loaded"
    silent = run_with_stub(stub, TITLES, errors="nvmlDeviceGetTotalEccErrors=3", health="9|0|0|7|5")
    assert not any("memory errors" in title for title in silent)
    assert any("GPU 1 is put away" in title for title in silent)


def test_lanes_that_the_slot_keeps_from_a_card_are_seen_though_the_driver_counts_them_out(
    tmp_path: Path,
) -> None:
    stub = build_stub(tmp_path)
    for address, lanes in (("0000:01:00.0", "32"), ("0000:02:00.0", "255")):
        device = tmp_path / "devices" / address
        device.mkdir(parents=True)
        (device / "max_link_width").write_text(f"{lanes}\n")
    ours = f"""
from diffusion_bench.hardware import nvml_health
nvml_health.PCI_DEVICES = __import__("pathlib").Path({str(tmp_path / "devices")!r})
"""
    slots = [title for title in run_with_stub(stub, ours + TITLES) if "its slot" in title]
    assert slots == ["GPU 0 could do 32 PCIe lanes, its slot 16"]  # 255: the kernel does not know


def test_a_lost_card_is_the_first_problem_and_said_once(tmp_path: Path) -> None:
    found = run_with_stub(build_stub(tmp_path), WHOLE, errors="*@0=15")
    first, second = (Finding.model_validate(each) for each in found[:2])
    assert (first.level, first.title) == ("problem", "GPU 0 is lost: it fell off the bus")
    assert first.advice.startswith("reboot; ")
    assert second.title.startswith("torch cannot use the GPU")
    assert second.advice == "see first to what is lost: GPU 0"  # not to a driver that is fine
    assert not any("GPU 0" in each["title"] + each["detail"] for each in found[2:])


IN_A_CONTAINER = """
import os
from diffusion_bench.hardware import facts
facts.NVIDIA_NODES = (facts.Path("/"),)  # the device is there, as the container's compute has it
os.environ.update(KUBERNETES_SERVICE_HOST="10.0.0.1", NVIDIA_DRIVER_CAPABILITIES="compute")
"""


@pytest.mark.parametrize("is_there", [True, False])
def test_a_container_without_the_utility_capability_is_told_how_to_start(
    tmp_path: Path, is_there: bool
) -> None:
    """The library is not in the container, or is and finds nothing of the driver."""
    if not is_there and find_library("nvidia-ml"):
        pytest.skip("this machine has the driver's own library")
    folder = build_stub(tmp_path) if is_there else tmp_path
    whole = IN_A_CONTAINER + WHOLE + "; answer = [open_sensor().reason, *answer]"
    reason, first, *_ = run_with_stub(folder, whole, init="12")
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in reason
    assert first["title"].endswith("cannot read it: the utility capability is missing")
    assert "NVIDIA_DRIVER_CAPABILITIES is 'compute'" in first["detail"]
    assert first["advice"].endswith("-e NVIDIA_DRIVER_CAPABILITIES=compute,utility")
