"""VibeVoice of Microsoft: a language model whose every frame is denoised by a diffusion head.

A frame is 133 ms of sound as one latent of 64 numbers. The head predicts v, on the cosine noise
schedule, so that any sampler of diffusers in alphas and betas can run it: DDPM, DDIM, DPM++ and
UniPC. Euler and Heun would run too, and wrongly, because they think in sigmas and want their input
scaled, which transformers' loop does not do.
https://arxiv.org/abs/2508.19205, https://huggingface.co/microsoft/VibeVoice-1.5B
"""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.voice.base import OnChunkStep, Utterance, VoiceEntry, VoiceState
from diffusion_bench.backends.voice.candidates import refuse_unfit, seeded, side_by_side
from diffusion_bench.backends.voice.hub import refuse_foreign, waveform_of
from diffusion_bench.backends.voice.loading import fetching, load_whole
from diffusion_bench.backends.voice.phases import PhaseClock
from diffusion_bench.records import PrecisionName, VoiceRequest

SPEAKER = "0"
SPEECH_S = (0.25, 4.0)  # the longest that is let through: seconds a character, and more
VOICE_SEED = 0  # the codec adds noise to what it encodes, as in training; always the same


class VibeVoice:
    """A loaded VibeVoice."""

    def __init__(self, entry: VoiceEntry, model: Any, processor: Any, *, device: str) -> None:
        self.entry = entry
        self._model = model
        self._processor = processor
        self._device = device

    @classmethod
    def load(cls, entry: VoiceEntry, *, device: str, precision: PrecisionName = "fp32") -> Self:
        """Load from a folder or the hub, from its cache without a network.

        Raises `ModelUnavailable`.
        """
        with fetching(entry):
            from transformers import VibeVoiceForConditionalGeneration, VibeVoiceProcessor

            processor = VibeVoiceProcessor.from_pretrained(entry.location)
            model = load_whole(VibeVoiceForConditionalGeneration, entry.location, precision)
        return cls(entry, model.to(device), processor, device=device)

    @torch.inference_mode()
    def encode_voice(self, reference: Reference) -> VoiceState:
        """Return what the language model hears of a recording: (frames, width), 7.5 a second.

        The samples are kept beside it, since the prompt's layout follows from them.
        """
        samples = waveform_of(reference, self.entry)
        inputs = self._processor.feature_extractor(
            samples.numpy(), sampling_rate=self.entry.sample_rate
        ).to(self._device)
        with seeded(VOICE_SEED, self._device):
            heard = self._model.model.get_audio_features(
                inputs["input_values"].to(self._model.dtype), inputs["padding_mask"]
            ).pooler_output
        return VoiceState(
            model=self.entry.name,
            tensors={"heard": heard.float().cpu(), "samples": samples},
        )

    @torch.inference_mode()
    def speak(
        self, text: str, state: VoiceState, request: VoiceRequest, on_step: OnChunkStep
    ) -> Utterance:
        """Say one chunk, candidates one after another; a step is a frame of 133 ms.

        One after another, because the model draws from torch's global generators, of which there
        is one, not one a candidate.
        """
        refuse_foreign(self.entry, state)
        refuse_unfit(self.entry, request)
        clock = PhaseClock(self._device)
        clock.enter("text")
        prompt = self._prompt(text, state)
        limit = self._most_frames(text)
        spoken = []
        with self._watching(clock, on_step):
            for index in range(request.batch):
                clock.enter("prior")
                clock.begin_steps()
                with seeded(request.of_candidate(index).seed, self._device):
                    spoken.append(self._generate(prompt, request, limit))
        audio, lengths = side_by_side(spoken)
        return Utterance(
            audio=audio,
            lengths=lengths,
            mel=None,
            warnings=self._warnings(request, max(lengths) // self._frame_size >= limit),
            **clock.facts(),
        )

    @property
    def _frame_size(self) -> int:
        size: int = self._model.config.audio_config.hop_length
        return size

    def _prompt(self, text: str, state: VoiceState) -> dict[str, Tensor]:
        """Return the chat as ids, and as embeddings with the voice in its place."""
        content = [
            {"type": "text", "text": text},
            {"type": "audio", "audio": state.tensors["samples"].numpy()},
        ]
        inputs = self._processor.apply_chat_template(
            [{"role": SPEAKER, "content": content}],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._device)
        ids = inputs["input_ids"]
        embeddings = self._model.get_input_embeddings()(ids)
        heard = state.tensors["heard"].to(embeddings.device, embeddings.dtype)
        embeddings[ids == self._model.config.audio_token_id] = heard
        return {
            "input_ids": ids,
            "inputs_embeds": embeddings,
            "attention_mask": inputs["attention_mask"],
        }

    def _most_frames(self, text: str) -> int:
        """Return how many frames it may speak: more than anybody would need for the text."""
        a_character_s, more_s = SPEECH_S
        seconds = a_character_s * len(text) + more_s
        return math.ceil(seconds * self.entry.sample_rate / self._frame_size)

    def _watching(self, clock: PhaseClock, on_step: OnChunkStep) -> Any:
        """Time the head and the decoder by hooks, and tell of each frame once it can be heard."""
        made = itertools.count()

        def frame_is_made(*_: object) -> None:
            with clock.step_ended():
                on_step(next(made), 0)

        parts = self._model.model
        return clock.watching(
            {
                "denoising": (parts.diffusion_head, "denoising"),
                "vocoder": (parts.audio_tower.decoder, "prior"),
            },
            after={parts.semantic_tokenizer_encoder: frame_is_made},
        )

    def _generate(self, prompt: dict[str, Tensor], request: VoiceRequest, limit: int) -> Tensor:
        """Return (samples,) of one candidate; none of one that never began to speak."""
        try:
            made = self._model.generate(
                **prompt,
                noise_scheduler=build_sampler(request.sampler, eta=request.eta),
                num_diffusion_steps=request.steps,
                guidance_scale=request.guidance_scale,
                max_new_tokens=limit,
                return_dict_in_generate=True,
                custom_generate=_sample_as_published,
            )
        finally:
            # A sampler has a state; left here, the next run would go on with it.
            self._model.generation_config.noise_scheduler = None
        audio: Tensor = torch.zeros(0) if made.audio[0] is None else made.audio[0][0]
        return audio

    def _warnings(self, request: VoiceRequest, was_stopped: bool) -> tuple[str, ...]:
        warnings = []
        if request.temperature != 1:
            warnings.append(f"{self.entry.name} has no temperature; its noise was left as it is")
        if was_stopped:
            warnings.append(f"{self.entry.name} did not come to an end by itself and was stopped")
        return tuple(warnings)


def build_sampler(name: str, *, eta: float = 0.0) -> Any:
    """Return the diffusers scheduler of that name on VibeVoice's noise schedule.

    DDPM and DDIM take "trailing" timesteps, so that the first step is at pure noise, where sampling
    begins (Lin et al. 2023, table 2: arXiv 2305.08891); the other two begin there by themselves.
    """
    from diffusers import (
        DDIMScheduler,
        DDPMScheduler,
        DPMSolverMultistepScheduler,
        UniPCMultistepScheduler,
    )

    schedule = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
    unbounded = {"clip_sample": False, "timestep_spacing": "trailing"}
    if name == "ddpm":
        return DDPMScheduler(**schedule, **unbounded)
    if name == "ddim":
        sampler = DDIMScheduler(**schedule, **unbounded)
        sampler.step = partial(sampler.step, eta=eta)  # transformers' loop passes none
        return sampler
    others = {"dpm++": DPMSolverMultistepScheduler, "unipc": UniPCMultistepScheduler}
    return others[name](**schedule)


def _sample_as_published(
    model: Any, input_ids: Tensor, *, logits_processor: Any, **settings: Any
) -> Any:
    """Run the model's own loop without guidance of its tokens.

    transformers 5.23 takes `guidance_scale` for the language model's logits as well, at the cost of
    a third pass a token; Microsoft's code guides the diffusion head alone.
    """
    from transformers import LogitsProcessorList, UnbatchedClassifierFreeGuidanceLogitsProcessor

    kept = LogitsProcessorList(
        one
        for one in logits_processor
        if not isinstance(one, UnbatchedClassifierFreeGuidanceLogitsProcessor)
    )
    return model._sample(input_ids, logits_processor=kept, **settings)
