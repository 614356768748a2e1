"""Predict the time and the memory of speech on a card that need not be here.

    seconds = chunks x (text encoder + prior + calls x denoising step + vocoder)
    peak    = context + the largest, over the stages, of all weights + factor * activations alive

What a card achieves was fitted to published speeds of pictures. No speed of speech has checked it.
"""

from __future__ import annotations

import math

from diffusion_bench.records import Record
from diffusion_bench.tiers.cards import Card
from diffusion_bench.tiers.efficiency import shipped_efficiency
from diffusion_bench.tiers.evidence import EvidenceKind
from diffusion_bench.tiers.memory import CONTEXT_MIB, MIB, FitName, verdict
from diffusion_bench.tiers.predict import Z_80, Limit, limit_of_work, refuse_bf16
from diffusion_bench.tiers.roofline import Pace, call_seconds, figures_of, work_of
from diffusion_bench.tiers.stage_memory import DECODER_16, DECODER_32, OTHERS, Factor, Measure
from diffusion_bench.tiers.voice_cost import VoiceStageCost, chunk_cost, voice_counts
from diffusion_bench.tiers.voice_workload import VoiceWorkload, chunks_of

# How far speech may be off beside what pictures are: small kernels along one dimension, Python
# between them. An assumption of ours, a factor of 1.4, until cells of speech are compared with it.
SPEECH_SPREAD = 0.35


class VoiceNeed(Record):
    """What speech needs of a card; `peak_mib` must be free, the context included."""

    peak_mib: float
    low_mib: float
    high_mib: float


class VoicePrediction(Record):
    """Speech on a card. `low` and `high` are the ends of an 80 percent interval.

    `real_time_factor`: seconds of work for a second of speech, all candidates' speech counted.
    `chunks`: how many parts the text is said in. `limit`: what sets the pace of a denoising step.
    `basis` says what the figures rest on.
    """

    kind: EvidenceKind = "predicted"
    card: str
    workload: VoiceWorkload
    chunks: int
    seconds: float
    seconds_low: float
    seconds_high: float
    real_time_factor: float
    real_time_factor_low: float
    real_time_factor_high: float
    need: VoiceNeed
    fit: FitName
    limit: Limit
    basis: str


def predict_voice(card: Card, workload: VoiceWorkload) -> VoicePrediction:
    """Return the prediction for speech on a card; raise ValueError where none can be made."""
    refuse_bf16(card, workload.precision)
    chunks, stages = chunks_of(workload), _chunk_of(workload)
    step = next(stage for stage in stages if stage.stage == "denoising step")
    efficiency = shipped_efficiency()
    seconds = chunks * sum(_stage_seconds(card, stage) for stage in stages)
    spread = math.hypot(efficiency.spreads.total(card.name), SPEECH_SPREAD)
    margin = math.exp(Z_80 * spread)
    rtf = seconds / (workload.seconds * workload.batch)
    need = need_of_voice(workload)
    return VoicePrediction(
        card=card.name,
        workload=workload,
        chunks=chunks,
        seconds=seconds,
        seconds_low=seconds / margin,
        seconds_high=seconds * margin,
        real_time_factor=rtf,
        real_time_factor_low=rtf / margin,
        real_time_factor_high=rtf * margin,
        need=need,
        fit=verdict(need.low_mib, need.high_mib, card.vram_mib),
        limit=limit_of_work(figures_of(card, int(step.width)), work_of(step)),
        basis=f"the card's specification and a fit to {efficiency.rows} published speeds of "
        "pictures; no measured speech has checked it, so the interval is wider",
    )


def need_of_voice(workload: VoiceWorkload) -> VoiceNeed:
    """Return the memory that speech needs; raise ValueError for a model not counted in full."""
    found, stages = voice_counts()[workload.model], _chunk_of(workload)
    weights = sum(
        part.params * int(found.width(name, workload.precision)) / 8
        for name, part in found.parts.items()
    )

    def peak(which: Measure) -> float:
        held = max(getattr(_factor(stage), which) * stage.live_bytes for stage in stages)
        return CONTEXT_MIB + float(weights + held) / MIB

    return VoiceNeed(peak_mib=peak("reserved"), low_mib=peak("least"), high_mib=peak("most"))


def _chunk_of(workload: VoiceWorkload) -> tuple[VoiceStageCost, ...]:
    lacking = voice_counts()[workload.model].not_counted
    if lacking:
        raise ValueError(f"of {workload.model} only the diffusion is counted, not {lacking}")
    return chunk_cost(
        workload.model,
        seconds=workload.seconds / chunks_of(workload),
        batch=workload.batch,
        precision=workload.precision,
        steps=workload.steps,
        guided=workload.guided,
    )


def _stage_seconds(card: Card, stage: VoiceStageCost) -> float:
    """Return the seconds of all calls of a stage, by plain PyTorch."""
    rates, figures = shipped_efficiency().fit.rates, figures_of(card, int(stage.width))
    return stage.calls * float(call_seconds(figures, work_of(stage), rates, Pace(), 0.0))


def _factor(stage: VoiceStageCost) -> Factor:
    """Return the factor of a stage: a vocoder is convolutions, as a picture's decoder is."""
    if stage.stage != "vocoder":
        return OTHERS
    return DECODER_32 if stage.width == "32" else DECODER_16
