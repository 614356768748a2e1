"""Each option of speed is an axis: alone, together with others, and beside `auto`."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import pytest

from diffusion_bench.bench import axes
from diffusion_bench.bench.axes import Axes, SpeedAxes
from diffusion_bench.bench.estimate import TimedRequest, estimate_s, family
from diffusion_bench.bench.isolation import needs_fresh_process
from diffusion_bench.bench.sweep import MAX_CELLS, parse_sweep, sweep_of
from diffusion_bench.records import ImageRequest, Speed
from diffusion_bench.reports.labels import other_parts
from diffusion_bench.reports.schema import Plan


def speeds_of(axes: str) -> list[str]:
    sweep = parse_sweep(f'name = "x"\n[axes]\nsampler = ["ddim"]\n{axes}')
    return [str(cell.speed) for cell in sweep.requests() if isinstance(cell, ImageRequest)]


# What a sweep of the first versions asked for when it named no model and no size.
FIRST = ImageRequest(prompt="a cat on a blue background", model="pictogram", width=64, height=64)


def test_a_sweep_that_names_no_speed_is_the_one_it_was() -> None:
    (request,) = parse_sweep(
        'name = "x"\n[axes]\nsampler = ["ddim"]\nmodel = ["pictogram"]\nresolution = [64]'
    ).requests()
    assert request == FIRST
    # Computed with the version before `speed` was an axis.
    assert request.workload_id() == "fa6048c2d45e07f4"


def test_speeds_are_an_axis_of_words_in_their_order() -> None:
    assert speeds_of('speed = ["plain", "bf16 packed", "auto", "plain"]') == [
        "plain",
        "bf16, packed",
        "auto",
    ]


AXES = [
    ('attention = ["sdpa", "plain", "sliced"]', ["plain", "plain-attention", "sliced-attention"]),
    ('guidance = ["batched", "split"]', ["plain", "split-guidance"]),
    ('compute = ["as asked", "bf16"]', ["plain", "bf16"]),
    ("channels_last = [false, true]", ["plain", "channels-last"]),
    ("packed = [true]", ["packed"]),
    ("keep_prompts = [false, true]", ["plain", "prompts"]),
    ("keep_keys = [false, true]", ["plain", "keys"]),
    ("traced = [false, true]", ["plain", "traced"]),
    ('threads = ["all", "one"]', ["plain", "one-thread"]),
    ('vae = ["whole", "sliced", "tiled"]', ["plain", "sliced-vae", "tiled-vae"]),
    ('compile = ["off", "on", "cuda graphs"]', ["plain", "compile", "cuda-graphs"]),
    (
        'offload = ["none", "model", "sequential"]',
        ["plain", "model-offload", "sequential-offload"],
    ),
    ("inference_mode = [true, false]", ["plain", "no-grad"]),
]


@pytest.mark.parametrize(("axis", "speeds"), AXES)
def test_every_option_is_an_axis(axis: str, speeds: list[str]) -> None:
    assert speeds_of(axis) == speeds


def test_no_option_is_without_an_axis() -> None:
    assert set(SpeedAxes.model_fields) == set(Speed.model_fields)
    assert {axis.split(" = ")[0] for axis, _ in AXES} == set(Speed.model_fields)


def test_options_multiply_with_each_other_and_with_speeds_but_not_with_auto() -> None:
    assert speeds_of(
        'speed = ["prompts", "auto"]\npacked = [false, true]\ncompute = ["as asked", "bf16"]'
    ) == ["prompts", "packed, prompts", "bf16, prompts", "bf16, packed, prompts", "auto"]


def test_options_that_exclude_each_other_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"^sweep: compile does what packed does") as caught:
        speeds_of('packed = [true]\ncompile = ["on"]')
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="unknown speed 'warp'"):
        speeds_of('speed = ["warp"]')
    with pytest.raises(ValueError, match="speed bf16 is for fp32 models"):
        speeds_of('speed = ["bf16"]\nprecision = ["fp16"]')


@pytest.fixture
def _no_large_product(monkeypatch: pytest.MonkeyPatch) -> None:
    def product(*values: tuple[object, ...]) -> object:
        assert math.prod(map(len, values)) <= MAX_CELLS, "begun, though no sweep may have as many"
        return itertools.product(*values)

    monkeypatch.setattr(axes, "itertools", SimpleNamespace(product=product))


@pytest.mark.usefixtures("_no_large_product")
def test_options_are_counted_before_they_multiply() -> None:
    with pytest.raises(ValueError, match=f"more than {MAX_CELLS} cells"):
        speeds_of("\n".join(axis for axis, _ in AXES))


@pytest.mark.usefixtures("_no_large_product")
def test_an_option_that_repeats_a_value_has_it_once() -> None:
    names = ("channels_last", "packed", "keep_prompts", "keep_keys", "traced")
    repeated = [f"{name} = [{', '.join(['false'] * 8)}]" for name in names]

    assert speeds_of("\n".join(repeated)) == ["plain"]


def test_a_plan_of_speeds_becomes_its_sweep_again() -> None:
    sweep = parse_sweep(
        'name = "x"\n[axes]\nspeed = ["plain", "auto"]\npacked = [false, true]\nbatch = [1, 2]'
    )
    plan = Plan(
        name="x",
        device="cpu",
        warmups=sweep.warmups,
        repeats=sweep.repeats,
        cells=sweep.requests(),
    )
    assert sweep_of(plan).requests() == sweep.requests()


def test_cells_of_another_speed_have_a_process_and_an_estimate_of_their_own() -> None:
    plain, packed = (ImageRequest(prompt="a cat", speed=speed) for speed in ("plain", "packed"))
    assert needs_fresh_process(packed, plain, [], None)
    assert family(plain) != family(packed)
    assert estimate_s([packed], [TimedRequest(plain, 1.0)]) is None
    assert estimate_s([plain], [TimedRequest(plain, 1.0)]) == pytest.approx(1.0)


def test_labels_name_the_speed_where_it_differs() -> None:
    requests = [ImageRequest(prompt="a cat", speed=speed) for speed in ("plain", "bf16, packed")]
    name = other_parts(requests)
    assert [name(request) for request in requests] == ["speed plain", "speed bf16, packed"]
    assert other_parts(requests[:1])(requests[0]) == ""


def test_the_speed_is_slower_to_change_than_all_but_the_model_and_its_precision() -> None:
    assert Axes.ORDER[:3] == ("model", "precision", "speed")
