"""The doctor: one case a finding, fed with facts; and one look at this machine."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from diffusion_bench.hardware.doctor import Finding, examine
from diffusion_bench.hardware.facts import Facts, TorchFacts, gather_facts
from diffusion_bench.hardware.matching import TorchDevice
from diffusion_bench.hardware.sensors import GpuInfo, NoGpu
from diffusion_bench.records import GpuReading

CARD = GpuInfo(index=0, name="RTX 3060", memory_total_mib=12288)
IDLE = GpuReading(
    index=0, name="RTX 3060", utilization_percent=0, memory_used_mib=300, memory_total_mib=12288
)
HOT = ("gpu_idle", "sw_power_cap", "hw_thermal")
LIMITED = CARD.model_copy(update={"power_limit_w": 120.0, "power_limit_default_w": 170.0})
UNUSABLE = TorchFacts(threads=4, cuda_usable=False, warning="The NVIDIA driver is too old")


class TwoCards(NoGpu):
    """Three programs are on the first card, and the second cannot tell."""

    def cards(self) -> tuple[GpuInfo, ...]:
        return CARD, CARD.model_copy(update={"index": 1})

    def other_processes(self, gpu_index: int, own_pids: Collection[int]) -> tuple[int | None, str]:
        return (None, "too old") if gpu_index else (3, "")


def make_facts(**changes: Any) -> Facts:
    """Facts of a machine that has nothing wrong with it."""
    healthy: dict[str, Any] = {
        "python": (3, 11),
        "system": "Linux",
        "torch": "2.11.0",
        "cuda_build": "13.0",
        "torch_says": TorchFacts(threads=4, cuda_usable=True),
        "nvml_package": "13.0",
        "gpus": (CARD,),
        "gpu_readings": (IDLE,),
        "cores": 4,
        "ram_free_mib": 16_000,
        "disk_free_mib": 90_000,
        "on_battery": False,
    }
    return Facts(**(healthy | changes))


def bad(facts: Facts) -> list[Finding]:
    return [finding for finding in examine(facts) if finding.level != "ok"]


def test_torchs_devices_are_named_by_the_gpus_that_they_are() -> None:
    cards = (
        CARD.model_copy(update={"uuid": "GPU-aa"}),
        CARD.model_copy(update={"index": 1, "name": "RTX 4090", "uuid": "GPU-bb"}),
    )
    devices = tuple(
        TorchDevice(index=index, name="x", memory_mib=1.0, uuid=uuid)
        for index, uuid in enumerate(("bb", "cc"))
    )
    says = TorchFacts(threads=4, cuda_usable=True, devices=devices)
    titles = {f.title: f.level for f in examine(make_facts(gpus=cards, torch_says=says))}
    assert titles["cuda:0 is GPU 1 (RTX 4090)"] == "ok"
    assert titles["cuda:1 is none of the GPUs that can be read"] == "warning"


def test_a_gpu_that_is_not_nvidias_asks_for_no_cuda() -> None:
    apple = GpuInfo(index=0, vendor="apple", name="Apple M4 GPU")
    facts = make_facts(
        gpus=(apple,), cuda_build=None, torch_says=TorchFacts(threads=4, cuda_usable=False)
    )
    assert bad(facts) == []


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
            "built for CPU only, and there is a GPU",
            "install a CUDA build",
        ),
        ({"torch_says": UNUSABLE}, "problem", "torch cannot use the GPU", "supports CUDA 13.0"),
        ({"nvml_package": None}, "warning", "nvidia-ml-py is not installed", "pip install"),
        ({"wrong_nvml_package": "11.4.1"}, "warning", "pynvml 11.4.1", "pip uninstall -y pynvml"),
        ({"ram_free_mib": 500}, "warning", "only 500 MiB of memory", "close other programs"),
        ({"disk_free_mib": 500}, "warning", "only 500 MiB of disk", "free some space"),
        ({"disk_free_mib": None}, "note", "cannot tell how much disk", ""),
        ({"folder_fault": "Read-only file system"}, "problem", "nothing can be written", "--out"),
        ({"on_battery": True}, "warning", "running on battery", "plug it in"),
        ({"cores": 2}, "note", "4 threads on 2 cores", "OMP_NUM_THREADS=2"),
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
        {"gpu_readings": (IDLE.model_copy(update={"throttle_reasons": ("sw_power_cap",)}),)},
        {"gpus": (LIMITED.model_copy(update={"power_limit_w": 200.0}),)},
        {"gpus": (LIMITED.model_copy(update={"power_limit_default_w": None}),)},
    ],
)
def test_a_card_at_its_stock_limit_or_above_is_not_warned_of(changes: dict[str, Any]) -> None:
    assert bad(make_facts(**changes)) == []


def test_the_programs_on_each_gpu_are_asked_of_the_sensor(tmp_path: Path) -> None:
    facts = gather_facts(TwoCards(""), tmp_path)
    assert facts.other_gpu_processes == {0: 3}


def test_no_gpu_is_a_note_with_its_reason_and_not_a_problem() -> None:
    alone = {"gpus": (), "gpu_readings": (), "no_gpu": "no driver here"}
    (finding,) = bad(make_facts(**alone, torch_says=TorchFacts(threads=4, cuda_usable=False)))
    assert (finding.level, finding.detail) == ("note", "no driver here")


def test_what_torch_warned_of_is_handed_on() -> None:
    assert bad(make_facts(torch_says=UNUSABLE))[0].detail == "The NVIDIA driver is too old"


def test_the_worst_comes_first() -> None:
    findings = examine(make_facts(python=(3, 9), on_battery=True, disk_free_mib=None))
    assert [finding.level for finding in findings[:4]] == ["problem", "warning", "note", "ok"]


def test_this_machine_can_be_examined(tmp_path: Path) -> None:
    facts = gather_facts(NoGpu("there is none"), tmp_path)
    assert facts.python == sys.version_info[:2]
    assert facts.torch_says.error == ""
    assert facts.torch_says.threads is not None
    assert facts.disk_free_mib > 0
    assert facts.folder_fault is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_by_trying(tmp_path: Path) -> None:
    facts = gather_facts(NoGpu(""), tmp_path / "gone")
    assert facts.folder_fault == "No such file or directory"
    assert facts.disk_free_mib is None
