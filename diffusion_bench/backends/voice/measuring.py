"""What a candidate is measured by once it is spoken: the same in the command and on the page.

Speech, Candidate, Reference > measure_candidate > SpeechMeasures > warnings_of
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.catalog import UnknownModel
from diffusion_bench.backends.voice.base import VoiceEntry
from diffusion_bench.backends.voice.catalog import find_voice_model
from diffusion_bench.backends.voice.doubts import as_said, expected_duration_s
from diffusion_bench.backends.voice.ranking import Candidate
from diffusion_bench.records import Speech, VoiceRequest

if TYPE_CHECKING:  # it imports torch, which the page does without until it speaks
    from diffusion_bench.audio.speech_measures import SpeechMeasures

MEASURED_S = 60.0  # of speech; more of a long text would say the same


def measure_candidate(
    speech: Speech, candidate: Candidate, reference: Reference | None
) -> SpeechMeasures | None:
    """Measure the first minute of a candidate; `None` where there is too little sound for it.

    Of longer speech nobody knows which words the minute holds, so that its length is not compared
    with the text's.
    """
    from diffusion_bench.audio.speech_measures import LEAST_S, judge_speech

    most, least = (round(seconds * speech.sample_rate) for seconds in (MEASURED_S, LEAST_S))
    if len(candidate.audio) < least:
        return None
    request, entry = speech.request, _entry_of(speech.request)
    expected_s = None
    if entry and len(candidate.audio) <= most:
        expected_s = expected_duration_s(request.text, request.speed, entry)
    return judge_speech(
        candidate.audio[:most],
        speech.sample_rate,
        as_said(request.text, entry) if entry else request.text,  # 911 says "one" twice
        expected_s=expected_s,
        reference=reference,
        speed=request.speed,
    )


def _entry_of(request: VoiceRequest) -> VoiceEntry | None:
    try:
        return find_voice_model(request.model)
    except UnknownModel:
        return None


def warnings_of(speech: Speech, measured: SpeechMeasures | None) -> tuple[str, ...]:
    """Return what is doubtful about speech, each line once."""
    return tuple(dict.fromkeys([*speech.warnings, *(measured.warnings if measured else ())]))
