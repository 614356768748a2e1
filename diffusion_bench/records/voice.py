"""Speech in a cloned voice: what is asked, what is seen on the way, what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from diffusion_bench.records.base import PrecisionName, Record, Seed, digest, named_fields
from diffusion_bench.records.image import Memory

BUNDLED_VOICE_MODEL = "echo"
BUNDLED_VOICE = "ada"  # the sample voice that is cloned where no reference is given
MAX_TEXT = 20_000

VoiceSamplerName = Literal["ddim", "ddpm", "dpm++", "unipc", "native"]
VoiceStage = Literal["load", "text", "voice encoder", "prior", "denoising", "vocoder"]
# The fields of the first reports: any other is part of the work's name only off its default.
FIRST_FIELDS = (
    "text",
    "voice",
    "model",
    "sampler",
    "eta",
    "steps",
    "guidance_scale",
    "temperature",
    "speed",
    "batch",
    "precision",
    "vocoder",
    "seed",
)


class VoiceRequest(Record):
    """What to say and how: the one request of a click, a command and a sweep's cell.

    `voice` names what is cloned: a bundled sample voice, a saved one, or `reference:` and the
    digest of the recording; the recording itself travels beside the request. `sampler` "native" is
    the model's own, the only one of models that do not diffuse. `temperature` scales the noise, the
    initial and what a sampler adds, `speed` divides the durations. Candidate `i` of a `batch` is
    spoken from `seed + i`, save by Tortoise, which draws all of them from `seed`.
    """

    # Only of a text with a limit does pydantic tell what is no Unicode; what is too long, we tell.
    text: Annotated[str, Field(max_length=1000 * MAX_TEXT)]
    voice: Annotated[str, Field(min_length=1, max_length=500)] = BUNDLED_VOICE
    model: Annotated[str, Field(min_length=1, max_length=500)] = BUNDLED_VOICE_MODEL
    sampler: VoiceSamplerName = "ddim"
    eta: Annotated[float, Field(ge=0, le=1)] = 0.0
    steps: Annotated[int, Field(ge=1, le=1000)] = 25
    guidance_scale: Annotated[float, Field(ge=0, le=50)] = 1.0
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.2
    speed: Annotated[float, Field(ge=0.5, le=2)] = 1.0
    batch: Annotated[int, Field(ge=1, le=16)] = 1
    precision: PrecisionName = "fp32"
    vocoder: Annotated[str, Field(min_length=1, max_length=500)] = "native"
    seed: Seed = 0

    @model_validator(mode="after")
    def _something_to_say(self) -> Self:
        if len(self.text) > MAX_TEXT:
            raise ValueError(
                f"the text has {len(self.text)} characters; at most {MAX_TEXT} are said at once: "
                "split it into several texts"
            )
        if not any(letter.isalnum() for letter in self.text):
            raise ValueError("the text has no word to say; write some, as in 'Hello there.'")
        if self.sampler != "ddim" and self.eta:
            raise ValueError(f"eta belongs to ddim; {self.sampler} takes none (leave it at 0)")
        return self

    @property
    def amount(self) -> int:
        """Return how much one pass of the denoiser works on, for one of a batch: characters."""
        return len(self.text)

    def of_candidate(self, index: int) -> Self:
        """Return the request that speaks candidate `index` on its own, by a model that can."""
        return self.model_copy(update={"seed": self.seed + index, "batch": 1})

    def with_more_steps(self, steps: int) -> Self:
        """Return the request to compare with, of two candidates or more; ValueError for no more."""
        if steps <= self.steps:
            raise ValueError(
                f"{steps} steps are not more than the {self.steps} they are to be compared with"
            )
        changed = {"steps": steps, "batch": max(2, self.batch)}
        return self.model_validate(self.model_dump() | changed)

    def named_fields(self) -> dict[str, Any]:
        """Return the fields, as JSON, that name the work."""
        return named_fields(self, FIRST_FIELDS)

    def workload_id(self) -> str:
        """Return 16 hexadecimal digits that name the work: equal requests, equal names."""
        return digest(self.named_fields())


class VoiceStep(Record):
    """One step of one chunk that has just ended: a denoising step, or a token of other models.

    `num_steps` is 0 where the model cannot tell how many there will be.
    """

    chunk: int
    num_chunks: int
    index: int
    num_steps: int
    elapsed_s: float


OnVoiceStep = Callable[[VoiceStep], None]
# Called with (candidates, samples) float32 as soon as a piece of speech is ready to be heard.
OnAudio = Callable[[Any], None]


def ignore_voice_step(step: VoiceStep) -> None:
    """Do nothing: the step callback of a caller that does not watch."""


def ignore_audio(audio: Any) -> None:
    """Do nothing: the audio callback of a caller that waits for the whole."""


class VoiceStages(Record):
    """Where the time of one synthesis went. The six add up to its `wall_s`."""

    text_s: float
    voice_encoder_s: float
    prior_s: float
    denoising_s: float
    vocoder_s: float
    other_s: float


class Speech(Record):
    """What came of a request: speech of each candidate, times and memory.

    `audio`: (candidates, samples) float32 in -1 to 1 at `sample_rate`; `lengths`: how many of the
    samples each candidate has, zeros follow; `mels`: one (bins, frames) log-mel spectrogram a
    candidate, empty where a model has none. Audio and mels are not serialised. `audio_s` is the
    mean over the candidates. `first_audio_s` is from the start of the call until something could
    be heard.
    """

    request: VoiceRequest
    audio: Any = Field(exclude=True, repr=False)
    lengths: tuple[int, ...] = ()
    mels: tuple[Any, ...] = Field(default=(), exclude=True, repr=False)
    sample_rate: int
    audio_s: float
    num_chunks: int
    device: str
    wall_s: float
    first_audio_s: float
    stages: VoiceStages
    step_s: tuple[float, ...]
    memory: Memory
    warnings: tuple[str, ...] = ()

    def candidate(self, index: int) -> Any:
        """Return the speech of one candidate without padding: (samples,) float32."""
        return self.audio[index][: self.lengths[index] if self.lengths else None]

    @property
    def real_time_factor(self) -> float:
        """Return seconds of work for a second of speech, all candidates' speech counted."""
        return self.wall_s / (self.audio_s * self.request.batch)
