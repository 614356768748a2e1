"""The doctor on the cards: their work, memory, links and limits, and what they do not tell."""

from __future__ import annotations

from typing import Any

import pytest
from doctor_cases import CARD, IDLE, NARROW, SLOT, bad, make_facts, with_health

from diffusion_bench.hardware.torch_facts import TorchFacts

LIMITED = CARD.model_copy(update={"power_limit_w": 120.0, "power_limit_default_w": 170.0})


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


def test_no_gpu_is_a_note_with_its_reason_and_not_a_problem() -> None:
    alone = {"gpus": (), "gpu_readings": (), "no_gpu": "no driver here"}
    (finding,) = bad(make_facts(**alone, torch_says=TorchFacts(threads=4, cuda_usable=False)))
    assert (finding.level, finding.detail) == ("note", "no driver here")


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
        *3 * ["nothing can be seated anew in a laptop; compare it with laptops"],
        "plug it in, and choose full power in its maker's program",
    ]


@pytest.mark.parametrize(("shared", "warned"), [(True, False), (False, True), (None, True)])
def test_memory_that_a_chip_shares_with_the_host_is_not_taken_by_other_programs(
    shared: bool | None, warned: bool
) -> None:
    card = CARD.model_copy(update={"unified_memory": shared})
    reading = IDLE.model_copy(update={"memory_used_mib": 0.6 * 12288})
    titles = [finding.title for finding in bad(make_facts(gpus=(card,), gpu_readings=(reading,)))]
    assert titles == (["7373 of 12288 MiB of GPU 0 RTX 3060 are taken already"] if warned else [])


def test_what_cards_do_not_tell_has_each_reason_once_and_cards_alike_have_one_note() -> None:
    missing = {"power_w": "too old", "fan_percent": "too old", "energy_j": "shared"}
    silent = tuple(IDLE.model_copy(update={"index": n, "missing": missing}) for n in range(2))
    (finding,) = bad(make_facts(gpu_readings=silent))
    assert finding.title == "GPU 0 RTX 3060 and GPU 1 RTX 3060 do not tell everything"
    assert finding.detail == "energy_j: shared; fan_percent, power_w: too old"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        (
            "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
            "as administrator: nvidia-smi -i 0 -pl 170",
        ),
        (
            "NVIDIA GeForce RTX 2080 with Max-Q Design",
            "plug it in, and choose full power in its maker's program",
        ),
    ],
)
def test_a_workstations_card_is_not_taken_for_a_laptops_by_a_word_of_its_name(
    name: str, advice: str
) -> None:
    card = LIMITED.model_copy(update={"name": name})
    (finding,) = bad(make_facts(gpus=(card,)))
    assert finding.advice == advice
