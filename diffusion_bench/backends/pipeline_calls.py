"""How a request is put to a pipeline: which of a model's pipelines, and with what arguments.

Text to image is the pipeline that was loaded. For image to image (SDEdit, Meng et al. 2022) and
inpainting diffusers has pipelines over the same networks; a model without one says so.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from diffusion_bench.backends.input_pictures import InputPictures
from diffusion_bench.backends.latents import check_size, denoiser_of, packed
from diffusion_bench.backends.pipeline_names import why_not_run
from diffusion_bench.backends.starting_image import keep_beside_mask, start_from, whole_cells
from diffusion_bench.records import ImageRequest

IMAGE_TO_IMAGE, INPAINTING = "image to image", "inpainting"
# Channels a U-Net takes in diffusers' inpainting: latents, or latents, mask and masked latents.
FILLING_CHANNELS = (4, 9)
FEW_TOKENS = 256  # of the prompt that FLUX.1-schnell was distilled on, says its card
SPRINT_STEPS = 2  # the only number that SANA-Sprint's time between steps is for


def task_class(task: str, pipeline_class: type) -> type | None:
    """Return diffusers' class of that task over the networks of a text-to-image class, if any."""
    from diffusers.pipelines.auto_pipeline import (
        AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
        AUTO_INPAINT_PIPELINES_MAPPING,
        AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
    )

    family = next(
        (name for name, cls in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.items() if cls is pipeline_class),
        None,
    )
    mapping = {
        IMAGE_TO_IMAGE: AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
        INPAINTING: AUTO_INPAINT_PIPELINES_MAPPING,
    }[task]
    found: type | None = mapping.get(family)
    return found


def pipeline_for(pipeline: Any, request: ImageRequest) -> Any:
    """Return the pipeline that does what the request asks, over the same networks.

    Raises ValueError, in one line, where the model has none.
    """
    if request.image is None:
        return pipeline
    from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting

    task = IMAGE_TO_IMAGE if request.mask is None else INPAINTING
    if task_class(task, type(pipeline)) is None:
        raise ValueError(f"this model's pipeline ({type(pipeline).__name__}) has no {task}")
    whole = request.mask is None or not _fills(pipeline)
    auto = AutoPipelineForImage2Image if whole else AutoPipelineForInpainting
    found = auto.from_pipe(pipeline)
    found.set_progress_bar_config(disable=True)
    return found


def _fills(pipeline: Any) -> bool:
    """Return whether diffusers' inpainting takes the network; else we keep what is masked."""
    network = getattr(pipeline, "unet", None)
    return network is None or network.config.in_channels in FILLING_CHANNELS


def parameters_of(pipeline_class: type) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a pipeline's call."""
    return inspect.signature(pipeline_class.__call__).parameters


def check_request(pipeline: Any, request: ImageRequest) -> None:
    """Raise ValueError, in one line, for what a pipeline cannot do."""
    check_size(pipeline, request)
    name = type(pipeline).__name__
    if request.guidance_rescale and "guidance_rescale" not in parameters_of(type(pipeline)):
        raise ValueError(
            f"guidance_rescale: this model's pipeline ({name}) has none; leave it at 0"
        )
    if request.negative_prompt.strip() and _is_guided_inside(pipeline):
        raise ValueError(
            "negative_prompt: this model's guidance is an input of its network, which has no "
            "place for one; leave it empty"
        )
    if name == "PRXPipeline" and request.batch > 1 and request.guidance_scale > 1:
        raise ValueError(f"batch: {name} guides one picture at a time; take 1, or guidance_scale 1")
    # Transformers' pipelines round up, and an LCM's takes all steps, of a shorter schedule.
    rounds_down = hasattr(pipeline, "unet") and not name.startswith("LatentConsistency")
    if request.image is not None and rounds_down and int(request.steps * request.strength) < 1:
        raise ValueError(
            f"{request.steps} steps at strength {request.strength} leave none to draw; "
            f"take {int(1 / request.strength) + 1} steps or more"
        )


def check_scheduler(pipeline: Any, steps: int) -> None:
    """Raise ValueError, in one line, for a scheduler that a pipeline cannot be run with.

    Or in so many steps. Those of flow matching are made for transformers' pipelines; a solver of it
    runs in both.
    """
    scheduler = pipeline.scheduler
    together = f"{type(pipeline).__name__} cannot be run with {type(scheduler).__name__}"
    if hasattr(pipeline, "unet") and not hasattr(scheduler, "scale_model_input"):
        raise ValueError(f"{together}; take dpm++ or unipc, which solve the same")
    if reason := why_not_run(type(pipeline).__name__, type(scheduler), steps):
        raise ValueError(reason)


def _is_guided_inside(pipeline: Any) -> bool:
    """Return whether guidance was distilled into the network, as in FLUX.1-dev and LCMs."""
    config = denoiser_of(pipeline).config
    return bool(config.get("guidance_embeds") or config.get("time_cond_proj_dim"))


def call_arguments(
    pipeline: Any,
    request: ImageRequest,
    *,
    noise: torch.Tensor,
    generators: list[torch.Generator],
    inputs: InputPictures | None = None,
) -> dict[str, Any]:
    """Return the arguments of the call but its callback; `noise` is not packed."""
    known = parameters_of(type(pipeline))
    arguments: dict[str, Any] = {
        "prompt": [request.prompt] * request.batch,
        "width": request.width,
        "height": request.height,
        "num_inference_steps": request.steps,
        "generator": generators,
        **_guidance(pipeline, request, known),
        **_starts(pipeline, request, noise, inputs),
        # As asked for: no cleaning of captions, no other size that is scaled afterwards.
        "clean_caption": False,
        "use_resolution_binning": False,
    }
    if request.steps != SPRINT_STEPS:
        arguments["intermediate_timesteps"] = None
    if request.sampler == "ddim":
        arguments["eta"] = request.eta
    if type(pipeline).__name__.startswith("Flux") and not _is_guided_inside(pipeline):
        arguments["max_sequence_length"] = FEW_TOKENS
    return {name: value for name, value in arguments.items() if name in known}


def _guidance(pipeline: Any, request: ImageRequest, known: Mapping[str, Any]) -> dict[str, Any]:
    arguments: dict[str, Any] = {"guidance_scale": request.guidance_scale}
    if type(pipeline).__name__.startswith("ZImage"):  # counts from the guided, not the unguided
        arguments["guidance_scale"] = max(request.guidance_scale - 1, 0.0)
    if request.guidance_scale > 1 and not _is_guided_inside(pipeline):
        # Where `guidance_scale` is of distilled guidance only, this is the one of two passes.
        arguments["true_cfg_scale"] = request.guidance_scale
        # An empty text is not none: SDXL is guided away from zeros where it is given none. Where
        # it is what makes two passes, it has to be there.
        if request.negative_prompt.strip() or "true_cfg_scale" in known:
            arguments["negative_prompt"] = [request.negative_prompt] * request.batch
    if request.guidance_rescale:
        arguments["guidance_rescale"] = request.guidance_rescale
    return arguments


def unheard(request: ImageRequest) -> tuple[str, ...]:
    """Return in words that a negative prompt counts for nothing, nothing where it counts."""
    if not request.negative_prompt.strip() or request.guidance_scale > 1:
        return ()
    return ("the negative prompt had no effect; it needs guidance above 1",)


def _starts(
    pipeline: Any, request: ImageRequest, noise: torch.Tensor, inputs: InputPictures | None
) -> dict[str, Any]:
    """Return what the pictures start from, and see to it that the noise is ours."""
    if inputs is None:
        return {"latents": packed(pipeline, noise)}
    own = inputs.fitted(request.width, request.height)
    start = start_from(pipeline, noise)
    arguments: dict[str, Any] = {
        "image": [own.image] * request.batch,
        "strength": request.strength,
    }
    if own.mask is None:
        return arguments
    mask = whole_cells(own.mask, pipeline.vae_scale_factor)
    if "mask_image" not in parameters_of(type(pipeline)):
        keep_beside_mask(pipeline, start, mask)
    else:
        arguments["mask_image"] = mask
        if request.strength == 1:  # the image is not seen through pure noise
            arguments["latents"] = noise
    return arguments


def is_interruptible(pipeline: Any) -> bool:
    """Return whether the pipeline can be told to leave out its other steps and decode."""
    return hasattr(type(pipeline), "interrupt")


def as_heard(pipeline: Any, callback: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Return the argument by which a pipeline takes a step callback: older ones call it plainly."""
    if hears_each_step(pipeline):
        return {"callback_on_step_end": callback}

    def plainly(index: int, timestep: Any, latents: torch.Tensor) -> None:
        callback(pipeline, index, timestep, {"latents": latents})

    return {"callback": plainly, "callback_steps": 1}


def hears_each_step(pipeline: Any) -> bool:
    """Return whether a callback hears each call of the network: older ones one an asked step."""
    return "callback_on_step_end" in parameters_of(type(pipeline))


def num_steps_of(pipeline: Any, asked: int) -> int:
    """Return how many steps a call tells of: not the `asked` with PNDM, Heun, or from an image."""
    if not hears_each_step(pipeline):
        return asked
    taken: int | None = getattr(pipeline, "_num_timesteps", None)
    return len(pipeline.scheduler.timesteps) if taken is None else taken
