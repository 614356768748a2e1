"""Where each stage of each call lies in a cell's trace.

The samples say when each call began and how long its stages took. What lay between two stages is
known only in sum (`other_s`), so a stage's span is where it ran for certain. The trace is of a
cell's last visit only.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from diffusion_bench.records import Stages
from diffusion_bench.reports.schema import Cell, Sample

StageName = Literal["text encoder", "denoising", "decoder"]
STAGES: tuple[StageName, ...] = ("text encoder", "denoising", "decoder")
NO_TRACE = "the report has no readings of this cell"
NO_STARTS = "a report before format 4 does not say when its calls began"
SPEECH = "speech runs its stages chunk by chunk, so they have no one place in a call"


class Span(NamedTuple):
    """A stage or a step of one call, from when to when it ran for certain, on the trace's clock."""

    name: str
    start_s: float
    end_s: float


def stage_spans(cell: Cell) -> tuple[tuple[Span, ...], str]:
    """Return every stage of every call that the trace shows, or none and the reason."""
    if not cell.trace.at_s:
        return (), cell.missing.get("trace", NO_TRACE)
    found = [span for sample in shown_samples(cell) for span in stages_of(sample)]
    return tuple(found), "" if found else _why_none(cell)


def readings_of(cell: Cell) -> str:
    """Return in words of which calls a cell's trace is, empty where it is of all."""
    if len(cell.visits) < 2:
        return ""
    calls = f"{cell.visits[-1].calls} of {len(cell.samples)} calls"
    return f"the last of {len(cell.visits)} visits, {calls}"


def timed_to_s(cell: Cell) -> float:
    """Return when the last timed call ended, by the trace's clock; infinity where unknown.

    Of what is sustained after it a trace may hold fewer readings a second.
    """
    ends = [s.start_s + s.wall_s for s in shown_samples(cell) if s.start_s is not None]
    return max(ends, default=math.inf)


def shown_samples(cell: Cell) -> list[Sample]:
    """Return the calls that the trace shows, those of the last visit, with a known start."""
    last = cell.visits[-1].calls if cell.visits else len(cell.samples)
    return [s for s in cell.samples[len(cell.samples) - last :] if s.start_s is not None]


def _why_none(cell: Cell) -> str:
    if any(not isinstance(sample.stages, Stages) for sample in cell.samples):
        return SPEECH
    return NO_STARTS if cell.samples else cell.missing.get("samples", "no call was timed")


def stages_of(sample: Sample) -> list[Span]:
    """Return where each stage of a call ran for certain: `other_s` may be at either side."""
    stages, start_s = sample.stages, sample.start_s
    if start_s is None or not isinstance(stages, Stages):
        return []
    unsure_s = max(0.0, stages.other_s)
    text_s = start_s + stages.text_encoder_s
    denoised_s = text_s + stages.denoising_s
    spans = [
        Span("text encoder", start_s, text_s),
        Span("denoising", text_s + unsure_s, denoised_s),
        Span("decoder", denoised_s + unsure_s, denoised_s + stages.decoder_s),
    ]
    return [span for span in spans if span.end_s > span.start_s]
