"""What is offered by name is what diffusers' own table has."""

from __future__ import annotations

import inspect

import diffusers
import pytest

from diffusion_bench.backends import pipeline_names
from diffusion_bench.backends.catalog import catalog
from diffusion_bench.backends.pipeline_calls import IMAGE_TO_IMAGE, INPAINTING, task_class
from diffusion_bench.backends.pipeline_names import NOT_HERE, has_image_to_image, why_not_drawn


@pytest.mark.parametrize(
    "pipeline",
    [
        *sorted({entry.pipeline for entry in catalog().values()}),
        *("ZImagePipeline", "ChromaPipeline", "Lumina2Pipeline", "CogView4Pipeline"),
        *("SanaSprintPipeline", "AuraFlowPipeline", "HunyuanDiTPipeline", "OvisImagePipeline"),
    ],
)
def test_the_name_tells_what_the_table_says(pipeline):
    found = has_image_to_image(pipeline)

    for task in (IMAGE_TO_IMAGE, INPAINTING):
        assert found == (task_class(task, getattr(diffusers, pipeline)) is not None)


@pytest.mark.parametrize("pipeline", ["", "NoSuchPipeline", "DDIMScheduler"])
def test_of_an_unknown_class_nothing_is_said(pipeline):
    assert has_image_to_image(pipeline) is None
    assert why_not_drawn(pipeline) is None


@pytest.mark.parametrize("pipeline", sorted({entry.pipeline for entry in catalog().values()}))
def test_every_class_of_the_catalog_is_drawn_with(pipeline):
    assert why_not_drawn(pipeline) is None


@pytest.mark.parametrize(
    "pipeline",
    [
        *("StableDiffusionUpscalePipeline", "StableDiffusionXLInstructPix2PixPipeline"),
        *("FluxControlPipeline", "StableDiffusionControlNetPipeline", "AnimateDiffPipeline"),
        *("AudioLDM2Pipeline", "KandinskyPipeline", "DiTPipeline"),
        *("CogVideoXFunControlPipeline", "StableDiffusionAttendAndExcitePipeline"),
        *("StableDiffusionGLIGENPipeline", "IFPipeline", "StableCascadeCombinedPipeline"),
        "StableDiffusionPix2PixZeroPipeline",
    ],
)
def test_what_draws_no_picture_from_words_alone_is_told_by_its_class(pipeline):
    assert why_not_drawn(pipeline) == f"is no text-to-image pipeline over latents, but {pipeline}"


@pytest.mark.parametrize("pipeline", ["Flux2Pipeline", "QwenImagePipeline"])
def test_latents_that_are_not_made_here_are_told_by_the_autoencoder(pipeline):
    vae = inspect.signature(getattr(diffusers, pipeline).__init__).parameters["vae"].annotation
    assert why_not_drawn(pipeline) == (
        f"is a {pipeline}, whose latents ({vae.__name__}) are of a kind not known here"
    )


@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        ("FluxKontextPipeline", "which is given pictures beside its words"),
        ("LongCatImagePipeline", "which tells of none of its steps"),
        *(
            (pipeline, "whose second guidance has a scale that no request here holds")
            for pipeline in (
                "StableDiffusionXLPAGPipeline",
                "HunyuanDiTPAGPipeline",
                "StableDiffusionSAGPipeline",
            )
        ),
    ],
)
def test_a_call_that_is_not_ours_to_make_is_told_by_its_class(pipeline, reason):
    assert why_not_drawn(pipeline) == f"is a {pipeline}, {reason}"


@pytest.mark.parametrize("pipeline", NOT_HERE)
def test_a_class_that_was_tried_and_cannot_be_drawn_with_here_is_refused_with_the_reason(pipeline):
    assert hasattr(diffusers, pipeline), "else the reason is of a class that is no more"
    assert why_not_drawn(pipeline) == f"is a {pipeline}, {NOT_HERE[pipeline]}"


def test_a_package_that_a_pipeline_lacks_is_named_with_its_command(monkeypatch):
    there = {"ftfy": None}
    monkeypatch.setattr(pipeline_names, "find_spec", there.get)
    said = "is a PRXPipeline, which needs a package that is not here: pip install ftfy"
    assert why_not_drawn("PRXPipeline") == said
    there["ftfy"] = object()
    assert why_not_drawn("PRXPipeline") is None
