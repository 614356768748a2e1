"""The counts of a few sizes as polynomials that hold at every size.

A count is taken at three sizes and at 2 and 3 passes; six numbers settle the polynomial
(`tiers/cost.py`), in fractions, so that nothing is lost to rounding. One pass has a polynomial of
its own: torch copies less where a batch of one leaves a transposed tensor in order. A size is the
side of a square latent, or how many frames of speech there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from diffusion_bench.backends.counting.crossing import crossing_bytes
from diffusion_bench.backends.counting.networks import (
    INPUTS,
    Configuration,
    Run,
    build,
    decoder_run,
    denoiser_run,
    text_run,
)
from diffusion_bench.backends.counting.operators import Counter
from diffusion_bench.tiers.cost import (
    Line,
    ModelCounts,
    OperatorLines,
    Part,
    PassLines,
    StageLines,
    StageName,
    Width,
)

DTYPES: dict[Width, torch.dtype] = {"32": torch.float32, "16": torch.float16}


class Range(NamedTuple):
    """What a size means in cells, and the sizes and passes at which a peak may lie."""

    cells: Callable[[int], int]
    sizes: tuple[int, ...]
    passes: tuple[int, ...]


# Sides of a latent of 32 to 8192 pixels at 8 a cell.
LATENTS = Range(
    lambda side: side**2, (4, 8, 16, 32, 64, 96, 128, 256, 1024), (2, 3, 4, 6, 8, 16, 64, 256)
)
FRAMES = Range(lambda frames: frames, (12, 48, 192, 768, 1536, 3072), (2, 3, 4, 8, 16, 32))

Counters = dict[tuple[int, int], Counter]  # by cells and passes
Numbers = dict[tuple[int, int], int]


def count_model(found: Configuration, widths: Mapping[Width, torch.dtype] = DTYPES) -> ModelCounts:
    """Return a model's counts: every stage, at both widths of value, or at those asked for."""
    step = found.multiple // found.cell_pixels
    sides = (2 * step, 4 * step, 6 * step)
    stages: dict[StageName, dict[Width, StageLines]] = {
        "text encoder": {},
        "denoising step": {},
        "decoder": {},
    }
    crossing: dict[Width, Line] = {}
    for width, dtype in widths.items():
        encoders = [build(network, dtype) for network in found.text_encoders]
        denoiser, decoder = build(found.denoiser, dtype), build(found.decoder, dtype)
        stages["text encoder"][width] = fit_stage(text_run(found, encoders), (1,))
        stages["denoising step"][width] = fit_stage(denoiser_run(found, denoiser, dtype), sides)
        stages["decoder"][width] = fit_stage(decoder_run(found, decoder, dtype), sides)
        crossing[width] = crossing_line(found, denoiser, dtype, sides)
    parts = {"text encoder": encoders, "denoiser": [denoiser], "decoder": [decoder]}
    return ModelCounts(
        aliases=found.aliases,
        source=found.source,
        cell_pixels=found.cell_pixels,
        multiple=found.multiple,
        text_tokens=found.text_tokens,
        decoder_upcast=found.decoder.upcast,
        tile_pixels=found.decoder.tile_pixels,
        parts={name: part_of(networks) for name, networks in parts.items()},
        stages=stages,
        crossing_bytes=crossing,
    )


def crossing_line(
    found: Configuration, denoiser: nn.Module, dtype: torch.dtype, sides: tuple[int, ...]
) -> Line:
    """Return what one call sends between two cards that hold half of the denoiser each."""
    feed = INPUTS[found.denoiser.cls]
    return _line(
        {
            (side**2, passes): crossing_bytes(denoiser, *feed(found, dtype, side, passes))
            for side, passes in product(sides, (2, 3))
        }
    )


def fit_stage(run: Run, sizes: tuple[int, ...], within: Range = LATENTS) -> StageLines:
    """Return the polynomials of one stage from three sizes, or from one if none matters."""
    return StageLines(
        single=_fit(run, sizes, (1,), within), several=_fit(run, sizes, (2, 3), within)
    )


def _fit(run: Run, sizes: tuple[int, ...], passes: tuple[int, ...], within: Range) -> PassLines:
    keys = [(size, count) for size in sizes for count in passes]
    fused = {(within.cells(size), count): run(size, count, False) for size, count in keys}
    plain = {(within.cells(size), count): run(size, count, True) for size, count in keys}
    names = sorted({name for counter in fused.values() for name in counter.tallies})
    return PassLines(
        operators={name: _operator(fused, name) for name in names},
        plain_attention=_operator(plain, "attention") if "attention" in names else None,
        live_bytes=_envelope(fused, within),
        plain_live_bytes=_envelope(plain, within),
    )


def _operator(counters: Counters, name: str) -> OperatorLines:
    launches = {counter.tallies[name].launches for counter in counters.values()}
    if len(launches) > 1:
        raise ValueError(f"{name} operators are not as many at every size: {sorted(launches)}")
    return OperatorLines(
        flops=_line({key: counter.tallies[name].flops for key, counter in counters.items()}),
        bytes_moved=_line(
            {key: counter.tallies[name].bytes_moved for key, counter in counters.items()}
        ),
        launches=launches.pop(),
    )


def _envelope(counters: Counters, within: Range) -> tuple[Line, ...]:
    """Return the moments that are the peak at some size, as lines without repeats."""
    moments = {len(counter.live_bytes) for counter in counters.values()}
    if len(moments) > 1:
        raise ValueError(f"the operators are not as many at every size: {sorted(moments)}")
    found = (
        _line({key: counter.live_bytes[moment] for key, counter in counters.items()})
        for moment in range(moments.pop())
    )
    lines = list(dict.fromkeys(found))
    coefficients = np.array([(*line.fixed, *line.each) for line in lines])
    single = all(count == 1 for _, count in counters)
    peaks: dict[Line, None] = {}
    for size, count in product(within.sizes, (1,) if single else within.passes):
        cells = within.cells(size)
        powers = np.array((1, cells, cells**2))
        peaks[lines[int(np.argmax(coefficients @ np.array((*powers, *(count * powers)))))]] = None
    return tuple(peaks)


def _line(numbers: Numbers) -> Line:
    """Return the polynomial through counts by cells and passes."""
    sizes = sorted({cells for cells, _ in numbers})
    counts = sorted({count for _, count in numbers})
    if len(counts) == 1:
        return Line(each=_quadratic({cells: numbers[cells, counts[0]] for cells in sizes}))
    low, high = counts[:2]
    each = {
        cells: Fraction(numbers[cells, high] - numbers[cells, low], high - low) for cells in sizes
    }
    fixed = {cells: numbers[cells, low] - low * each[cells] for cells in sizes}
    return Line(fixed=_quadratic(fixed), each=_quadratic(each))


def _quadratic(values: Mapping[int, Fraction | int]) -> tuple[float, float, float]:
    """Return the coefficients of the parabola through three points, or the constant of one."""
    points = sorted(values.items())
    if len(points) == 1:
        return (float(points[0][1]), 0.0, 0.0)
    (x0, y0), (x1, y1), (x2, y2) = points
    slope = Fraction(y1 - y0) / (x1 - x0)
    bend = (Fraction(y2 - y0) / (x2 - x0) - slope) / (x2 - x1)
    tilt = slope - bend * (x0 + x1)
    return (float(y0 - tilt * x0 - bend * x0 * x0), float(tilt), float(bend))


def part_of(networks: list[nn.Module]) -> Part:
    """Return the parameters of networks that are one part of a model."""
    modules = [module for network in networks for module in network.modules()]
    own = {id(module): _params(module.parameters(recurse=False)) for module in modules}
    # transformers loads these layers of T5 in fp32 when all else is fp16, or they overflow.
    kept = [module.wo for module in modules if type(module).__name__.startswith("T5Dense")]
    return Part(
        params=_params(weight for network in networks for weight in network.parameters()),
        largest_layer=max(own.values()),
        linear=sum(own[id(module)] for module in modules if isinstance(module, nn.Linear)),
        kept_fp32=sum(own[id(module)] for module in kept),
    )


def _params(weights: Iterable[nn.Parameter]) -> int:
    return sum(weight.numel() for weight in weights)
