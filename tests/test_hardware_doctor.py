"""The doctor: one case a finding, fed with facts; and one look at this machine."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from nvml_fake import build_stub, run_with_stub

from diffusion_bench.hardware.doctor import examine
from diffusion_bench.hardware.doctor_gpus import can_run
from diffusion_bench.hardware.facts import (
    Facts,
    TorchFacts,
    existing_parent,
    gather_facts,
    kernel_driver,
    memory_limit_mib,
)
from diffusion_bench.hardware.matching import TorchDevice
from diffusion_bench.hardware.nvml_health import CardHealth, DriverHealth
from diffusion_bench.hardware.pcie_load import read_under_load
from diffusion_bench.hardware.sensors import GPU_IS_LOST, GpuInfo, NoGpu, is_wsl
from diffusion_bench.hardware.state import IDLE_S, is_contended
from diffusion_bench.records import Finding, GpuReading, HostReading, MachineState

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
        "cores_logical": 8,
        "cpu_percent": 2.0,
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


@pytest.mark.parametrize(
    ("usable", "titles"), [(True, []), (False, ["torch cannot use Apple's GPU"])]
)
def test_a_mac_whose_torch_leaves_the_gpu_alone_is_told(usable: bool, titles: list[str]) -> None:
    apple = GpuInfo(index=0, vendor="apple", name="Apple M3 GPU")
    says = TorchFacts(threads=4, cuda_usable=False, mps_usable=usable)
    found = bad(make_facts(system="Darwin", gpus=(apple,), cuda_build=None, torch_says=says))
    assert [finding.title for finding in found] == titles


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cuda_build": "13.0"}, "built for CUDA 13.0"),
        ({"cuda_build": None, "rocm_build": "7.1"}, "built for ROCm 7.1"),
        ({"cuda_build": None, "torch_says": TorchFacts(mps_usable=True)}, "with Apple's Metal"),
        ({"cuda_build": None, "torch_says": TorchFacts()}, "built for CPU only"),
    ],
)
def test_what_torch_was_built_for_is_told(changes: dict[str, Any], words: str) -> None:
    (torch,) = [f for f in examine(make_facts(gpus=(), **changes)) if f.title == "torch 2.11.0"]
    assert torch.level == "ok"
    assert words in torch.detail


def test_a_torch_for_amd_beside_an_nvidia_card_is_told_and_ends_no_examination() -> None:
    says = TorchFacts(threads=4, cuda_usable=True, architectures=("gfx942", "gfx1100"))
    built = {"cuda_build": None, "rocm_build": "7.1", "torch_says": says}
    facts = make_facts(**(for_card((8, 9)) | built))
    (told,) = [f for f in examine(facts) if "NVIDIA GPU" in f.title]
    assert told.title == "torch is built for ROCm 7.1, and there is an NVIDIA GPU"
    assert told.level == "note"


def with_radeon(*, usable: bool, **figures: Any) -> dict[str, Any]:
    """A Radeon with a torch that is built for it, on a machine without NVIDIA's library."""
    card = GpuInfo(index=0, vendor="amd", name="AMD Radeon RX 7900 XTX", **figures)
    says = TorchFacts(threads=4, cuda_usable=usable, architectures=("gfx1100",))
    built = {"cuda_build": None, "rocm_build": "7.1", "torch_says": says}
    return {**built, **NO_LIBRARY, "gpus": (card,)}


def test_who_has_a_radeon_is_advised_nothing_of_nvidias() -> None:
    assert bad(make_facts(**with_radeon(usable=True))) == []
    limits = {"power_limit_w": 250.0, "power_limit_default_w": 300.0}
    (limited,) = bad(make_facts(**with_radeon(usable=True, **limits)))
    assert limited.advice == "as administrator: rocm-smi --resetpoweroverdrive"


def test_a_radeon_that_its_torch_cannot_use_is_a_problem() -> None:
    (found,) = bad(make_facts(**with_radeon(usable=False)))
    assert found.level == "problem"
    assert found.title == "torch cannot use the GPU (AMD Radeon RX 7900 XTX)"
    assert "/dev/kfd" in found.advice


@pytest.mark.parametrize(
    ("limit_mib", "used_mib", "level", "title"),
    [
        (2048, 1500, "warning", "only 548 MiB of memory free"),
        (8192, 1024, "ok", "7.0 GiB of memory free"),
        (8192, None, "ok", "8.0 GiB of memory free"),
        (2048, 4096, "warning", "only 0 MiB of memory free"),
        (None, None, "ok", "58.6 GiB of memory free"),
    ],
)
def test_free_memory_in_a_container_is_the_containers(limit_mib, used_mib, level, title) -> None:
    facts = make_facts(
        ram_mib=65536, ram_free_mib=60000, ram_limit_mib=limit_mib, ram_group_used_mib=used_mib
    )
    (room,) = [f for f in examine(facts) if f.title.endswith("of memory free")]
    assert (room.level, room.title) == (level, title)


def test_a_container_with_little_memory_is_warned_of() -> None:
    facts = make_facts(ram_mib=65536, ram_limit_mib=2048, ram_free_mib=60000)
    assert "this program may use 2.0 of 64.0 GiB of memory" in {
        finding.title for finding in bad(facts) if finding.level == "warning"
    }


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
        ({"disk_free_mib": None}, "note", "cannot tell how much disk", ""),
        ({"folder_fault": "Read-only file system"}, "problem", "nothing can be written", "--out"),
        ({"on_battery": True}, "warning", "running on battery", "plug it in"),
        ({"cores": 2}, "note", "4 threads on 2 cores", "OMP_NUM_THREADS=2"),
        ({"cpu_percent": None}, "note", "cannot tell how busy the processor is", ""),
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


@pytest.mark.parametrize(("cores", "load"), [(2, 12.0), (2, 13.0), (16, 10.0), (16, 11.0)])
def test_a_processor_is_warned_of_from_the_load_on_that_labels_a_cell_contended(
    cores: int, load: float
) -> None:
    contended = is_contended(MachineState(cpu_percent=load), cores) is not None
    found = bad(make_facts(cores_logical=cores, cpu_percent=load))
    titles = [f"the processor is {load:.0f} % busy with other programs"] if contended else []
    assert [finding.title for finding in found] == titles
    assert all("is labelled contended" in f.detail and f.level == "warning" for f in found)


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


class Loaded:
    """A host that tells its load from the second look on, as the processor's counters do."""

    def __init__(self) -> None:
        self.looks = 0

    def read(self, process: object = None) -> HostReading:
        self.looks += 1
        return HostReading(cpu_percent=97.0 if self.looks == 2 else None)


def test_the_doctor_looks_at_the_processor_for_as_long_as_a_sweep_does(tmp_path: Path) -> None:
    rested: list[float] = []
    facts = gather_facts(NoGpu(""), tmp_path, host=Loaded(), rest=rested.append)
    assert (facts.cpu_percent, rested) == (97.0, [IDLE_S])
    assert any(f.title.startswith("the processor is 97 % busy") for f in bad(facts))


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


BUILT = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_120")
NARROW = IDLE.model_copy(update={"pcie_width_now": 4, "pcie_generation_now": 1})
SLOW_LINK = IDLE.model_copy(update={"pcie_width_now": 16, "pcie_generation_now": 3})
SLOT = CARD.model_copy(update={"pcie_width": 16, "pcie_generation": 4, "driver": "551.23"})
NO_LIBRARY = {"gpus": (), "gpu_readings": (), "driver": DriverHealth(start_code=12)}
SPLIT = CARD.model_copy(update={"mig_enabled": True})
PART = CARD.model_copy(update={"index": 1, "parent_index": 0})


def with_health(**health: Any) -> dict[str, Any]:
    return {"driver": DriverHealth(start_code=0, cards=(CardHealth(index=0, **health),))}


def for_card(capability: tuple[int, int]) -> dict[str, Any]:
    says = TorchFacts(threads=4, cuda_usable=True, architectures=BUILT)
    return {"torch_says": says, **with_health(compute_capability=capability)}


@pytest.mark.parametrize(
    ("changes", "level", "title", "advice"),
    [
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
def test_each_fault_of_a_machine_has_one_finding_with_advice(
    changes: dict[str, Any], level: str, title: str, advice: str
) -> None:
    (finding,) = bad(make_facts(**changes))
    assert finding.level == level
    assert title in finding.title
    assert advice in finding.advice


@pytest.mark.parametrize("code", [9, 12, 18, 999])
def test_on_wsl_the_driver_to_see_to_is_that_of_windows(code: int) -> None:
    facts = make_facts(wsl=True, gpus=(), driver=DriverHealth(start_code=code))
    for finding in bad(facts):
        for words in ("nvidia-utils", "modprobe", "mokutil", "dmesg", "reinstall"):
            assert words not in finding.advice
    driver, _ = bad(facts)
    assert driver.level == "problem"
    assert ("/usr/lib/wsl/lib" if code == 12 else "in Windows") in driver.advice


def test_nobody_is_told_to_mend_what_is_soldered_into_a_laptop() -> None:
    name = "NVIDIA GeForce RTX 4060 Laptop GPU"
    limits = {"power_limit_w": 60.0, "power_limit_default_w": 80.0}
    card = SLOT.model_copy(update={"name": name, "pcie_generation": 4, **limits})
    facts = make_facts(
        gpus=(card,),
        loaded_readings=(NARROW.model_copy(update={"pcie_generation_now": 3}),),
        **with_health(pcie_generation=5),
    )
    advice = [finding.advice for finding in bad(facts) if "GPU 0" in finding.title]
    assert sorted(advice) == [
        "",
        "",
        "",
        "plug it in, and choose full power in its maker's program",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"gpus": (SLOT,), "gpu_readings": (IDLE.model_copy(update={"pcie_generation_now": 1}),)},
        NO_LIBRARY | {"torch_says": TorchFacts(threads=4, cuda_usable=False)},  # no GPU at all
        for_card((8, 9)),
        with_health(memory_errors=0, persistence=True, pcie_generation=4),
        {**with_health(persistence=False), "system": "Windows"},
        {"system": "Windows", "gpus": (SLOT.model_copy(update={"driver": "531.10"}),)},
        {"driver": DriverHealth(start_code=0, cuda=(13, 0)), "visible_devices": "0"},
        {"ram_mib": 65536.0, "ram_limit_mib": 65536.0 * 2},
    ],
)
def test_what_is_in_order_is_not_warned_of(changes: dict[str, Any]) -> None:
    assert bad(make_facts(**changes)) == []


@pytest.mark.parametrize(("shared", "warned"), [(True, False), (False, True), (None, True)])
def test_memory_that_a_chip_shares_with_the_host_is_not_taken_by_other_programs(
    shared: bool | None, warned: bool
) -> None:
    card = CARD.model_copy(update={"unified_memory": shared})
    reading = IDLE.model_copy(update={"memory_used_mib": 0.6 * 12288})
    titles = [finding.title for finding in bad(make_facts(gpus=(card,), gpu_readings=(reading,)))]
    assert titles == (["7373 of 12288 MiB of GPU 0 RTX 3060 are taken already"] if warned else [])


@pytest.mark.parametrize(
    ("capability", "built", "runs"),
    [
        ((8, 6), ("sm_80",), True),
        ((8, 0), ("sm_86",), False),
        ((9, 0), ("sm_86",), False),
        ((10, 0), ("compute_90",), True),
        ((8, 9), ("compute_90",), False),
        ((9, 0), ("sm_90a",), True),
        ((12, 1), ("sm_120a",), False),
        ((12, 0), ("sm_120",), True),
    ],
)
def test_a_build_runs_on_its_major_version_and_ptx_on_all_newer(
    capability: tuple[int, int], built: tuple[str, ...], runs: bool
) -> None:
    assert can_run(capability, built) == runs


def test_facts_are_read_out_of_the_systems_texts(tmp_path: Path) -> None:
    loaded = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Tue Jan 14\nGCC 12.2.0\n"
    assert kernel_driver(loaded) == "570.86.15"
    assert kernel_driver("") is None
    assert memory_limit_mib("8589934592\n") == 8192
    assert memory_limit_mib("max\n") is memory_limit_mib("9223372036854771712") is None
    assert is_wsl("5.15.167.4-microsoft-standard-WSL2")
    assert not is_wsl("6.1.0-18-amd64")
    assert existing_parent(tmp_path / "not" / "there") == tmp_path


class Copies:
    """What `read_under_load` needs of torch; `fails`: the copies raise."""

    uint8 = "uint8"

    def __init__(self, *, fails: bool = False) -> None:
        self.cuda = self
        self.in_flight = 0
        self._fails = fails

    def empty(self, *_: Any, **__: Any) -> Copies:
        return self

    def device_count(self) -> int:
        return 1

    def copy_(self, _: Any, *, non_blocking: bool) -> None:
        if self._fails:
            raise RuntimeError("CUDA out of memory")
        self.in_flight += non_blocking

    def synchronize(self) -> None:
        self.in_flight = 0


class WatchingSensor(NoGpu):
    def __init__(self, torch: Copies) -> None:
        super().__init__("")
        self._torch = torch

    def read(self) -> tuple[GpuReading, ...]:
        return (IDLE.model_copy(update={"pcie_width_now": self._torch.in_flight}),)


def test_the_link_is_read_while_copies_are_in_flight_and_not_where_they_fail() -> None:
    torch = Copies()
    (reading,) = read_under_load(WatchingSensor(torch), torch, at_work_s=0.0)
    assert reading.pcie_width_now
    assert torch.in_flight == 0
    broken = Copies(fails=True)
    assert read_under_load(WatchingSensor(broken), broken, at_work_s=0.0) == ()


EXAMINE = """
from pathlib import Path
from diffusion_bench.hardware import facts
from diffusion_bench.hardware.doctor import examine
facts._ask_torch = lambda: facts.TorchFacts(
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


def test_a_lost_card_is_the_first_problem_and_said_once(tmp_path: Path) -> None:
    found = run_with_stub(build_stub(tmp_path), WHOLE, errors="*@0=15")
    first, second = (Finding.model_validate(each) for each in found[:2])
    assert (first.level, first.title) == ("problem", "GPU 0 is lost: it fell off the bus")
    assert first.advice.startswith("reboot; ")
    assert second.title.startswith("torch cannot use the GPU")
    assert second.advice == "see first to what is lost: GPU 0"  # not to a driver that is fine
    assert not any("GPU 0" in each["title"] + each["detail"] for each in found[2:])


def test_torch_is_not_said_to_use_a_lost_card() -> None:
    gone = GpuReading(index=1, missing=dict.fromkeys(("name", "power_w"), f"{GPU_IS_LOST}: a; b"))
    cards = CARD, GpuInfo(index=1, name="RTX 4090")
    titles = [f.title for f in examine(make_facts(gpus=cards, gpu_readings=(IDLE, gone)))]
    assert titles[:1] == ["GPU 1 is lost: a"]
    assert "torch can use CUDA on RTX 3060" in titles


@pytest.mark.parametrize("visible", [None, "0"])
def test_a_driver_that_is_new_enough_is_not_to_be_installed_again(visible: str | None) -> None:
    driver = DriverHealth(start_code=0, cuda=(13, 0))
    facts = make_facts(torch_says=UNUSABLE, driver=driver, visible_devices=visible)
    (finding,) = bad(facts)
    assert "the driver runs CUDA 13.0" in finding.advice
    assert "install" not in finding.advice
    assert ("CUDA_VISIBLE_DEVICES=0" in finding.advice) is (visible is not None)
    assert ("CUDA_VISIBLE_DEVICES" in finding.advice) is (visible is not None)


def test_what_cards_do_not_tell_has_each_reason_once_and_cards_alike_have_one_note() -> None:
    missing = {"power_w": "too old", "fan_percent": "too old", "energy_j": "shared"}
    silent = tuple(IDLE.model_copy(update={"index": n, "missing": missing}) for n in range(2))
    (finding,) = bad(make_facts(gpu_readings=silent))
    assert finding.title == "GPU 0 RTX 3060 and GPU 1 RTX 3060 do not tell everything"
    assert finding.detail == "energy_j: shared; fan_percent, power_w: too old"
