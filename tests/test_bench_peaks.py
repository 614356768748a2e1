"""A cell's peaks are its own: what a larger one left in the worker is given back before it."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from diffusion_bench.backends.engine import Engine
from diffusion_bench.bench.measure import Effort
from diffusion_bench.bench.worker import Worker
from diffusion_bench.bench.worker_messages import EVENTS, Command, Event, Measured
from diffusion_bench.bench.workers import Workers
from diffusion_bench.records import Generation, ImageRequest, Memory, Stages

pytestmark = pytest.mark.usefixtures("warm_workers")

REQUEST = ImageRequest(prompt="a cat", steps=2)
EFFORT = Effort(warmups=1, repeats=1)
LIMIT_S = 120.0


class Loading(Engine):
    """An engine of a model that notes its calls."""

    def __init__(self, done: list[str]) -> None:
        super().__init__("cuda:0")
        self._done = done

    def backend(self, model: str, precision: Any, **how: Any) -> tuple[Any, bool]:
        def generate(request: ImageRequest, *, stop_after: int | None = None) -> Generation:
            self._done.append("call")
            return Generation(
                request=request,
                images=(),
                device="cuda:0",
                wall_s=1.0,
                stages=Stages(text_encoder_s=0, denoising_s=1, decoder_s=0, other_s=0),
                step_s=(0.5, 0.5),
                memory=Memory(),
            )

        return SimpleNamespace(generate=generate, attention="any", stage="load", notes=()), True


@pytest.mark.parametrize(
    ("warmups", "each"), [(1, ["given back", "call", "call"]), (0, ["call"])], ids=["cell", "start"]
)
def test_what_the_last_cell_left_is_given_back_but_not_before_a_start_that_is_to_be_warm(
    monkeypatch: pytest.MonkeyPatch, warmups: int, each: list[str]
) -> None:
    """torch counts a peak from what its allocator holds, and that keeps what it had."""
    done: list[str] = []
    told: list[Event] = []
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: done.append("given back"))
    monkeypatch.setattr("torch.cuda.device", nullcontext)
    pipe = SimpleNamespace(
        write=lambda line: told.append(EVENTS.validate_json(line)), flush=lambda: None
    )
    working = Worker("cuda:0", pipe, is_capped=True)
    working._engine = Loading(done)
    for _ in range(2):
        working.obey(Command(request=REQUEST, effort=Effort(warmups=warmups, repeats=1)))
        assert isinstance(told[-1], Measured), told[-1]
    assert done == each * 2


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no exact peak is told")
@pytest.mark.slow
def test_a_small_cell_takes_what_it_takes_also_after_a_large_one() -> None:
    """Of 785 MiB a cell of 64 pixels had 949 after one of 256 and four pictures."""
    small = REQUEST.model_copy(update={"width": 64, "height": 64})
    large = REQUEST.model_copy(update={"width": 256, "height": 256, "batch": 4})
    peaks = []
    with Workers("cpu") as workers:
        for request in (small, large, small):
            *_, last = workers.measure(request, EFFORT, LIMIT_S)
            assert isinstance(last, Measured), last
            peaks.append(last.measurement.memory.rss_mib or 0.0)
    assert peaks[1] > 1.2 * peaks[0]
    assert peaks[2] < 1.05 * peaks[0]
