"""What the tab *Voice cloning* says: lines and small tables of our own words and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffusion_bench.audio.recording import ReferenceReport
from diffusion_bench.audio.watermark.search import Detection
from diffusion_bench.backends.catalog import UnknownModel
from diffusion_bench.backends.voice.base import VoiceEntry
from diffusion_bench.backends.voice.catalog import find_voice_model, own_voice_of
from diffusion_bench.backends.voice.doubts import about_s
from diffusion_bench.backends.voice.ranking import Candidate
from diffusion_bench.backends.voice.recipes import Recipe
from diffusion_bench.backends.voice.voices import REFERENCE
from diffusion_bench.pronunciation.characters import left_out
from diffusion_bench.pronunciation.front_end import NOTHING_TO_SAY, is_speakable
from diffusion_bench.pronunciation.sentences import split_to_hear
from diffusion_bench.records import MAX_TEXT, Speech, VoiceStep

if TYPE_CHECKING:  # they import torch, which the page does without until it speaks
    from diffusion_bench.audio.speech_measures import SpeechMeasures

NO_PROOF = (
    "That no mark is found proves nothing: it can be removed, and most synthetic speech never "
    "had it."
)


def text_line(text: str, entry: VoiceEntry) -> str:
    """Return how long a text is and how a model will say it, in one line."""
    if len(text) > MAX_TEXT:  # not looked at: a page asks for this line at each key
        return f"{len(text)} characters; at most {MAX_TEXT} are said."
    if not any(letter.isalnum() for letter in text):
        return "Write what is to be said."
    if entry.english_only and left_out(text) and not is_speakable(text):
        return f"{NOTHING_TO_SAY[:1].upper()}{NOTHING_TO_SAY[1:]}"
    count = len(split_to_hear(text, entry.max_chars))
    pieces = f"{count} chunk{'s' if count != 1 else ''}"
    return f"{len(text)} characters, {pieces}, about {about_s(text, entry):.0f} s of speech."


def report_lines(report: ReferenceReport) -> str:
    """Return what a recording is like, as Markdown of our own words and numbers only."""
    facts = [
        f"{report.duration_s:.1f} s of speech in {report.recorded_s:.1f} s",
        f"{report.sample_rate / 1000:g} kHz",
        f"about {report.snr_db:.0f} dB over the noise",
        f"{report.clipped_share:.2%} clipped",
        f"{report.loudness_lufs:.0f} LUFS",
        f"peak {report.peak:.2f}",
    ]
    lines = [" · ".join(facts), *(f"- Warning: {warning}" for warning in report.warnings)]
    return "\n".join(lines)


def progress_of(step: VoiceStep) -> tuple[int, int]:
    """Return the steps done and in all, over all chunks; 0 in all where that is not known."""
    done = step.chunk * step.num_steps + step.index + 1
    return done, step.num_chunks * step.num_steps


def step_line(step: VoiceStep) -> str:
    """Return how far it is, in one line."""
    done, total = progress_of(step)
    chunk = f"chunk {step.chunk + 1} of {step.num_chunks}, " if step.num_chunks > 1 else ""
    if not total:
        return f"{chunk}step {step.index + 1}.".capitalize()
    left_s = step.elapsed_s / done * (total - done)
    words = f"{chunk}step {step.index + 1} of {step.num_steps}, about {left_s:.0f} s left."
    return words.capitalize()


def summary(speech: Speech) -> str:
    """Return times, by stage, and the peak memory in one line."""
    stages, memory = speech.stages, speech.memory
    parts = [
        f"{speech.audio_s:.2f} s of speech in {speech.wall_s:.2f} s on {speech.device}",
        f"real-time factor {speech.real_time_factor:.2f}",
        f"first sound after {speech.first_audio_s:.2f} s",
        f"text {stages.text_s:.3f} s",
        f"voice encoder {stages.voice_encoder_s:.3f} s",
        f"prior {stages.prior_s:.3f} s",
        f"denoising {stages.denoising_s:.2f} s",
        f"vocoder {stages.vocoder_s:.2f} s",
    ]
    if memory.torch_allocated_mib is not None:
        parts.append(f"peak GPU memory {memory.torch_allocated_mib:.0f} MiB")
    elif memory.rss_mib is not None:
        parts.append(f"peak memory of the app {memory.rss_mib:.0f} MiB")
    return " · ".join(parts)


def candidate_label(candidate: Candidate, recipe: Recipe) -> str:
    """Return what a candidate, made by that recipe, is called in the list."""
    if candidate.similarity is None:
        return seed_words(recipe)
    return f"{seed_words(recipe)}, similarity {candidate.similarity:.2f}"


def seed_words(recipe: Recipe) -> str:
    """Return which seed speaks a recipe's candidate, and which one it is where others share it."""
    request = recipe.request
    if request.batch == 1 or _speaks_alone(request.model):
        return f"seed {request.seed + recipe.candidate}"
    return f"seed {request.seed}, candidate {recipe.candidate + 1} of {request.batch}"


def _speaks_alone(model: str) -> bool:
    """Return whether each candidate has a seed of its own; not of a model that is not known here.

    Of that one it is true, whatever it is, that the whole batch came of its first seed.
    """
    try:
        return find_voice_model(model).candidates_alone
    except UnknownModel:
        return False


def measures_table(found: SpeechMeasures | None) -> str:
    """Return pitch, rate and likeness against the reference, and length, as a Markdown table.

    What cannot be told is a dash; nothing at all gives no table.
    """
    from diffusion_bench.audio.timbre import NAME as SIMILARITY

    if found is None:
        return ""
    rows = [
        ("median pitch (Hz)", *_pitch(found)),
        ("syllables a second", *_rate(found)),
        (SIMILARITY, *_likeness(found.timbre_similarity)),
        ("silence", f"{found.silence_share:.0%}", "", ""),
    ]
    if found.duration_ratio is not None:
        against = f"{found.duration_ratio:.2f} of what the text should take"
        rows.append(("seconds", f"{found.duration_s:.1f}", "", against))
    heads = ("measured", "speech", "reference", "difference")
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _pitch(found: SpeechMeasures) -> tuple[str, str, str]:
    if found.pitch_hz is None:
        return "—", "", ""
    if found.pitch_semitones is None:
        return f"{found.pitch_hz:.0f}", "—", "—"
    other_hz = found.pitch_hz / 2 ** (found.pitch_semitones / 12)
    apart = round(found.pitch_semitones, 1) + 0.0  # no minus before a zero
    return f"{found.pitch_hz:.0f}", f"{other_hz:.0f}", f"{apart:+.1f} semitones"


def _rate(found: SpeechMeasures) -> tuple[str, str, str]:
    rate, ratio = found.syllables_per_s, found.rate_ratio
    if rate is None:
        return "—", "", ""
    if ratio is None:
        return f"{rate:.1f}", "—", "—"
    return f"{rate:.1f}", f"{rate / ratio:.1f}", f"{ratio:.2f} times as fast"


def _likeness(similarity: float | None) -> tuple[str, str, str]:
    if similarity is None:
        return "—", "", ""
    return f"{similarity:.2f}", "1", f"{_share(similarity)} of pairs of different speakers"


def _share(similarity: float) -> str:
    """Return where a similarity lies among those of different speakers, as far as it is known.

    The scale is in whole percents of measured pairs: it has neither a 0 nor a 100.
    """
    from diffusion_bench.audio.timbre import share_of_others_below

    share = share_of_others_below(similarity)
    if share > 0.99:
        return "above 99 %"
    return "among the lowest 1 %" if share < 0.01 else f"above {100 * share:.0f} %"


def recipe_line(recipe: Recipe) -> str:
    """Return what made a file, in one line."""
    request = recipe.request
    own = request.voice.startswith(REFERENCE)
    source = own_voice_of(request.model) if own else f"voice {request.voice}"
    return (
        f"{request.model}, {request.sampler}, {request.steps} steps, "
        f"{seed_words(recipe)}, from {source}"
    )


def verdict_lines(found: Detection, recipe: Recipe | None, problem: str = "") -> str:
    """Return what a file's mark, and its own words, say of where it comes from.

    `problem` is why its own words cannot be read.
    """
    if found.found:
        mark = (
            f"Marked as made here (agreement {found.score:.1f}; by chance at most "
            f"{found.p_value:.0e}), most clearly from {found.start_s:.1f} to {found.end_s:.1f} s."
        )
    else:
        mark = f"No mark found (agreement {found.score:.1f}). {NO_PROOF}"
    if recipe is not None:
        words = f"The file itself says: AI-generated speech, by {recipe_line(recipe)}."
    else:
        words = problem or "The file itself says nothing about how it was made."
    return f"{mark}\n{words}"
