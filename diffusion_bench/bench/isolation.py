"""Which cells get a process of their own: those whose memory may not suffice, and model switches.

An allocator that ran out is not clean after its cache is emptied, and what an earlier model left
behind counts against the next one. A process that has ended leaves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffusion_bench.bench.estimate import step_work
from diffusion_bench.records import ImageRequest, Request
from diffusion_bench.reports.schema import Cell

RISKY_SHARE = 0.8  # of the device's memory
UNSEEN_FACTOR = 4.0  # times the largest shape so far, while no line can be drawn


def needs_fresh_process(
    request: Request,
    last: Request | None,
    measured: Sequence[Cell],
    total_mib: float | None,
) -> bool:
    """Return whether a cell should not share a process with those measured before it.

    `last` is the one that ran in the process just now, `None` where nothing has.
    """
    if last is None:
        return False
    if _arrangement(last) != _arrangement(request):
        return True
    # The last cell's own peak is among the known ones: what it took is judged, not what it might.
    return any(is_risky(asked, measured, total_mib) for asked in (request, last))


def is_risky(request: Request, measured: Sequence[Cell], total_mib: float | None) -> bool:
    """Return whether a cell may come near the device's memory, from what smaller ones took."""
    known = [
        (_pixels(cell.request), peak)
        for cell in measured
        if _arrangement(cell.request) == _arrangement(request)
        and (peak := peak_mib(cell)) is not None
    ]
    if not known:
        return True
    predicted_mib = predict_mib(_pixels(request), known)
    if predicted_mib is None or total_mib is None:
        return _pixels(request) > UNSEEN_FACTOR * max(pixels for pixels, _ in known)
    return predicted_mib > RISKY_SHARE * total_mib


def predict_mib(pixels: float, known: Sequence[tuple[float, float]]) -> float | None:
    """Return the peak of a shape on the line through known ones, `None` with fewer than two.

    Weights are the line's constant, activations its slope; a slope below 0 is noise.
    """
    if len({pixels for pixels, _ in known}) < 2:
        return None
    sizes, peaks = np.array(known).T
    slope, constant = np.polyfit(sizes, peaks, 1)
    if slope < 0:
        return max(peak for _, peak in known)
    return float(constant + slope * pixels)


def peak_mib(cell: Cell) -> float | None:
    """Return the memory a cell took of its device: the GPU's, else the resident set."""
    memory = cell.memory
    candidates = (memory.nvml_used_mib, memory.torch_reserved_mib, memory.rss_mib)
    return next((value for value in candidates if value is not None), None)


def _arrangement(request: Request) -> tuple[Any, ...]:
    """Return what the model is loaded as: which, in which precision, and arranged how."""
    speed = request.speed if isinstance(request, ImageRequest) else None
    return request.model, request.precision, speed


def _pixels(request: Request) -> float:
    """Return the pixels, or characters, of one pass of the network."""
    return step_work(request) / request.steps
