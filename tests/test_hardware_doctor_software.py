"""The doctor on Python and torch: what it was built for, and what it can use."""

from __future__ import annotations

from typing import Any

import pytest
from doctor_cases import CARD, IDLE, NO_LIBRARY, UNUSABLE, bad, for_card, make_facts

from diffusion_bench.hardware.doctor import examine
from diffusion_bench.hardware.doctor_software import can_run
from diffusion_bench.hardware.matching import TorchDevice
from diffusion_bench.hardware.nvml_health import DriverHealth
from diffusion_bench.hardware.sensors import GPU_IS_LOST, GpuInfo
from diffusion_bench.hardware.torch_facts import TorchFacts
from diffusion_bench.records import GpuReading


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


def test_what_torch_warned_of_is_handed_on() -> None:
    assert bad(make_facts(torch_says=UNUSABLE))[0].detail == "The NVIDIA driver is too old"


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
        ((12, 1), ("sm_120f",), True),
        ((11, 0), ("sm_100f",), False),
        ((12, 1), ("compute_120a",), False),
        ((12, 1), ("compute_120f",), True),
        ((12, 0), ("compute_100f",), False),
        ((12, 0), ("sm_120",), True),
    ],
)
def test_a_build_runs_on_its_major_version_and_ptx_on_all_newer(
    capability: tuple[int, int], built: tuple[str, ...], runs: bool
) -> None:
    assert can_run(capability, built) == runs


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
