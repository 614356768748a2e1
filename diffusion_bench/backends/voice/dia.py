"""Dia of Nari Labs: an encoder-decoder from text to the codes of a DAC codec, with guidance.

The reference is the beginning of what is said: its words go before the text, its codes before those
that are to come. Not diffusion: each frame of 12 ms is a token of nine delayed codebooks.
https://huggingface.co/nari-labs/Dia-1.6B-0626
"""

from __future__ import annotations

import math
import time
from typing import Any, Self

import torch
from torch import Tensor

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.stage_clock import synchronize
from diffusion_bench.backends.voice.base import OnChunkStep, Utterance, VoiceEntry, VoiceState
from diffusion_bench.backends.voice.candidates import (
    StepClock,
    at_rate,
    frames_that_fit,
    refuse_unfit,
    required_transcript,
    seeded,
    side_by_side,
)
from diffusion_bench.backends.voice.hub import refuse_foreign
from diffusion_bench.backends.voice.loading import fetching, load_whole
from diffusion_bench.records import PrecisionName, VoiceRequest

SPEAKER = "[S1]"
TOP_K = 45  # as its card samples
ONE_TEXT = {"text_kwargs": {"padding": False}}  # the default warns of a length it ignores
LONGEST_S = (0.15, 3.0)  # seconds of speech a character, and more for a whole chunk


class Dia:
    """A loaded Dia with its codec."""

    def __init__(self, entry: VoiceEntry, model: Any, processor: Any, *, device: str) -> None:
        self.entry = entry
        self._model = model
        self._processor = processor
        self._device = device

    @classmethod
    def load(cls, entry: VoiceEntry, *, device: str, precision: PrecisionName) -> Self:
        """Load from a folder or the hub, the codec in fp32; raises `ModelUnavailable`.

        The processor is put together here: its own loader would read a codec of any file format.
        """
        with fetching(entry):
            from transformers import (
                DacModel,
                DiaFeatureExtractor,
                DiaForConditionalGeneration,
                DiaProcessor,
                DiaTokenizer,
            )

            codec = load_whole(DacModel, entry.companions[0], "fp32")
            processor = DiaProcessor(
                DiaFeatureExtractor.from_pretrained(entry.location),
                DiaTokenizer.from_pretrained(entry.location),
                codec.to(device),
            )
            model = load_whole(DiaForConditionalGeneration, entry.location, precision)
        return cls(entry, model.to(device), processor, device=device)

    @torch.inference_mode()
    def encode_voice(self, reference: Reference) -> VoiceState:
        """Return the codes of a recording, delayed: (1, frames, codebooks), with mask and words."""
        words = required_transcript(self.entry, reference)
        samples = at_rate(reference, self.entry.sample_rate).numpy()
        inputs = self._processor(text=[words], audio=[samples], **ONE_TEXT)
        return VoiceState(
            model=self.entry.name,
            tensors={
                "codes": inputs["decoder_input_ids"].cpu(),
                "mask": inputs["decoder_attention_mask"].cpu(),
            },
            facts={"transcript": words},
        )

    @torch.inference_mode()
    def speak(
        self, text: str, state: VoiceState, request: VoiceRequest, on_step: OnChunkStep
    ) -> Utterance:
        """Say one chunk, candidates one after another.

        `guidance_scale` is the checkpoint's own: logits go by so much beyond the text's own, and 1
        means none. The model samples at temperatures from 1 up; 0 takes the likeliest token.
        """
        refuse_foreign(self.entry, state)
        refuse_unfit(self.entry, request)
        if 0 < request.temperature < 1:
            raise ValueError(
                f"{self.entry.name} samples at temperatures from 1 to 2, or 0 for the likeliest; "
                f"its usual one is {self.entry.temperature:g}"
            )
        start_s = time.perf_counter()
        inputs, limit = self._inputs(text, state)
        synchronize(self._device)
        text_s = time.perf_counter() - start_s
        clock = StepClock(on_step)
        codes, counts = [], []
        for index in range(request.batch):
            before = len(clock.step_s)
            clock.start(prompt_is_put=True)
            with seeded(request.seed + index, self._device):
                codes.append(self._generate(inputs, request, limit, clock))
            counts.append(len(clock.step_s) - before)
        synchronize(self._device)
        start_s = time.perf_counter()
        prompt_frames = self._processor.get_audio_prompt_len(inputs["decoder_attention_mask"])
        audio, lengths = side_by_side([self._decode(one, prompt_frames) for one in codes])
        stopped = max(counts) >= limit
        return Utterance(
            audio=audio,
            lengths=lengths,
            mel=None,
            step_s=tuple(clock.step_s),
            text_s=text_s,
            prior_s=sum(clock.step_s),
            vocoder_s=time.perf_counter() - start_s,
            warnings=(f"{self.entry.name} did not end by itself and was stopped",) * stopped,
        )

    def _inputs(self, text: str, state: VoiceState) -> tuple[dict[str, Tensor], int]:
        """Return what `generate` takes, and how many frames it may speak."""
        config = self._model.config
        said = f"{SPEAKER} {state.facts['transcript']} {SPEAKER} {text}"
        read = self._processor([said], **ONE_TEXT)
        inputs = {key: value.to(self._device) for key, value in read.items()}
        inputs["decoder_input_ids"] = state.tensors["codes"].to(self._device)
        inputs["decoder_attention_mask"] = state.tensors["mask"].to(self._device)
        seconds = LONGEST_S[0] * len(text) + LONGEST_S[1]
        frames = math.ceil(seconds * self._processor.audio_tokenizer.config.frame_rate)
        heard = inputs["decoder_attention_mask"].shape[1]
        room = config.decoder_config.max_position_embeddings - heard
        too_long = inputs["input_ids"].shape[1] > config.encoder_config.max_position_embeddings
        # The codebooks are delayed: of fewer frames than the last is behind, none is whole.
        if too_long or room <= max(config.delay_pattern):
            room = 0
        return inputs, frames_that_fit(self.entry, frames, room)

    def _generate(
        self, inputs: dict[str, Tensor], request: VoiceRequest, limit: int, clock: StepClock
    ) -> Tensor:
        """Return the delayed codes of prompt and speech: (1, frames, codebooks)."""
        drawing: dict[str, Any] = {"do_sample": False}
        if request.temperature:
            drawing = {"do_sample": True, "temperature": request.temperature}
        codes: Tensor = self._model.generate(
            **inputs,
            guidance_scale=request.guidance_scale,
            top_k=TOP_K,
            max_new_tokens=limit,
            streamer=clock,
            **drawing,
        )
        return codes

    def _decode(self, codes: Tensor, prompt_frames: int) -> Tensor:
        """Return the samples that come after the prompt's frames; none of no frame."""
        pads = (codes[0, :, 0] == self._model.config.decoder_config.pad_token_id).sum()
        if codes.shape[1] - int(pads) - 1 <= prompt_frames:
            return torch.zeros(0)
        audio: Tensor = self._processor.batch_decode(codes, audio_prompt_len=prompt_frames)[0]
        return audio
