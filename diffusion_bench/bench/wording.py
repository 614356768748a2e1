"""A run in words, for whoever watches it."""

from __future__ import annotations

from diffusion_bench.records import Request
from diffusion_bench.reports.labels import sampler, size


def in_words(seconds: float) -> str:
    """Return a duration as a person says it."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def name_request(request: Request) -> str:
    """Return a cell's request in a few words."""
    steps = f"{request.steps} step{'s' if request.steps != 1 else ''}"
    return f"{sampler(request)}, {steps}, {size(request)}, batch {request.batch}"
