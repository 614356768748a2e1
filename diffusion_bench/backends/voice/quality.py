"""The quality of a model's speech at given settings, without weights: say some, and measure it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean

from diffusion_bench.audio.reference import Reference
from diffusion_bench.audio.speech_measures import SpeechMeasures
from diffusion_bench.backends.voice.base import VoiceState
from diffusion_bench.backends.voice.doubts import DOUBTFUL_RATIO
from diffusion_bench.backends.voice.measuring import measure_candidate
from diffusion_bench.backends.voice.more_steps import MoreSteps, compare_steps
from diffusion_bench.backends.voice.ranking import Candidate
from diffusion_bench.backends.voice.synthesis import VoiceBackend
from diffusion_bench.records import Estimate, Share, VoiceQuality, VoiceQualityPlan, VoiceRequest
from diffusion_bench.reports.intervals import mean_reach

LEAST_MEASURED = 2  # candidates: one has no spread
NO_RECORDING = "the voice was saved encoded: there is no recording to compare with"
TOO_FEW = "too few candidates have enough speech"


def measure_voice_quality(
    backend: VoiceBackend,
    request: VoiceRequest,
    voice: Reference | VoiceState,
    plan: VoiceQualityPlan,
    *,
    on_batch: Callable[[], None] = lambda: None,
) -> VoiceQuality:
    """Say the plan's candidates as the request says, and return what was measured of them.

    Raises ValueError, in one line, for a request that the model cannot fulfil.
    """
    reference = voice if isinstance(voice, Reference) else None
    measured: list[SpeechMeasures | None] = []
    apart: list[MoreSteps] = []
    why_not = plan.why_no_parallel(request)
    at_once = plan.batch or request.batch
    for start in range(0, plan.candidates, at_once):
        batch = min(at_once, plan.candidates - start)
        asked = request.model_copy(update={"seed": start, "batch": batch})
        speech = backend.generate(asked, voice)
        spoken = [Candidate(index, speech.candidate(index), None) for index in range(batch)]
        measured += [measure_candidate(speech, candidate, reference) for candidate in spoken]
        on_batch()
        if not why_not:
            assert plan.against_steps is not None
            more = backend.generate(asked.with_more_steps(plan.against_steps), voice)
            on_batch()
            try:
                apart += [compare_steps(candidate, more) for candidate in spoken]
            except ValueError as error:
                why_not, apart = str(error), []
    return _summed_up(plan, measured, apart, (NO_RECORDING if reference is None else "", why_not))


def _summed_up(
    plan: VoiceQualityPlan,
    measured: Sequence[SpeechMeasures | None],
    apart: Sequence[MoreSteps],
    why_not: tuple[str, str],
) -> VoiceQuality:
    """Return the figures; `why_not` are why there is no recording, and nothing in more steps."""
    heard = [found for found in measured if found is not None]
    pitches = [found.pitch_semitones for found in heard if found.pitch_semitones is not None]
    timbres = [found.timbre_similarity for found in heard if found.timbre_similarity is not None]
    figures = {
        "timbre_similarity": _mean(timbres, -1.0, 1.0),
        "pitch_error_semitones": _mean([abs(pitch) for pitch in pitches]),
        "mel_distance_db": _mean([found.distance_db for found in apart]),
        "seeds_apart_db": _mean([found.seeds_apart_db for found in apart]),
    }
    no_recording, no_parallel = why_not
    missing = {
        name: (no_parallel if name.endswith("_db") else no_recording) or TOO_FEW
        for name, figure in figures.items()
        if figure is None
    }
    return VoiceQuality(
        candidates=plan.candidates,
        unwarned=Share(right=sum(map(_is_unwarned, heard)), n=len(measured)),
        **figures,
        against_steps=plan.against_steps,
        missing=missing,
    )


def _is_unwarned(found: SpeechMeasures) -> bool:
    """Return whether nobody is told of a candidate, nor that it is much too short or too long."""
    low, high = DOUBTFUL_RATIO
    ratio = found.duration_ratio
    return not found.warnings and (ratio is None or low <= ratio <= high)


def _mean(values: Sequence[float], least: float = 0.0, most: float = math.inf) -> Estimate | None:
    """Return the mean of independent candidates with Student's interval, `None` of too few.

    A bootstrap of so few is too sure: the 95 percent of two candidates held half of the means.
    """
    if len(values) < LEAST_MEASURED:
        return None
    mean, reach = fmean(values), mean_reach(values)
    return Estimate(
        value=mean,
        low=min(mean, max(least, mean - reach)),
        high=max(mean, min(most, mean + reach)),
        n=len(values),
    )
