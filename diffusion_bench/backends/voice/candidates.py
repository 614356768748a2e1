"""What hub models share: recordings at their rate, seeds, counted steps, candidates together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.voice.base import OnChunkStep, VoiceEntry
from diffusion_bench.records import VoiceRequest


def at_rate(reference: Reference, sample_rate: int) -> Tensor:
    """Return a recording's samples at `sample_rate` in Hz: (samples,) float32 on the CPU."""
    from diffusion_bench.audio.resampling import resample

    samples = torch.from_numpy(np.array(reference.samples, np.float32))
    return resample(samples, reference.sample_rate, sample_rate)


def refuse_unfit(entry: VoiceEntry, request: VoiceRequest) -> None:
    """Raise ValueError for settings that a model has not, where a request asks for them.

    Steps and temperature have no value that means "none", so they are let through.
    """
    if request.sampler not in entry.samplers:
        allowed = ", ".join(entry.samplers)
        raise ValueError(
            f"{entry.name} does not take the sampler {request.sampler}; it takes {allowed}"
        )
    if not entry.has_guidance and request.guidance_scale != 1:
        raise ValueError(f"{entry.name} has no guidance; leave its scale at 1")
    if not entry.has_speed and request.speed != 1:
        raise ValueError(f"{entry.name} chooses the rate of speech itself; leave the speed at 1")
    if not entry.has_vocoders and request.vocoder != "native":
        raise ValueError(f"{entry.name} has its own vocoder; leave it at native")


def required_transcript(entry: VoiceEntry, reference: Reference) -> str:
    """Return what is said in a recording, for models that read it along.

    Raises ValueError without a transcript, and for a recording that is longer than the model takes:
    it cannot be cut here, since nobody knows where its words would have to be.
    """
    least_s, most_s = entry.reference_s
    words = (reference.transcript or "").strip()
    if not words:
        raise ValueError(
            f"{entry.name} needs the transcript of the reference: the words that are said in it"
        )
    if not least_s <= reference.duration_s <= most_s:
        raise ValueError(
            f"{entry.name} takes {least_s:g} to {most_s:g} s of reference with its transcript; "
            f"this one lasts {reference.duration_s:.1f} s"
        )
    return words


def frames_that_fit(entry: VoiceEntry, frames: int, room: int) -> int:
    """Return how many of the wanted frames may be spoken after the prompt; ValueError for none."""
    if room < 1:
        raise ValueError(
            f"{entry.name} has no room for the reference, its transcript and the text: "
            "shorten the reference"
        )
    return min(frames, room)


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """Seed torch's global generators inside the block, and put their state back after it.

    For models that draw from them and take no generator of their own.
    """
    kind = torch.device(device).type
    before, on_device = torch.get_rng_state(), _device_state(kind, device)
    try:
        torch.manual_seed(seed)
        yield
    finally:
        torch.set_rng_state(before)
        if on_device is not None and kind == "cuda":
            torch.cuda.set_rng_state(on_device, device)
        elif on_device is not None:
            torch.mps.set_rng_state(on_device)


def _device_state(kind: str, device: str) -> Tensor | None:
    if kind == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if kind == "mps" else None


class StepClock:
    """Counts and times the steps of models whose number of steps is not known beforehand.

    It is a streamer as transformers' `generate` takes them: `put` gets the prompt first, then each
    token. Time that the watcher takes counts for no step.
    """

    def __init__(self, on_step: OnChunkStep) -> None:
        self._on_step = on_step
        self._prompt_is_next = False
        self._since_s = 0.0
        self.step_s: list[float] = []

    def start(self, *, prompt_is_put: bool = False) -> None:
        """Begin a candidate: its first step counts from here."""
        self._prompt_is_next = prompt_is_put
        self._since_s = time.perf_counter()

    def put(self, _: Tensor) -> None:
        """Note that a token has come, but for the prompt."""
        if self._prompt_is_next:
            self._prompt_is_next = False
        else:
            self.step_ended()

    def end(self) -> None:
        """Do nothing: the last token has been counted."""

    def step_ended(self) -> None:
        """Close a step and tell the watcher, which may raise `Cancelled`."""
        self.step_s.append(time.perf_counter() - self._since_s)
        self._on_step(len(self.step_s) - 1, 0)
        self._since_s = time.perf_counter()


def side_by_side(candidates: Sequence[Tensor]) -> tuple[Tensor, tuple[int, ...]]:
    """Return candidates of any length as (candidates, samples) float32 on the CPU, and lengths."""
    audio = [one.detach().to("cpu", torch.float32).flatten() for one in candidates]
    padded = torch.nn.utils.rnn.pad_sequence(audio, batch_first=True)
    return padded.clamp(-1, 1), tuple(len(one) for one in audio)
