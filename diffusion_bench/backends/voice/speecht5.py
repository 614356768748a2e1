"""SpeechT5 of Microsoft: a transformer that writes a mel spectrogram, and a HiFi-GAN.

It clones no recording. Its voice is an x-vector of SpeechBrain's extractor (512 numbers), which is
not part of transformers, and vectors of other extractors lie in another space; so it takes saved
x-vectors, such as those of the data set Matthijs/cmu-arctic-xvectors. Not diffusion: each step
writes two frames. https://huggingface.co/microsoft/speecht5_tts
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.stage_clock import synchronize
from diffusion_bench.backends.voice.base import OnChunkStep, Utterance, VoiceEntry, VoiceState
from diffusion_bench.backends.voice.candidates import (
    StepClock,
    refuse_unfit,
    seeded,
    side_by_side,
)
from diffusion_bench.backends.voice.hub import refuse_foreign
from diffusion_bench.backends.voice.loading import fetching, load_whole
from diffusion_bench.records import PrecisionName, VoiceRequest

NUMBERS = 512
FRAMES_PER_CHARACTER = 20  # at most, as transformers has it: 0.32 s


class SpeechT5:
    """A loaded SpeechT5 with its vocoder."""

    def __init__(
        self, entry: VoiceEntry, model: Any, tokenizer: Any, *, vocoder: Any, device: str
    ) -> None:
        self.entry = entry
        self._model = model
        self._tokenizer = tokenizer
        self._vocoder = vocoder
        self._device = device

    @classmethod
    def load(cls, entry: VoiceEntry, *, device: str, precision: PrecisionName) -> Self:
        """Load from a folder or the hub; raises `ModelUnavailable`. Numbers are spelt out."""
        with fetching(entry):
            from transformers import SpeechT5ForTextToSpeech, SpeechT5HifiGan, SpeechT5Tokenizer

            tokenizer = SpeechT5Tokenizer.from_pretrained(entry.location, normalize=True)
            model = load_whole(SpeechT5ForTextToSpeech, entry.location, precision, pickles=True)
            vocoder = load_whole(SpeechT5HifiGan, entry.companions[0], precision, pickles=True)
        return cls(entry, model.to(device), tokenizer, vocoder=vocoder.to(device), device=device)

    def encode_voice(self, reference: Reference) -> VoiceState:
        """Refuse: there is no extractor here whose vectors this model knows."""
        raise ValueError(
            f"{self.entry.name} cannot clone a recording: the extractor of its x-vectors "
            "(SpeechBrain's) is not part of transformers; give a saved x-vector, a .npy or "
            f".safetensors file of {NUMBERS} numbers"
        )

    def read_voice(self, path: Path) -> VoiceState:
        """Return the voice of a .npy or .safetensors file of 512 numbers; ValueError otherwise."""
        return read_voice(path, self.entry.name)

    @torch.inference_mode()
    def speak(
        self, text: str, state: VoiceState, request: VoiceRequest, on_step: OnChunkStep
    ) -> Utterance:
        """Say one chunk, candidates one after another: dropout makes them differ."""
        refuse_foreign(self.entry, state)
        refuse_unfit(self.entry, request)
        start_s = time.perf_counter()
        ids = self._ids(text)
        text_s = time.perf_counter() - start_s
        vector = state.tensors["x_vector"].to(self._device, self._model.dtype)[None]
        clock = StepClock(on_step)
        # No streamer: the decoder's layers run once a step.
        watched = self._model.speecht5.decoder.wrapped_decoder
        handle = watched.register_forward_hook(lambda *_: clock.step_ended())
        try:
            mels = []
            for index in range(request.batch):
                clock.start()
                with seeded(request.seed + index, self._device):
                    mels.append(self._mel(ids, vector))
        finally:
            handle.remove()
        synchronize(self._device)
        start_s = time.perf_counter()
        audio, lengths = side_by_side([self._vocoder(mel) for mel in mels])
        return Utterance(
            audio=audio,
            lengths=lengths,
            mel=_stacked(mels),
            step_s=tuple(clock.step_s),
            text_s=text_s,
            prior_s=sum(clock.step_s),
            vocoder_s=time.perf_counter() - start_s,
            warnings=self._warnings(mels, ids),
        )

    def _ids(self, text: str) -> Tensor:
        ids: Tensor = self._tokenizer(text, return_tensors="pt")["input_ids"]
        most = self._model.config.max_text_positions
        if ids.shape[1] > most:
            raise ValueError(
                f"{self.entry.name} takes {most} characters at once, numbers spelt out; "
                f"this has {ids.shape[1]}"
            )
        return ids.to(self._device)

    def _mel(self, ids: Tensor, vector: Tensor) -> Tensor:
        """Return (frames, bins) of one candidate."""
        mel: Tensor = self._model.generate_speech(
            ids, vector, maxlenratio=self._most_frames(ids) / ids.shape[1]
        )
        return mel

    def _most_frames(self, ids: Tensor) -> int:
        # One position a step is the decoder's limit; transformers runs past it and fails.
        config = self._model.config
        positions = (config.max_speech_positions - 1) * config.reduction_factor
        return int(min(FRAMES_PER_CHARACTER * ids.shape[1], positions))

    def _warnings(self, mels: list[Tensor], ids: Tensor) -> tuple[str, ...]:
        full = self._most_frames(ids) - self._model.config.reduction_factor
        if all(len(mel) < full for mel in mels):
            return ()
        return (f"{self.entry.name} did not end by itself and was stopped",)


def read_voice(path: Path, model: str) -> VoiceState:
    """Return the voice of a .npy or .safetensors file for a SpeechT5 of that name.

    No weights are needed for it. Raises ValueError in one line for a file that is no x-vector.
    """
    return VoiceState(model=model, tensors={"x_vector": read_x_vector(path)})


def read_x_vector(path: Path) -> Tensor:
    """Return the x-vector of a file, (512,) float32; ValueError in one line for any other file."""
    try:
        found = _tensors(path)
    except Exception as error:  # a file of lies makes its reader raise anything
        raise ValueError(f"{path.name} is no .npy or .safetensors file of numbers") from error
    vectors = [one.squeeze() for one in found]
    if len(vectors) != 1 or vectors[0].shape != (NUMBERS,) or not vectors[0].is_floating_point():
        shapes = ", ".join(str(tuple(one.shape)) for one in found) or "nothing"
        raise ValueError(f"{path.name} should hold one x-vector of {NUMBERS} numbers; has {shapes}")
    vector = vectors[0].float()
    if not vector.isfinite().all() or not vector.any():
        raise ValueError(f"the x-vector in {path.name} is no voice: it is not finite, or all zero")
    return vector


def _tensors(path: Path) -> list[Tensor]:
    """Return what a .npy or .safetensors file holds; nothing in it is run."""
    if path.suffix != ".npy":
        return list(load(path.read_bytes()).values())  # not mapped: an upload is deleted
    with path.open("rb") as file:  # not `np.load`, which reads archives by this name too
        array = np.lib.format.read_array(file, allow_pickle=False)
    # Torch knows neither the other order of bytes nor long floats.
    return [torch.from_numpy(array.astype(np.float32) if array.dtype.kind == "f" else array)]


def _stacked(mels: list[Tensor]) -> Tensor:
    """Return (candidates, bins, frames) float32; shorter ones end in their own quietest value."""
    longest = max(len(mel) for mel in mels)
    drawn = [mel.T.cpu().float() for mel in mels]
    filled = [
        torch.nn.functional.pad(mel, (0, longest - mel.shape[1]), value=float(mel.min()))
        for mel in drawn
    ]
    return torch.stack(filled)
