"""What the name of a pipeline's class tells before anything of a model is loaded."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from diffusion_bench.backends.catalog import ModelEntry, ModelUnavailable, cached_folder
from diffusion_bench.backends.first_import import import_libraries
from diffusion_bench.backends.library_messages import quiet_libraries
from diffusion_bench.backends.model_sizes import INDEX, read_settings

SUFFIX = "Pipeline"
# The end of a sentence that says of a network that it is
NO_UNET = "no U-Net: it has no resolutions to go down and up, and no skips between them"
# Arguments of a call that draws a picture from words alone, of one that asks for more or makes
# something else, and by which a call tells of its steps.
ASKED = {"prompt", "width", "height", "latents"}
OTHERS = {
    *("strength", "control_image", "control_video", "gligen_phrases"),
    *("image_guidance_scale", "adapter_conditioning_scale"),
    *("num_frames", "frames", "video_length", "source_embeds"),
}
SECOND_SCALES = {"pag_scale", "sag_scale"}  # of guidance by perturbed or by smoothed attention
TELLING = {"callback_on_step_end", "callback"}
# Of classes that draw pictures from words over latents, why not here.
NOT_HERE = {
    "BriaPipeline": "whose latents have other cells than its autoencoder",
    "HiDreamImagePipeline": "which lacks its fourth text encoder, in a repository of its own",
    "HunyuanImagePipeline": "whose guidance is no argument of a call but a part of the model",
    "Kandinsky5T2IPipeline": "whose latents are those of a film",
    "StableDiffusionLDM3DPipeline": "which draws depths beside its pictures",
    "StableDiffusionParadigmsPipeline": "which takes several steps at once",
    "StableUnCLIPPipeline": "whose prior tells of its steps as if they were the picture's",
}
# Packages that classes name only while they draw.
PACKAGES = {"PRXPipeline": "ftfy"}
# Settings by which `latents.py` makes and decodes an autoencoder's latents.
LATENTS = {"latent_channels", "scaling_factor"}
# Solvers that a pipeline lays out no timesteps for that they take, by how its name begins.
NOT_LAID_OUT = {
    "CogView4": ("FlowSolver", "UniPCMultistepScheduler"),
    "ZImage": ("UniPCMultistepScheduler",),
}
DISTILLED_FROM = "original_inference_steps"  # an argument: steps of the schedule an LCM learnt from
# Classes that diffusers' own table has no image to image of, though one is named after them.
NOT_IN_TABLE = {"ChromaPipeline", "SanaSprintPipeline"}


def check_pipeline(entry: ModelEntry) -> None:
    """Raise `ModelUnavailable`, before weights are fetched, for a class that we cannot draw with.

    Of a model that nothing is known of yet, nothing is said.
    """
    folder = cached_folder(entry)
    found = read_settings(folder / INDEX).get("_class_name") if folder is not None else None
    if why := why_not_drawn(str(found or entry.pipeline)):
        raise ModelUnavailable(f"{entry.name!r} {why}")


def why_not_drawn(pipeline: str) -> str | None:
    """Return why a class draws no pictures from words here, in words behind a model's name.

    `None` where it does, or is not known.
    """
    made = _class_of(pipeline)
    if made is None:
        return None
    parts = inspect.signature(made.__init__).parameters
    call = inspect.signature(made.__call__).parameters
    asked = call.keys()
    draws = asked >= ASKED and not asked & OTHERS and hasattr(made, "encode_prompt")
    if not draws or _needs(call) or "vae" not in parts or "controlnet" in parts:
        return no_text_to_image(pipeline)
    vae = parts["vae"].annotation
    if inspect.isclass(vae) and LATENTS - inspect.signature(vae.__init__).parameters.keys():
        return f"is a {pipeline}, whose latents ({vae.__name__}) are of a kind not known here"
    if "image" in asked:
        return f"is a {pipeline}, which is given pictures beside its words"
    if asked & SECOND_SCALES:
        return f"is a {pipeline}, whose second guidance has a scale that no request here holds"
    if not asked & TELLING:
        return f"is a {pipeline}, which tells of none of its steps"
    package = PACKAGES.get(pipeline)
    if package and find_spec(package) is None:
        return f"is a {pipeline}, which needs a package that is not here: pip install {package}"
    return f"is a {pipeline}, {NOT_HERE[pipeline]}" if pipeline in NOT_HERE else None


def _needs(call: Mapping[str, inspect.Parameter]) -> set[str]:
    """Return the arguments beside the prompt that a pipeline cannot be called without."""
    needed = {name for name, one in call.items() if one.default is one.empty}
    return {name for name in needed if call[name].kind is not inspect.Parameter.VAR_KEYWORD} - {
        *("self", "prompt")
    }


def why_not_run(pipeline: str, scheduler: Any, steps: int) -> str | None:
    """Return in one line why a pipeline cannot be run with a scheduler, or not in so many steps.

    `None` where it can. Both are known by their classes; of no steps, 0, the number is not judged.
    """
    together = f"{pipeline} cannot be run with {scheduler.__name__}"
    for family, solvers in NOT_LAID_OUT.items():
        if pipeline.startswith(family) and scheduler.__name__ in solvers:
            return f"{together}; take native"
    # In one step PixArt-alpha's takes the picture that a sampler foresees, and not all tell it.
    is_blind = scheduler.__name__ in ("DPMSolverMultistepScheduler", "UniPCMultistepScheduler")
    if pipeline == "PixArtAlphaPipeline" and steps == 1 and is_blind:
        return f"{together} in one step; take 2 steps, or lcm"
    told = inspect.signature(scheduler.set_timesteps).parameters
    if pipeline.startswith("LatentConsistencyModel") and DISTILLED_FROM not in told:
        return f"{together}; take lcm"
    return None


def no_text_to_image(pipeline: str) -> str:
    """Return what is said of a class that is another kind of pipeline."""
    return f"is no text-to-image pipeline over latents, but {pipeline}"


def has_image_to_image(pipeline: str) -> bool | None:
    """Return whether diffusers has image to image over a class's networks; `None`: not known.

    Its classes are named after one another (`FluxPipeline`, `FluxImg2ImgPipeline`). Its own table
    of them costs seconds to import; `pipeline_calls.pipeline_for` asks that when it draws.
    """
    import_libraries()
    import diffusers

    known = dir(diffusers)
    if pipeline not in known or not pipeline.endswith(SUFFIX):
        return None
    named = f"{pipeline.removesuffix(SUFFIX)}Img2Img{SUFFIX}" in known
    return named and pipeline not in NOT_IN_TABLE


def denoiser_kind(pipeline: str) -> str | None:
    """Return "unet" or "transformer", as the class of a pipeline takes it; `None`: not known."""
    made = _class_of(pipeline)
    if made is None:
        return None
    parts = inspect.signature(made.__init__).parameters
    return next((kind for kind in ("unet", "transformer") if kind in parts), None)


def _class_of(pipeline: str) -> Any | None:
    """Return diffusers' class of that name, `None` where it has none, or a package of it lacks."""
    import_libraries()
    quiet_libraries()
    import diffusers

    made = getattr(diffusers, pipeline, None) if pipeline.endswith(SUFFIX) else None
    return None if hasattr(made, "_backends") else made  # a stand-in, which names the package
