"""What a processor reaches: measured on a CPU with memory to spare, and nowhere else."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest

from diffusion_bench.backends import ceiling
from diffusion_bench.backends.ceiling import measure_ceiling


def test_a_processor_reaches_something_and_more_arithmetic_than_bytes() -> None:
    """A product of 512 x 512 does 85 FLOPs a byte: where it were slower, it was not timed alone."""
    found = measure_ceiling("cpu")
    assert found is not None
    assert found.gflops > found.copy_gbs > 0


def test_a_card_has_its_specification_and_is_not_tried() -> None:
    assert measure_ceiling("cuda:0") is None
    assert measure_ceiling("mps") is None


def test_a_machine_short_of_memory_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000 * 2**20))
    assert measure_ceiling("cpu") is None


def test_the_shortest_run_counts_and_the_first_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 0.05, 1.0, 1.02, 2.0, 2.04, 3.0, 3.03, 4.0, 4.05])
    monkeypatch.setattr(ceiling.time, "perf_counter", lambda: next(ticks))
    runs: list[int] = []
    assert ceiling._best_s(lambda: runs.append(1)) == pytest.approx(0.02)
    assert len(runs) == 1 + ceiling.REPEATS


def test_a_slow_machine_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 0.4])
    monkeypatch.setattr(ceiling.time, "perf_counter", lambda: next(ticks))
    assert ceiling._best_s(lambda: None) == pytest.approx(0.4)
