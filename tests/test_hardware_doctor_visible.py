"""The doctor on CUDA_VISIBLE_DEVICES: which cards torch cannot see, and by what that is known."""

from __future__ import annotations

from typing import Any

import pytest

from diffusion_bench.hardware.doctor import examine
from diffusion_bench.hardware.facts import Facts, TorchFacts
from diffusion_bench.hardware.matching import TorchDevice
from diffusion_bench.hardware.sensors import GpuInfo
from diffusion_bench.records import Finding

CARD = GpuInfo(index=0, name="RTX 3060", memory_total_mib=12288)
UNUSABLE = TorchFacts(threads=4, cuda_usable=False)
TWO = tuple(CARD.model_copy(update={"index": i, "uuid": f"GPU-{i}-card"}) for i in (0, 1))
OTHER = TWO[1].model_copy(update={"name": "RTX 4090"})
SECOND = TorchFacts(
    threads=4,
    cuda_usable=True,
    devices=(TorchDevice(index=0, name="RTX 3060", memory_mib=12000, uuid="1-card"),),
)


def make_facts(**changes: Any) -> Facts:
    """Facts of a machine with torch for CUDA, which can use it."""
    usable = TorchFacts(threads=4, cuda_usable=True)
    told = {"torch": "2.11.0", "cuda_build": "13.0", "torch_says": usable, **changes}
    return Facts(python=(3, 11), system="Linux", **told)


def found(**changes: Any) -> list[Finding]:
    """Return what the doctor says of CUDA_VISIBLE_DEVICES."""
    findings = examine(make_facts(**changes))
    return [finding for finding in findings if "CUDA_VISIBLE_DEVICES" in finding.title]


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"gpus": TWO, "visible_devices": "0"}, "=0 hides GPU 1 (RTX 3060) from torch"),
        # What torch has counts for more than the rules of the variable.
        (
            {"gpus": TWO, "visible_devices": "0", "torch_says": SECOND},
            "=0 hides GPU 0 (RTX 3060) from torch",
        ),
        ({"gpus": (TWO[0], OTHER), "visible_devices": "0"}, "cannot tell what CUDA_VISIBLE"),
        (
            {"gpus": (TWO[0], OTHER), "visible_devices": "0", "device_order": "PCI_BUS_ID"},
            "=0 hides GPU 1 (RTX 4090) from torch",
        ),
        (
            {"gpus": TWO, "visible_devices": "7", "torch_says": UNUSABLE},
            "CUDA_VISIBLE_DEVICES=7 hides every GPU",
        ),
    ],
)
def test_a_card_hidden_from_torch_is_named(changes: dict[str, Any], title: str) -> None:
    (finding,) = found(**changes)
    assert title in finding.title
    assert finding.level == ("problem" if "every" in title else "note")


@pytest.mark.parametrize("changes", [{}, {"visible_devices": "0,1"}])
def test_cards_that_are_all_shown_are_no_finding(changes: dict[str, Any]) -> None:
    assert found(gpus=TWO, **changes) == []


def test_torch_is_not_said_to_use_a_card_that_is_hidden() -> None:
    by_bus = {"visible_devices": "0", "device_order": "PCI_BUS_ID"}
    titles = [finding.title for finding in examine(make_facts(gpus=(TWO[0], OTHER), **by_bus))]
    assert "torch can use CUDA on RTX 3060" in titles


@pytest.mark.parametrize("visible", [None, "0"])
def test_what_a_mig_instance_keeps_cuda_from_is_told(visible: str | None) -> None:
    parts = [TWO[0].model_copy(update={"index": i, "parent_index": 0}) for i in (2, 3)]
    findings = examine(make_facts(gpus=(*TWO, *parts), visible_devices=visible))
    (told,) = [found for found in findings if "nothing beside it" in found.title]
    assert "see one MIG instance, GPU 2, " in told.title
    assert "cannot use GPU 3, GPU 1" in told.title
    assert told.level == "note"
