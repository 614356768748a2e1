"""The bundled voice pipeline in diffusers' manner: a folder of parts, each replaceable.

recording > encode_voice > Voice
phones, Voice > plan > Plan: durations, pitch, mean mel
Plan > denoise > mel > vocoder > sound
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from diffusion_bench.audio.mel import MelSettings, log_mel
from diffusion_bench.audio.pitch import voice_pitch
from diffusion_bench.backends.echo.prior import Prior
from diffusion_bench.backends.echo.speaker import SpeakerEncoder
from diffusion_bench.backends.echo.unet import MelUNet
from diffusion_bench.backends.echo.vocoder import MIDDLE_HZ, MelVocoder
from diffusion_bench.diffusion.schedulers import build_scheduler
from diffusion_bench.diffusion.taken_step import TakenStep
from diffusion_bench.diffusion.tempering import draw_noise, tempered_step
from diffusion_bench.pronunciation.phones import Phone

MEL_MIDDLE, MEL_SCALE = -5.0, 2.5  # of log mels, near mean and deviation of the corpus
LONGEST_PHONE = 60  # frames, about a second: a phone that is longer is a slip
SPREAD_SEMITONES = 4.0  # what the spread of a voice's pitch is told in


class Voice(NamedTuple):
    """Who speaks. `vector`: (1, voice_channels); `octaves`: the median pitch from 150 Hz."""

    vector: Tensor
    octaves: float


class Plan(NamedTuple):
    """What will be said, frame by frame; (1, ..., frames) each.

    `mean`: normalised mel; `hidden`: what it was made from; `f0_hz`: 0 where unvoiced;
    `durations`: (1, phones) frames, not whole ones.
    """

    mean: Tensor
    hidden: Tensor
    f0_hz: Tensor
    durations: Tensor


class EchoPipeline(DiffusionPipeline):
    """Speaker encoder, prior, U-Net, scheduler and vocoder."""

    model_cpu_offload_seq = "speaker_encoder->prior->unet->vocoder"

    def __init__(
        self,
        speaker_encoder: SpeakerEncoder,
        prior: Prior,
        unet: MelUNet,
        vocoder: MelVocoder,
        scheduler: Any,
    ) -> None:
        super().__init__()
        self.register_modules(
            speaker_encoder=speaker_encoder,
            prior=prior,
            unet=unet,
            vocoder=vocoder,
            scheduler=scheduler,
        )
        self.settings = MelSettings()

    @torch.inference_mode()
    def encode_voice(self, samples: Tensor) -> Voice:
        """Return the voice in (samples,) float32 at 16 kHz; ValueError where nobody speaks."""
        median_hz, spread, _ = voice_pitch(samples, self.settings.sample_rate)
        if median_hz is None or spread is None:
            raise ValueError("no voice was found in the reference: nothing in it has a pitch")
        octaves = float(torch.tensor(median_hz / MIDDLE_HZ).log2())
        facts = torch.tensor([[octaves, spread / SPREAD_SEMITONES - 1]])
        mel = normalise_mel(log_mel(samples, self.settings))
        vector, _ = self.speaker_encoder(
            mel.to(self.device, self.dtype), facts.to(self.device, self.dtype)
        )
        return Voice(vector, octaves)

    @torch.inference_mode()
    def plan(self, phones: Sequence[Phone], voice: Voice, *, speed: float = 1.0) -> Plan:
        """Return durations, pitch and mean mel of phones in a voice; `speed` divides durations."""
        table = [
            [p.index for p in phones],
            [p.stress for p in phones],
            [int(p.word_start) for p in phones],
            [p.mark_index for p in phones],
        ]
        indices = torch.tensor([table], device=self.device)
        vector = voice.vector.to(self.device, self.dtype)
        lengths = torch.tensor([len(phones)], device=self.device)
        hidden, log_durations = self.prior.read(indices, lengths, vector)
        usual = (log_durations.exp() - 0.5).clamp(max=LONGEST_PHONE)
        durations = (usual / speed).clamp(min=1)
        frames = self.prior.expand(hidden, durations)
        octaves, voicing = self.prior.intone(frames, vector)
        voiced = voicing > 0
        if voiced.any():
            # The contour's own median is not quite 0; the reference's pitch is kept exactly.
            octaves = octaves - octaves[voiced].median() + voice.octaves
        mean, hidden = self.prior(frames, octaves, voiced.float(), vector)
        f0_hz = torch.where(voiced, MIDDLE_HZ * torch.exp2(octaves), 0.0)
        return Plan(mean, hidden, f0_hz, durations)

    @torch.inference_mode()
    def __call__(
        self,
        plan: Plan,
        voice: Voice,
        *,
        generators: Sequence[torch.Generator],
        sampler: str = "ddim",
        num_inference_steps: int = 25,
        guidance_scale: float = 1.0,
        eta: float = 0.0,
        temperature: float = 1.0,
        on_step: Callable[[int, int], None] | None = None,
        on_taken: Callable[[TakenStep], None] | None = None,
    ) -> Tensor:
        """Return (len(generators), n_mels, frames) log mels: the mean plus a denoised residual.

        `on_step(index, steps)` is called after each step and may raise to stop; `on_taken` is
        told what went on in it, in residuals.
        """
        scheduler = build_scheduler(sampler, self.scheduler.config, num_inference_steps)
        scheduler.set_timesteps(num_inference_steps, device=self.device)
        count = len(generators)
        noise = draw_noise(plan.mean.shape[1:], generators)
        sample = noise.to(self.device) * temperature * scheduler.init_noise_sigma
        given = [
            x.expand(count, *x.shape[1:]).to(self.dtype)
            for x in (plan.mean, plan.hidden, voice.vector.to(self.device))
        ]
        for index, timestep in enumerate(scheduler.timesteps):
            output = self._velocity(sample, timestep, given, guidance_scale)
            following = tempered_step(
                scheduler,
                output,
                timestep,
                sample,
                generators=generators,
                temperature=temperature,
                eta=eta,
            )
            if on_taken is not None:
                on_taken(TakenStep(scheduler, int(timestep), sample, output, following))
            sample = following
            if on_step is not None:
                on_step(index, num_inference_steps)
        return self.mel_of(plan, sample)

    def mel_of(self, plan: Plan, residual: Tensor) -> Tensor:
        """Return the log mels of residuals as the U-Net has them: (batch, n_mels, frames)."""
        scale = self.unet.residual_scale[:, None].float()
        return denormalise_mel(plan.mean + residual * scale)

    def _velocity(
        self, sample: Tensor, timestep: Tensor, given: list[Tensor], guidance_scale: float
    ) -> Tensor:
        """Return `v`, guided away from what the network says without text and voice."""
        count = len(sample)
        if guidance_scale <= 1:
            output: Tensor = self.unet(sample, timestep.expand(count), *given)
            return output
        dropped = torch.arange(2 * count, device=sample.device) >= count
        both = self.unet(
            torch.cat([sample, sample]),
            timestep.expand(2 * count),
            *(torch.cat([x, x]) for x in given),
            dropped=dropped,
        )
        told, untold = both.chunk(2)
        guided: Tensor = untold + guidance_scale * (told - untold)
        return guided


def normalise_mel(mel: Tensor) -> Tensor:
    """Return a log mel with about zero mean and unit deviation."""
    return (mel - MEL_MIDDLE) / MEL_SCALE


def denormalise_mel(mel: Tensor) -> Tensor:
    """Return the log mel of a normalised one."""
    return mel * MEL_SCALE + MEL_MIDDLE
