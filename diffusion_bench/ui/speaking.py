"""What the tab *Voice cloning* does, without the page: values in, views out."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from diffusion_bench.audio.files import read_sound, write_sound
from diffusion_bench.audio.joining import Samples
from diffusion_bench.audio.mel import MelSettings, log_mel
from diffusion_bench.audio.recording import ReferenceReport, prepare_reference
from diffusion_bench.audio.reference import Reference
from diffusion_bench.audio.timbre import NAME as SIMILARITY
from diffusion_bench.audio.timbre import share_of_others_below, timbre_similarity
from diffusion_bench.audio.watermark import embed
from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.voice.base import VoiceEntry, VoiceState
from diffusion_bench.backends.voice.ranking import Candidate, rank_candidates
from diffusion_bench.backends.voice.recipes import Recipe, save_speech
from diffusion_bench.backends.voice.synthesis import check_request
from diffusion_bench.backends.voice.voices import find_voice, save_voice
from diffusion_bench.charts.spectrogram import (
    SpectrogramPanel,
    spectrogram_figure,
    spectrogram_numbers,
    spectrogram_table,
)
from diffusion_bench.pronunciation.sentences import split_text
from diffusion_bench.records import Speech, VoiceRequest, VoiceStep, ignore_audio
from diffusion_bench.ui.drawing import WAIT_S
from diffusion_bench.ui.figures import Chart, to_table
from diffusion_bench.ui.jobs import Done, Job, Jobs
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.voice_limits import check_voice_limits, check_voice_model

FIELDS = tuple(name for name in VoiceRequest.model_fields if name != "voice")
OWN_RECORDING = ""  # of the list of voices: the recording above it
CONSENT = (
    "a voice belongs to the person who speaks with it: tick the box if that person agreed to its "
    "being cloned, or choose a sample voice"
)
SECONDS_A_CHARACTER = 0.07


class Heard(NamedTuple):
    """A recording that was read: ready to be cloned, its report, and the file it came in."""

    reference: Reference
    report: ReferenceReport
    path: Path

    def forget(self) -> None:
        """Delete the uploaded file."""
        with contextlib.suppress(OSError):
            self.path.unlink()


class Spoken(NamedTuple):
    """A finished candidate: the file to hear and keep, what it is called, and its settings."""

    path: str
    label: str
    recipe_path: str


class VoiceView(NamedTuple):
    """What the page shows next; `None` leaves what is there."""

    audio: str | None = None
    spoken: tuple[Spoken, ...] | None = None
    done: int | None = None
    total: int = 0
    status: str | None = None
    used_seed: int | None = None
    chart: Chart | None = None
    warnings: tuple[str, ...] = ()


class _Waiting(NamedTuple):
    """The device is taken."""


class _Stepped(NamedTuple):
    """A step has ended."""

    step: VoiceStep


class _Audible(NamedTuple):
    """All that can be heard so far lies in a file."""

    path: str
    seconds: float


class Speaking:
    """Says what the page asks for."""

    def __init__(self, engine: Engine, jobs: Jobs, outbox: Outbox, *, shared: bool) -> None:
        self._engine = engine
        self._jobs = jobs
        self._outbox = outbox
        self.shared = shared

    def hear(self, path: str | None, transcript: str | None = None) -> Heard:
        """Return a recording ready to be cloned; ValueError in one line for one that is not."""
        if not path:
            raise ValueError("record or upload a few seconds of the voice first")
        sound = read_sound(Path(path))
        words = (transcript or "").strip() or None
        reference, report = prepare_reference(sound.samples, sound.sample_rate, transcript=words)
        return Heard(reference, report, Path(path))

    def to_request(self, values: Mapping[str, Any]) -> VoiceRequest:
        """Return the request of the page's fields, of no voice yet; ValueError for a bad one.

        A negative or empty seed picks one at random.
        """
        fields = {name: value for name, value in values.items() if name in FIELDS}
        seed = fields.get("seed")
        if seed is None or seed < 0:
            fields["seed"] = secrets.randbelow(2**32)
        if fields.get("sampler") != "ddim":
            fields["eta"] = 0.0  # its field is hidden, whatever it holds
        request = VoiceRequest(**fields)
        check_voice_model(request.model, shared=self.shared)
        if self.shared:
            check_voice_limits(request)
        return request

    def voice_of(
        self, values: Mapping[str, Any], heard: Heard | None, model: str
    ) -> tuple[str, Reference | VoiceState]:
        """Return the chosen voice and the name a request gives it; ValueError without consent."""
        name = values.get("voice") or OWN_RECORDING
        if name != OWN_RECORDING:
            return name, find_voice(name, model)
        if heard is None:
            raise ValueError("record or upload a few seconds of the voice, or choose one")
        if not values.get("consent"):
            raise ValueError(CONSENT)
        words = (values.get("transcript") or "").strip() or None
        kept = None if heard.report.cut_s else words  # it would say more than is heard
        reference = Reference(heard.reference.samples, heard.reference.sample_rate, kept)
        return reference.name(), reference

    def speak(self, values: Mapping[str, Any], heard: Heard | None) -> Iterator[VoiceView]:
        """Speak, yielding what to show; closing the iterator stops at the next step."""
        request = self.to_request(values)
        name, voice = self.voice_of(values, heard, request.model)
        request = request.model_copy(update={"voice": name})
        entry = check_voice_model(request.model, shared=self.shared)
        check_request(entry, request, voice)
        recipe = Recipe(request=request, watermark=bool(values.get("watermark", True)))
        yield VoiceView(
            done=0, total=1, status="Starting: the first speech loads the model.", spoken=()
        )
        with closing(self._jobs.watch(partial(self._work, recipe, voice, entry))) as events:
            for event in events:
                yield self._to_view(request, event)

    def _to_view(self, request: VoiceRequest, event: object) -> VoiceView:
        match event:
            case _Waiting():
                return VoiceView(status="Waiting for the device: another job is on it.")
            case _Stepped(step):
                done, total = progress_of(step)
                return VoiceView(done=done, total=total, status=step_line(step))
            case _Audible(path, seconds):
                return VoiceView(audio=path, status=f"{seconds:.1f} s can be heard already.")
            case Done((speech, candidates, spoken, chart)):
                return VoiceView(
                    audio=spoken[0].path,
                    spoken=spoken,
                    done=1,
                    total=1,
                    status="\n".join([summary(speech), *likeness_lines(candidates)]),
                    used_seed=request.seed,
                    chart=chart,
                    warnings=speech.warnings,
                )
            case _:
                return VoiceView()

    def _work(
        self, recipe: Recipe, voice: Reference | VoiceState, entry: VoiceEntry, job: Job
    ) -> tuple[Speech, list[Candidate], tuple[Spoken, ...], Chart]:
        waiting = False
        folder = self._outbox.new_folder()
        pieces: list[Samples] = []

        def on_wait() -> None:
            nonlocal waiting
            job.check()
            if not waiting:
                waiting = True
                job.tell(_Waiting())

        def on_step(step: VoiceStep) -> None:
            job.tell(_Stepped(step))

        def on_audio(piece: Any) -> None:
            pieces.append(np.asarray(piece[0]))
            so_far = np.concatenate(pieces)
            path = folder / f"so-far-{len(pieces)}.wav"
            _save_so_far(path, so_far, recipe, entry.sample_rate)
            job.tell(_Audible(str(path), len(so_far) / entry.sample_rate))

        whole = len(split_text(recipe.request.text, entry.max_chars)) == 1
        listen = ignore_audio if whole else on_audio  # one chunk is there when all is
        speech = self._engine.speak(
            recipe.request, voice, on_step, listen, wait_s=WAIT_S, on_wait=on_wait
        )
        reference = voice if isinstance(voice, Reference) else None
        candidates = rank_candidates(speech, reference, timbre_similarity)
        spoken = self._save(speech, candidates, recipe)
        return speech, candidates, spoken, draw_spectrograms(speech, candidates[0], reference)

    def _save(
        self, speech: Speech, candidates: Sequence[Candidate], recipe: Recipe
    ) -> tuple[Spoken, ...]:
        folder = self._outbox.new_folder()
        spoken = []
        for candidate in candidates:
            own = recipe.of_candidate(candidate.index)
            seed = recipe.request.seed + candidate.index
            path = folder / f"ai-speech-seed-{seed}.wav"
            save_speech(path, speech, own)
            told = folder / f"ai-speech-seed-{seed}.json"
            told.write_text(json.dumps(own.model_dump(mode="json"), indent=2), encoding="utf-8")
            spoken.append(Spoken(str(path), candidate_label(candidate, seed), str(told)))
        return tuple(spoken)

    def keep(self, name: str, heard: Heard | None, values: Mapping[str, Any]) -> str:
        """Save the recording's voice under a name and return what to say of it."""
        if self.shared:
            raise ValueError("this app is shared: its visitors cannot save voices on it")
        if not values.get("consent"):
            raise ValueError(CONSENT)
        if heard is None:
            raise ValueError("record or upload a few seconds of the voice first")
        words = (values.get("transcript") or "").strip() or None
        kept = None if heard.report.cut_s else words
        save_voice(
            name.strip(), Reference(heard.reference.samples, heard.reference.sample_rate, kept)
        )
        return f"Saved as {name.strip()!r}: choose it from the list of voices."


def text_line(text: str, max_chars: int) -> str:
    """Return how long a text is and how it will be cut, in one line."""
    if not any(letter.isalnum() for letter in text):
        return "Write what is to be said."
    count = len(split_text(text, max_chars))
    pieces = f"{count} chunk{'s' if count != 1 else ''}"
    seconds = SECONDS_A_CHARACTER * len(text)
    return f"{len(text)} characters, {pieces}, about {seconds:.0f} s of speech."


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


def likeness_lines(candidates: Sequence[Candidate]) -> list[str]:
    """Return how like the reference the best candidate is, and what that number means."""
    best = candidates[0].similarity
    if best is None:
        return []
    share = share_of_others_below(best)
    return [f"{SIMILARITY} {best:.2f}: above that of {share:.0%} of pairs of different speakers."]


def candidate_label(candidate: Candidate, seed: int) -> str:
    """Return what a candidate is called in the list."""
    if candidate.similarity is None:
        return f"seed {seed}"
    return f"seed {seed}, similarity {candidate.similarity:.2f}"


def draw_spectrograms(speech: Speech, best: Candidate, reference: Reference | None) -> Chart:
    """Return the mel spectrograms of the reference and the best candidate."""
    shown = [("What was said", best.audio, speech.sample_rate)]
    if reference is not None:
        shown.insert(0, ("The reference", reference.samples, reference.sample_rate))
    return spectrogram_chart([(name, *_mel(samples, rate)) for name, samples, rate in shown])


def spectrogram_chart(mels: Sequence[tuple[str, Any, float]]) -> Chart:
    """Return a chart of (name, log mel, seconds of a frame) with its table."""
    panels: list[SpectrogramPanel] = spectrogram_numbers(mels)
    return Chart(spectrogram_figure(panels), to_table(*spectrogram_table(panels)))


def _mel(samples: Samples, sample_rate: int) -> tuple[Any, float]:
    settings = MelSettings(
        sample_rate=sample_rate, f_max=min(8000.0, sample_rate / 2), hop_length=sample_rate // 62
    )
    wave = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
    if len(wave) <= settings.n_fft:
        wave = torch.nn.functional.pad(wave, (0, settings.n_fft))
    return log_mel(wave, settings)[0].numpy(), settings.hop_s


def _save_so_far(path: Path, samples: Samples, recipe: Recipe, sample_rate: int) -> None:
    """Write what can be heard already, marked like the whole."""
    marked = embed(samples, sample_rate) if recipe.watermark else samples
    write_sound(path, marked, sample_rate, recipe=recipe.model_dump(mode="json"))
