"""What `clone` was asked: settings of the model, and whose voice."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from diffusion_bench.cli.refusals import option_of, told_by_option
from diffusion_bench.cli.telling import warn
from diffusion_bench.records import BUNDLED_VOICE, BUNDLED_VOICE_MODEL, VoiceRequest

if TYPE_CHECKING:
    from diffusion_bench.audio.reference import Reference
    from diffusion_bench.backends.voice.base import VoiceState

OPTIONS = {"batch": "--candidates"}
CONSENT = (
    "a voice belongs to the person who speaks with it: add --yes-i-have-consent if that person "
    f"agreed to its being cloned, or take a sample voice, as in --voice {BUNDLED_VOICE}"
)


@dataclass(frozen=True)
class Settings:
    """What was asked of the model; `None` is the model's own."""

    model: str | None = None
    sampler: str | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    temperature: float | None = None
    eta: float | None = None
    speed: float | None = None
    seed: int | None = None
    batch: int | None = None
    precision: str | None = None
    vocoder: str | None = None

    def given(self) -> dict[str, object]:
        """Return the settings by the names of their options."""
        return {option_of(name, OPTIONS): value for name, value in asdict(self).items()}

    def request(self, text: str) -> VoiceRequest:
        """Return the request, of no voice yet, with the model's own defaults for the rest.

        A negative seed picks one at random. Raises ValueError for an unknown model or bad setting.
        """
        import secrets

        from diffusion_bench.backends.voice.catalog import find_voice_model

        model = self.model or BUNDLED_VOICE_MODEL
        entry = find_voice_model(model)
        seed = self.seed or 0
        defaults = {
            "sampler": entry.samplers[0],
            "steps": entry.steps,
            "guidance_scale": entry.guidance_scale,
            "temperature": entry.temperature,
        }
        given = {name: value for name, value in asdict(self).items() if value is not None}
        own = {"text": text, "model": model, "seed": secrets.randbelow(2**32) if seed < 0 else seed}
        with told_by_option(OPTIONS):
            return VoiceRequest.model_validate({**defaults, **given, **own})


@dataclass(frozen=True)
class Source:
    """Whose voice is meant, and whether the one who has it agreed."""

    reference: Path | None = None
    voice: str | None = None
    transcript: str | None = None
    consent: bool = False

    def recorded(self) -> dict[str, object]:
        """Return what tells of a recording, by the names of the options."""
        return {"--reference": self.reference, "--transcript": self.transcript}

    def check(self) -> None:
        """Raise ValueError for two voices, words of no recording, and one without consent."""
        if self.reference is None:
            if self.transcript is not None and self.voice is None:
                raise ValueError("a transcript is given and no reference, whose words it would be")
            return
        if self.voice is not None:
            raise ValueError("a reference and a voice are given: leave one of them out")
        if not self.consent:
            raise ValueError(CONSENT)

    def find(self, model: str) -> tuple[str, Reference | VoiceState]:
        """Return the voice and the name a request gives it."""
        from diffusion_bench.backends.voice.catalog import find_voice_model
        from diffusion_bench.backends.voice.voices import find_voice, name_of_state

        self.check()
        entry = find_voice_model(model)
        if self.reference is None:
            name = self.voice or BUNDLED_VOICE
            return name, self._with_words(name, find_voice(name, entry.name))
        if entry.takes == "x-vector":
            from diffusion_bench.backends.voice.speecht5 import read_voice

            state = read_voice(self.reference, entry.name)
            return name_of_state(state), state
        reference = read_reference(self.reference, self.transcript, entry.reference_s[1])
        return reference.name(), reference

    def _with_words(self, name: str, voice: Reference | VoiceState) -> Reference | VoiceState:
        """Return a named voice with the transcript that was given, in place of its own."""
        from diffusion_bench.audio.reference import Reference

        if self.transcript is None:
            return voice
        if not isinstance(voice, Reference):
            raise ValueError(f"the voice {name!r} was saved encoded: leave the transcript out")
        return replace(voice, transcript=self.transcript)


def read_reference(path: Path, transcript: str | None, max_s: float) -> Reference:
    """Return the recording of a voice, ready to be cloned; what is doubtful in it is a warning.

    Of more than `max_s` seconds the beginning is taken. Raises ValueError for what is no speech.
    """
    from diffusion_bench.audio.files import read_sound
    from diffusion_bench.audio.recording import prepare_reference

    sound = read_sound(path)
    reference, report = prepare_reference(
        sound.samples, sound.sample_rate, transcript=transcript, max_s=max_s
    )
    for warning in report.warnings:
        warn(f"the reference: {warning}")
    return reference
