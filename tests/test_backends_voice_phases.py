"""The phases of an utterance: each second goes to the phase that ran, and a watcher's to none."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from diffusion_bench.backends.voice.phases import PhaseClock


class Time:
    """A clock that a test moves by hand, in place of `time.perf_counter`."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr("diffusion_bench.backends.stage_clock.time.perf_counter", clock)
    return clock


def test_a_phase_lasts_until_the_next_and_may_come_again(time: Time) -> None:
    clock = PhaseClock("cpu")
    for phase, seconds in (("text", 1), ("prior", 2), ("denoising", 4), ("prior", 8)):
        clock.enter(phase)
        time.now_s += seconds
    assert clock.facts() == {
        "text_s": 1,
        "prior_s": 10,
        "denoising_s": 4,
        "vocoder_s": 0,
        "step_s": (),
    }


def test_a_step_begins_where_the_last_ended_and_a_watcher_is_in_none(time: Time) -> None:
    clock = PhaseClock("cpu")
    clock.enter("prior")
    time.now_s += 1
    clock.begin_steps()
    for seconds in (2, 3):
        time.now_s += seconds
        with clock.step_ended():
            time.now_s += 50
    time.now_s += 4
    facts = clock.facts()
    assert facts["step_s"] == (2, 3)
    assert facts["prior_s"] == 1 + 2 + 3 + 4


def test_a_watcher_that_raises_is_let_through(time: Time) -> None:
    clock = PhaseClock("cpu")
    clock.enter("denoising")
    clock.begin_steps()
    with pytest.raises(KeyboardInterrupt), clock.step_ended():
        raise KeyboardInterrupt
    time.now_s += 7
    assert clock.facts()["denoising_s"] == 7


def test_modules_begin_and_end_phases_only_inside_the_block(time: Time) -> None:
    class Slow(nn.Module):
        def forward(self, seconds: torch.Tensor) -> torch.Tensor:
            time.now_s += float(seconds)
            return seconds

    head, decoder, ended = Slow(), Slow(), []
    clock = PhaseClock("cpu")
    clock.enter("prior")
    watched = {"denoising": (head, "denoising"), "vocoder": (decoder, "prior")}
    with clock.watching(watched, after={decoder: lambda *_: ended.append(time.now_s)}):
        time.now_s += 1
        head(torch.tensor(2.0))
        time.now_s += 4  # a scheduler's step: still denoising
        decoder(torch.tensor(8.0))
        time.now_s += 16
    clock.enter("other")
    decoder(torch.tensor(32.0))
    facts = clock.facts()
    assert (facts["prior_s"], facts["denoising_s"], facts["vocoder_s"]) == (17, 6, 8)
    assert ended == [115.0]
