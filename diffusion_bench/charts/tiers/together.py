"""What two cards were measured to do together, as evidence beside what is predicted of them.

Figures of many reports of one cell are one, by the median; reports of this machine and imported
ones are two kinds, and neither is mixed with a prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from diffusion_bench.records import Record
from diffusion_bench.reports.digests import SharedDigest
from diffusion_bench.tiers.evidence import EvidenceKind
from diffusion_bench.tiers.figures import figure_words
from diffusion_bench.tiers.workload import Workload

WAYS = {"jobs": "two jobs", "batch": "one batch split", "model": "one model split"}
HOUR_S = 3600.0


class Together(Record):
    """One way of using two cards as it was measured.

    `seconds` is of one start, in which `share` pictures were drawn on each card; `efficiency` is
    images an hour over the sum of what each card did alone, `speedup` over the faster one alone.
    `starts` counts the timed starts. `limited`: one card's power limit was lowered.
    """

    kind: EvidenceKind
    way: str
    cards: tuple[str, ...]
    workload: Workload
    seconds: float
    images_per_hour: float
    efficiency: float | None
    speedup: float | None
    share: tuple[int, ...]
    starts: int
    reports: int
    source: str
    limited: bool = False

    def in_order(self, names: Sequence[str]) -> Together:
        """Return it with its cards, and the share of each, in the order of these names of them."""
        places = sorted(range(len(names)), key=lambda place: names[place])
        parts = dict(zip(places, self.share, strict=True))
        share = tuple(parts[place] for place in range(len(names)))
        return self.model_copy(update={"cards": tuple(names), "share": share})

    @property
    def words(self) -> str:
        """Return the figures in a line."""
        share = "" if self.way == "one model split" else f" ({' + '.join(map(str, self.share))})"
        told = [f"{self.way}{share}: {figure_words(self.images_per_hour)} images/h"]
        if self.efficiency is not None:
            told.append(f"{self.efficiency:.0%} of the sum of each alone")
        if self.speedup is not None:
            told.append(f"{self.speedup:.2f} times the faster card")
        told.append(f"{self.kind}, {self.starts} starts, {self.source}")
        told += ["at a lowered power limit"] if self.limited else []
        return ", ".join(told)


def merged(
    cells: Sequence[SharedDigest],
    *,
    cards: tuple[str, ...],
    workload: Workload,
    here: bool,
    source: str,
    limited: bool,
) -> Together:
    """Return the figures of cells of the same cards, workload and share as one."""
    rates = [HOUR_S * cell.pictures / cell.wall_s for cell in cells]
    middle = sorted(cells, key=lambda cell: cell.wall_s / cell.pictures)[len(cells) // 2]
    return Together(
        kind="measured here" if here else "imported report",
        way=WAYS[middle.share],
        cards=cards,
        workload=workload,
        seconds=middle.wall_s,
        images_per_hour=median(rates),
        efficiency=_middle(cell.efficiency for cell in cells),
        speedup=_middle(cell.speedup for cell in cells),
        share=middle.parts,
        starts=sum(cell.n for cell in cells),
        reports=len(cells),
        source=source,
        limited=limited,
    )


def _middle(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
