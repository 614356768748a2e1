"""How devices share a request: equal devices equally, and the pictures are those of the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_models import save_tiny_sd

from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.bench.sharing import calls_each, parts_of, split_batch
from diffusion_bench.records import DevicesPlan, ImageRequest

REQUEST = ImageRequest(prompt="a cat", batch=8, seed=40, noise_seed=7)
TWINS = ("RTX 4090", "RTX 4090")
UNEQUAL = ("RTX 4090", "RTX 3060")


@pytest.mark.parametrize(("batch", "counts"), [(8, (4, 4)), (5, (3, 2)), (2, (1, 1))])
def test_equal_devices_have_halves_of_a_batch_whatever_they_did_alone(batch, counts) -> None:
    request = REQUEST.model_copy(update={"batch": batch})
    parts = parts_of(request, "batch", TWINS, [[1.0], [9.0]])
    assert tuple(part.request.batch for part in parts) == counts
    assert sum(counts) == batch


def test_the_parts_of_a_batch_have_the_seeds_of_the_whole() -> None:
    first, second = parts_of(REQUEST, "batch", TWINS, [[], []])
    assert (first.request.seed, first.request.noise_seed) == (40, 7)
    assert (second.request.seed, second.request.noise_seed) == (44, 11)
    varied = REQUEST.model_copy(update={"variation_seed": 3, "variation_strength": 0.2})
    _, second = parts_of(varied, "batch", TWINS, [[], []])
    assert (second.request.seed, second.request.variation_seed) == (40, 7)


def test_a_split_batch_draws_the_pictures_of_the_whole(tmp_path: Path) -> None:
    backend = ImageBackend.load(str(save_tiny_sd(tmp_path)), device="cpu")
    request = REQUEST.model_copy(
        update={"batch": 3, "steps": 4, "sampler": "ddpm", "model": backend.model}
    )
    whole = backend.generate(request).images
    parts = parts_of(request, "batch", TWINS, [[], []])
    drawn = [image for part in parts for image in backend.generate(part.request).images]
    assert len(drawn) == len(whole) == 3
    for ours, theirs in zip(drawn, whole, strict=True):
        apart = np.asarray(ours, dtype=int) - np.asarray(theirs, dtype=int)
        assert np.abs(apart).max() <= 1  # a batch of another size rounds otherwise
    assert np.abs(np.asarray(whole[0], dtype=int) - np.asarray(whole[1], dtype=int)).max() > 1


def test_unequal_devices_share_by_what_they_did_alone() -> None:
    parts = parts_of(REQUEST, "batch", UNEQUAL, [[1.0, 1.1], [3.0, 3.1]])
    assert tuple(part.request.batch for part in parts) == (6, 2)
    unknown = parts_of(REQUEST, "batch", UNEQUAL, [[], [3.0]])
    assert tuple(part.request.batch for part in unknown) == (4, 4)


def test_every_job_has_the_whole_request_and_a_faster_device_more_calls() -> None:
    parts = parts_of(REQUEST, "jobs", UNEQUAL, [[1.0], [2.0]])
    assert [part.request for part in parts] == [REQUEST, REQUEST]
    assert [part.calls for part in parts] == [2, 1]
    assert [part.calls for part in parts_of(REQUEST, "jobs", TWINS, [[1.0], [2.0]])] == [1, 1]


@pytest.mark.parametrize(
    ("seconds", "calls"), [((1.0, 1.05), (1, 1)), ((2.0, 3.0), (3, 2)), ((0.1, 5.0), (50, 1))]
)
def test_devices_end_together_after_as_few_calls_as_that_takes(seconds, calls) -> None:
    assert calls_each(seconds) == calls


def test_a_batch_smaller_than_the_devices_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch of 1 cannot be split over 2 devices"):
        split_batch(1, (1.0, 1.0))


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        ({"names": ["cuda:0", "cuda:0"]}, "cuda:0 is named twice; only cpu"),
        ({"names": ["cuda:0"]}, "at least 2 items"),
        ({"names": ["cuda:0", "gpu"]}, "String should match"),
        ({"names": ["cpu", "cpu"], "share": ["model"]}, "on CUDA cards alone; cpu is none"),
        ({"names": ["cpu", "cpu"], "share": ["jobs", "jobs"]}, "a share is named twice"),
    ],
)
def test_devices_that_cannot_be_measured_at_once_are_refused(plan, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        DevicesPlan.model_validate(plan)
