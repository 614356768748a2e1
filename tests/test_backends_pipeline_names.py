"""What is offered by name is what diffusers' own table has."""

from __future__ import annotations

import diffusers
import pytest

from diffusion_bench.backends.catalog import catalog
from diffusion_bench.backends.pipeline_calls import IMAGE_TO_IMAGE, INPAINTING, task_class
from diffusion_bench.backends.pipeline_names import has_image_to_image


@pytest.mark.parametrize("pipeline", sorted({entry.pipeline for entry in catalog().values()}))
def test_the_name_tells_of_every_catalog_model_what_the_table_says(pipeline):
    found = has_image_to_image(pipeline)

    for task in (IMAGE_TO_IMAGE, INPAINTING):
        assert found == (task_class(task, getattr(diffusers, pipeline)) is not None)


@pytest.mark.parametrize("pipeline", ["", "NoSuchPipeline", "DDIMScheduler"])
def test_of_an_unknown_class_nothing_is_said(pipeline):
    assert has_image_to_image(pipeline) is None
