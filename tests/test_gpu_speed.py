"""The fast path on an NVIDIA card: `python -m pytest -m gpu`."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.speed.compiling import why_no_compiling
from diffusion_bench.records import BUNDLED_MODEL, Generation, ImageRequest, Speed, parse_speed

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch can use no CUDA device"),
    # torch.compile's advice for products in fp32 on Ampere and later, which are asked for here.
    pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning"),
]
REQUEST = ImageRequest(prompt="a cat on a blue background", batch=2, speed="auto")


def pixels(generation: Generation) -> np.ndarray:
    return np.stack([np.asarray(image, dtype=int) for image in generation.images])


def load(words: str) -> ImageBackend:
    speed = parse_speed(words)
    assert isinstance(speed, Speed)
    if speed.compile != "off" and (why := why_no_compiling("cuda", cuda_graphs=True)):
        pytest.skip(why)
    gc.collect()  # of the model before, whose weights would count in the peaks of this one
    return ImageBackend.load(BUNDLED_MODEL, device="cuda", speed=speed)


@pytest.fixture(scope="module")
def plain() -> np.ndarray:
    return pixels(load("plain").generate(REQUEST))


@pytest.mark.parametrize(
    "words",
    [
        "channels-last",
        "bf16, keys, prompts",
        "bf16-products, keys, prompts",
        "split-guidance",
        "plain-attention",
        "sliced-vae",
        "model-offload",
        "sequential-offload",
        "compile",
        "cuda-graphs",
        "bf16, cuda-graphs, prompts",
    ],
)
def test_every_option_draws_the_picture_and_draws_it_again(words: str, plain: np.ndarray) -> None:
    backend = load(words)
    first, again = (backend.generate(REQUEST) for _ in range(2))
    assert np.abs(pixels(first) - plain).mean() <= 2
    assert np.abs(pixels(again) - pixels(first)).max() <= 1
    assert len(again.step_s) == REQUEST.steps


def test_offload_takes_less_of_the_card() -> None:
    peaks = [
        load(words).generate(REQUEST).memory.torch_allocated_mib or 0
        for words in ("plain", "model-offload", "sequential-offload")
    ]
    assert peaks[0] > peaks[1] > peaks[2] > 0


def test_auto_chooses_on_a_card_and_says_how() -> None:
    generation = Engine("cuda").generate(REQUEST)
    assert isinstance(generation.request.speed, Speed)
    assert "ways tried" in generation.notes[0]
