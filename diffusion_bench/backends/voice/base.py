"""What a voice cloning model is asked, and what it gives back.

    Reference > encode_voice > VoiceState           once a voice
    text, VoiceState > speak > Utterance            once a chunk of text

A model knows nothing of long texts, joining, saving or watermarks: `synthesis.py` cuts a text into
chunks that fit the model, joins what comes back, and keeps the time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from diffusion_bench.audio.reference import Reference
from diffusion_bench.records import Record, VoiceRequest, VoiceSamplerName

if TYPE_CHECKING:
    from torch import Tensor

# Called after each step with its index and how many there will be (0: cannot tell). It may raise
# `Cancelled`, which a model lets through.
OnChunkStep = Callable[[int, int], None]


class VoiceEntry(Record):
    """What is known of a voice model before it is loaded, so that it can be said before a click.

    `location` is a folder or a hub id. `sample_rate` in Hz of what it speaks. `reference_s` is the
    least and most of a recording that it uses. `max_chars` is the longest text of one chunk, in
    letters of English (`spoken_chars`). `companions` are hub ids or folders of what else is read: a
    codec, a vocoder. A model that takes an "x-vector" clones no recording: its `read_voice` reads a
    file of numbers. `preset` names an amount of work, where a model has several. What it `has` can
    be set in a request, anything else of that kind is refused; one that `streams` is a
    `StreamingVoiceModel`; one that is `english_only` drops what English has no letters for.
    `letter_s` is how long it takes to say a letter, as measured, or as people do.
    `candidates_alone`: candidate `i` of a batch is what `seed + i` speaks alone; else all come of
    the one seed.
    """

    name: str
    title: str
    family: str
    source: Literal["bundled", "folder", "hub"]
    location: str
    licence: str
    sample_rate: int
    samplers: tuple[VoiceSamplerName, ...] = ("native",)
    steps: int = 10
    guidance_scale: float = 1.0
    temperature: float = 1.0
    needs_transcript: bool = False
    reference_s: tuple[float, float] = (3.0, 15.0)
    max_chars: int = 280
    gated: bool = False
    download_gib: float | None = None
    parameters_m: float | None = None
    companions: tuple[str, ...] = ()
    takes: Literal["recording", "x-vector"] = "recording"
    preset: str = ""
    has_guidance: bool = False
    has_speed: bool = False
    has_vocoders: bool = False
    streams: bool = False
    candidates_alone: bool = True
    english_only: bool = False
    letter_s: float = 0.082
    note: str = ""

    @property
    def page(self) -> str:
        """Return the address of a hub model's page."""
        return f"huggingface.co/{self.location.partition('@')[0]}"


@dataclass(frozen=True)
class VoiceState:
    """A voice as one model has encoded it, which its weights alone know. Tensors lie on the CPU.

    `weights` is the commit or digest of those, of a voice that is to be kept.
    """

    model: str
    tensors: dict[str, Tensor]
    facts: dict[str, str] = field(default_factory=dict)
    weights: str | None = None


@dataclass(frozen=True)
class Utterance:
    """One chunk, spoken by each candidate.

    `audio`: (candidates, samples) float32 on the CPU; candidates of different length are padded
    with zeros and `lengths` holds the samples of each. `mel`: (candidates, bins, frames) log-mel,
    or `None` where the model has none. Seconds of stages that a model does not have are 0.
    """

    audio: Tensor
    lengths: tuple[int, ...]
    mel: Tensor | None
    step_s: tuple[float, ...]
    text_s: float = 0.0
    prior_s: float = 0.0
    denoising_s: float = 0.0
    vocoder_s: float = 0.0
    warnings: tuple[str, ...] = ()


@runtime_checkable
class VoiceModel(Protocol):
    """A loaded voice cloning model on one device in one precision."""

    entry: VoiceEntry

    def encode_voice(self, reference: Reference) -> VoiceState:
        """Return the voice of a recording; ValueError in one line for one it cannot use."""
        ...

    def speak(
        self, text: str, state: VoiceState, request: VoiceRequest, on_step: OnChunkStep
    ) -> Utterance:
        """Say one chunk of text, `request.batch` candidates, from `request.seed` on.

        `text` is what to say, not `request.text`. Raises ValueError for what it cannot fulfil.
        """
        ...


@runtime_checkable
class StreamingVoiceModel(VoiceModel, Protocol):
    """A voice model whose speech can be heard while it is made; optional.

    Of a model that is one, `isinstance(model, StreamingVoiceModel)` is true.
    """

    def speak_stream(
        self, text: str, state: VoiceState, request: VoiceRequest, on_step: OnChunkStep
    ) -> Generator[Tensor, None, Utterance]:
        """Say one chunk as `speak` does and give out its sound as it comes.

        Each piece is (candidates, samples) float32 on the CPU; end to end they are the `audio` of
        the `Utterance` that is returned: `utterance = yield from model.speak_stream(...)`. Time
        that passes until the next piece is asked for counts for no stage. The model works in
        between pieces only; a stream that is given up is closed by `close()`.
        """
        ...
