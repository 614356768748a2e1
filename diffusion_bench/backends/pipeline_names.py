"""What the name of a pipeline's class tells before anything of a model is loaded."""

from __future__ import annotations

import inspect
from typing import Any

from diffusion_bench.backends.catalog import ModelEntry, ModelUnavailable, cached_folder
from diffusion_bench.backends.first_import import import_libraries
from diffusion_bench.backends.library_messages import quiet_libraries
from diffusion_bench.backends.model_sizes import INDEX, read_settings

SUFFIX = "Pipeline"
# The end of a sentence that says of a network that it is
NO_UNET = "no U-Net: it has no resolutions to go down and up, and no skips between them"
# Arguments of a call that draws a picture from words alone, and of one that asks for more or makes
# something else.
ASKED = {"prompt", "width", "height", "latents"}
OTHERS = {
    *("strength", "control_image", "image_guidance_scale", "adapter_conditioning_scale"),
    *("num_frames", "frames", "video_length"),
}
# Settings by which `latents.py` makes and decodes an autoencoder's latents.
LATENTS = {"latent_channels", "scaling_factor"}


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
    asked = inspect.signature(made.__call__).parameters.keys()
    draws = asked >= ASKED and not asked & OTHERS and hasattr(made, "encode_prompt")
    if not draws or "vae" not in parts or "controlnet" in parts:
        return no_text_to_image(pipeline)
    vae = parts["vae"].annotation
    if inspect.isclass(vae) and LATENTS - inspect.signature(vae.__init__).parameters.keys():
        return f"is a {pipeline}, whose latents ({vae.__name__}) are of a kind not known here"
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
    return f"{pipeline.removesuffix(SUFFIX)}Img2Img{SUFFIX}" in known


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
