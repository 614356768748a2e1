"""The shipped counts: what they say of the models everybody knows."""

from __future__ import annotations

import pytest

from diffusion_bench.backends.catalog import catalog
from diffusion_bench.records import BUNDLED_MODEL
from diffusion_bench.tiers.cost import OPERATORS, cost_of, counts, known_models, short_name


def step_of(model: str = "sd15", **changes):
    """Return the operators of one denoising step by name."""
    asked = {"width": 512, "height": 512, "batch": 1, "precision": "fp32", "guided": False}
    stages = cost_of(model, **(asked | changes)).stages
    return {row.operator: row for row in stages[1].operators}


def total(rows, field: str = "flops") -> float:
    return sum(getattr(row, field) for row in rows.values())


def test_one_pass_of_sd15_is_0_803_tflop():
    """As torch's FlopCounterMode says; tests/test_backends_counting.py asks it."""
    assert total(step_of()) == 803_273_441_280


# In millions: the models' papers and cards, and for FLUX the sizes of the files by 2 bytes.
@pytest.mark.parametrize(
    ("model", "part", "millions"),
    [
        ("sd15", "denoiser", 859.5),
        ("sd15", "text encoder", 123.1),
        ("sd15", "decoder", 83.7),
        ("sd21", "denoiser", 865.9),
        ("sdxl", "denoiser", 2567.5),
        ("sdxl", "text encoder", 817.7),
        ("pixart-sigma", "denoiser", 610.9),
        ("pixart-sigma", "text encoder", 4762.3),
        ("flux1-dev", "denoiser", 11_901.4),
        ("sana", "denoiser", 1604.5),
        ("sana", "text encoder", 2614.3),
    ],
)
def test_parameters_are_the_published_ones(model, part, millions):
    assert counts()[model].parts[part].params / 1e6 == pytest.approx(millions, rel=1e-3)


def test_every_model_of_the_catalog_has_counts():
    names = [short_name(name) for name in catalog()]
    assert names[:4] == [BUNDLED_MODEL, "sd15", "sd21", "sdxl"]
    assert len(set(names)) == len(catalog()) >= 10
    assert set(names) <= counts().keys()


def test_guidance_and_batch_double_the_work_and_read_the_weights_once():
    once, guided = step_of(batch=2), step_of(batch=2, guided=True)
    assert total(guided) == 2 * total(once) == total(step_of(batch=4))
    assert total(guided, "bytes_moved") < 2 * total(once, "bytes_moved")
    assert total(guided, "launches") == total(once, "launches")
    # Their difference is what is read once: the weights of convolutions and matrix products.
    saved = 2 * total(once, "bytes_moved") - total(guided, "bytes_moved")
    assert saved == pytest.approx(4 * 859.5e6, rel=0.01)


def test_split_guidance_is_the_same_arithmetic_in_two_calls_that_each_read_the_weights():
    once = step_of(batch=2)
    both, split = step_of(batch=2, guided=True), step_of(batch=2, guided=True, guidance="split")
    assert total(split) == total(both)
    assert total(split, "launches") == 2 * total(both, "launches")
    assert total(split, "bytes_moved") == 2 * total(once, "bytes_moved")
    assert total(split, "bytes_moved") > total(both, "bytes_moved")
    assert step_of(batch=2, guidance="split") == once  # without guidance there is nothing to split


def test_attention_grows_with_the_square_of_the_pixels_and_convolutions_with_the_pixels():
    small, large = step_of(), step_of(width=1024, height=1024)
    assert large["convolution"].flops == pytest.approx(4 * small["convolution"].flops, rel=1e-3)
    assert 8 < large["attention"].flops / small["attention"].flops < 16
    wide, tall = step_of(width=1024), step_of(height=1024)
    assert wide == tall


def test_plain_attention_computes_the_same_and_moves_its_scores():
    fused, plain = step_of(), step_of(attention="plain")
    assert plain["attention"].flops == fused["attention"].flops
    assert plain["attention"].bytes_moved > 20 * fused["attention"].bytes_moved
    assert plain["convolution"] == fused["convolution"]


def test_half_the_bytes_at_half_the_bits_but_sdxl_decodes_in_fp32_under_fp16():
    whole, half = step_of(precision="fp32"), step_of(precision="fp16")
    assert total(half, "bytes_moved") == pytest.approx(total(whole, "bytes_moved") / 2, rel=0.01)
    assert step_of(precision="bf16") == half
    decoders = {
        precision: cost_of(
            "sdxl", width=1024, height=1024, batch=1, precision=precision, guided=True
        ).stages[2]
        for precision in ("fp32", "bf16", "fp16")
    }
    assert decoders["fp16"] == decoders["fp32"] != decoders["bf16"]


def test_a_workload_has_three_stages_of_known_operators_and_the_parts_parameters():
    for model in known_models():
        found = cost_of(model, width=512, height=512, batch=3, precision="bf16", guided=True)
        assert [row.stage for row in found.stages] == ["text encoder", "denoising step", "decoder"]
        assert found.weights_params.keys() == {"text encoder", "denoiser", "decoder"}
        for stage in found.stages:
            assert {row.operator for row in stage.operators} <= set(OPERATORS)
            assert all(row.bytes_moved > 0 < row.launches for row in stage.operators)


def test_hub_names_mean_the_same_and_an_unknown_one_is_told_the_known():
    assert short_name("black-forest-labs/FLUX.1-dev") == "flux1-dev"
    assert short_name(f"black-forest-labs/FLUX.1-dev@{'0' * 40}") == "flux1-dev"
    with pytest.raises(
        ValueError, match=r"no counts of model 'sd9'; known: .*sdxl.*; of speech: .*echo"
    ):
        step_of("sd9")


@pytest.mark.parametrize("changes", [{"width": 516}, {"height": 0}, {"batch": 0}])
def test_what_cannot_be_drawn_is_refused_in_one_line(changes):
    with pytest.raises(ValueError, match=r"draws multiples of 8 pixels|at least 1 picture"):
        step_of(**changes)
