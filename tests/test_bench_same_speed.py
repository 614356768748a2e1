"""With speed "auto" a cell of several visits runs at one speed: what the first of them came to."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from simulated_card import Card, OnCard, open_bench

from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.speed import choosing
from diffusion_bench.bench.cell_run import CellRun
from diffusion_bench.bench.measure import Effort
from diffusion_bench.bench.setup import Bench
from diffusion_bench.bench.worker import Worker
from diffusion_bench.bench.worker_messages import EVENTS, Command, Event, Failed, Measured
from diffusion_bench.hardware.state import IDLE_S
from diffusion_bench.records import Generation, ImageRequest, Memory, Speed, Stages
from diffusion_bench.reports.schema import Cell

REQUEST = ImageRequest(prompt="a cat", steps=2, speed="auto")


class Undecided(OnCard):
    """Workers with which "auto" comes to another speed each time."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self.told: list[str | None] = []
        self._choices = iter(("packed", "bf16", "plain"))

    def begin(self, command: Command) -> None:
        super().begin(command)
        self.told.append(command.speed)

    def events(self, time_limit_s: float) -> Iterator[Event | None]:
        ran_at = self.told[-1] or next(self._choices)
        for event in super().events(time_limit_s):
            if isinstance(event, Measured):
                measurement = event.measurement.model_copy(update={"speed": ran_at})
                event = event.model_copy(update={"measurement": measurement})
            yield event


def visit(bench: Bench, card: Card, earlier: Cell | None) -> tuple[Cell, list[float]]:
    """Return the cell after one more visit, and for how long the machine was rested."""
    rested: list[float] = []

    def rest(seconds: float) -> None:
        rested.append(seconds)
        card.pass_time(seconds)

    run = CellRun(bench, REQUEST, 0, earlier, clock=card.clock, rest=rest)
    assert list(run.prepare(())) == []
    for _ in run.events():
        pass
    return run.cell(), rested


def test_later_visits_run_at_the_speed_of_the_first_and_the_next_cell_chooses_anew() -> None:
    card = Card()
    workers = Undecided(card)
    bench = open_bench(card, REQUEST, rounds=3, repeats=3)._replace(workers=workers)
    cell, _ = visit(bench, card, None)
    for _ in range(2):
        cell, _ = visit(bench, card, cell)
    assert workers.told == [None, "packed", "packed"]
    assert cell.speed == "packed"
    assert len(cell.visits) == 3
    assert cell.request == REQUEST, "it is still the cell of auto"
    other, _ = visit(bench, card, None)
    assert other.speed == "bf16"


def test_each_visit_looks_at_the_quiet_machine_for_as_long_as_the_first() -> None:
    card = Card()
    bench = open_bench(card, REQUEST, rounds=2, repeats=2)
    first, rested = visit(bench, card, None)
    assert rested[-1] == IDLE_S
    without_energy = first.model_copy(update={"energy": None})
    _, rested = visit(bench, card, without_energy)
    assert rested[-1] == IDLE_S


class Loading(Engine):
    """An engine whose models cannot be packed; it keeps the speeds that it was asked for."""

    def __init__(self) -> None:
        super().__init__("cpu")
        self.asked: list[Speed] = []

    def backend(self, model: str, precision: Any, **how: Any) -> tuple[Any, bool]:
        speed: Speed = how["speed"]
        self.asked.append(speed)
        if speed.packed:
            raise ValueError("speed packed: not this denoiser")

        def generate(request: ImageRequest, *, stop_after: int | None = None) -> Generation:
            return Generation(
                request=request.model_copy(update={"speed": speed}),
                images=(),
                device="cpu",
                wall_s=1.0,
                stages=Stages(text_encoder_s=0, denoising_s=1, decoder_s=0, other_s=0),
                step_s=(0.5, 0.5),
                memory=Memory(),
            )

        loaded = SimpleNamespace(generate=generate, attention="any", stage="load", notes=())
        return loaded, True


def ends_at(speed: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Event, list[Speed]]:
    """Return what a worker says last of a visit at a speed, and what it loaded for it."""

    def no_trial(*_: object, **__: object) -> None:
        raise AssertionError("another trial of speeds")

    monkeypatch.setattr(choosing, "choose", no_trial)
    told: list[Event] = []
    pipe = SimpleNamespace(
        write=lambda line: told.append(EVENTS.validate_json(line)), flush=lambda: None
    )
    working = Worker("cpu", pipe, is_capped=True)
    working._engine = engine = Loading()
    working.obey(Command(request=REQUEST, effort=Effort(warmups=1, repeats=1), speed=speed))
    return told[-1], engine.asked


def test_a_worker_takes_the_speed_that_it_is_told_and_tries_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    last, asked = ends_at("bf16", monkeypatch)
    assert isinstance(last, Measured), last
    assert last.measurement.speed == "bf16"
    assert asked == [Speed(compute="bf16")]


@pytest.mark.parametrize(
    ("speed", "words"),
    [("packed", "speed packed: not this denoiser"), ("swift", "unknown speed 'swift'; say auto")],
)
def test_a_speed_that_cannot_be_had_again_fails_the_visit_in_words(
    speed: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    last, _ = ends_at(speed, monkeypatch)
    assert isinstance(last, Failed), last
    assert last.status == "failed"
    assert last.message.startswith(words)
