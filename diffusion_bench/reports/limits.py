"""What searches for the largest batch or resolution found, in words and as rows."""

from __future__ import annotations

from diffusion_bench.reports.labels import (
    device_name,
    emulated_words,
    other_parts,
    size,
    work_columns,
)
from diffusion_bench.reports.schema import Limit, Report

NAMED = ("model", "precision", "speed", "batch")  # parts of a line that have their own place in it


def limit_lines(report: Report) -> list[str]:
    """Return what was found, a line a limit that tells it from the others."""
    others = other_parts([limit.request for limit in report.limits], but=NAMED)
    cap = emulated_words(report.header)
    return [
        f"{_work(limit, others(limit.request))}: {_edge(limit, cap)}" for limit in report.limits
    ]


def limit_rows(report: Report, label: str) -> list[dict[str, str | float | int | None]]:
    """Return a flat row a limit, in the columns of `export.to_rows` where they mean the same.

    The column of what was searched is empty: that is `limit_of`, with both sides of its edge.
    """
    return [
        {
            "report": label,
            "device": device_name(report),
            **work_columns(limit.request),
            limit.axis: None,
            "speed": str(limit.request.speed),
            "guidance_scale": limit.request.guidance_scale,
            "seed": limit.request.seed,
            "prompt": limit.request.prompt,
            "labels": "" if report.header.plan.emulated_memory_mib is None else "emulated",
            "limit_of": limit.axis,
            "largest_fit": limit.largest_fit,
            "smallest_misfit": limit.smallest_misfit,
        }
        for limit in report.limits
    ]


def _work(limit: Limit, others: str) -> str:
    request, speed = limit.request, str(limit.request.speed)
    return ", ".join(
        part
        for part in (
            request.model,
            request.precision,
            "" if speed == "plain" else f"speed {speed}",
            size(request) if limit.axis == "batch" else f"batch {request.batch}",
            others,
        )
        if part
    )


def _edge(limit: Limit, cap: str) -> str:
    fits, misfits = limit.largest_fit, limit.smallest_misfit
    does = f"fits {cap}" if cap else "fits"
    if fits is None:
        return f"no {limit.axis} {does}; {misfits} does not"
    edge = "the largest that is tried" if misfits is None else f"{misfits} does not fit"
    return f"the largest {limit.axis} that {does} is {fits} ({edge})"
