"""What `clone` says of the speech that it wrote: times, measures, judgements, distances."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from diffusion_bench.cli.amounts import peak_words
from diffusion_bench.cli.telling import tell, warn

if TYPE_CHECKING:
    from diffusion_bench.audio.reference import Reference
    from diffusion_bench.audio.speech_measures import SpeechMeasures
    from diffusion_bench.backends.voice.judges import Judgement, Judges
    from diffusion_bench.backends.voice.ranking import Candidate
    from diffusion_bench.records import Speech

STAGES = {
    "text_s": "text",
    "voice_encoder_s": "voice encoder",
    "prior_s": "prior",
    "denoising_s": "denoising",
    "vocoder_s": "vocoder",
    "other_s": "other",
}


def summarise(
    speech: Speech, ranked: list[Candidate], reference: Reference | None, judges: Judges | None
) -> None:
    """Warn of what is doubtful in the first, and tell times and measures in one line."""
    from diffusion_bench.backends.voice.measuring import measure_candidate, warnings_of

    measured = measure_candidate(speech, ranked[0], reference)
    for warning in warnings_of(speech, measured):
        warn(warning)
    stages = speech.stages
    parts = [
        f"seed {speech.request.seed}",
        f"{speech.audio_s:.2f} s of speech",
        f"{speech.wall_s:.2f} s on {speech.device}",
        f"real-time factor {speech.real_time_factor:.3f}",
        f"first audio after {speech.first_audio_s:.2f} s",
        *(f"{name} {getattr(stages, field):.3f} s" for field, name in STAGES.items()),
        peak_words(speech.memory),
        *_timbre(ranked),
        *(_measures(measured) if measured else ()),
    ]
    if speech.num_chunks > 1:
        parts.insert(2, f"{speech.num_chunks} chunks")
    if judges is not None:
        text, rate = speech.request.text, speech.sample_rate
        parts += _judged([judges.judge(one.audio, rate, text, reference) for one in ranked])
    tell(", ".join(parts))


def _timbre(ranked: list[Candidate]) -> Iterator[str]:
    """Yield how like the reference all candidates are, as far as can be told."""
    from diffusion_bench.audio.timbre import NAME

    scores = [one.similarity for one in ranked if one.similarity is not None]
    if scores:
        yield f"{NAME} " + " / ".join(f"{score:.3f}" for score in scores)


def _measures(measured: SpeechMeasures) -> Iterator[str]:
    """Yield how the first is spoken, as far as can be told."""
    if measured.pitch_semitones is not None:
        yield f"pitch {measured.pitch_semitones:+.1f} semitones"
    if measured.syllables_per_s is not None:
        ratio = measured.rate_ratio
        against = f" ({ratio:.2f} of the reference)" if ratio is not None else ""
        yield f"{measured.syllables_per_s:.1f} syllables/s{against}"
    if measured.duration_ratio is not None:
        yield f"{measured.duration_ratio:.2f} of the expected length"


def _judged(judgements: list[Judgement]) -> Iterator[str]:
    """Yield what the judges make of each candidate; a dash where they cannot tell."""

    def told(shares: list[float | None], form: str) -> str:
        return " / ".join("-" if share is None else format(share, form) for share in shares)

    errors = [one.errors for one in judgements]
    yield "x-vector similarity (WavLM) " + told([one.similarity for one in judgements], ".3f")
    words = [None if one is None else one.word_error_rate for one in errors]
    yield "word errors (Whisper) " + told(words, ".1%")
    letters = [None if one is None else one.character_error_rate for one in errors]
    yield "character errors " + told(letters, ".1%")
