"""A voice model that needs no weights and really makes sound, and recordings for it to clone.

It hears one thing in a recording, its pitch, and says every letter as pulses at that pitch, so
that a test can measure who speaks, how long, and in which order.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.catalog import UnknownModel
from diffusion_bench.backends.voice.base import OnChunkStep, Utterance, VoiceEntry, VoiceState
from diffusion_bench.records import VoiceRequest

RATE = 16_000
HOP = 160
LETTER_S = 0.08
QUIET_S = 0.2  # before and after each chunk


def make_entry(**facts: Any) -> VoiceEntry:
    """Return the entry of a fake model; names are fields of `VoiceEntry`."""
    usual = {
        "name": "echo",
        "title": "Echo, a fake",
        "family": "fake",
        "source": "bundled",
        "location": f"nowhere/{facts.get('name', 'echo')}",
        "licence": "MIT",
        "sample_rate": RATE,
        "samplers": ("ddim", "ddpm"),
        "steps": 4,
        "max_chars": 40,
        "has_guidance": True,
        "has_speed": True,
        "has_vocoders": True,
    }
    return VoiceEntry(**{**usual, **facts})


def make_reference(
    pitch_hz: float = 150.0, duration_s: float = 4.0, transcript: str | None = None
) -> Reference:
    """Return a recording of a voice: pulses at that pitch through a resonance, in syllables."""
    samples = pulses(pitch_hz, round(duration_s * RATE), seed=1, breath=0.002)
    at_s = np.arange(len(samples)) / RATE
    syllables = np.clip(0.5 - 0.7 * np.cos(2 * np.pi * 4 * at_s), 0.01, 1)
    return Reference((samples * syllables).astype(np.float32), RATE, transcript)


def pulses(pitch_hz: float, count: int, *, seed: int, breath: float = 0.01) -> np.ndarray:
    """Return `count` samples of pulses at a pitch, each ringing, with a little breath."""
    train = np.zeros(count, np.float32)
    train[(np.arange(0, count / RATE, 1 / pitch_hz) * RATE).astype(int).clip(max=count - 1)] = 1
    at_s = np.arange(64) / RATE
    ring = np.exp(-at_s * 800) * np.sin(2 * np.pi * 700 * at_s)
    noise = np.random.default_rng(seed).normal(0, breath, count)
    return (0.6 * np.convolve(train, ring)[:count] + noise).astype(np.float32)


def pitch_of(samples: np.ndarray) -> float:
    """Return the strongest period of 60 to 400 Hz, by autocorrelation, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples, 2 * len(samples))) ** 2
    strength = np.fft.irfft(spectrum)
    low, high = RATE // 400, RATE // 60
    return RATE / (low + int(np.argmax(strength[low:high])))


class FakeClock:
    """A clock that moves when it is told to. Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def perf_counter(self) -> float:
        return self.now_s

    def spend(self, seconds: float) -> float:
        """Let so many seconds pass, and return them."""
        self.now_s += seconds
        return seconds


class FakeVoiceModel:
    """Speaks each letter for 80 ms at the pitch of the reference; spaces are silent.

    On its `clock` encoding takes 1 s, the text 0.25 s, a step 0.5 s, the vocoder 2 s, and 0.125 s
    are in no stage. `spoken` lists the chunks it was asked for.
    """

    def __init__(self, entry: VoiceEntry | None = None) -> None:
        self.entry = entry or make_entry()
        self.clock = FakeClock()
        self.spoken: list[str] = []
        self.seeds: list[int] = []
        self.encoded = 0
        self.loaded: list[str] = []
        self.uneven = False  # each candidate a letter longer than the one before it

    def encode_voice(self, reference: Reference) -> VoiceState:
        """Hear the pitch."""
        self.encoded += 1
        self.clock.spend(1)
        pitch = torch.tensor(pitch_of(reference.samples))
        return VoiceState(self.entry.name, {"pitch_hz": pitch}, {"heard": "pitch"})

    def speak(
        self, text: str, state: VoiceState, request: VoiceRequest, on_step: OnChunkStep
    ) -> Utterance:
        """Say the letters of a chunk."""
        self.spoken.append(text)
        self.seeds.append(request.seed)
        if "unspeakable" in text:
            raise ValueError("the fake cannot say 'unspeakable'")
        text_s, step_s = self.clock.spend(0.25), []
        for index in range(request.steps):
            step_s.append(self.clock.spend(0.5))
            on_step(index, request.steps)
        self.clock.spend(0.125)
        # Of an x-vector, any number will do for a pitch.
        pitch_hz = float(next(iter(state.tensors.values())).flatten()[0])
        every = [
            self._letters(text, pitch_hz, request, candidate) for candidate in range(request.batch)
        ]
        lengths = tuple(len(one) for one in every)
        audio = np.stack([np.pad(one, (0, max(lengths) - len(one))) for one in every])
        return Utterance(
            audio=torch.from_numpy(audio),
            lengths=lengths,
            mel=_mel(audio),
            step_s=tuple(step_s),
            text_s=text_s,
            denoising_s=sum(step_s),
            vocoder_s=self.clock.spend(2),
        )

    def _letters(
        self, text: str, pitch_hz: float, request: VoiceRequest, candidate: int
    ) -> np.ndarray:
        letter_s = LETTER_S / request.speed
        said = text + "a" * (candidate if self.uneven else 0)
        samples = pulses(
            pitch_hz, round(len(said) * letter_s * RATE), seed=request.seed + candidate
        )
        for index, letter in enumerate(said):
            if not letter.isalnum():
                samples[round(index * letter_s * RATE) : round((index + 1) * letter_s * RATE)] = 0
        return np.pad(samples, round(QUIET_S * RATE))


class StreamingFake(FakeVoiceModel):
    """Says the same and lets it be heard in pieces of 0.3 s, each after a step of its own.

    A piece's step takes 0.5 s on its `clock`; `given` counts the pieces, and `closed` tells whether
    the last stream was given up.
    """

    PIECE = round(0.3 * RATE)

    def __init__(self, entry: VoiceEntry | None = None) -> None:
        super().__init__(entry)
        self.given = 0
        self.closed = False

    def speak_stream(
        self, text: str, state: VoiceState, request: VoiceRequest, on_step: OnChunkStep
    ) -> Generator[torch.Tensor, None, Utterance]:
        """Say the letters of a chunk, piece by piece."""
        whole = super().speak(text, state, request, lambda index, steps: None)
        self.clock.spend(-whole.denoising_s)  # it is spent below
        self.closed = True
        for index, piece in enumerate(whole.audio.split(self.PIECE, dim=1)):
            self.clock.spend(0.5)
            on_step(index, 0)
            self.given += 1
            yield piece
        self.closed = False
        return whole


def _mel(audio: np.ndarray) -> torch.Tensor:
    frames = audio[:, : audio.shape[1] // HOP * HOP].reshape(len(audio), 1, -1, HOP)
    power = torch.from_numpy(np.square(frames).mean(axis=3))
    return torch.log(power.clamp(min=1e-8)).repeat(1, 4, 1)


def install(monkeypatch: pytest.MonkeyPatch, *models: FakeVoiceModel) -> list[str]:
    """Let these be the voice models there are; return a list that fills with what is loaded."""
    from diffusion_bench.backends.voice import catalog

    known = {model.entry.name: model for model in models}
    loaded: list[str] = []

    def find(name: str) -> VoiceEntry:
        if name not in known:
            raise UnknownModel(f"unknown voice model {name!r}; known: {', '.join(known)}")
        return known[name].entry

    def load(name: str, **_: object) -> FakeVoiceModel:
        find(name)
        loaded.append(name)
        return known[name]

    monkeypatch.setattr(catalog, "find_voice_model", find)
    monkeypatch.setattr(catalog, "load_voice_model", load)
    return loaded


def install_world(monkeypatch: pytest.MonkeyPatch, bundled: Path) -> FakeVoiceModel:
    """Let the fake be the bundled model and `ada`, at 200 Hz, the one sample voice; return it.

    There are models `needy`, which wants a transcript, and `numbers`, which takes x-vectors, too.
    `loaded` of the fake fills with names.
    """
    from diffusion_bench.backends.voice import voices

    bundled.mkdir(exist_ok=True)
    write_wav(bundled / "ada.flac", make_reference(200).samples)
    monkeypatch.setattr(voices, "BUNDLED_FOLDER", bundled)
    model = FakeVoiceModel()
    needy = FakeVoiceModel(make_entry(name="needy", needs_transcript=True, samplers=("native",)))
    numbers = FakeVoiceModel(make_entry(name="numbers", takes="x-vector"))
    model.loaded = install(monkeypatch, model, needy, numbers)
    return model


def write_wav(path: Path, samples: Sequence[float] | np.ndarray, sample_rate: int = RATE) -> Path:
    """Write samples, (frames,) or (frames, channels), as 16 bit; or as flac, by the suffix."""
    import soundfile

    soundfile.write(path, np.asarray(samples), sample_rate, subtype="PCM_16")
    return path


def install_page_world(monkeypatch: pytest.MonkeyPatch, bundled: Path) -> FakeVoiceModel:
    """Do as `install_world`, for the page too."""
    from diffusion_bench.backends.voice import catalog
    from diffusion_bench.ui.voice import limits as voice_limits

    model = install_world(monkeypatch, bundled)
    monkeypatch.setattr(voice_limits, "find_voice_model", catalog.find_voice_model)
    return model
