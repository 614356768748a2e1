"""What is counted of voice models: against torch's own counter, and at lengths not counted."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from diffusion_bench.backends.counting.voice_networks import echo, longcat, tortoise
from diffusion_bench.backends.counting.voices import count_voice, voice_run
from diffusion_bench.tiers.voice_cost import voice_counts

FULL = torch.float32
networks = {"echo": cache(echo), "longcat": cache(longcat), "tortoise": cache(tortoise)}


def counted(model: str, stage: str, frames: int, passes: int):
    return voice_run(networks[model]().calls[stage], FULL)(frames, passes, False)


def test_the_flops_of_echos_step_are_those_of_torchs_counter():
    step = networks["echo"]().calls["denoising step"]
    with FlopCounterMode(display=False) as theirs, torch.no_grad():
        step(FULL, 64, 1)
    ours = counted("echo", "denoising step", 64, 1)
    assert sum(tally.flops for tally in ours.tallies.values()) == theirs.get_total_flops()
    assert theirs.get_total_flops() == 270_225_408


@pytest.mark.parametrize(
    ("model", "stage", "frames", "passes"),
    [
        ("echo", "prior", 36, 1),
        ("echo", "denoising step", 36, 1),
        ("echo", "denoising step", 60, 5),
        ("echo", "vocoder", 36, 4),
        ("tortoise", "denoising step", 17, 1),
        ("tortoise", "vocoder", 20, 1),
        ("longcat", "denoising step", 45, 2),
        ("longcat", "vocoder", 11, 1),
    ],
)
def test_the_shipped_counts_are_exact_at_lengths_they_were_not_made_from(
    model, stage, frames, passes
):
    """Fails too when a network is given another shape: run backends.counting again."""
    found = counted(model, stage, frames, passes)
    lines = voice_counts()[model].stages[stage]["32"].of(passes)
    assert lines.operators.keys() == found.tallies.keys()
    for name, tally in found.tallies.items():
        row = lines.operators[name]
        assert row.launches == tally.launches
        assert row.flops.at(frames, passes) == pytest.approx(tally.flops, rel=1e-12)
        assert row.bytes_moved.at(frames, passes) == pytest.approx(tally.bytes_moved)
    live = max(line.at(frames, passes) for line in lines.live_bytes)
    assert live == pytest.approx(max(found.live_bytes))


def test_the_shipped_parameters_of_echo_are_those_of_its_files():
    bare = networks["echo"]()._replace(calls={})
    assert count_voice(bare).parts == voice_counts()["echo"].parts


def test_the_convolutions_of_a_vocoder_under_inference_mode_are_counted_as_such():
    found = counted("echo", "vocoder", 24, 1)
    assert found.tallies["convolution"].flops > 0
