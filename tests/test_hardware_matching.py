"""Which of the driver's GPUs torch uses: what CUDA shows is a table, and the driver the stub."""

from __future__ import annotations

from pathlib import Path

import pytest
from nvml_fake import build_stub, run_with_stub

from diffusion_bench.hardware.matching import (
    FASTEST_FIRST,
    NOT_SHOWN,
    OLD_FORM,
    TorchDevice,
    hidden_cards,
    hidden_words,
    match_torch,
    same_gpu,
    visible_gpus,
)
from diffusion_bench.hardware.sensors import GpuInfo

A = "aaaaaaaa-0000-0000-0000-000000000001"
B = "bbbbbbbb-0000-0000-0000-000000000002"
C = "cccccccc-0000-0000-0000-000000000003"
SMALL = "12345678-0000-0000-0000-000000000004"
LARGE = "12399999-0000-0000-0000-000000000005"


def gpu(index: int, uuid: str | None, name: str = "RTX", parent: int | None = None) -> GpuInfo:
    return GpuInfo(
        index=index, uuid=uuid, name=name, parent_index=parent, memory_total_mib=24_564.0
    )


def device(index: int, uuid: str | None = None, name: str = "RTX", memory_mib: float = 24_000.0):
    return TorchDevice(index=index, name=name, memory_mib=memory_mib, uuid=uuid)


EQUAL = (gpu(0, f"GPU-{A}"), gpu(1, f"GPU-{B}"), gpu(2, f"GPU-{C}"))
MIXED = (gpu(0, f"GPU-{A}", "RTX 3060"), gpu(1, f"GPU-{B}", "RTX 4090"))
SPLIT = (
    gpu(0, f"GPU-{A}"),
    gpu(1, f"GPU-{B}"),
    gpu(2, f"MIG-{SMALL}", "RTX MIG 1g", parent=0),
    gpu(3, f"MIG-{LARGE}", "RTX MIG 2g", parent=0),
)


@pytest.mark.parametrize(
    ("gpus", "devices", "found"),
    [
        (MIXED, [device(0, B), device(1, A)], {0: 1, 1: 0}),  # the fastest first
        (EQUAL, [device(0, C)], {0: 2}),  # CUDA_VISIBLE_DEVICES=2, or Ray's third worker
        (EQUAL, [device(0, C), device(1, A)], {0: 2, 1: 0}),  # CUDA_VISIBLE_DEVICES=2,0
        (EQUAL, [device(0, B.upper())], {0: 1}),
        (SPLIT, [device(0, LARGE)], {0: 3}),  # an instance, and not its card
        (SPLIT, [device(0, B)], {0: 1}),
        (EQUAL, [], {}),
    ],
)
def test_a_device_is_found_by_its_uuid_wherever_it_stands(gpus, devices, found) -> None:
    assert match_torch(devices, gpus) == (found, {})


def test_a_device_that_the_driver_does_not_show_says_so() -> None:
    assert match_torch([device(0, SMALL)], EQUAL) == ({}, {0: NOT_SHOWN})
    hidden = (gpu(0, None),)
    assert match_torch([device(0, A)], hidden) == ({}, {0: NOT_SHOWN})


def test_without_a_uuid_a_device_is_found_only_if_it_can_be_no_other() -> None:
    assert match_torch([device(0, name="RTX 4090")], MIXED) == ({0: 1}, {})
    found, why = match_torch([device(0)], EQUAL)
    assert found == {}
    assert "fit 3 GPUs" in why[0]
    less, more = (device(0, name="RTX 4090", memory_mib=mib) for mib in (12_000.0, 40_000.0))
    for other in (less, more, device(0, name="A100")):
        assert "fit 0 GPUs" in match_torch([other], MIXED)[1][0]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (f"GPU-{A}", A, True),
        (f"MIG-{A}", f"GPU-{A}", True),  # torch's text of an instance begins as a card's
        (f"gpu-{A.upper()}", f"GPU-{A}", True),
        ("GPU-1f2e3d4c5b6a7980", "31663265-3364-3463-3562-366137393830", True),  # ROCm's
        (f"GPU-{A}", f"GPU-{B}", False),
        (None, None, False),
        (f"GPU-{A}", None, False),
    ],
)
def test_a_uuid_is_the_same_with_or_without_its_kind(one, other, same) -> None:
    assert same_gpu(one, other) is same
    assert same_gpu(other, one) is same


@pytest.mark.parametrize(
    ("gpus", "visible", "shown"),
    [
        (EQUAL, None, [0, 1, 2]),
        (EQUAL, "1", [1]),
        (EQUAL, "2,0", [2, 0]),
        (EQUAL, " 2 , 0 ", [2, 0]),
        (EQUAL, "", []),
        (EQUAL, "-1", []),
        (EQUAL, "0,-1,1", [0]),  # what follows nothing is hidden
        (EQUAL, "0,7,1", [0]),
        (EQUAL, "1,1", []),
        (EQUAL, "none", []),
        (EQUAL, f"GPU-{B}", [1]),
        (EQUAL, "GPU-b,GPU-c", [1, 2]),  # the beginning of a UUID
        (EQUAL, "gpu-B", [1]),
        ((gpu(0, f"GPU-{A}"), gpu(1, f"GPU-{A[:-1]}9")), "GPU-aaa", []),  # of two: none
        (MIXED, f"GPU-{B}", [1]),
        (SPLIT, None, [2]),  # one instance, and then no card
        (SPLIT, "0", [2]),
        (SPLIT, "1", [1]),
        (SPLIT, f"MIG-{LARGE}", [3]),
        (SPLIT, f"MIG-{LARGE},MIG-{SMALL}", [3]),
        (SPLIT, f"GPU-{B},MIG-{SMALL}", [2]),
        (SPLIT, "MIG-123", []),
        ((), None, []),
    ],
)
def test_what_cuda_shows_follows_its_variable(gpus, visible, shown) -> None:
    assert visible_gpus(gpus, visible) == (shown, "")


def test_the_order_of_different_cards_is_told_only_by_bus_or_uuid() -> None:
    for visible in (None, "0", f"GPU-{A},1"):
        assert visible_gpus(MIXED, visible) == (None, FASTEST_FIRST)
    assert visible_gpus(MIXED, None, order="PCI_BUS_ID") == ([0, 1], "")
    assert visible_gpus(MIXED, "1,0", order="PCI_BUS_ID") == ([1, 0], "")


def test_an_instance_in_the_old_form_cannot_be_told() -> None:
    assert visible_gpus(SPLIT, f"MIG-GPU-{A}/1/0") == (None, OLD_FORM)


@pytest.mark.parametrize(
    ("gpus", "visible", "hidden"),
    [
        (EQUAL, None, []),
        (EQUAL, "0,1,2", []),
        (EQUAL, f"GPU-{B}", [0, 2]),
        (EQUAL, "", [0, 1, 2]),
        (MIXED, f"GPU-{B}", [0]),
        (MIXED, None, []),  # in whatever order, all are shown
        (MIXED, "0", None),
        (SPLIT, f"MIG-{LARGE}", [1]),  # of a card, one instance is something
    ],
)
def test_the_cards_that_the_variable_hides_are_told(gpus, visible, hidden) -> None:
    assert hidden_cards(gpus, visible) == (hidden, "" if hidden is not None else FASTEST_FIRST)


@pytest.mark.parametrize(
    ("gpus", "visible", "words"),
    [
        ((), None, ""),
        (EQUAL, None, ""),
        (EQUAL, "0,2,1", ""),
        (EQUAL, "1", "CUDA_VISIBLE_DEVICES=1 hides GPU 0, GPU 2 from CUDA programs"),
        (MIXED, "0", f"cannot tell what CUDA_VISIBLE_DEVICES=0 hides: {FASTEST_FIRST}"),
        (
            SPLIT,
            f"MIG-{LARGE}",
            "CUDA programs see one MIG instance, GPU 3, and nothing beside it, so they cannot use "
            f"GPU 2, GPU 1 (CUDA_VISIBLE_DEVICES=MIG-{LARGE})",
        ),
    ],
)
def test_what_cuda_programs_cannot_use_is_told_in_a_line_with_the_reason(
    gpus, visible, words
) -> None:
    assert hidden_words(gpus, visible) == words


def test_what_is_beside_an_instance_is_told_without_the_variable_too() -> None:
    words = hidden_words(SPLIT, None, order="PCI_BUS_ID")
    assert words.endswith("GPU 2, and nothing beside it, so they cannot use GPU 3, GPU 1")


def test_the_cards_of_the_driver_itself_are_matched(tmp_path: Path) -> None:
    match = """
    from diffusion_bench.hardware.matching import TorchDevice, match_torch, visible_gpus
    sensor = open_sensor()
    ids = "00000000-0000-0000-0000-00000000000"
    torch = [TorchDevice(index=i, name="x", memory_mib=1.0, uuid=f"{ids}{end}")
             for i, end in enumerate("918")]
    answer = [match_torch(torch, gpus) for gpus in (sensor.cards(), sensor.read())]
    answer += [visible_gpus(sensor.cards(), "MIG-" + ids + "9")]
    """
    found = [{"0": 3, "1": 1, "2": 2}, {}]
    answer = run_with_stub(build_stub(tmp_path), match, mig="A MIG 1g|4864;A MIG 2g|9856")
    assert answer == [found, found, [[3], ""]]
