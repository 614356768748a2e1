"""CSM of Sesame: a language model over Mimi's codes that goes on with a conversation.

The reference is what the speaker said a turn ago, with its words; the text is the next turn. Not
diffusion: each frame of 80 ms is a token of the backbone and 31 of the depth decoder.
https://huggingface.co/sesame/csm-1b
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

SPEAKER = "0"
LONGEST_S = (0.2, 3.0)  # seconds of speech a character, and more for a whole chunk


class Csm:
    """A loaded CSM."""

    def __init__(self, entry: VoiceEntry, model: Any, processor: Any, *, device: str) -> None:
        self.entry = entry
        self._model = model
        self._processor = processor
        self._device = device

    @classmethod
    def load(cls, entry: VoiceEntry, *, device: str, precision: PrecisionName) -> Self:
        """Load from a folder or the hub; raises `ModelUnavailable`."""
        with fetching(entry):
            from transformers import CsmForConditionalGeneration, CsmProcessor

            processor = CsmProcessor.from_pretrained(entry.location)
            model = load_whole(CsmForConditionalGeneration, entry.location, precision)
        return cls(entry, model.to(device), processor, device=device)

    @torch.inference_mode()
    def encode_voice(self, reference: Reference) -> VoiceState:
        """Return the codes of a recording: (1, frames, codebooks), with its samples and words."""
        words = required_transcript(self.entry, reference)
        samples = at_rate(reference, self.entry.sample_rate)
        values = samples.to(self._device, self._model.dtype)[None, None]
        codes = self._model.codec_model.encode(values).audio_codes.transpose(1, 2)
        return VoiceState(
            model=self.entry.name,
            tensors={"samples": samples, "codes": codes.cpu()},
            facts={"transcript": words},
        )

    @torch.inference_mode()
    def speak(
        self, text: str, state: VoiceState, request: VoiceRequest, on_step: OnChunkStep
    ) -> Utterance:
        """Say one chunk, candidates one after another."""
        refuse_foreign(self.entry, state)
        refuse_unfit(self.entry, request)
        start_s = time.perf_counter()
        prompt, mask = self._prompt(text, state)
        limit = self._most_frames(text, prompt.shape[1])
        synchronize(self._device)
        text_s = time.perf_counter() - start_s
        clock = StepClock(on_step)
        codes = []
        for index in range(request.batch):
            clock.start(prompt_is_put=True)
            with seeded(request.seed + index, self._device):
                codes.append(self._generate(prompt, mask, request.temperature, limit, clock))
        synchronize(self._device)
        start_s = time.perf_counter()
        audio, lengths = side_by_side([self._decode(one) for one in codes])
        return Utterance(
            audio=audio,
            lengths=lengths,
            mel=None,
            step_s=tuple(clock.step_s),
            text_s=text_s,
            prior_s=sum(clock.step_s),
            vocoder_s=time.perf_counter() - start_s,
            warnings=self._warnings(codes, limit),
        )

    def _prompt(self, text: str, state: VoiceState) -> tuple[Tensor, Tensor]:
        """Return the conversation as embeddings (1, positions, width), and its mask.

        What `generate` does with the samples, but for codes that are there already.
        """
        said, heard = state.facts["transcript"], state.tensors["samples"].numpy()
        turns = [
            {"role": SPEAKER, "content": [_text(said), {"type": "audio", "audio": heard}]},
            {"role": SPEAKER, "content": [_text(text)]},
        ]
        inputs = self._processor.apply_chat_template(turns, tokenize=True, return_dict=True)
        ids = inputs["input_ids"].to(self._device)
        config = self._model.config
        prompt = self._model.embed_text_tokens(ids)
        embed = self._model.backbone_model.embed_tokens
        codes = state.tensors["codes"].to(self._device)
        prompt[ids == config.audio_token_id] = embed(codes)[0]
        end = torch.full_like(codes[:, :1], config.codebook_eos_token_id)
        prompt[ids == config.audio_eos_token_id] = embed(end)[0]
        return prompt, inputs["attention_mask"].to(self._device)

    def _most_frames(self, text: str, positions: int) -> int:
        """Return how many frames it may speak: far more than the text needs, and that fit."""
        seconds = LONGEST_S[0] * len(text) + LONGEST_S[1]
        frames = math.ceil(seconds * float(self._model.config.codec_config.frame_rate))
        room = int(self._model.config.max_position_embeddings) - positions
        return frames_that_fit(self.entry, frames, room)

    def _generate(
        self, prompt: Tensor, mask: Tensor, temperature: float, limit: int, clock: StepClock
    ) -> Tensor:
        """Return the codes of one candidate, (frames, codebooks), cut where it ended."""
        drawing: dict[str, Any] = {"do_sample": False, "depth_decoder_do_sample": False}
        if temperature:
            drawing = {
                "do_sample": True,
                "temperature": temperature,
                "depth_decoder_do_sample": True,
                "depth_decoder_temperature": temperature,
            }
        codes: Tensor = self._model.generate(
            inputs_embeds=prompt,
            attention_mask=mask,
            max_new_tokens=limit,
            streamer=clock,
            **drawing,
        )[0]
        ended = (codes == self._model.config.codebook_eos_token_id).all(dim=-1).nonzero()
        return codes[: int(ended.min())] if len(ended) else codes

    def _decode(self, codes: Tensor) -> Tensor:
        """Return the samples of (frames, codebooks) codes; none of no frame."""
        if not len(codes):
            return torch.zeros(0)
        # The vocabulary has a few ids more than the codec has codes; drawn, they would end a GPU.
        sounds = codes.clamp(max=self._model.config.codec_config.codebook_size - 1)
        audio: Tensor = self._model.codec_model.decode(sounds.T[None]).audio_values[0, 0]
        return audio

    def _warnings(self, codes: list[Tensor], limit: int) -> tuple[str, ...]:
        if all(len(one) < limit for one in codes):
            return ()
        return (f"{self.entry.name} did not come to an end by itself and was stopped",)


def _text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}
