"""Pocket TTS of Kyutai: a small language model whose every frame is drawn by a flow head.

A frame is 80 ms of sound as one continuous latent: the backbone reads what has been said, and the
flow head turns noise into the next latent in one to a few Euler steps (Lagrangian
self-distillation). The codec is causal, so that speech can be heard while it is made.
https://arxiv.org/abs/2509.06926, https://huggingface.co/kyutai/pocket-tts
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.catalog import ModelUnavailable, cached_folder
from diffusion_bench.backends.network_files import is_here, repository_of
from diffusion_bench.backends.voice.base import OnChunkStep, Utterance, VoiceEntry, VoiceState
from diffusion_bench.backends.voice.candidates import refuse_unfit, side_by_side
from diffusion_bench.backends.voice.hub import noise_of, refuse_foreign, waveform_of
from diffusion_bench.backends.voice.loading import fetching, load_whole
from diffusion_bench.backends.voice.phases import PhaseClock
from diffusion_bench.records import PrecisionName, VoiceRequest

FIRST_FRAMES, NEXT_FRAMES = 3, 12  # of 80 ms: little until something is heard, then efficient
CONVOLUTION_FRAMES = 4  # how far back the convolutions of the codec's decoder reach, rounded up
NO_ENCODER = (
    "the codec of {name} at {where} has no encoder, which Pocket TTS's ungated weights lack, so it "
    "clones no voice: accept the terms at https://huggingface.co/kyutai/pocket-tts, log in with "
    "`hf auth login`, and load weights with the encoder"
)


class Frame(NamedTuple):
    """One frame: (candidates, width) latents, which candidates speak it, whether more may come."""

    latents: Tensor
    speaking: Tensor
    is_last_allowed: bool


class PocketTts:
    """A loaded Pocket TTS."""

    def __init__(self, entry: VoiceEntry, model: Any, processor: Any, *, device: str) -> None:
        self.entry = entry
        self._model = model
        self._processor = processor
        self._codec = processor.audio_tokenizer
        self._device = device

    @classmethod
    def load(cls, entry: VoiceEntry, *, device: str, precision: PrecisionName = "fp32") -> Self:
        """Load from a folder or the hub, from its cache without a network.

        The codec computes in fp32 whatever the precision: it is small, and the 8 bits of bf16's
        mantissa would be heard. Raises `ModelUnavailable`.
        """
        with fetching(entry):
            from transformers import PocketTTSForConditionalGeneration, PocketTTSProcessor

            # First, because the processor would read the codec's pickle where that is all there is.
            codec, is_local = _load_codec(entry.location)
            # Else it asks the hub for the codec, which it loads once more.
            is_local = is_local and os.path.isdir(entry.location)
            processor = PocketTTSProcessor.from_pretrained(
                entry.location, local_files_only=is_local
            )
            model = load_whole(PocketTTSForConditionalGeneration, entry.location, precision)
        processor.audio_tokenizer = codec.to(device)
        return cls(entry, model.to(device), processor, device=device)

    @torch.inference_mode()
    def encode_voice(self, reference: Reference) -> VoiceState:
        """Return the latents of a recording: (frames, width), 12.5 a second.

        Raises `ModelUnavailable` where the codec has no encoder, ValueError for a bad recording.
        """
        if self._codec.encoder is None:
            where = self.entry.location
            raise ModelUnavailable(NO_ENCODER.format(name=self.entry.name, where=where))
        samples = waveform_of(reference, self.entry)
        inputs = self._processor.feature_extractor(
            samples, sampling_rate=self.entry.sample_rate
        ).to(self._device)
        encoded = self._codec.encode(inputs["input_values"], inputs["padding_mask"])
        latents = encoded.latents[0][encoded.latents_mask[0].bool()]
        return VoiceState(model=self.entry.name, tensors={"latents": latents.float().cpu()})

    @torch.inference_mode()
    def speak(
        self, text: str, state: VoiceState, request: VoiceRequest, on_step: OnChunkStep
    ) -> Utterance:
        """Say one chunk, all candidates as one batch; a step is a frame."""
        clock = PhaseClock(self._device)
        frames = list(self._frames(text, state, request, on_step, clock=clock))
        clock.enter("vocoder")
        return self._utterance(self._decode(frames, 0), frames, clock)

    def speak_stream(
        self, text: str, state: VoiceState, request: VoiceRequest, on_step: OnChunkStep
    ) -> Generator[Tensor, None, Utterance]:
        """Say one chunk and give out (candidates, samples) as they come: `speak`'s, in pieces."""
        clock = PhaseClock(self._device)
        frames: list[Frame] = []
        pieces: list[Tensor] = []

        def next_piece() -> Tensor:
            clock.enter("vocoder")
            decoded = sum(piece.shape[1] for piece in pieces) // self._codec.config.frame_size
            pieces.append(self._decode(frames, decoded))
            clock.enter("other")  # the time until the next one is asked for
            return pieces[-1]

        undecoded = 0
        for frame in self._frames(text, state, request, on_step, clock=clock):
            frames.append(frame)
            undecoded += 1
            if undecoded == (NEXT_FRAMES if pieces else FIRST_FRAMES):
                undecoded = 0
                yield next_piece()
        if undecoded:
            yield next_piece()
        return self._utterance(torch.cat(pieces, dim=1), frames, clock)

    def _frames(
        self,
        text: str,
        state: VoiceState,
        request: VoiceRequest,
        on_step: OnChunkStep,
        *,
        clock: PhaseClock,
    ) -> Iterator[Frame]:
        """Return the frames of a chunk, as they are made.

        `generate` prepares as its authors wrote it (prompt, cache, when to stop) and leaves only
        the loop to us, which it would neither show nor seed candidate by candidate.
        """
        refuse_foreign(self.entry, state)
        refuse_unfit(self.entry, request)
        clock.enter("text")
        spread = math.sqrt(request.temperature)
        noise = noise_of(request)
        loop = partial(
            _frame_loop,
            noise=lambda: noise(self._model.config.latent_dim) * spread,
            clock=clock,
            on_step=on_step,
        )
        frames: Iterator[Frame] = self._model.generate(
            **self._prompt(text, state, request.batch),
            num_flow_steps=request.steps,
            do_sample=True,
            custom_generate=loop,
        )
        return frames

    def _prompt(self, text: str, state: VoiceState, candidates: int) -> Any:
        content = [{"type": "audio"}, {"type": "text", "text": text}]
        prompt = self._processor.apply_chat_template([{"role": "user", "content": content}])
        return self._processor(
            text=[prompt] * candidates,
            audio_prompt_latents=[state.tensors["latents"]] * candidates,
            return_tensors="pt",
        ).to(self._device)

    @torch.no_grad()
    def _decode(self, frames: Sequence[Frame], first: int) -> Tensor:
        """Return the sound of the frames from `first` on: (candidates, samples), zeros at ends.

        The decoder is causal and looks back a bounded time, so that many frames before suffice.
        """
        config = self._codec.config
        looks_back = CONVOLUTION_FRAMES + math.ceil(
            config.num_hidden_layers * config.sliding_window / config.latent_stride
        )
        start = max(0, first - looks_back)
        latents = torch.stack([frame.latents for frame in frames[start:]], dim=1)
        audio = torch.stack(self._processor.decode(latents))[
            :, (first - start) * config.frame_size :
        ]
        speaking = torch.stack([frame.speaking for frame in frames[first:]], dim=1).cpu()
        return audio.clamp(-1, 1) * speaking.repeat_interleave(config.frame_size, dim=1)

    def _utterance(self, audio: Tensor, frames: list[Frame], clock: PhaseClock) -> Utterance:
        spoken = torch.stack([frame.speaking for frame in frames]).sum(dim=0)
        lengths = (spoken * self._codec.config.frame_size).tolist()
        padded, lengths = side_by_side(
            [one[:length] for one, length in zip(audio, lengths, strict=True)]
        )
        capped = frames[-1].is_last_allowed
        warnings = (f"{self.entry.name} did not come to an end by itself and was stopped",)
        return Utterance(
            audio=padded,
            lengths=lengths,
            mel=None,
            warnings=warnings if capped else (),
            **clock.facts(),
        )


@torch.no_grad()
def _frame_loop(
    model: Any,
    input_ids: Tensor,
    *,
    noise: Callable[[], Tensor],
    clock: PhaseClock,
    on_step: OnChunkStep,
    stopping_criteria: Any,
    generation_config: Any,
    logits_processor: Any = None,
    **model_kwargs: Any,
) -> Iterator[Frame]:
    """Make frames until all candidates have ended; the decoding loop that `generate` is given."""
    placeholder = torch.full_like(input_ids[:, :1], model.config.audio_latent_token_id)
    speaking = torch.ones(len(input_ids), dtype=torch.bool, device=input_ids.device)
    clock.enter("prior")
    clock.begin_steps()
    outputs = model._prefill(input_ids, generation_config, model_kwargs, is_first_iteration=True)
    for index in itertools.count():
        model_kwargs = model._update_model_kwargs_for_generation(outputs, model_kwargs)
        hidden = outputs.last_hidden_state[:, -1]
        clock.enter("denoising")
        start = noise().to(hidden.device, hidden.dtype)
        latents = model.sample_latent(hidden, start, generation_config.num_flow_steps)
        clock.enter("prior")
        input_ids = torch.cat([input_ids, placeholder], dim=1)
        ended = stopping_criteria(input_ids, outputs.logits[:, -1, 0].float())
        with clock.step_ended():
            on_step(index, 0)
        is_last = input_ids.shape[1] >= generation_config.max_length
        yield Frame(model.denormalize_latents(latents), speaking, is_last)
        # Whoever took the frame may have kept us waiting.
        clock.enter("prior")
        clock.begin_steps()
        speaking = speaking & ~ended
        if not speaking.any():
            return
        model_kwargs["audio_latents"] = latents[:, None]
        inputs = model.prepare_inputs_for_generation(
            input_ids, next_sequence_length=1, **model_kwargs
        )
        outputs = model(**inputs, return_dict=True)


def _load_codec(location: str) -> tuple[Any, bool]:
    """Return the codec that the processor at `location` names, and whether it was here already.

    From safetensors only. What is here asks the hub for no newer commit.
    """
    from transformers import PocketTTSAudioTokenizerModel
    from transformers.utils import cached_file

    path = Path(cached_file(location, "processor_config.json"))
    named = json.loads(path.read_text(encoding="utf-8")).get("audio_tokenizer")
    if named is None:
        raise ValueError(f"the processor at {location} names no codec")
    codec = repository_of(named["audio_tokenizer_name_or_path"])
    folder = cached_folder(codec) if is_here(codec) else None
    place = str(folder) if folder else codec.location
    return load_whole(PocketTTSAudioTokenizerModel, place, "fp32"), folder is not None
