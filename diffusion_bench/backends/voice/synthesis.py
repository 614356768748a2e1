"""A text of any length in a cloned voice: cut into chunks, spoken, joined, timed.

text > split_to_hear > chunk > VoiceModel.speak > Utterance > Streams > audio as it comes
                             > speak_stream > pieces and Utterance >
"""

from __future__ import annotations

import string
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.device import pick_device
from diffusion_bench.backends.peaks import forget_peaks, read_peaks
from diffusion_bench.backends.stage_clock import synchronize
from diffusion_bench.backends.voice.base import (
    OnChunkStep,
    StreamingVoiceModel,
    Utterance,
    VoiceEntry,
    VoiceModel,
    VoiceState,
)
from diffusion_bench.backends.voice.candidates import refuse_unfit, required_transcript
from diffusion_bench.backends.voice.doubts import Doubts
from diffusion_bench.backends.voice.hub import check_recording, refuse_foreign
from diffusion_bench.backends.voice.streams import Streams
from diffusion_bench.pronunciation.marks import CLOSING, SENTENCE_ENDS, WIDE_SENTENCE_ENDS
from diffusion_bench.pronunciation.sentences import split_to_hear
from diffusion_bench.records import (
    ModelDevice,
    OnAudio,
    OnVoiceStep,
    PrecisionName,
    Speech,
    VoiceRequest,
    VoiceStage,
    VoiceStages,
    VoiceStep,
    ignore_audio,
    ignore_voice_step,
)

T = TypeVar("T")


class VoiceBackend:
    """A loaded voice cloning model on one device in one precision."""

    def __init__(
        self, voice_model: VoiceModel, *, model: str, device: str, precision: PrecisionName
    ) -> None:
        self.model = model
        self.device = device
        self.precision = precision
        self.voice_model = voice_model
        self._stage: VoiceStage = "load"

    @classmethod
    def load(
        cls, model: str, *, device: str | None = None, precision: PrecisionName = "fp32"
    ) -> VoiceBackend:
        """Load a model by catalog name, folder or hub id.

        Raises `UnknownModel` or `ModelUnavailable`, as an image model does, and ValueError for
        several cards.
        """
        from diffusion_bench.backends.voice.catalog import load_voice_model

        device = pick_device(device)
        if ModelDevice.parse(device).is_several:
            raise ValueError(f"a voice model runs on one device, not on {device} together")
        loaded = load_voice_model(model, device=device, precision=precision)
        return cls(loaded, model=model, device=device, precision=precision)

    @property
    def entry(self) -> VoiceEntry:
        """Return what is known of the model."""
        return self.voice_model.entry

    @property
    def stage(self) -> VoiceStage:
        """Return the stage the last call ended in, as far as it shows from outside the model.

        A failure in the first denoising step, or before it, counts as one in the prior.
        """
        return self._stage

    def encode(self, voice: Reference | VoiceState) -> VoiceState:
        """Return the voice as the model has it, encoded unless it is already."""
        if isinstance(voice, VoiceState):
            return voice
        _check_reference(voice, self.entry)
        self._stage = "voice encoder"
        with torch.inference_mode():
            return self.voice_model.encode_voice(voice)

    def generate(
        self,
        request: VoiceRequest,
        voice: Reference | VoiceState,
        on_step: OnVoiceStep = ignore_voice_step,
        on_audio: OnAudio = ignore_audio,
    ) -> Speech:
        """Say the request's text in a voice.

        `on_step` is called after each step of each chunk and may raise `Cancelled`; `on_audio`
        gets (candidates, samples) float32 of what is new, which end to end is the whole. Every
        chunk is spoken from the same seed, so that the voice stays. A candidate that said nothing
        has a length of 0. Raises ValueError for a request that this model cannot fulfil, before
        any work where that can be seen, and where no candidate said anything.
        """
        check_request(self.entry, request, voice)
        peak_is_ours = forget_peaks(self.device)
        clock = _Clock(self.device)
        self._stage = "text"
        with torch.inference_mode():
            chunks = clock.timed("text", lambda: split_to_hear(request.text, self.entry.max_chars))
            state = clock.timed("voice_encoder", lambda: self.encode(voice))
            streams = Streams(request.batch, self.entry.sample_rate)
            doubts = Doubts(request, voice, self.entry, chunks)
            hear = partial(_tell, clock, on_audio)
            for index, chunk in enumerate(chunks):
                self._stage = "prior"
                ends, last = ends_sentence(chunk), index + 1 == len(chunks)
                watch = self._step_callback(clock, index, len(chunks), on_step)
                spoken = in_pieces(self.voice_model, chunk, state, request, watch)
                utterance = _heard(
                    spoken, partial(streams.grow, ends_sentence=ends, last=last), hear
                )
                clock.add(utterance)
                hear(streams.add(utterance, ends_sentence=ends, last=last))
                doubts.add(utterance)
        if not any(streams.lengths()):
            raise ValueError(
                f"{self.entry.name} said nothing to this text in this voice: try another seed, a "
                "longer text or another recording"
            )
        return Speech(
            request=request,
            audio=streams.audio(),
            lengths=streams.lengths(),
            mels=streams.mels(),
            sample_rate=self.entry.sample_rate,
            audio_s=sum(streams.lengths()) / request.batch / self.entry.sample_rate,
            num_chunks=len(chunks),
            device=self.device,
            **clock.figures(),
            memory=read_peaks(self.device, since_reset=peak_is_ours),
            warnings=doubts.warnings(),
        )

    def _step_callback(
        self, clock: _Clock, chunk: int, num_chunks: int, on_step: OnVoiceStep
    ) -> Callable[[int, int], None]:
        def step_ended(index: int, num_steps: int) -> None:
            self._stage = "vocoder" if index + 1 == num_steps else "denoising"
            if on_step is not ignore_voice_step:
                on_step(
                    VoiceStep(
                        chunk=chunk,
                        num_chunks=num_chunks,
                        index=index,
                        num_steps=num_steps,
                        elapsed_s=clock.elapsed_s(),
                    )
                )

        return step_ended


class _Clock:
    """The times of one call, with the device idle at each reading."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._step_s: list[float] = []
        self._first_audio_s: float | None = None
        synchronize(device)
        self._start_s = time.perf_counter()

    def elapsed_s(self) -> float:
        return time.perf_counter() - self._start_s

    def timed(self, stage: str, work: Callable[[], T]) -> T:
        start_s = time.perf_counter()
        result = work()
        synchronize(self._device)
        self._seconds[stage] += time.perf_counter() - start_s
        return result

    def add(self, utterance: Utterance) -> None:
        for stage in ("text", "prior", "denoising", "vocoder"):
            self._seconds[stage] += getattr(utterance, f"{stage}_s")
        self._step_s += utterance.step_s

    def audio_is_ready(self) -> None:
        if self._first_audio_s is None:
            synchronize(self._device)
            self._first_audio_s = self.elapsed_s()

    def figures(self) -> dict[str, Any]:
        """Return the fields of `Speech` that are times."""
        synchronize(self._device)
        wall_s = self.elapsed_s()
        names = ("text", "voice_encoder", "prior", "denoising", "vocoder")
        stages = {f"{name}_s": self._seconds[name] for name in names}
        other_s = max(0.0, wall_s - sum(stages.values()))
        return {
            "wall_s": wall_s,
            "first_audio_s": self._first_audio_s,
            "stages": VoiceStages(**stages, other_s=other_s),
            "step_s": tuple(self._step_s),
        }


def in_pieces(
    model: VoiceModel, text: str, state: VoiceState, request: VoiceRequest, on_step: OnChunkStep
) -> Generator[Tensor, None, Utterance]:
    """Say one chunk as `StreamingVoiceModel.speak_stream` does; other models give no pieces.

    A model that streams does so whether anybody listens or not, so that a recipe gives the same
    samples in a tab, a command and a benchmark.
    """
    if isinstance(model, StreamingVoiceModel):
        return (yield from model.speak_stream(text, state, request, on_step))
    return model.speak(text, state, request, on_step)


def _tell(clock: _Clock, on_audio: OnAudio, ready: Any) -> None:
    """Give out what can be heard, (candidates, samples), if it is anything."""
    if ready.shape[1]:
        clock.audio_is_ready()
        on_audio(ready)


def _heard(
    spoken: Generator[Tensor, None, Utterance],
    grow: Callable[[Any], Any],
    hear: Callable[[Any], None],
) -> Utterance:
    """Let all pieces of a stream be heard, as far as they are settled; return what it ends with."""
    with closing(spoken):
        while True:
            try:
                piece = next(spoken)
            except StopIteration as end:
                utterance: Utterance = end.value
                return utterance
            hear(grow(piece.numpy()))


def ends_sentence(chunk: str) -> bool:
    """Return whether a chunk of text ends where a speaker would pause."""
    ends = SENTENCE_ENDS + WIDE_SENTENCE_ENDS
    return chunk.rstrip(f"{CLOSING}{string.whitespace}").endswith(ends)


def check_request(entry: VoiceEntry, request: VoiceRequest, voice: Reference | VoiceState) -> None:
    """Raise ValueError, in one line, for what a model can be seen to refuse before any work."""
    refuse_unfit(entry, request)
    if isinstance(voice, Reference):
        _check_reference(voice, entry)
    else:
        refuse_foreign(entry, voice)


def _check_reference(reference: Reference, entry: VoiceEntry) -> None:
    if entry.takes != "recording":
        raise ValueError(f"{entry.name} clones no recording; it takes a file of an {entry.takes}")
    check_recording(reference, entry)
    if entry.needs_transcript:
        required_transcript(entry, reference)
