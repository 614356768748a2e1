"""The bundled model behind `VoiceModel`: text to phones to mel to sound, in a cloned voice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from diffusion_bench.audio.reference import Reference
from diffusion_bench.audio.vocoders import Resynthesis, Vocoder
from diffusion_bench.backends.catalog import ModelUnavailable
from diffusion_bench.backends.echo.pipeline import EchoPipeline, Plan, Voice
from diffusion_bench.backends.echo.vocoder import EchoVocoder
from diffusion_bench.backends.loading import refuse_missing_weights
from diffusion_bench.backends.voice.base import OnChunkStep, Utterance, VoiceEntry, VoiceState
from diffusion_bench.backends.voice.hub import refuse_foreign, waveform_of
from diffusion_bench.backends.voice.loading import fetching, weight_options
from diffusion_bench.backends.voice.phases import PhaseClock
from diffusion_bench.backends.voice.vocoders import load_vocoder
from diffusion_bench.diffusion.taken_step import TakenStep
from diffusion_bench.pronunciation.front_end import NOTHING_TO_SAY, is_speakable, phonemes
from diffusion_bench.records import PrecisionName, VoiceRequest

SILENCE_S = 0.3
PEAK = 0.95  # of full scale: the mark and a codec need the rest


class EchoModel:
    """A loaded Echo."""

    def __init__(self, entry: VoiceEntry, pipeline: EchoPipeline, *, device: str) -> None:
        self.entry = entry
        self.pipeline = pipeline
        self._device = device
        self._own_vocoder = EchoVocoder(pipeline.vocoder)
        self._vocoders: dict[str, Vocoder] = {"native": self._own_vocoder}

    @classmethod
    def load(cls, entry: VoiceEntry, *, device: str, precision: PrecisionName) -> EchoModel:
        """Load the folder of an entry; `ModelUnavailable` where it is no Echo."""
        if not (Path(entry.location) / "model_index.json").is_file():
            raise ModelUnavailable(f"{entry.location} is no folder of an Echo model")
        with fetching(entry):
            pipeline = EchoPipeline.from_pretrained(entry.location, **weight_options(precision))
            refuse_missing_weights(pipeline)
        # The vocoder's phase comes of long sums, which half precision does not hold.
        pipeline.to(device)
        pipeline.vocoder.float()
        return cls(entry, pipeline, device=device)

    def encode_voice(self, reference: Reference) -> VoiceState:
        """Return the voice of a recording; ValueError for one without a voice."""
        voice = self.pipeline.encode_voice(waveform_of(reference, self.entry))
        octaves = torch.tensor(voice.octaves)
        return VoiceState(
            self.entry.name, {"vector": voice.vector.float().cpu(), "octaves": octaves}
        )

    def speak(
        self, text: str, state: VoiceState, request: VoiceRequest, on_step: OnChunkStep
    ) -> Utterance:
        """Say one chunk of text, `request.batch` candidates that differ in their noise.

        A chunk without an English word is a pause; ValueError where the whole text has none.
        """
        refuse_foreign(self.entry, state)
        if not is_speakable(text):
            if not is_speakable(request.text):
                raise ValueError(NOTHING_TO_SAY)
            return self._silence(request.batch)
        vocoder = self.vocoder(request.vocoder)
        voice = voice_in(state)
        clock = PhaseClock(self._device)
        clock.enter("text")
        phones = phonemes(text)
        clock.enter("prior")
        plan = self.pipeline.plan(phones, voice, speed=request.speed)
        clock.enter("denoising")
        mel = self._timed(plan, voice, request, clock, on_step)
        clock.enter("vocoder")
        audio = self.sound(mel, plan, vocoder).cpu()
        return Utterance(
            audio=audio,
            lengths=(audio.shape[-1],) * request.batch,
            mel=mel.cpu(),
            warnings=(vocoder.note,) if isinstance(vocoder, Resynthesis) else (),
            **clock.facts(),
        )

    def _silence(self, count: int) -> Utterance:
        """Return a short pause in place of a chunk of a longer text without an English word."""
        samples = round(SILENCE_S * self.entry.sample_rate)
        return Utterance(
            audio=torch.zeros(count, samples),
            lengths=(samples,) * count,
            mel=None,
            step_s=(),
        )

    def _timed(
        self,
        plan: Plan,
        voice: Voice,
        request: VoiceRequest,
        clock: PhaseClock,
        on_step: OnChunkStep,
    ) -> Tensor:
        """Return the mels of a plan, each step timed."""

        def ended(index: int, steps: int) -> None:
            with clock.step_ended():
                on_step(index, steps)
            if index + 1 == steps:  # so that the steps add up to the denoising
                clock.enter("vocoder")

        clock.begin_steps()
        return self.denoise(plan, voice, request, ended)

    def denoise(
        self,
        plan: Plan,
        voice: Voice,
        request: VoiceRequest,
        on_step: OnChunkStep,
        on_taken: Callable[[TakenStep], None] | None = None,
    ) -> Tensor:
        """Return the log mels of a plan by a request's sampler; see `EchoPipeline`."""
        mel: Tensor = self.pipeline(
            plan,
            voice,
            generators=[
                torch.Generator().manual_seed(request.of_candidate(i).seed)
                for i in range(request.batch)
            ],
            sampler=request.sampler,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            eta=request.eta,
            temperature=request.temperature,
            on_step=on_step,
            on_taken=on_taken,
        )
        return mel

    def sound(self, mel: Tensor, plan: Plan, vocoder: Vocoder | None = None) -> Tensor:
        """Return (batch, samples) of log mels and the plan's pitch, by the model's own vocoder.

        Of what it learnt from, the loudest sample of each sentence is 0.8 of full scale. With more
        noise one may pass it, and is turned down whole: cut off, it would crackle.
        """
        if vocoder is None or vocoder is self._own_vocoder:
            audio = self._own_vocoder(mel, plan.f0_hz.expand(len(mel), -1))
        else:
            audio = vocoder(mel)
        loudest = audio.abs().amax(dim=-1, keepdim=True).clamp(min=PEAK)
        return audio * (PEAK / loudest)

    def vocoder(self, name: str) -> Vocoder:
        """Return the model's own vocoder ("native"), or another: of its mels, or of its sound."""
        if name not in self._vocoders:
            self._vocoders[name] = load_vocoder(
                name,
                device=self._device,
                settings=self.pipeline.settings,
                first=self._own_vocoder,
            )
        return self._vocoders[name]


def voice_in(state: VoiceState) -> Voice:
    """Return the voice of a state that this model has encoded."""
    return Voice(state.tensors["vector"], float(state.tensors["octaves"]))
