"""One cell as it is watched: the card at rest before it, and all of what it did, however long."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import make_report
from simulated_card import BUSY_W, IDLE_W, Card, OnCard, open_bench

from diffusion_bench.bench import cell_run
from diffusion_bench.bench.cell_run import CellRun
from diffusion_bench.bench.setup import Bench
from diffusion_bench.bench.shared_run import SharedBench, SharedRun
from diffusion_bench.bench.worker_messages import Event, Failed
from diffusion_bench.charts.held_back import held_back
from diffusion_bench.hardware.stretch import Stretch
from diffusion_bench.records import ImageRequest
from diffusion_bench.reports.schema import Cell
from diffusion_bench.reports.stage_readings import cut_trace
from diffusion_bench.reports.stats import summarise

REQUEST = ImageRequest(prompt="a cat", steps=4)


def run(card: Card, bench: Bench, *measured: Cell, **request: Any) -> Cell:
    """Return the cell of one more request."""
    asked = REQUEST.model_copy(update=request)
    cell = CellRun(bench, asked, len(measured), clock=card.clock, rest=card.pass_time)
    assert list(cell.prepare(measured)) == []
    for _ in cell.events():
        pass
    return cell.cell()


def test_a_card_that_worked_for_the_cell_before_is_not_taken_for_one_that_others_use() -> None:
    card = Card()
    bench = open_bench(card, REQUEST)
    first = run(card, bench)
    second = run(card, bench, first, seed=1)
    assert bench.workers.started == 1, "both cells are of one process"
    for cell in (first, second):
        assert "contended" not in cell.labels
        assert cell.before.gpu_utilization_percent == 0.0
        assert cell.energy.idle_power_w == IDLE_W


def test_a_card_that_others_use_is_contended_also_right_after_a_cell() -> None:
    card = Card()
    bench = open_bench(card, REQUEST)
    first = run(card, bench)
    card.others_percent = 30.0
    second = run(card, bench, first, seed=1)
    assert "contended" in second.labels
    assert second.before.gpu_utilization_percent == 30.0


class CardOfTheApp(Card):
    """A card on which the app has drawn: its process stays listed when it has let the model go."""

    def other_processes(self, gpu_index: int, own_pids: Collection[int]) -> tuple[int | None, str]:
        return len({os.getpid()} - set(own_pids)), ""


def test_the_program_that_runs_a_sweep_is_no_other_program() -> None:
    card = CardOfTheApp()
    cell = run(card, open_bench(card, REQUEST))
    assert cell.before.other_gpu_processes == 0
    assert "contended" not in cell.labels


class VisitedCard(Card):
    """A card that another program computes on from 3 to 5 seconds after a cell was begun."""

    def other_processes(self, gpu_index: int, own_pids: Collection[int]) -> tuple[int | None, str]:
        return int(1003.0 <= self.now_s < 1005.0), ""


def test_a_program_that_comes_and_goes_while_a_cell_runs_is_seen_on_its_card() -> None:
    card = VisitedCard()
    bench = open_bench(card, REQUEST)
    cell = run(card, bench)
    assert card.now_s > 1006.0
    assert cell.before.other_gpu_processes == 0
    assert cell.others.gpu_processes == 1
    assert "contended" in cell.labels
    again = run(card, bench, cell, seed=1)
    assert again.others.gpu_processes == 0
    assert "contended" not in again.labels


@pytest.fixture
def resting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process take no processor time: its clock is real, the card's is not."""
    monkeypatch.setattr("diffusion_bench.bench.idle_look.processor_s", lambda pids: 0.0)


@pytest.mark.usefixtures("resting")
def test_a_processor_that_others_load_while_a_cell_runs_labels_it_though_it_was_at_rest() -> None:
    card = Card()
    bench = open_bench(card, REQUEST)
    asked = CellRun(bench, REQUEST, 0, clock=card.clock, rest=card.pass_time)
    assert list(asked.prepare(())) == []
    card.host.percent = 40.0
    for _ in asked.events():
        pass
    cell = asked.cell()
    assert cell.before.cpu_percent == pytest.approx(1.0)
    assert cell.others.cpu_percent == pytest.approx(40.0, abs=2.0)
    assert "contended" in cell.labels
    assert held_back(cell, make_report(cell)).evidence == (
        "other programs took 40 % of the processor while it ran"
    )


def test_timed_calls_keep_their_readings_whatever_is_sustained_after_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sampler remembers 20 s, a cell 10 s fully; of three calls 6 s are timed, 120 s follow."""
    monkeypatch.setattr(cell_run, "Stretch", partial(Stretch, keep=200))
    card = Card(keep=400)
    bench = open_bench(card, REQUEST, sustain_s=120.0)
    asked = CellRun(bench, REQUEST, 0, clock=card.clock, rest=card.pass_time)
    assert list(asked.prepare(())) == []
    card.hot, card.used_mib = True, 9000.0
    for done in asked.events():
        if done == 3:  # the last timed call, and each that is sustained
            card.hot, card.used_mib = False, 2000.0
    cell = asked.cell()
    assert cell.sustained is not None
    assert len(card.sampler.history()) == 400
    assert cell.energy is not None
    assert cell.energy.total_j == pytest.approx(3 * 2 * BUSY_W)
    assert [sample.energy_j for sample in cell.samples] == pytest.approx([2 * BUSY_W] * 3)
    assert cell.memory.nvml_used_mib == 9000.0
    assert cell.throttle_share["hw_thermal"] == pytest.approx(6 / 126, rel=0.05)
    assert sum(0 < at_s <= 6 for at_s in cell.trace.at_s) == 120, "every one of 20 a second"
    assert sum(6 < at_s <= 12 for at_s in cell.trace.at_s) == 120, "and six seconds after them"
    assert 100 < sum(at_s > 12 for at_s in cell.trace.at_s) <= 203, "an even choice of 2280"
    assert max(later - earlier for earlier, later in pairwise(cell.trace.at_s)) < 2
    assert cell.trace.at_s[-1] > 125.9
    cut = cut_trace(cell, bench.header)
    assert [stage.power_w for stage in cut.stages] == [pytest.approx(BUSY_W)]
    assert len(cut.steps) == REQUEST.steps


def test_a_cell_of_short_calls_has_the_energy_of_two_seconds_of_them() -> None:
    """A card's registers move every tenth of a second, and three calls may take less than one."""
    card = Card()
    bench = open_bench(card, REQUEST, call_s=0.6)
    cell = run(card, bench)
    assert [sample.wall_s for sample in cell.samples] == pytest.approx([0.6] * 3)
    assert cell.energy is not None
    assert cell.energy.calls == 4
    assert cell.energy.window_s == pytest.approx(2.4)
    figures = summarise(cell)
    assert figures is not None
    assert figures.energy_j == pytest.approx(0.6 * BUSY_W, rel=0.02)


def test_the_energy_of_short_calls_is_kept_whatever_is_sustained_after_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of ten minutes that are sustained few readings are kept here, as of a day elsewhere."""
    monkeypatch.setattr(cell_run, "Stretch", partial(Stretch, keep=150))
    card = Card()
    cell = run(card, open_bench(card, REQUEST, call_s=0.6, sustain_s=600.0))
    assert cell.sustained is not None
    assert cell.energy is not None, cell.missing
    assert cell.energy.total_j == pytest.approx(4 * 0.6 * BUSY_W, rel=0.02)
    assert sum(at_s > 12 for at_s in cell.trace.at_s) <= 153


def test_a_cell_of_long_calls_has_the_energy_of_those_that_were_timed() -> None:
    card = Card()
    cell = run(card, open_bench(card, REQUEST))
    assert cell.energy is not None
    assert cell.energy.calls is None
    assert cell.energy.window_s == pytest.approx(6.0)


def test_the_first_start_of_several_devices_keeps_its_readings_whatever_starts_after_it() -> None:
    """The sampler remembers 5 s, and each of three starts takes 4 s."""
    card = Card(keep=100)
    run = shared_run(card, OnCard(card), OnCard(card), repeats=3)
    card.used_mib = 9000.0
    for start in run.events():
        if start:
            card.used_mib = 2000.0
    cell = run.cell()
    assert len(cell.wall_s) == 3
    for job in cell.jobs:
        assert job.energy is not None, job.missing
        assert job.energy.window_s == pytest.approx(sum(cell.wall_s))
        assert job.memory.nvml_used_mib == 9000.0
    assert cell.trace.at_s[0] < 0.1


class FailsLater(OnCard):
    """Workers whose second start fails at once."""

    starts = 0

    def events(self, time_limit_s: float) -> Iterator[Event | None]:
        self.starts += self._command.effort.start_at_s is not None
        if self.starts == 2:
            return iter((Failed(status="crashed", message="killed"),))
        return super().events(time_limit_s)


def shared_run(card: Card, *both: OnCard, repeats: int) -> SharedRun:
    header = open_bench(card, REQUEST, repeats=repeats).header
    crew = SimpleNamespace(each=both, whole=both[0])
    bench = SharedBench(header, None, crew, tuple(each.ready for each in both), card.sampler, card)
    return SharedRun(bench, REQUEST, "jobs", 0, clock=card.clock, rest=card.pass_time)


@pytest.mark.usefixtures("resting")
def test_what_others_do_while_devices_run_together_labels_them_though_all_was_at_rest() -> None:
    card = Card()
    run = shared_run(card, OnCard(card), OnCard(card), repeats=2)
    for _ in run.events():
        card.host.percent = 40.0
    cell = run.cell()
    assert cell.before.cpu_percent == pytest.approx(1.0)
    assert cell.others.cpu_percent == pytest.approx(40.0)
    assert "contended" in cell.labels
    visited = VisitedCard()
    run = shared_run(visited, OnCard(visited), OnCard(visited), repeats=1)
    visited.now_s = 997.0
    for _ in run.events():
        pass
    seen = run.cell()
    assert visited.now_s > 1005.0
    assert (seen.before.other_gpu_processes, seen.others.gpu_processes) == (0, 1)


def test_a_start_that_one_device_fails_lasts_until_the_others_are_done() -> None:
    """The one that fails was done with the start before later than the other one with this."""
    card = Card()
    run = shared_run(card, OnCard(card), FailsLater(card), repeats=2)
    assert [start for start in run.events() if start] == [1, 2]
    cell = run.cell()
    first, second = cell.jobs
    assert (cell.status, first.status, second.status) == ("crashed", "ok", "crashed")
    assert first.end_s[1] < second.end_s[0]
    assert first.energy is not None, first.missing
    lasted_s = max(first.end_s[0], second.end_s[0]) + first.end_s[1]
    assert first.energy.window_s == pytest.approx(lasted_s)
    assert second.missing["energy"] == "it did not end every start"


def test_a_card_that_the_driver_did_not_read_in_time_is_no_missing_card() -> None:
    card = Card()
    card.used_mib = None  # type: ignore[assignment]
    run = shared_run(card, OnCard(card), OnCard(card), repeats=1)
    for _ in run.events():
        pass
    for job in run.cell().jobs:
        assert job.gpu_index == 0
        assert job.memory.missing["nvml_used_mib"] == "NVML gave no reading in time"
