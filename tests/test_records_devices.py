"""What a model runs on: one name, the same to who makes it, picks it, holds it and works on it."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace

import pytest

from diffusion_bench.backends.device import DeviceBusy, hold_device, pick_device
from diffusion_bench.bench.crew import Crew
from diffusion_bench.bench.limit import run_limit
from diffusion_bench.bench.runner import run_sweep
from diffusion_bench.bench.sweep import parse_sweep
from diffusion_bench.bench.worker import Worker, _ready
from diffusion_bench.bench.worker_messages import Ready
from diffusion_bench.records import DevicesPlan, ModelDevice

BOTH = "cuda:0,cuda:1"
CARD = SimpleNamespace(total_memory=24 * 2**30, uuid="1-2-3")


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """Two CUDA cards for torch to tell of, not to work on; the result holds what caps were set."""
    caps: list[tuple[float, int]] = []
    for name, told in {
        "cuda.is_available": lambda: True,
        "cuda.device_count": lambda: 2,
        "cuda.get_device_properties": lambda device: CARD,
        "cuda.memory._lazy_init": lambda: None,
    }.items():
        monkeypatch.setattr(f"torch.{name}", told)
    # What torch takes for a device is its own to say; a build for CPUs has no allocator to cap.
    monkeypatch.setattr(
        "torch._C._cuda_setMemoryFraction",
        lambda share, index: caps.append((share, index)),
        raising=False,
    )
    return caps


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", BOTH, "cuda:0,cuda:1,cuda:2"])
def test_a_devices_name_is_read_as_it_is_written(name: str) -> None:
    device = ModelDevice.parse(name)
    assert str(device) == name
    assert device == ModelDevice(cards=device.cards)
    assert device.is_several == (len(device.cards) > 1) == ("," in name)


def test_a_crews_worker_of_the_whole_model_is_told_all_cards_of_the_plan(
    monkeypatch: pytest.MonkeyPatch, two_cards: object
) -> None:
    told: list[str | None] = []

    class Process:
        def __init__(self, device: str | None, memory_cap_mib: float | None) -> None:
            told.append(device)

        def come_up(self) -> Generator[None, None, Ready]:
            yield
            return _ready(told[-1], None)

        def end(self) -> None:
            pass

    monkeypatch.setattr("diffusion_bench.bench.workers.WorkerProcess", Process)
    plan = DevicesPlan(names=("cuda:0", "cuda:1"), share=("model",))
    with Crew(plan) as crew:
        list(crew.whole.start())
    ready = crew.whole.ready
    assert told == [BOTH]
    assert ready is not None
    assert ModelDevice.parse(ready.device).cards == plan.names


@pytest.mark.parametrize("name", ["cpu,cpu", "cuda:0,cuda:0", "cuda,cuda:1", "cuda:0,cpu"])
def test_several_that_are_not_cards_which_differ_are_refused_in_one_line(
    name: str, two_cards: object
) -> None:
    with pytest.raises(ValueError, match=f"CUDA cards that differ, as in {BOTH}; not on {name}$"):
        pick_device(name)


def test_a_card_that_is_not_there_is_named_alone(two_cards: object) -> None:
    assert pick_device(BOTH) == BOTH
    with pytest.raises(ValueError, match="device 'cuda:7' cannot be used here; usable: cuda, "):
        pick_device("cuda:0,cuda:7")


def test_a_cap_is_on_each_card_and_the_identity_of_one_only(
    two_cards: list[tuple[float, int]],
) -> None:
    assert _ready(BOTH, 12 * 1024).gpu_uuid is None
    assert two_cards == [(0.5, 0), (0.5, 1)]
    assert _ready("cuda:1", None).gpu_uuid == "GPU-1-2-3"


@pytest.mark.parametrize("asked", [None, "cuda"])
def test_a_card_without_a_number_can_be_capped(
    two_cards: list[tuple[float, int]], asked: str | None
) -> None:
    assert _ready(asked, 6 * 1024).device == "cuda"
    assert two_cards == [(0.25, 0)]


def test_a_worker_looks_at_the_speed_of_one_card_and_of_no_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probed: list[str] = []
    monkeypatch.setattr(
        "diffusion_bench.backends.machine_speed.probe_speed",
        lambda device, one_thread: probed.append(device),
    )
    for name in (BOTH, "cuda:1"):
        Worker(name, SimpleNamespace())._probe()
    assert probed == ["cuda:1"]


def test_several_cards_are_held_each_and_let_go_where_one_is_busy() -> None:
    with hold_device(BOTH):
        for card in ("cuda", "cuda:0", "cuda:1"):
            with pytest.raises(DeviceBusy), hold_device(card):
                pass
    with hold_device("cuda:1"):
        with pytest.raises(DeviceBusy, match="cuda:1 is busy"), hold_device(BOTH):
            pass
        with hold_device("cuda:0"):
            pass


def test_a_voice_model_is_not_laid_on_several_cards(two_cards: object) -> None:
    from diffusion_bench.backends.voice.synthesis import VoiceBackend

    with pytest.raises(ValueError, match=f"runs on one device, not on {BOTH} together"):
        VoiceBackend.load("echo", device=BOTH)


def test_a_sweep_of_one_device_takes_no_several_cards_for_it_and_says_what_does(
    tmp_path: Path,
) -> None:
    """It would tell of the processor: several cards have no one name, memory or energy."""
    sweep, path = parse_sweep('name = "small"'), tmp_path / "report.jsonl"
    refused = f'one device, not on {BOTH}; .* \\[devices\\] .* share = \\["model"\\]$'
    for run in (run_sweep(sweep, path, device=BOTH), run_limit(sweep, path, "batch", device=BOTH)):
        with pytest.raises(ValueError, match=refused):
            next(run)
    assert not list(tmp_path.iterdir())
