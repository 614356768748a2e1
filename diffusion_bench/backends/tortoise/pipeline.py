"""Tortoise TTS as a voice cloning model.

    reference > clips of 6 s > latents of the voice                             encode_voice
    text > codes, many > the best by CLVP > latents > denoising > UnivNet       speak

James Betker, "Better speech synthesis through scaling", 2023, arXiv 2305.07243.
"""

from __future__ import annotations

from typing import Self, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.loading import DTYPES
from diffusion_bench.backends.tortoise import latents as prior
from diffusion_bench.backends.tortoise.conditioning import (
    check_reference,
    clips_of,
    voice_latents,
)
from diffusion_bench.backends.tortoise.progress import Laps, Progress
from diffusion_bench.backends.tortoise.sampling import (
    QUIETEST,
    Sampler,
    build_tortoise_scheduler,
    mel_from_unit,
    sample_mel,
)
from diffusion_bench.backends.tortoise.vocoder import speak_mel
from diffusion_bench.backends.tortoise.weights import Parts, load_parts
from diffusion_bench.backends.voice.base import OnChunkStep, Utterance, VoiceEntry, VoiceState
from diffusion_bench.backends.voice.candidates import refuse_unfit, seeded
from diffusion_bench.records import PrecisionName, VoiceRequest

DRAWN_AT_ONCE = 16
# Sequences of codes that the original's presets draw, for the best to be chosen from. Their steps
# and guidance are those of their rows in the catalog.
SAMPLES = {"ultra_fast": 16, "fast": 96, "standard": 256, "high_quality": 256}


class TortoiseModel:
    """Tortoise on one device in one precision; UnivNet always runs in fp32.

    Its preset decides how many sequences of codes are drawn; a request's own steps and guidance
    scale hold, 1 plus the original's `cond_free_k`. The candidates of a batch are the best of the
    sequences drawn from its one seed, best first, so that a candidate cannot be spoken on its own.
    """

    def __init__(self, entry: VoiceEntry, parts: Parts, *, device: str) -> None:
        self.entry = entry
        self.device = device
        self._parts = parts

    @classmethod
    def load(cls, entry: VoiceEntry, *, device: str, precision: PrecisionName) -> Self:
        """Load Tortoise from a folder or a hub id; see `weights.py` for what lies where.

        Raises `ModelUnavailable`, in one line, where something is missing or does not fit.
        """
        parts = load_parts(entry.location, entry.companions, device=device, dtype=DTYPES[precision])
        return cls(entry, parts, device=device)

    def encode_voice(self, reference: Reference) -> VoiceState:
        """Return the voice of a recording: of up to 30 s of it, cut into clips of 6 s."""
        check_reference(reference)
        clips, parts = clips_of(reference), self._parts
        tensors = voice_latents(clips, parts.clvp, parts.decoder, parts.mel_norms)
        return VoiceState(self.entry.name, tensors, {"clips": str(len(clips))})

    @torch.inference_mode()
    def speak(
        self, text: str, state: VoiceState, request: VoiceRequest, on_step: OnChunkStep
    ) -> Utterance:
        """Say one chunk of text, the best `request.batch` of the sequences drawn from its seed.

        Steps are passes of a network: each code of each drawing, then each denoising step of each
        candidate. A drawing that ends early skips the passes that it did not need.
        """
        refuse_unfit(self.entry, request)
        self._check_voice(state)
        drawings = self._drawings(request.batch)
        progress = Progress(
            on_step,
            self.device,
            codes=prior.most_codes(self._parts.clvp),
            drawings=len(drawings),
            denoising_steps=request.batch * request.steps,
        )
        laps = Laps(self.device)
        tokens, unknown = prior.tokens_of(text, self._parts.tokenizer, self._parts.clvp)
        voice = state.tensors["codes"].to(self.device)
        prefix = prior.prefix_of(self._parts.clvp, tokens, voice)
        text_s = laps.lap_s()
        codes, endless = self._best_codes(tokens, prefix, request, drawings, progress)
        speech = self._latents(prefix, codes)
        prior_s = laps.lap_s()
        generators = [
            torch.Generator().manual_seed(request.seed + index) for index in range(request.batch)
        ]
        mels = [
            self._mel(latents, state.tensors["diffusion"], request, generator, progress)
            for latents, generator in zip(speech, generators, strict=True)
        ]
        denoising_s = laps.lap_s()
        sounds = [
            speak_mel(self._parts.univnet, mel, generator)
            for mel, generator in zip(mels, generators, strict=True)
        ]
        vocoder_s = laps.lap_s()
        rows = pad_sequence([mel.T for mel in mels], batch_first=True, padding_value=QUIETEST)
        return Utterance(
            audio=pad_sequence(sounds, batch_first=True),
            lengths=tuple(len(sound) for sound in sounds),
            mel=rows.transpose(1, 2).cpu(),
            step_s=progress.step_s(),
            text_s=text_s,
            prior_s=prior_s,
            denoising_s=denoising_s,
            vocoder_s=vocoder_s,
            warnings=_warnings(unknown, endless),
        )

    def _drawings(self, candidates: int) -> list[int]:
        """Return how many sequences each drawing makes: those of the preset, or of the batch."""
        samples = max(SAMPLES[self.entry.preset], candidates)
        return [min(DRAWN_AT_ONCE, samples - done) for done in range(0, samples, DRAWN_AT_ONCE)]

    def _best_codes(
        self,
        tokens: Tensor,
        prefix: Tensor,
        request: VoiceRequest,
        drawings: list[int],
        progress: Progress,
    ) -> tuple[Tensor, int]:
        """Return the best (candidates, codes), best first, and how many of them never stop."""
        clvp = self._parts.clvp
        stop = clvp.config.decoder_config.eos_token_id
        drawn, scores = [], []
        with seeded(request.seed, self.device):
            for count in drawings:
                codes = prior.draw_codes(clvp, prefix, count=count, on_code=progress.code_drawn)
                progress.drawing_ended()
                drawn.append(codes)
                scores.append(prior.closeness(clvp, tokens, prior.end_codes(codes, stop)))
        best = torch.cat(drawn)[torch.cat(scores).topk(request.batch).indices]
        endless = int((best != stop).all(dim=1).sum())
        return prior.end_codes(best, stop), endless

    def _latents(self, prefix: Tensor, codes: Tensor) -> list[Tensor]:
        """Return the latents of each candidate, cut where its speech has ended."""
        latents = prior.latents_of_codes(self._parts.clvp, prefix, codes)
        pairs = zip(codes, latents, strict=True)
        return [prior.without_silence(line, states) for line, states in pairs]

    def _mel(
        self,
        latents: Tensor,
        voice: Tensor,
        request: VoiceRequest,
        generator: torch.Generator,
        progress: Progress,
    ) -> Tensor:
        """Return the (mel_channels, frames) fp32 log-mel of one candidate."""
        decoder = self._parts.decoder
        frames = prior.frames_of(len(latents))
        aligned = decoder.align(latents[None].to(decoder.dtype), voice.to(latents), frames)
        unconditioned = decoder.unconditioned(aligned)
        shape = (1, decoder.config.mel_channels, frames)
        # Drawn on the CPU, so that every device starts from the same noise.
        noise = torch.randn(shape, generator=generator).to(self.device) * request.temperature
        sampler = cast("Sampler", request.sampler)
        progress.denoising_starts()
        mel = sample_mel(
            lambda x, t, known: decoder(
                x.to(decoder.dtype), t, aligned if known else unconditioned
            ),
            noise,
            build_tortoise_scheduler(sampler, request.steps),
            guidance_scale=request.guidance_scale,
            eta=request.eta,
            generator=generator,
            on_step=progress.denoised,
        )
        return mel_from_unit(mel[0])

    def _check_voice(self, state: VoiceState) -> None:
        config = self._parts.clvp.config.decoder_config
        wanted = {
            "codes": (1, config.hidden_size),
            "diffusion": (1, 2 * self._parts.decoder.config.model_channels),
        }
        found = {name: tuple(tensor.shape) for name, tensor in state.tensors.items()}
        if found != wanted:
            raise ValueError(
                f"the voice was encoded by {state.model!r}, and {self.entry.name!r} cannot use it: "
                f"it needs latents {wanted}, not {found}"
            )


def _warnings(unknown: int, endless: int) -> tuple[str, ...]:
    found = []
    if unknown:
        found.append(f"{unknown} letters or words are unknown to Tortoise and were not said")
    if endless:
        found.append(
            f"{endless} of the candidates had not ended at the longest that Tortoise speaks, "
            "and may break off; give it shorter pieces of text"
        )
    return tuple(found)
