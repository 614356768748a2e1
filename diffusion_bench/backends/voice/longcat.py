"""LongCat-AudioDiT of Meituan: flow matching over the latents of a waveform autoencoder.

diffusers has the parts and a pipeline that speaks in no voice in particular. Cloning is a loop of
our own over the same parts: the recording's latents lead the sequence (the prompt region), its
transcript leads the text, and the model goes on in the voice. Where there is no recording, it is
the stock pipeline's loop. https://arxiv.org/abs/2603.29339
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.loading import DTYPES, refuse_missing_weights
from diffusion_bench.backends.voice.base import OnChunkStep, Utterance, VoiceEntry, VoiceState
from diffusion_bench.backends.voice.candidates import (
    refuse_unfit,
    required_transcript,
    side_by_side,
)
from diffusion_bench.backends.voice.hub import noise_of, refuse_foreign, waveform_of
from diffusion_bench.backends.voice.loading import fetching
from diffusion_bench.backends.voice.phases import PhaseClock
from diffusion_bench.records import PrecisionName, VoiceRequest

WINDOW_S = 30.0
SPARE_FRAMES = 3  # after the recording while it is encoded, so that its end has a future; then cut
CHARACTER_S = {"Latin": 0.082, "Chinese": 0.21}  # how long a character is to say
SLOWEST = 1.5  # times as slow as that; nobody is taken to be faster
APG_ETA, APG_MOMENTUM = 0.5, -0.3
VOICE_SEED = 0  # the autoencoder draws from its posterior; always the same
Velocity = Callable[[Tensor, Tensor], Tensor]


class LongCat:
    """A loaded LongCat-AudioDiT."""

    def __init__(self, entry: VoiceEntry, pipeline: Any, *, device: str) -> None:
        self.entry = entry
        self._pipeline = pipeline
        self._device = device

    @classmethod
    def load(cls, entry: VoiceEntry, *, device: str, precision: PrecisionName = "fp32") -> Self:
        """Load from a folder or the hub, from its cache without a network.

        The autoencoder computes in fp16 as the authors' does, or in fp32, never in bf16, whose 8
        bits of mantissa would be heard. Raises `ModelUnavailable`.
        """
        vae_dtype = DTYPES["fp16" if precision == "fp16" else "fp32"]
        with fetching(entry):
            from diffusers import LongCatAudioDiTPipeline

            pipeline = LongCatAudioDiTPipeline.from_pretrained(
                entry.location,
                dtype={"default": DTYPES[precision], "vae": vae_dtype},
                use_safetensors=True,
            )
            refuse_missing_weights(pipeline)
        return cls(entry, pipeline.to(device), device=device)

    @torch.inference_mode()
    def encode_voice(self, reference: Reference) -> VoiceState:
        """Return the latents of a recording, (frames, width), 11.7 a second, with its transcript.

        Raises ValueError for one without a transcript, or too short or long to leave room.
        """
        transcript = required_transcript(self.entry, reference)
        samples = waveform_of(reference, self.entry)
        hop = self._pipeline.vae_scale_factor
        samples = F.pad(samples, (0, -len(samples) % hop + SPARE_FRAMES * hop))
        latents = self._pipeline.vae.encode(
            samples[None, None].to(self._device),
            generator=torch.Generator().manual_seed(VOICE_SEED),
        ).latents[0, :, :-SPARE_FRAMES]
        return VoiceState(
            model=self.entry.name,
            tensors={"latents": latents.T.float().cpu().contiguous()},
            facts={"transcript": transcript},
        )

    @torch.inference_mode()
    def speak(
        self, text: str, state: VoiceState, request: VoiceRequest, on_step: OnChunkStep
    ) -> Utterance:
        """Say one chunk, all candidates as one batch."""
        refuse_foreign(self.entry, state)
        refuse_unfit(self.entry, request)
        clock = PhaseClock(self._device)
        clock.enter("text")
        voice = state.tensors["latents"].to(self._device).expand(request.batch, -1, -1)
        words, said = normalise(text), normalise(state.facts["transcript"])
        frames, warnings = self._duration(words, said, voice.shape[1], request.speed)
        velocity = self._velocity(f"{said} {words}".strip(), voice, frames, request)
        noise = noise_of(request)(voice.shape[1] + frames, voice.shape[2]).to(self._device)
        clock.enter("denoising")
        speech = self._denoise(voice, noise, velocity, request, clock=clock, on_step=on_step)
        clock.enter("vocoder")
        audio, lengths = side_by_side(list(self._pipeline.vae.decode(speech.mT).sample[:, 0]))
        return Utterance(audio, lengths, mel=None, warnings=warnings, **clock.facts())

    def _duration(
        self, words: str, said: str, voice_frames: int, speed: float
    ) -> tuple[int, tuple[str, ...]]:
        """Return how many frames to speak, and a warning where the window is too short for them."""
        frame_s = self._pipeline.vae_scale_factor / self.entry.sample_rate
        voice_s = voice_frames * frame_s
        pace = voice_s / expected_s(said) if said else 1.0
        wanted_s = expected_s(words) * min(max(pace, 1.0), SLOWEST) / speed
        room = int(WINDOW_S / frame_s) - voice_frames
        wanted = max(1, int(wanted_s / frame_s))
        if wanted <= room:
            return wanted, ()
        return room, (
            f"the text needs about {wanted_s:.0f} s and the window of {WINDOW_S:g} s leaves "
            f"{room * frame_s:.0f} s after the reference: it is said in a hurry",
        )

    def _velocity(self, words: str, voice: Tensor, frames: int, request: VoiceRequest) -> Velocity:
        """Return the guided velocity of (candidates, voice and speech, width) latents at a time.

        The null pass knows neither words nor voice: the embeddings, the latents it is conditioned
        on and the prompt region are all zeros.
        """
        transformer = self._pipeline.transformer
        words_in, count = self._pipeline.encode_prompt([words] * request.batch, self._device)
        words_mask = torch.arange(words_in.shape[1], device=count.device) < count[:, None]
        heard = F.pad(voice, (0, 0, 0, frames)).to(transformer.dtype)
        everywhere = torch.ones(heard.shape[:2], dtype=torch.bool, device=heard.device)
        lead = voice.shape[1]

        def predict(latents: Tensor, time: Tensor, words: Tensor, heard: Tensor) -> Tensor:
            velocity: Tensor = transformer(
                hidden_states=latents.to(transformer.dtype),
                encoder_hidden_states=words.to(transformer.dtype),
                encoder_attention_mask=words_mask,
                timestep=time.expand(len(latents)).to(transformer.dtype),
                attention_mask=everywhere,
                latent_cond=heard,
            ).sample
            return velocity[:, lead:].float()

        guide = _guide(request.guidance_scale - 1)

        def guided(latents: Tensor, time: Tensor) -> Tensor:
            velocity = predict(latents, time, words_in, heard)
            if request.guidance_scale <= 1:
                return velocity
            alone = torch.cat([torch.zeros_like(voice), latents[:, lead:]], dim=1)
            null = predict(alone, time, torch.zeros_like(words_in), torch.zeros_like(heard))
            return guide(velocity, null, latents[:, lead:], time)

        return guided

    def _denoise(
        self,
        voice: Tensor,
        noise: Tensor,
        velocity: Velocity,
        request: VoiceRequest,
        *,
        clock: PhaseClock,
        on_step: OnChunkStep,
    ) -> Tensor:
        """Return the latents of the speech, by Euler steps from noise at time 0 to sound at 1.

        The prompt region is known at each time: noise and voice, so far mixed.
        """
        scheduler = self._pipeline.scheduler
        steps, lead = request.steps, voice.shape[1]
        sigmas = torch.linspace(1, 1 / steps, steps).tolist()
        scheduler.set_timesteps(sigmas=sigmas, device=self._device)
        scheduler.set_begin_index(0)
        speech = noise[:, lead:] * request.temperature
        clock.begin_steps()
        for index, timestep in enumerate(scheduler.timesteps):
            time = timestep / scheduler.config.num_train_timesteps
            prompt = noise[:, :lead] * (1 - time) + voice * time
            step = velocity(torch.cat([prompt, speech], dim=1), time)
            speech = scheduler.step(step, timestep, speech, return_dict=False)[0]
            with clock.step_ended():
                on_step(index, steps)
        return speech


def _guide(strength: float) -> Callable[..., Tensor]:
    """Return what makes one velocity of two, (with, without, latents, time).

    Adaptive projected guidance (Sadat et al. 2024, arXiv 2410.02416), with which the authors clone:
    it compares where the two would end, `latents + (1 - time) * velocity`, and weakens the part of
    their difference that is parallel to the guided one.
    """
    from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance

    momentum = MomentumBuffer(APG_MOMENTUM)

    def guided(with_voice: Tensor, null: Tensor, latents: Tensor, time: Tensor) -> Tensor:
        end: Tensor = normalized_guidance(
            latents + (1 - time) * with_voice,
            latents + (1 - time) * null,
            strength,
            momentum,
            eta=APG_ETA,
            use_original_formulation=True,
        )
        return (end - latents) / (1 - time)

    return guided


def normalise(text: str) -> str:
    """Return a text as the model was trained to read it: lower case, no quotes, single spaces."""
    return " ".join(re.sub(r'["“”‘’]', " ", text.lower()).split())


def expected_s(text: str) -> float:
    """Return how long a text is taken to last, in seconds; spaces last nothing.

    Marks and digits count as characters of the script that prevails.
    """
    letters = "".join(text.split())
    chinese = sum("一" <= letter <= "鿿" for letter in letters)
    latin = sum(letter.isalpha() for letter in letters) - chinese
    others = len(letters) - chinese - latin
    if chinese > latin:
        chinese += others
    else:
        latin += others
    return chinese * CHARACTER_S["Chinese"] + latin * CHARACTER_S["Latin"]
