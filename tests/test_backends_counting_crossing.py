"""What two cards that share a denoiser hand to each other: by hand, and as it is shipped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from diffusion_bench.backends.counting.crossing import crossing_bytes, units
from diffusion_bench.backends.counting.networks import INPUTS, build, configurations
from diffusion_bench.records import BUNDLED_MODEL
from diffusion_bench.tiers.cost import counts
from diffusion_bench.tiers.cost import crossing_bytes as shipped
from diffusion_bench.tiers.memory import MIB
from diffusion_bench.tiers.workload import guided_by_default

METHODOLOGY = Path(__file__).parents[1] / "docs" / "methodology.md"


class Chain(nn.Module):
    """Layers of one width; the first output is used again by the last layer, as in a U-Net."""

    def __init__(self, layers: int, skip: bool) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8, bias=False, device="meta")
        self.blocks = nn.ModuleList(
            nn.Linear(8, 8, bias=False, device="meta") for _ in range(layers)
        )
        self.last = nn.Bilinear(8, 8, 2, bias=False, device="meta")
        self.skip = skip

    def forward(self, x: torch.Tensor, *, return_dict: bool) -> tuple[torch.Tensor]:
        early = h = self.first(x)
        for block in self.blocks:
            h = block(h.view(-1, 8))  # a view is no tensor of its own
        return (self.last(h, early if self.skip else h),)


def meta(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


def test_the_hidden_state_crosses_once_and_the_output_goes_back() -> None:
    hidden, output = 4 * 3 * 8, 4 * 3 * 2
    assert crossing_bytes(Chain(4, skip=False), (meta(3, 8),), {}) == hidden + output


def test_a_skip_that_is_used_behind_the_cut_crosses_too() -> None:
    hidden, output = 4 * 3 * 8, 4 * 3 * 2
    assert crossing_bytes(Chain(4, skip=True), (meta(3, 8),), {}) == 2 * hidden + output


def test_the_cut_lies_between_blocks() -> None:
    chain = Chain(4, skip=False)
    assert units(chain) == [chain.first, *chain.blocks, chain.last]


def test_looking_leaves_no_hook_behind() -> None:
    chain = Chain(2, skip=True)
    crossing_bytes(chain, (meta(3, 8),), {})
    assert not any(module._forward_hooks for module in chain.modules())


@pytest.mark.parametrize(("side", "passes"), [(32, 1), (40, 2)])
def test_the_shipped_line_is_what_the_bundled_model_does_at_other_sizes(
    side: int, passes: int
) -> None:
    found = configurations()[BUNDLED_MODEL]
    unet = build(found.denoiser, torch.float32)
    counted = crossing_bytes(unet, *INPUTS[found.denoiser.cls](found, torch.float32, side, passes))
    line = counts()[BUNDLED_MODEL].crossing_bytes["32"]
    assert line.at(side * side, passes) == pytest.approx(counted)


def test_flux_hands_over_its_tokens_by_their_width() -> None:
    asked = {"width": 1024, "height": 1024, "batch": 1, "precision": "bf16", "guided": False}
    tokens, width, head = 64 * 64 + 512, 3072, 128
    hidden = 2 * tokens * width
    embeddings = 2 * width + 2 * 4 * tokens * head  # of the time; of places, in fp32
    output = 2 * 64 * 64 * 64
    crossing = shipped("flux1-dev", **asked)
    assert crossing == hidden + embeddings + output
    assert f"{crossing / MIB:.0f} MiB a call" in METHODOLOGY.read_text(encoding="utf-8")


def test_stable_diffusion_hands_over_its_feature_map_and_its_skips() -> None:
    """Cut between the middle and the way up; channels by cells at each of four levels."""
    asked = {"width": 512, "height": 512, "batch": 2, "precision": "fp16", "guided": True}
    cells = 64 * 64
    skips = cells * 3 * 320 + cells // 4 * (320 + 2 * 640) + cells // 16 * (640 + 2 * 1280)
    skips += cells // 64 * 3 * 1280
    feature_map = cells // 64 * 1280
    text, time, output = 77 * 768, 1280, 4 * cells
    each = 2 * (skips + feature_map + text + time + output)
    assert shipped("sd15", **asked) == 4 * each


def test_what_crosses_is_a_small_part_of_what_is_alive() -> None:
    for name, found in counts().items():
        passes = 2 if guided_by_default(name) else 1
        for bits, line in found.crossing_bytes.items():
            for cells in (64**2, 128**2):
                alive = found.stages["denoising step"][bits].of(passes).live_bytes
                assert 0 < line.at(cells, passes) < max(one.at(cells, passes) for one in alive)
