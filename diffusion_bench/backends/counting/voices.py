"""Count a voice model: the polynomials of its stages, in frames."""

from __future__ import annotations

import torch
from torch import nn

from diffusion_bench.backends.counting.fit import DTYPES, FRAMES, fit_stage, part_of
from diffusion_bench.backends.counting.networks import Run
from diffusion_bench.backends.counting.operators import Counter, count_call
from diffusion_bench.backends.counting.voice_networks import Call, VoiceNetworks
from diffusion_bench.tiers.cost import StageLines, Width
from diffusion_bench.tiers.voice_cost import VoiceCounts, VoiceStageName


def count_voice(found: VoiceNetworks) -> VoiceCounts:
    """Return a model's counts: every stage, at the widths of value it ever has."""
    stages: dict[VoiceStageName, dict[Width, StageLines]] = {}
    for stage, call in found.calls.items():
        stages[stage] = {}
        own = found.facts.get("widths", {}).get(stage)
        for width, dtype in DTYPES.items():
            if own and width not in own.values():
                continue
            for network in found.parts[stage]:
                nn.Module.to(network, dtype)
            stages[stage][width] = fit_stage(voice_run(call, dtype), found.sizes[stage], FRAMES)
    parts = {name: part_of(networks) for name, networks in found.parts.items()}
    return VoiceCounts(**found.facts, parts=parts, stages=stages)


def voice_run(call: Call, dtype: torch.dtype) -> Run:
    """Return how to count a stage whose networks have this type.

    Each size is run before it is counted: rotations that a network keeps are made in the first step
    of many.
    """

    def run(frames: int, passes: int, plain: bool) -> Counter:
        with torch.no_grad():
            call(dtype, frames, passes)
        return count_call(call, (dtype, frames, passes), plain_attention=plain)

    return run
