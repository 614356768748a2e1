"""What is counted on the meta device: against torch's own counter, and against hand counts."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from diffusion_bench.backends.counting.fit import count_model, fit_stage
from diffusion_bench.backends.counting.networks import (
    Network,
    build,
    configurations,
    decoder_run,
    denoiser_run,
)
from diffusion_bench.backends.counting.operators import Counter, count_call
from diffusion_bench.records import BUNDLED_MODEL
from diffusion_bench.tiers.cost import PassLines, counts

SMALL_UNET = {
    "block_out_channels": (32, 64),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": 24,
    "attention_head_dim": 4,
}


def meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


def small_run():
    """Return how to count a small UNet of Stable Diffusion's kind."""
    found = configurations()["sd15"].model_copy(
        update={
            "text_width": 24,
            "denoiser": Network(cls="UNet2DConditionModel", config=SMALL_UNET),
        }
    )
    return denoiser_run(found, build(found.denoiser, torch.float32), torch.float32)


def total(counter: Counter, field: str) -> int:
    return sum(getattr(tally, field) for tally in counter.tallies.values())


def test_the_flops_of_sd15s_unet_are_those_of_torchs_counter_and_the_shipped_ones():
    found = configurations()["sd15"]
    unet = build(found.denoiser, torch.float32)
    latent, text = meta(1, 4, 64, 64), meta(1, 77, 768)
    with FlopCounterMode(display=False) as theirs, torch.no_grad():
        unet(latent, torch.zeros((), dtype=torch.int64, device="meta"), text)
    ours = denoiser_run(found, unet, torch.float32)(64, 1, False)
    lines = counts()["sd15"].stages["denoising step"]["32"].single
    assert total(ours, "flops") == theirs.get_total_flops() == 803_273_441_280
    assert sum(row.flops.at(64 * 64, 1) for row in lines.operators.values()) == 803_273_441_280


def test_fused_attention_moves_its_inputs_and_its_output_and_plain_attention_its_scores_too():
    query, key = meta(1, 2, 16, 8), meta(1, 2, 32, 8)
    attend = torch.nn.functional.scaled_dot_product_attention
    fused = count_call(attend, (query, key, key)).tallies["attention"]
    plain = count_call(attend, (query, key, key), plain_attention=True).tallies["attention"]
    inputs_and_output = 4 * (2 * 2 * 16 * 8 + 2 * 2 * 32 * 8)
    scores = 4 * 2 * 16 * 32
    assert fused.bytes_moved == inputs_and_output
    assert plain.bytes_moved == inputs_and_output + 4 * scores  # out, in and out of softmax, in
    assert fused.flops == plain.flops == 4 * 2 * 16 * 32 * 8
    assert (fused.launches, plain.launches) == (1, 3)


def test_a_head_of_keys_that_serves_several_of_queries_is_counted_for_each():
    attend = torch.nn.functional.scaled_dot_product_attention
    counter = count_call(attend, (meta(1, 8, 16, 4), meta(1, 2, 16, 4), meta(1, 2, 16, 4)))
    assert counter.tallies["attention"].flops == 4 * 8 * 16 * 16 * 4


def test_views_and_allocations_launch_nothing():
    def look(x: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(x.view(8, 2).t().unsqueeze(0)[..., 1:])

    assert count_call(look, (meta(4, 4),)).tallies == {}


def test_bytes_are_what_goes_in_and_comes_out_weights_included():
    layer = nn.Linear(6, 5, device="meta")
    matmul = count_call(layer, (meta(3, 6),)).tallies["matmul"]
    assert matmul.bytes_moved == 4 * (3 * 6 + 6 * 5 + 5 + 3 * 5)
    assert matmul.flops == 2 * 3 * 6 * 5


def test_a_tensor_is_alive_until_its_last_view_is_gone_and_weights_are_not_counted():
    layer = nn.Linear(4, 4, bias=False, device="meta")

    def chain(x: torch.Tensor) -> torch.Tensor:
        first = layer(x)  # x, first
        view = first.view(-1)
        del first
        second = view + 1  # x, first by its view, second
        del view
        return second * 2  # x, second, third

    counter = count_call(chain, (meta(4, 4),))
    one = 4 * 4 * 4
    assert counter.live_bytes == [2 * one, 3 * one, 3 * one]


@pytest.fixture(scope="module")
def small():
    """Return how to count a small UNet, and the polynomials of its counts."""
    run = small_run()
    return run, fit_stage(run, (4, 8, 12))


@pytest.mark.parametrize(("side", "passes"), [(10, 1), (10, 5), (14, 2)])
def test_the_polynomials_are_exact_at_sizes_they_were_not_made_from(small, side, passes):
    run, fitted = small
    lines = fitted.of(passes)
    fused, plain = run(side, passes, False), run(side, passes, True)
    for name, tally in fused.tallies.items():
        row = lines.operators[name]
        assert row.launches == tally.launches
        assert row.flops.at(side * side, passes) == pytest.approx(tally.flops, rel=1e-12)
        assert row.bytes_moved.at(side * side, passes) == pytest.approx(tally.bytes_moved)
    assert peak(lines.live_bytes, side, passes) == pytest.approx(max(fused.live_bytes))
    assert peak(lines.plain_live_bytes, side, passes) == pytest.approx(max(plain.live_bytes))
    assert lines.plain_attention is not None
    moved = plain.tallies["attention"].bytes_moved
    assert lines.plain_attention.bytes_moved.at(side * side, passes) == pytest.approx(moved)


def peak(lines, side, passes):
    return max(line.at(side * side, passes) for line in lines)


def test_a_network_whose_operators_depend_on_the_size_is_refused():
    def run(side: int, passes: int, plain: bool) -> Counter:
        def grow(x: torch.Tensor) -> None:
            for _ in range(side):
                x = x + 1

        return count_call(grow, (meta(passes, side),))

    with pytest.raises(ValueError, match="not as many at every size"):
        fit_stage(run, (2, 4, 8))


def test_the_bundled_models_shipped_counts_are_those_of_its_files():
    """Fails when the model is trained anew in another shape: run backends.counting again.

    At one width: the other counts the same operators, and takes as long again.
    """
    now = count_model(configurations()[BUNDLED_MODEL], {"16": torch.float16})
    shipped = counts()[BUNDLED_MODEL]
    stages = {name: {"16": lines["16"]} for name, lines in shipped.stages.items()}
    crossing = {"16": shipped.crossing_bytes["16"]}
    assert now == shipped.model_copy(update={"stages": stages, "crossing_bytes": crossing})


@pytest.mark.parametrize(("side", "passes"), [(32, 1), (32, 3)])
def test_the_shipped_decoder_of_sd15_is_what_counting_says_at_another_size(side, passes):
    found = configurations()["sd15"]
    run = decoder_run(found, build(found.decoder, torch.float16), torch.float16)
    counter = run(side, passes, False)
    lines: PassLines = counts()["sd15"].stages["decoder"]["16"].of(passes)
    for name, tally in counter.tallies.items():
        moved = lines.operators[name].bytes_moved.at(side * side, passes)
        assert moved == pytest.approx(tally.bytes_moved, rel=1e-9)
    assert peak(lines.live_bytes, side, passes) == pytest.approx(max(counter.live_bytes))
