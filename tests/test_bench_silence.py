"""A time limit is of one call or one loading: a worker is never silent for longer than that."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.speed import choosing
from diffusion_bench.bench import worker, workers
from diffusion_bench.bench.measure import Effort
from diffusion_bench.bench.worker import Worker
from diffusion_bench.bench.worker_messages import EVENTS, Command, Event, Loaded, Measured, Repeated
from diffusion_bench.bench.workers import Workers
from diffusion_bench.records import Generation, ImageRequest, Memory, Speed, Stages

REQUEST = ImageRequest(prompt="a cat", steps=2)
CALL_S, LOADING_S, LIMIT_S = 0.4, 0.5, 0.7
SPEEDS = (Speed(), Speed(packed=True), Speed(compute="bf16"))


class Clock:
    """A clock that calls and loadings move; what is written to it is written at its time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.told: list[tuple[float, Event]] = []

    def write(self, line: str) -> None:
        self.told.append((self.now_s, EVENTS.validate_json(line)))

    def flush(self) -> None:
        pass


class Model:
    """A model at one speed, each call of which takes its time."""

    attention = "any"
    stage = "denoising"
    notes: tuple[str, ...] = ()

    def __init__(self, clock: Clock, speed: Speed) -> None:
        self._clock, self._speed = clock, speed

    def generate(self, request: ImageRequest, *, stop_after: int | None = None) -> Generation:
        self._clock.now_s += CALL_S
        if self._speed.packed:
            raise ValueError("speed packed: not this denoiser")
        return Generation(
            request=request.model_copy(update={"speed": self._speed}),
            images=(Image.new("RGB", (8, 8)),),
            device="cpu",
            wall_s=CALL_S,
            stages=Stages(text_encoder_s=0, denoising_s=CALL_S, decoder_s=0, other_s=0),
            step_s=(CALL_S / request.steps,) * request.steps,
            memory=Memory(),
        )


class Loading(Engine):
    """An engine of which each loading takes its time."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("cpu")
        self._clock = clock

    def backend(self, model: str, precision: Any, **how: Any) -> tuple[Any, bool]:
        self._clock.now_s += LOADING_S
        return Model(self._clock, how["speed"]), True


class Replayed:
    """A worker process that says what was told, when it was told."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = list(clock.told)
        clock.now_s = 0.0

    def hear(self, timeout_s: float) -> Event | None:
        at_s, event = self._left[0]
        if at_s > self._clock.now_s + timeout_s:
            self._clock.now_s += timeout_s
            return None
        self._clock.now_s = max(at_s, self._clock.now_s)
        del self._left[0]
        return event

    def end(self) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of a worker and of who listens to it, and of a trial of three speeds."""
    made = Clock()

    def to_try(*_: object) -> tuple[tuple[Speed, ...], tuple[float, float]]:
        made.now_s += LOADING_S
        return SPEEDS, (0.0, math.inf)

    monkeypatch.setattr(worker, "time", SimpleNamespace(perf_counter=lambda: made.now_s))
    monkeypatch.setattr(workers, "time", SimpleNamespace(monotonic=lambda: made.now_s))
    monkeypatch.setattr(choosing, "speeds_to_try", to_try)
    return made


@pytest.mark.parametrize(
    ("request_", "effort"),
    [
        (REQUEST, Effort(warmups=5, repeats=2)),
        (REQUEST.model_copy(update={"speed": "auto"}), Effort(warmups=1, repeats=2)),
    ],
    ids=["many warm-ups", "a trial of speeds"],
)
def test_many_short_calls_are_no_hang_however_long_they_take_together(
    clock: Clock, request_: ImageRequest, effort: Effort
) -> None:
    working = Worker("cpu", clock, is_capped=True)
    working._engine = Loading(clock)
    working.obey(Command(request=request_, effort=effort))
    listening = Workers("cpu")
    listening._process = Replayed(clock)
    *_, last = listening.events(LIMIT_S)
    assert isinstance(last, Measured), last
    assert clock.now_s > 3 * LIMIT_S
    kinds = [type(event) for _, event in clock.told]
    assert (kinds.count(Loaded), kinds.count(Repeated)) == (1, effort.repeats)
    ends = [0.0, *(at_s for at_s, _ in clock.told)]
    assert max(later - at_s for at_s, later in pairwise(ends)) == pytest.approx(LOADING_S)
