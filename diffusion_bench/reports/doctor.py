"""Whether a report can be believed: what its own numbers say about each other. Pure.

    Report > examine_report > Finding, Finding, ...

A report is a text file that anyone can edit, so nothing here proves that it was measured. It finds
what cannot have been, or was measured under conditions that spoil it. `plausible.py` holds the
checks of a single cell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

from diffusion_bench.records import LEVELS, Finding, Quality
from diffusion_bench.reports.findings import name_cells
from diffusion_bench.reports.fits import fit_lines
from diffusion_bench.reports.labels import is_gpu
from diffusion_bench.reports.plausible import CELL_CHECKS
from diffusion_bench.reports.schema import PROTOCOL_VERSION, Fit, Report
from diffusion_bench.reports.unfinished import absent_ids, partial_cells

BY_HAND = "a sweep writes no such file: it was put together by hand; ask whose it is"
FIT_AGREES_WITHIN = 1e-6  # of a number that was computed twice from the same samples


def examine_report(report: Report, *, imported: bool = False) -> list[Finding]:
    """Return the findings, the worst first; one "ok" where there is nothing to say.

    One that was `imported` has a note of that beside them.
    """
    found = [finding for check in REPORT_CHECKS for finding in check(report)]
    for check in CELL_CHECKS:
        found += check(report)
    if not found:
        count = len(report.measured)
        found = [Finding(level="ok", title=f"nothing implausible in {count} cells")]
    found += [imported_finding()] if imported else []
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def imported_finding() -> Finding:
    """Return what is said of a report that was not measured here."""
    return Finding(
        level="note",
        title="imported, unverified",
        detail="it was measured on another machine, or uploaded; nobody here saw it being measured",
        advice="trust it as you trust who gave it to you, or run its sweep yourself and compare",
    )


def check_notes(report: Report) -> Iterator[Finding]:
    """Say what was damaged when the file was read."""
    for note in report.notes:
        yield Finding(
            level="warning",
            title="the file is damaged",
            detail=note,
            advice="what could be read is shown; fetch it again, or finish it with --resume",
        )


def check_protocol(report: Report) -> Iterator[Finding]:
    """Say that cells were measured in a way that is not known here, or that no program has."""
    version = report.header.protocol_version
    if version > PROTOCOL_VERSION:
        yield Finding(
            level="warning",
            title=f"measured by protocol {version!s:.20}, which is newer than this program",
            detail=f"what is examined here is what protocol {PROTOCOL_VERSION} asks of a report",
            advice="update Diffusion Bench and examine it again",
        )
    elif version < 1:
        yield Finding(
            level="problem",
            title=f"measured by protocol {version!s:.20}, which there never was",
            advice=BY_HAND,
        )


def check_plan(report: Report) -> Iterator[Finding]:
    """Say which cells were planned and are absent or not at their end, and which never were."""
    header = report.header
    names = header.planned_ids()
    planned = {*names, *map(header.cell_id, header.plan.cells)}
    absent = absent_ids(report, names)
    # A search for a limit has no plan: what it tries next follows from what it found.
    strange = [cell for cell in report.measured if planned and cell.cell_id not in planned]
    if absent:
        yield Finding(
            level="note",
            title=f"{len(absent)} of {len(names)} planned cells are absent",
            advice="finish it with --resume",
        )
    partial = partial_cells(report)
    if partial:
        yield Finding(
            level="note",
            title=f"{len(partial)} of {len(report.cells)} cells have calls still to come",
            detail=name_cells(partial, report),
            advice="finish it with --resume",
        )
    if strange:
        yield Finding(
            level="problem",
            title=f"{len(strange)} cells are not in the report's plan",
            detail=name_cells(strange, report),
            advice=BY_HAND,
        )


def check_order(report: Report) -> Iterator[Finding]:
    """Say whether the order of the cells and the times they started at contradict each other."""
    ordered = sorted(report.measured, key=lambda cell: cell.order)
    # One that failed in a later round has its place from the first and may have that round's time.
    well = [cell for cell in ordered if cell.status == "ok" or report.header.plan.rounds == 1]
    # One that was tried again later on stands in the file behind those that follow it.
    names = report.written or [cell.cell_id for cell in report.measured]
    lines = {name: line for line, name in enumerate(names)}
    backwards = [
        later
        for earlier, later in pairwise(well)
        if later.started_utc < earlier.started_utc and lines[later.cell_id] > lines[earlier.cell_id]
    ]
    if backwards:
        yield Finding(
            level="warning",
            title=f"{len(backwards)} cells started before the one they follow",
            detail=name_cells(backwards, report),
            advice="the clock was set back meanwhile, or the report was put together by hand",
        )
    early = [cell for cell in ordered if cell.started_utc < report.header.created_utc]
    if early:
        yield Finding(
            level="problem",
            title=f"{len(early)} cells started before the report was begun",
            detail=name_cells(early, report),
            advice=BY_HAND,
        )
    repeated = [order for order, n in Counter(cell.order for cell in ordered).items() if n > 1]
    if repeated:
        yield Finding(
            level="note",
            title=f"{len(repeated)} places in the order are taken twice",
            advice=BY_HAND,
        )


def check_scorers(report: Report) -> Iterator[Finding]:
    """Find a scorer that changed between cells: their figures of quality do not compare."""
    versions: dict[str, set[str]] = {}
    for cell in report.cells:
        found = cell.quality
        if isinstance(found, Quality) and found.scorer_digest is not None:
            versions.setdefault(found.scorer, set()).add(found.scorer_digest)
    for scorer, digests in sorted(versions.items()):
        if len(digests) > 1:
            yield Finding(
                level="warning",
                title=f"{len(digests)} versions of the scorer {scorer!r:.60} judged the pictures",
                detail=", ".join(digest[:20] for digest in sorted(digests)[:5]),
                advice="their figures do not compare; measure the sweep again with one of them",
            )


def check_fits(report: Report) -> Iterator[Finding]:
    """Recompute the stored lines from the samples."""
    computed = {fit.shape: fit for fit in fit_lines(report.cells)}
    wrong = [fit for fit in report.fits if not _agrees(fit, computed.get(fit.shape))]
    if wrong:
        yield Finding(
            level="problem",
            title=f"{len(wrong)} of {len(report.fits)} stored lines are not those of the samples",
            detail=f"shapes {', '.join(fit.shape[:20] for fit in wrong[:5])}",
            advice="the samples or the lines were changed after they were measured",
        )
    off = {name for fit in computed.values() for name in fit.off_line}
    far = [cell for cell in report.cells if cell.cell_id in off]
    if far:
        spilled = "spilled over the GPU's memory" if is_gpu(report.header) else "had to swap memory"
        yield Finding(
            level="warning",
            title=f"{len(far)} cells are off the line through their steps",
            detail=name_cells(far, report),
            advice=f"they were disturbed, throttled, or {spilled}",
        )


def _agrees(stored: Fit, computed: Fit | None) -> bool:
    if computed is None or stored.points != computed.points:
        return False
    pairs = (
        (stored.fixed_s, computed.fixed_s),
        (stored.per_step_s, computed.per_step_s),
        (stored.worst_residual, computed.worst_residual),
    )
    scale = max(abs(computed.fixed_s), abs(computed.per_step_s))
    within = all(abs(old - new) <= FIT_AGREES_WITHIN * max(scale, abs(new)) for old, new in pairs)
    return within and set(stored.off_line) == set(computed.off_line)


REPORT_CHECKS: tuple[Callable[[Report], Iterator[Finding]], ...] = (
    check_notes,
    check_protocol,
    check_plan,
    check_order,
    check_scorers,
    check_fits,
)
