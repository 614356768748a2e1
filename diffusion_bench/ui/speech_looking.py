"""What *How it works* looks at in speech: the plan, the mel spectrogram, the sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from diffusion_bench.backends.first_import import import_libraries
from diffusion_bench.backends.voice.catalog import find_voice_model
from diffusion_bench.backends.voice.voices import find_voice
from diffusion_bench.records import BUNDLED_VOICE_MODEL, VoiceRequest
from diffusion_bench.ui.figures import Chart, to_table
from diffusion_bench.ui.looking import LookView, shown, views_of
from diffusion_bench.ui.looks import CLEAN, NOISY, Found, Labelled, check_steps, prediction_words
from diffusion_bench.ui.pictures.contact_sheet import draw_frames
from diffusion_bench.ui.seeds import seed_or_any
from diffusion_bench.ui.voice.limits import check_voice_limits
from diffusion_bench.ui.voice.speaking import Speaking

if TYPE_CHECKING:
    from diffusion_bench.audio.reference import Reference
    from diffusion_bench.backends.inside.speech import SpeechFilm
    from diffusion_bench.backends.voice.base import OnChunkStep, VoiceState
    from diffusion_bench.backends.voice.synthesis import VoiceBackend
    from diffusion_bench.ui.jobs import Job

SAMPLERS = ("ddim", "ddpm")
IN_A_ROW = 5  # spectrograms are wide
WHOLE = "The mel spectrogram"
ROWS = (WHOLE, *(row.format(name.upper()) for name in SAMPLERS for row in (NOISY, CLEAN)))
PLAN, HALF_WAY = "The plan, without a step", "Half way of DDIM: the plan and x_0"
ENDS = {name: f"{name.upper()}, all steps" for name in SAMPLERS}
SOUNDS = (PLAN, HALF_WAY, *ENDS.values())


class SpeechLooking:
    """Looks into the bundled voice model."""

    def __init__(self, speaking: Speaking) -> None:
        self.shared = speaking.shared
        self._speaking = speaking

    def look(self, values: Mapping[str, Any]) -> Iterator[LookView]:
        """Look at a `text` in a `voice`, yielding what to show; closing stops at the next step."""
        seed = seed_or_any(values.get("seed"))
        request = VoiceRequest(**{**values, "seed": seed}, model=BUNDLED_VOICE_MODEL)
        check_speech(request)
        if self.shared:
            check_voice_limits(request)
        voice = find_voice(request.voice, request.model)
        show = partial(shown, self._speaking.outbox, "speech", title_of(request))
        events = self._speaking.look(request, partial(_call, request, voice))
        yield from views_of(events, len(SAMPLERS) * request.steps, show)


def check_speech(request: VoiceRequest) -> None:
    """Raise ValueError, before a model is loaded, for what cannot be looked at."""
    import_libraries()
    from diffusion_bench.backends.inside.speech import check_sentence

    check_steps(request.steps)
    check_sentence(request.text, find_voice_model(request.model).max_chars)


def title_of(request: VoiceRequest) -> str:
    """Return the title of the sheet."""
    return (
        f"{request.text} ({request.voice} by {request.model}, {request.steps} steps, "
        f"temperature {request.temperature:g}, seed {request.seed})"
    )


def temperature_words(temperature: float) -> str:
    """Return what a temperature does to the noise of a look, as the end of its words."""
    if temperature == 1:
        return " The noise is as strong as in training (temperature 1)."
    return (
        f" At temperature {temperature:g} all noise, the first and the fresh, is {temperature:g} "
        "times what the formula says, as in speech that is not looked at: lower is clearer and "
        "less varied."
    )


def _call(
    request: VoiceRequest, voice: Reference | VoiceState, backend: VoiceBackend, job: Job
) -> Found:
    return look_at_speech(
        backend, request, voice, lambda index, steps: job.tell((index, steps)), job.check
    )


def look_at_speech(
    backend: VoiceBackend,
    request: VoiceRequest,
    voice: Reference | VoiceState,
    on_step: OnChunkStep,
    check: Callable[[], None],
) -> Found:
    """Show how DDIM and DDPM get from the plan to speech, to be seen and to be heard.

    `on_step` and `check`, which is asked before each sound, may raise to stop.
    """
    import torch

    from diffusion_bench.backends.inside.film import evenly
    from diffusion_bench.backends.inside.speech import hear, looked_into, speech_film
    from diffusion_bench.charts.denoising import (
        denoising_figure,
        denoising_numbers,
        denoising_table,
    )
    from diffusion_bench.charts.mel_pictures import mel_pictures

    model = looked_into(backend.voice_model)
    with torch.inference_mode():
        state = backend.encode(voice)
        films = {
            sampler: speech_film(
                model, state, request.model_copy(update={"sampler": sampler}), on_step
            )
            for sampler in SAMPLERS
        }
        first = films[SAMPLERS[0]]
        mels = [first.planned, first.half_way, *(film.mel for film in films.values())]
        heard = []
        for mel in mels:
            check()
            heard.append((hear(model, first, mel), model.entry.sample_rate))
    wholes = (PLAN, *ENDS.values())
    pictures = mel_pictures([mels[0], *mels[2:]], float(mels[2].max()))
    rows = {WHOLE: list(zip(pictures, wholes, strict=True))}
    strips: dict[str, list[Labelled]] = {}
    for sampler, film in films.items():
        name = sampler.upper()
        noisy, clean, strips[name] = _strips(film)
        chosen = evenly(len(film.frames), IN_A_ROW)
        rows[NOISY.format(name)] = [noisy[index] for index in chosen]
        rows[CLEAN.format(name)] = [clean[index] for index in chosen]
    courses = denoising_numbers({name.upper(): film.progress for name, film in films.items()})
    return Found(
        words=words_of(request, str(model.pipeline.scheduler.config.prediction_type)),
        rows=rows,
        chart=Chart(
            denoising_figure(courses, "residual", request.temperature),
            to_table(*denoising_table(courses, "residual", request.temperature)),
        ),
        frames=draw_frames(strips),
        sounds=dict(zip(SOUNDS, heard, strict=True)),
    )


def words_of(request: VoiceRequest, predicted: str) -> str:
    """Return what is said of a look; `predicted` is diffusers' name of what the U-Net predicts."""
    return (
        "Text and voice alone give the plan: which sound when, how high, how loud. It is "
        "smooth, as all that could be meant is averaged in it. The U-Net draws what is missing, "
        "the residual: sharper harmonics of the voice, and breath. The vocoder makes sound of "
        "both. In the rows of residuals red is more than the plan, blue less, and low sounds "
        "are at the bottom. DDIM's residual follows from its first noise, DDPM's from fresh noise "
        "at every step but the last too. "
        + prediction_words(predicted)
        + temperature_words(request.temperature)
    )


def _strips(film: SpeechFilm) -> tuple[list[Labelled], list[Labelled], list[Labelled]]:
    """Return every residual x_t and x_0 with its words, and the film: x_t up to the end."""
    from diffusion_bench.charts.mel_pictures import residual_pictures

    noisy = residual_pictures([frame.noisy for frame in film.frames])
    clean = residual_pictures([frame.clean for frame in film.frames])
    times = [f"t {frame.at.timestep}" for frame in film.frames]
    steps = [f"step {frame.at.step}" for frame in film.frames]
    dirty = list(zip(noisy, times, strict=True))
    end = (residual_pictures([film.residual])[0], "what the plan gets")
    return dirty, list(zip(clean, steps, strict=True)), [*dirty, end]
