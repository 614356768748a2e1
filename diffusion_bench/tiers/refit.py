"""Fit to the shipped published speeds again and write efficiency.toml.

python -m diffusion_bench.tiers.refit
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from diffusion_bench.tiers.efficiency import EFFICIENCY, Efficiency
from diffusion_bench.tiers.fit import fit_rows
from diffusion_bench.tiers.heldout import (
    LeftOut,
    fitted_rows,
    ratios_left_out,
    speeds_left_out,
    spreads_of,
)
from diffusion_bench.tiers.published import published_speeds
from diffusion_bench.tiers.scores import (
    after_one_without_source,
    score_absolute,
    score_after_one,
    score_other_cells,
    score_ratios,
)

HEADER = """\
# Written by `python -m diffusion_bench.tiers.refit` from published_speed.csv; do not edit.
# fit: what cards achieve (roofline.py). spreads: of the residuals of rows left out (calibrate.py).
# scores: errors on rows left out of the fit, |predicted / actual - 1|.
"""


def left_out() -> tuple[LeftOut, LeftOut]:
    """Return the shipped rows as told without a card, and as told without a source."""
    rows = fitted_rows(published_speeds())
    return LeftOut(rows, lambda row: row.card.name), LeftOut(rows, lambda row: row.group)


def refit(without_card: LeftOut, without_source: LeftOut) -> Efficiency:
    """Return the fit, its spreads and its scores, all from the same rows."""
    speeds = speeds_left_out(without_source)
    by_card, by_source = ratios_left_out(without_card), ratios_left_out(without_source)
    return Efficiency(
        fit=fit_rows(without_card.columns),
        spreads=spreads_of(speeds),
        scores={
            "ratio of two cards, one of them left out": score_ratios(by_card, speeds),
            "ratio of two cards, the source left out": score_ratios(by_source, speeds),
            "ratio of two cards, intervals without the source": score_ratios(
                by_source, speeds, without_source=True
            ),
            "absolute, from specifications alone": score_absolute(speeds),
            "absolute, after one report of another card": score_after_one(speeds),
            "absolute, after one report, intervals without the source": after_one_without_source(
                speeds
            ),
            "other batches of a measured card": score_other_cells(speeds),
        },
        rows=len(without_card.rows),
    )


def to_toml(values: dict[str, Any]) -> str:
    """Return nested tables of numbers as TOML, without what is `None`."""
    return HEADER + "\n".join(_lines(values, ())) + "\n"


def _lines(values: dict[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    numbers = {key: value for key, value in values.items() if isinstance(value, int | float)}
    if numbers and path:
        header = ".".join(f'"{name}"' for name in path)
        yield f"\n[{header}]"
    for key, value in numbers.items():
        yield f"{key} = {value:.6g}" if isinstance(value, float) else f"{key} = {value}"
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _lines(value, (*path, key))


def main(
    out: Annotated[
        Path, typer.Option(help="The TOML to write; that which predictions rest on if not given.")
    ] = EFFICIENCY,
) -> None:
    """Fit the efficiencies again on the published rows, write them, and print the scores."""
    efficiency = refit(*left_out())
    out.write_text(to_toml(efficiency.model_dump()), encoding="utf-8")
    for name, score in efficiency.scores.items():
        print(f"{name}: {score.model_dump(exclude_none=True)}")


if __name__ == "__main__":
    typer.run(main)
