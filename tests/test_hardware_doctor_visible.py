"""The doctor on CUDA_VISIBLE_DEVICES: which cards torch cannot see, and by what that is known."""

from __future__ import annotations

from typing import Any

import pytest

from diffusion_bench.hardware.doctor import examine
from diffusion_bench.hardware.facts import Facts
from diffusion_bench.hardware.matching import TorchDevice
from diffusion_bench.hardware.nvml_health import CardHealth, DriverHealth
from diffusion_bench.hardware.sensors import GpuInfo
from diffusion_bench.hardware.torch_facts import TorchFacts
from diffusion_bench.records import Finding, GpuReading

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


INSTANCE = TorchFacts(
    threads=4,
    cuda_usable=True,
    devices=(TorchDevice(index=0, name="RTX 3060 MIG", memory_mib=4000, uuid="1-instance"),),
)
FAST = {"pcie_width": 16, "pcie_generation": 4}
RESTING = {"pcie_width_now": 16, "pcie_generation_now": 1}
OF_OLD_TORCH = TorchFacts(threads=4, cuda_usable=True)  # tells no UUIDs: CUDA's rules count


@pytest.mark.parametrize("torch_says", [SECOND, OF_OLD_TORCH])
def test_a_link_is_slow_under_load_only_where_data_were_copied(torch_says: TorchFacts) -> None:
    cards = tuple(card.model_copy(update=FAST) for card in TWO)
    loaded = tuple(GpuReading(index=card.index, **RESTING) for card in cards)
    findings = examine(
        make_facts(gpus=cards, loaded_readings=loaded, visible_devices="1", torch_says=torch_says)
    )
    slow = [finding.title for finding in findings if "works at PCIe" in finding.title]
    assert slow == ["GPU 1 works at PCIe generation 1 of 4"]


def test_beside_a_mig_instance_only_its_own_card_was_loaded() -> None:
    cards = tuple(card.model_copy(update=FAST) for card in TWO)
    part = CARD.model_copy(update={"index": 2, "parent_index": 1, "uuid": "MIG-1-instance"})
    loaded = tuple(GpuReading(index=card.index, **RESTING) for card in cards)
    findings = examine(make_facts(gpus=(*cards, part), loaded_readings=loaded, torch_says=INSTANCE))
    slow = [finding.title for finding in findings if "works at PCIe" in finding.title]
    assert slow == ["GPU 1 works at PCIe generation 1 of 4"]


@pytest.mark.parametrize(("visible", "problems"), [("1", 0), ("0,1", 1)])
def test_a_card_that_torch_is_not_to_use_may_be_too_old_for_it(visible: str, problems: int) -> None:
    says = TorchFacts(threads=4, cuda_usable=True, architectures=("sm_90",))
    health = tuple(
        CardHealth(index=index, compute_capability=version)
        for index, version in enumerate([(6, 1), (9, 0)])
    )
    facts = make_facts(
        gpus=TWO,
        visible_devices=visible,
        torch_says=says,
        driver=DriverHealth(start_code=0, cards=health),
    )
    assert sum(finding.level == "problem" for finding in examine(facts)) == problems


@pytest.mark.parametrize("visible", [None, "0"])
def test_what_a_mig_instance_keeps_cuda_from_is_told(visible: str | None) -> None:
    parts = [TWO[0].model_copy(update={"index": i, "parent_index": 0}) for i in (2, 3)]
    findings = examine(make_facts(gpus=(*TWO, *parts), visible_devices=visible))
    (told,) = [found for found in findings if "nothing beside it" in found.title]
    assert "see one MIG instance, GPU 2, " in told.title
    assert "cannot use GPU 3, GPU 1" in told.title
    assert told.level == "note"
