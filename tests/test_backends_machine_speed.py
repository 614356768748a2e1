"""The probe of the machine's own speed: short, on the cell's threads, and never in a cell's way."""

from __future__ import annotations

import io
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from torch.autograd import profiler
from torch.nn import functional

from diffusion_bench.backends import machine_speed
from diffusion_bench.backends.machine_speed import (
    LEAST,
    ON_CARD,
    ON_CPU,
    REPEATS,
    Work,
    _nothing_kept,
    _products,
    probe_speed,
)
from diffusion_bench.bench.worker import Worker
from diffusion_bench.records import Speed, SpeedProbe


def ticks(monkeypatch: pytest.MonkeyPatch, *runs_s: float) -> None:
    """Let the clock say that runs took so long, one after the other."""
    times = (time for run_s in runs_s for time in (0.0, run_s))
    monkeypatch.setattr(machine_speed, "time", SimpleNamespace(perf_counter=lambda: next(times)))


def test_a_probe_holds_every_run_of_the_products_and_what_they_were() -> None:
    found = probe_speed("cpu")
    assert found is not None
    assert found.before_s is not None
    assert LEAST <= len(found.before_s) <= REPEATS
    assert found.work == (
        f"8 products of 64 x 768 by 768 x 768 with SiLU, float32, {torch.get_num_threads()} threads"
    )


def test_a_probe_draws_nothing_from_the_generator_that_pictures_are_drawn_with() -> None:
    before = torch.get_rng_state()
    assert probe_speed("cpu") is not None
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("work", [ON_CPU, ON_CARD])
def test_a_run_does_every_product_and_ends_in_numbers(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[torch.Tensor] = []
    silu = functional.silu

    def kept(given: torch.Tensor, **named: Any) -> torch.Tensor:
        outcomes.append(given.clone())
        return silu(given, **named)

    monkeypatch.setattr(functional, "silu", kept)
    _products("cpu", work._replace(rows=4, dtype="float32"))()
    assert len(outcomes) == work.products
    for found in outcomes:
        assert found.shape == (4, work.side)
        # What half precision holds, with room, and no two rows or columns alike.
        assert found.std() > 0.1
        assert found.abs().max() < 10_000
        assert len(found.unique()) > 0.9 * found.numel()


def test_a_run_asks_for_no_memory_whatever_the_heap_does_with_what_is_given_back() -> None:
    """Convolutions were a quarter slower in a process that gave it back to the system each time."""
    run = _products("cpu", ON_CPU)
    run()
    with profiler.profile(profile_memory=True) as seen:
        run()
    products = [each for each in seen.key_averages() if each.key == "aten::mm"]
    assert [each.count for each in products] == [8]
    assert all(each.self_cpu_memory_usage <= 0 for each in seen.key_averages())


def test_a_probe_has_the_threads_of_the_cell() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = [probe_speed("cpu", one_thread=one_thread) for one_thread in (True, False)]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert [each and each.work.split(", ")[-1] for each in found] == ["1 threads", "2 threads"]


def test_a_run_that_waited_for_a_core_is_no_reason_for_fewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[int] = []
    runs_s = (0.9, 0.002, 0.8, 0.002, *[0.7] * (REPEATS - 4))
    ticks(monkeypatch, *runs_s)
    found = machine_speed._runs_s("cpu", lambda: done.append(1))
    assert found == pytest.approx(runs_s)
    assert len(done) == 1 + REPEATS  # the first one never counts


def test_a_card_at_rest_is_woken_before_its_runs_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clocks are low then, and rise in a tenth of a second."""
    now_s, done = [0.0], [0]

    def run() -> None:
        done[0] += 1
        now_s[0] += 0.03 if now_s[0] < 0.09 else 0.01

    monkeypatch.setattr(machine_speed, "time", SimpleNamespace(perf_counter=lambda: now_s[0]))
    monkeypatch.setattr("diffusion_bench.backends.stage_clock.synchronize", lambda device: None)
    found = machine_speed._runs_s("cuda:0", run)
    assert found == pytest.approx([0.01] * len(found))
    assert LEAST <= len(found) < done[0] - 4  # one, and those of a tenth of a second, do not count


def test_a_slow_machine_is_asked_for_the_least_number_of_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks(monkeypatch, *[0.3] * LEAST)
    assert machine_speed._runs_s("cpu", lambda: None) == pytest.approx((0.3,) * LEAST)


def test_a_machine_short_of_memory_is_not_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000 * 2**20))
    assert probe_speed("cpu") is None


def test_a_probe_that_fails_is_no_failure_of_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(torch, "mm", no_room)
    assert probe_speed("cpu") is None


class Backend:
    """A loaded model of a speed, as far as a worker's probe looks at it."""

    def __init__(self, speed: Speed) -> None:
        self.speed = speed


def test_a_worker_probes_on_the_threads_of_its_model_and_never_under_a_cap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, bool]] = []
    probe = SpeedProbe(work="w", before_s=(0.1,))

    def look(device: str, *, one_thread: bool) -> SpeedProbe:
        asked.append((device, one_thread))
        return probe

    monkeypatch.setattr(machine_speed, "probe_speed", look)
    worker = Worker("cpu", io.StringIO())
    for backend in (None, Backend(Speed()), Backend(Speed(threads="one"))):
        worker._backend = backend  # type: ignore[assignment]
        assert worker._probe() == probe
    assert asked == [("cpu", False), ("cpu", False), ("cpu", True)]
    assert Worker("cpu", io.StringIO(), is_capped=True)._probe() is None
    assert len(asked) == 3


def test_a_probe_on_the_second_card_gives_back_without_touching_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    reserved = iter((0, 1))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: next(reserved))
    monkeypatch.setattr("torch.cuda.device", lambda card: told.append(card) or nullcontext())
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: told.append("given back"))
    with _nothing_kept("cuda:1"):
        pass
    assert told == ["cuda:1", "given back"]
