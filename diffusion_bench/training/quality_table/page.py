"""The table as Markdown: ours, the published ones beside it, and whether the shape is the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from diffusion_bench.records import Share
from diffusion_bench.reports.quality import Figure, figure_of
from diffusion_bench.training.quality_table.rows import SETTINGS, STEPS, Row
from diffusion_bench.training.quality_table.shape import Distance, Distances, findings

SHARES = ("objects", "background", "relation", "count")
WORDS = {True: "yes", False: "no", None: "cannot tell"}


def to_markdown(
    rows: Sequence[Row], known: Mapping[str, Mapping[str, Mapping[int, Distance]]]
) -> str:
    """Return every table and the findings; rows may be some of all."""
    if not rows:
        return "No row is measured yet.\n"
    ours = {name: _by_steps(rows, name) for name in dict.fromkeys(row.setting for row in rows)}
    parts = [_introduction(rows[0]), "### Frechet distance\n", _distances(ours, with_interval=True)]
    for name in SHARES:
        parts += _share_table(rows, name)
    for dataset, table in known.items():
        parts += [f"### Published: FID on {dataset}\n", _distances(table, with_interval=False)]
    parts += ["### Same shape or not\n", _shapes({"ours": ours, **known})]
    return "\n".join(parts)


def _introduction(row: Row) -> str:
    request, quality = row.request, row.quality
    return (
        f"{request.model} ({row.revision or 'revision unknown'}), {request.width} x "
        f"{request.height} pixels, guidance {request.guidance_scale:g}, {request.precision}, on "
        f"{row.device}. {quality.pictures} pictures a row of the same captions and seeds, "
        f"against {quality.reference}; scorer {quality.scorer} ({quality.scorer_digest}). "
        "In parentheses 95 percent intervals: a bootstrap over captions of distances, Wilson's of "
        "shares. Distances are in this scorer's features and do not compare with FID; the shape "
        "does.\n"
    )


def _by_steps(rows: Sequence[Row], setting: str) -> dict[int, Distance]:
    return {
        row.steps: Distance(row.distance.value, row.distance.low, row.distance.high)
        for row in rows
        if row.setting == setting
    }


def _distances(table: Distances, *, with_interval: bool) -> str:
    def cell(setting: str, steps: int) -> str:
        found = table.get(setting, {}).get(steps)
        if found is None:
            return ""
        interval = f" ({found.low:.4g} to {found.high:.4g})" if with_interval else ""
        return f"{found.value:.4g}{interval}"

    return _table(cell, {steps for each in table.values() for steps in each})


def _share_table(rows: Sequence[Row], name: str) -> list[str]:
    found: dict[tuple[str, int], Figure] = {}
    for row in rows:
        share: Share | None = getattr(row.quality, name)
        figure = figure_of(share)
        if figure is not None:
            found[row.setting, row.steps] = figure
    if not found:
        return []

    def cell(setting: str, steps: int) -> str:
        figure = found.get((setting, steps))
        if figure is None:
            return ""
        return f"{figure.value:.1%} ({100 * figure.low:.1f} to {100 * figure.high:.1f})"

    numbers = sorted({figure.n for figure in found.values()})
    title = f"### Right {name}, of {' or '.join(map(str, numbers))} pictures that ask for it\n"
    return [title, _table(cell, {steps for _, steps in found})]


def _table(cell: Callable[[str, int], str], measured: set[int]) -> str:
    steps = sorted(measured | set(STEPS))
    lines = [
        f"| steps | {' | '.join(map(str, steps))} |",
        f"|---|{'--:|' * len(steps)}",
        *(
            f"| {setting.name} | {' | '.join(cell(setting.name, each) for each in steps)} |"
            for setting in SETTINGS
        ),
    ]
    return "\n".join(lines) + "\n"


def _shapes(tables: Mapping[str, Distances]) -> str:
    found = {name: {each.claim: each for each in findings(table)} for name, table in tables.items()}
    claims = dict.fromkeys(claim for each in found.values() for claim in each)
    lines = [f"| claim | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    for claim in claims:
        cells = []
        for own in found.values():
            each = own.get(claim)
            cells.append(f"{WORDS[each.holds]}: {each.why}" if each else "not measured")
        lines.append(f"| {claim} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
