"""Text to image through a diffusers pipeline: the bundled model, a folder or a hub id alike."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from diffusion_bench.backends.device import pick_device
from diffusion_bench.backends.input_pictures import InputPictures, check_inputs
from diffusion_bench.backends.latents import decode, denoiser_of, initial_noise, latent_shape
from diffusion_bench.backends.loading import DTYPES, load_pipeline
from diffusion_bench.backends.peaks import forget_peaks, read_peaks
from diffusion_bench.backends.pipeline_calls import (
    as_heard,
    call_arguments,
    check_request,
    check_scheduler,
    is_interruptible,
    num_steps_of,
    pipeline_for,
    unheard,
)
from diffusion_bench.backends.prompt_room import cut_off
from diffusion_bench.backends.speed.arrangement import Arrangement, check_speed
from diffusion_bench.backends.split_model import execution_device, split_options
from diffusion_bench.backends.stage_clock import StageClock
from diffusion_bench.backends.words import as_told, doubts
from diffusion_bench.diffusion.schedulers import build_scheduler
from diffusion_bench.records import (
    Generation,
    ImageRequest,
    ModelDevice,
    OnStep,
    PrecisionName,
    Speed,
    Stage,
    Step,
    ignore_step,
)


class Stopped(Exception):
    """Ends the call of a pipeline that cannot be told to leave out its other steps."""

    def __init__(self, latents: torch.Tensor) -> None:
        super().__init__()
        self.latents = latents


class ImageBackend:
    """A loaded text-to-image pipeline on one device, in one precision, run at one speed.

    The `notes` are told with every generation: how the speed was chosen.
    """

    def __init__(
        self,
        pipeline: Any,
        *,
        model: str,
        device: str,
        precision: PrecisionName,
        speed: Speed | None = None,
    ) -> None:
        self.model = model
        self.device = device
        self.precision = precision
        self.speed = speed or Speed()
        self.notes: tuple[str, ...] = ()
        self._arrangement = Arrangement(pipeline, self.speed, device)
        self._pipeline = pipeline
        # The scheduler the model came with; each request's sampler is built from its settings.
        self._schedule = dict(pipeline.scheduler.config)
        self._clock: StageClock | None = None

    @property
    def stage(self) -> Stage:
        """Return the stage the last generation ended in: where it failed, if it did."""
        return self._clock.stage if self._clock else "load"

    @property
    def schedule(self) -> Mapping[str, Any]:
        """Return the configuration of the scheduler that the model came with."""
        return self._schedule

    @property
    def attention(self) -> str:
        """Return the attention implementation of the denoiser, as diffusers names it."""
        processors = getattr(denoiser_of(self._pipeline), "attn_processors", {}).values()
        return ", ".join(sorted({type(processor).__name__ for processor in processors})) or "none"

    @classmethod
    def load(
        cls,
        model: str,
        *,
        device: str | None = None,
        precision: PrecisionName = "fp32",
        revision: str | None = None,
        speed: Speed | None = None,
    ) -> ImageBackend:
        """Load a model as `load_pipeline` does, and arrange it for a speed.

        Raises ValueError, in one line, also for a speed that cannot be had here.
        """
        device = pick_device(device)
        speed = speed or Speed()
        check_speed(speed, device, DTYPES[precision])  # before the weights are read
        cards = ModelDevice.parse(device).cards
        placing = split_options(cards, speed)
        pipeline = load_pipeline(model, precision, revision, placing=placing)
        if placing:
            device = execution_device(pipeline, model, cards)
        return cls(pipeline, model=model, device=device, precision=precision, speed=speed)

    def generate(
        self,
        request: ImageRequest,
        on_step: OnStep = ignore_step,
        *,
        stop_after: int | None = None,
        inputs: InputPictures | None = None,
        captions: Sequence[str] | None = None,
        watching: Callable[[Any], AbstractContextManager[object]] = nullcontext,
    ) -> Generation:
        """Draw the request's pictures, from the `inputs` that it names if it names any.

        `on_step` is called after each denoising step; it may raise `Cancelled`. The time it takes
        counts for no step. With `stop_after` the steps after that many are left out and what there
        is is decoded: for timing; the pictures are unfinished, and `step_s` is so long. With
        `captions`, each picture of the batch is drawn from its own instead of the prompt. The call
        runs inside the context that `watching` makes of the pipeline. Raises ValueError for a
        request that this model cannot fulfil or that asks for another speed than it was loaded for.
        """
        self._clock = None  # a request that is refused ends in no stage of the call before it
        if isinstance(request.speed, Speed) and request.speed != self.speed:
            raise ValueError(f"asked for speed {request.speed}, loaded for speed {self.speed}")
        check_inputs(request, inputs)
        pipeline = pipeline_for(self._pipeline, request)
        check_request(pipeline, request)
        pipeline.scheduler = build_scheduler(request.sampler, self._schedule, request.steps)
        check_scheduler(pipeline, request.steps)
        clock = self._clock = StageClock(self.device)
        arguments = self._arguments(pipeline, request, inputs, captions)
        callback = self._step_callback(request, clock, on_step, stop_after)
        peak_is_ours = forget_peaks(self.device)
        with (
            watching(pipeline),
            self._arrangement.running(pipeline, request.batch) as compiling,
            clock.watching(pipeline),
        ):
            try:
                output = pipeline(**arguments, **as_heard(pipeline, callback))
                images, blackened = output.images, _blackened(output)
            except Stopped as stopped:
                images, blackened = decode(pipeline, stopped.latents, request), ()
        if inputs is not None:
            images = inputs.kept(images)
        return Generation(
            request=request.model_copy(update={"speed": self.speed}),
            images=tuple(images),
            device=self.device,
            wall_s=clock.wall_s,
            stages=clock.stages(),
            step_s=clock.step_s(),
            num_steps=num_steps_of(pipeline, request.steps),
            memory=read_peaks(self.device, since_reset=peak_is_ours),
            compile_s=compiling.seconds if self.speed.is_built_first else None,
            input_size=None if inputs is None else inputs.image.size,
            blackened=blackened,
            warnings=(
                *doubts(self.model, request.prompt, request.negative_prompt),
                *unheard(request),
                *cut_off(self.model, pipeline, arguments),
                *_black_words(blackened, request.batch),
            ),
            notes=self.notes,
        )

    def _arguments(
        self,
        pipeline: Any,
        request: ImageRequest,
        inputs: InputPictures | None,
        captions: Sequence[str] | None,
    ) -> dict[str, Any]:
        """Return the arguments of the call but its callback; words as the model is told them."""
        arguments = call_arguments(
            pipeline,
            self._as_told(request),
            noise=self.initial_latents(request),
            generators=self._noise_generators(request),
            inputs=inputs,
        )
        if captions is not None:
            told = [as_told(self.model, caption) for caption in captions]
            arguments["prompt"] = one_each(told, request)
        return arguments

    def show(self, latents: torch.Tensor, request: ImageRequest) -> list[Any]:
        """Return what latents (count, channels, rows, columns) stand for, as PIL images."""
        with torch.inference_mode():
            placed = latents.to(self.device, DTYPES[self.precision])
            return decode(self._pipeline, placed, request)

    @property
    def denoiser(self) -> Any:
        """Return the network that denoises."""
        return denoiser_of(self._pipeline)

    def initial_latents(self, request: ImageRequest) -> torch.Tensor:
        """Return (batch, channels, rows, columns) noise, the same for every sampler.

        It is drawn on the CPU, so that every device starts from the same noise.
        """
        noise = initial_noise(request, latent_shape(self._pipeline, request.width, request.height))
        return noise.to(self.device, DTYPES[self.precision])

    def _noise_generators(self, request: ImageRequest) -> list[torch.Generator]:
        # On the device: drawing each step's noise on the host would slow DDPM down on a GPU.
        pictures = (request.of_picture(index) for index in range(request.batch))
        return [
            torch.Generator(self.device).manual_seed(
                _sampler_seed(own.seed if own.noise_seed is None else own.noise_seed)
            )
            for own in pictures
        ]

    def _step_callback(
        self, request: ImageRequest, clock: StageClock, on_step: OnStep, stop_after: int | None
    ) -> Callable[..., dict[str, Any]]:
        started_s = time.perf_counter()
        heard = itertools.count()  # older pipelines do not number from 0 what PNDM tells of

        def step_ended(
            pipeline: Any, _: int, timestep: Any, tensors: dict[str, Any]
        ) -> dict[str, Any]:
            index = next(heard)
            with clock.step_ended():
                if on_step is not ignore_step:
                    on_step(
                        Step(
                            index=index,
                            num_steps=num_steps_of(pipeline, request.steps),
                            timestep=float(timestep),
                            elapsed_s=time.perf_counter() - started_s,
                            preview=lambda: decode(pipeline, tensors["latents"], request),
                        )
                    )
            if index + 1 == stop_after:
                if not is_interruptible(pipeline):
                    raise Stopped(tensors["latents"])
                # The pipeline's own way to be stopped: it skips the other steps and decodes.
                pipeline._interrupt = True
            return {}

        return step_ended

    def _as_told(self, request: ImageRequest) -> ImageRequest:
        prompts = {
            name: as_told(self.model, getattr(request, name))
            for name in ("prompt", "negative_prompt")
        }
        return request.model_copy(update=prompts)


def one_each(captions: Sequence[str], request: ImageRequest) -> list[str]:
    """Return the captions as a list; raise ValueError unless there is one for every picture."""
    if len(captions) != request.batch:
        raise ValueError(f"{len(captions)} captions for a batch of {request.batch}; one each")
    return list(captions)


def _blackened(output: Any) -> tuple[int, ...]:
    """Return which pictures of a pipeline's output, from 0, its safety checker has made black."""
    # `None` where it has none; not every pipeline's output has the field.
    found = getattr(output, "nsfw_content_detected", None) or ()
    return tuple(index for index, is_black in enumerate(found) if is_black)


def _black_words(blackened: Sequence[int], count: int) -> tuple[str, ...]:
    """Return in words which of so many pictures were made black, nothing where none was."""
    numbers = ", ".join(str(index + 1) for index in blackened)
    which = f"picture {numbers} of {count}" if count > 1 else "the picture"
    words = f"the model's own safety checker made {which} black, as not safe for work"
    return (f"{words}; try another seed or prompt",) if blackened else ()


def _sampler_seed(seed: int) -> int:
    """Return another seed: with the same one, the first noise added would equal the latents."""
    return int.from_bytes(hashlib.sha256(f"sampler noise {seed}".encode()).digest()[:7])
