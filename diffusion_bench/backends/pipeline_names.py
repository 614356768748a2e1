"""What the name of a pipeline's class tells before anything of a model is loaded."""

from __future__ import annotations

from diffusion_bench.backends.first_import import import_libraries

SUFFIX = "Pipeline"
# The end of a sentence that says of a network that it is
NO_UNET = "no U-Net: it has no resolutions to go down and up, and no skips between them"


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
    import inspect

    import_libraries()
    import diffusers

    made = getattr(diffusers, pipeline, None) if pipeline.endswith(SUFFIX) else None
    if made is None:
        return None
    parts = inspect.signature(made.__init__).parameters
    return next((kind for kind in ("unet", "transformer") if kind in parts), None)
