"""What reports measured, as evidence for tiers: figures of many reports of one cell are one.

A report of another machine counts as imported, one of this machine's card as measured here; the
two are never mixed. Cells that measure something else than the card are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from statistics import median, quantiles
from typing import Any, NamedTuple

from diffusion_bench.charts.measured_here import same_host
from diffusion_bench.charts.tiers.cells import (
    REMEMBERED,
    KnownCards,
    asked_workload,
    source_names,
)
from diffusion_bench.charts.tiers.fits import MeasuredFit, fits_of
from diffusion_bench.charts.tiers.left_out import LeftOut, left_out_of, why_left_out
from diffusion_bench.charts.tiers.together import Together, merged
from diffusion_bench.reports.digests import LIMITED, CellDigest, ReportDigest, SharedDigest
from diffusion_bench.tiers.calibrate import Residual
from diffusion_bench.tiers.cards import Card
from diffusion_bench.tiers.evidence import Evidence
from diffusion_bench.tiers.knowledge import Knowledge
from diffusion_bench.tiers.predict import residual_of
from diffusion_bench.tiers.workload import TimedCell, Workload

MANY = 5  # reports from which on their spread is given by percentiles


class Here(NamedTuple):
    """What reports know of the machine at hand: hashes of its GPUs, processor, threads, memory."""

    gpu_hashes: frozenset[str] = frozenset()
    cpu: str | None = None
    cores_logical: int = 0
    ram_mib: float = 0.0

    def has_measured(self, digest: ReportDigest) -> bool:
        """Return whether a report of a processor names this machine's, and as much memory."""
        return same_host(self, digest)


class Measured(NamedTuple):
    """A cell measured on a known card, by one report or by several.

    `seconds` is of one call: the median, over reports where there are several, and then the
    interval is as `spread_words` says. `calls` counts timed calls. `energy_j` is of one call, where
    it was measured. `spilled`: into the machine's memory, by one report at least. `limited`: on a
    card whose power limit was lowered. `numbers` are its reports' places: names may be alike.
    """

    card: Card
    workload: Workload
    seconds: float
    seconds_low: float | None
    seconds_high: float | None
    denoising_s: float
    energy_j: float | None
    calls: int
    source: str
    numbers: frozenset[int]
    here: bool
    spilled: bool
    limited: bool

    @property
    def reports(self) -> int:
        """Return how many reports measured it."""
        return len(self.numbers)

    @property
    def rests_on(self) -> str:
        """Return the reports, and what is to be known of how they measured it."""
        told = [self.source]
        told += ["spilled into the machine's memory"] if self.spilled else []
        told += ["at a lowered power limit"] if self.limited else []
        return ", ".join(told)


class Findings(NamedTuple):
    """What reports have to say of cards: their cells as evidence, and what predictions rest on."""

    measured: tuple[Measured, ...] = ()
    knowledge: Knowledge = Knowledge()
    together: tuple[Together, ...] = ()
    fits: tuple[MeasuredFit, ...] = ()


def findings_of(
    digests: Sequence[ReportDigest],
    here: Here | None = None,
    cards: Sequence[Card] | None = None,
) -> Findings:
    """Return what reports say of known cards; `here` tells this machine's reports from others'."""
    this = here or Here()
    measured = measured_of(digests, this, cards)
    own = {one.card.name: cells_on(digests, this, one.card, cards) for one in measured if one.here}
    return Findings(
        measured=tuple(measured),
        knowledge=Knowledge(
            residuals_of(measured, [user_of(digest, this) for digest in digests]), own
        ),
        together=tuple(together_of(digests, this, cards)),
        fits=tuple(fits_of(digests, this.gpu_hashes, cards)),
    )


def measured_of(
    digests: Iterable[ReportDigest],
    here: Here | None = None,
    cards: Sequence[Card] | None = None,
) -> list[Measured]:
    """Return the cells of reports that measure a known model on a known card."""
    this, cards_by_name = here or Here(), KnownCards(cards)
    groups: dict[tuple[str, bool, bool, Workload], list[tuple[CellDigest, str, int]]] = {}
    for number, digest in enumerate(digests):
        card = cards_by_name.of(digest)
        if card is None:
            continue
        is_here = digest.gpu_hash is not None and digest.gpu_hash in this.gpu_hashes
        for cell in digest.cells:
            workload = _fair_workload(cell)
            if workload is not None:
                key = (card.name, is_here, _is_limited(cell), _any_sampler(workload))
                groups.setdefault(key, []).append((cell, digest.source, number))
    return [
        _merged(cards_by_name.found[name], is_here, group)
        for (name, is_here, _, _), group in groups.items()
    ]


def together_of(
    digests: Iterable[ReportDigest],
    here: Here | None = None,
    cards: Sequence[Card] | None = None,
) -> list[Together]:
    """Return what known cards were measured to do together at a known model."""
    this, cards_by_name = here or Here(), KnownCards(cards)
    groups: dict[tuple[Any, ...], list[tuple[SharedDigest, str]]] = {}
    for digest in digests:
        for cell in digest.shared:
            found = [cards_by_name.named(name, memory) for name, memory, _ in cell.gpus]
            workload = _fair_workload(cell)
            if len(cell.gpus) < len(cell.parts) or None in found or workload is None:
                continue
            is_here = all(hashed in this.gpu_hashes for *_, hashed in cell.gpus)
            # One order of the cards for all reports, whichever of them torch has numbered first.
            own = zip((card.name for card in found if card), cell.parts, strict=True)
            names, parts = zip(*sorted(own, key=lambda one: one[0]), strict=True)
            key = (names, is_here, _is_limited(cell), _any_sampler(workload), cell.share)
            groups.setdefault(key, []).append((cell._replace(parts=parts), digest.source))
    return [
        merged(
            [cell for cell, _ in group],
            cards=names,
            workload=workload,
            here=is_here,
            source=source_names([source for _, source in group]),
            limited=is_limited,
        )
        for (names, is_here, is_limited, workload, _), group in groups.items()
    ]


def user_of(digest: ReportDigest, here: Here) -> str:
    """Return what tells one user's reports from another's, "" for ours.

    That is the machine, whatever card is in it: nobody has to say who he is.
    """
    if here.has_measured(digest):
        return ""
    return f"{digest.cpu}, {digest.cores_logical} threads, {digest.ram_mib / 1024:.0f} GiB"


def residuals_of(measured: Iterable[Measured], users: Sequence[str] = ()) -> list[Residual]:
    """Return what measured cells say of the model's predictions, ours before others' of a cell.

    A cell that spilled says how slow the bus is, and nothing of the card; one of somebody's card
    with a lowered power limit says nothing of a card that nobody touched, and of ours the cell
    without one counts. Ours bound what is predicted of their card, and so do those of its only
    report. `users` made the reports, by their numbers; a median of several users is one of its own.
    """
    best: dict[tuple[str, Workload], Measured] = {}
    for one in sorted(measured, key=lambda one: (not one.here, one.limited)):
        if not one.spilled and (one.here or not one.limited):
            best.setdefault((one.card.name, _any_sampler(one.workload)), one)
    reports: dict[str, set[int]] = defaultdict(set)
    for one in best.values():
        reports[one.card.name] |= one.numbers
    found = []
    for one in best.values():
        try:
            told = residual_of(one.card, one.workload, one.seconds, _user(one, users))
        except ValueError:  # bf16 on a card that, by its specification, has none
            continue
        of_one_machine = one.here or len(reports[one.card.name]) == 1
        found.append(told if of_one_machine else told.model_copy(update={"seconds": None}))
    return found


def _user(one: Measured, users: Sequence[str]) -> str:
    """Return whose measurement it is, "" where it is ours or nobody is told."""
    if one.here or not users:
        return ""
    return " and ".join(sorted({users[number] for number in one.numbers}))


def cells_on(
    digests: Iterable[ReportDigest],
    here: Here,
    card: Card | None = None,
    cards: Sequence[Card] | None = None,
) -> list[TimedCell]:
    """Return the cells this machine measured on a card of its own, or on its processor."""
    cards_by_name = KnownCards(cards)
    found: list[TimedCell] = []
    for digest in digests:
        if card is None:
            mine = _of_this_processor(digest, here)
        else:
            mine = digest.gpu_hash in here.gpu_hashes and cards_by_name.of(digest) == card
        if mine:
            found += timed_cells(digest)
    return found


def cells_on_gpu(digests: Iterable[ReportDigest], gpu_hash: str) -> list[TimedCell]:
    """Return the cells that were measured on one GPU, whether or not its card is known."""
    mine = (digest for digest in digests if digest.on_gpu and digest.gpu_hash == gpu_hash)
    return [cell for digest in mine for cell in timed_cells(digest)]


def left_out_here(digests: Iterable[ReportDigest], here: Here) -> list[LeftOut]:
    """Return the cells this machine measured on its processor that were left out."""
    return left_out_of(digest for digest in digests if _of_this_processor(digest, here))


def _of_this_processor(digest: ReportDigest, here: Here) -> bool:
    return not digest.on_gpu and here.has_measured(digest)


def timed_cells(digest: ReportDigest) -> list[TimedCell]:
    """Return a report's cells that measure its machine, unspilled, at a model that was counted."""
    pairs = ((cell, _fair_workload(cell)) for cell in digest.cells)
    return [
        TimedCell(workload, cell.median_s, cell.denoising_s)
        for cell, workload in pairs
        if workload is not None and cell.memory_fit != "spilled"
    ]


@lru_cache(maxsize=REMEMBERED)
def _any_sampler(workload: Workload) -> Workload:
    """Return a workload with its sampler forgotten: it hardly matters to a card."""
    return workload.model_copy(update={"sampler": "any", "steps": workload.calls})


def _fair_workload(cell: CellDigest | SharedDigest) -> Workload | None:
    """Return a cell's workload, `None` where there is nothing to learn from it."""
    return None if why_left_out(cell) else asked_workload(cell)


def _is_limited(cell: CellDigest | SharedDigest) -> bool:
    return LIMITED in cell.labels.split(",")


def _merged(card: Card, here: bool, group: Sequence[tuple[CellDigest, str, int]]) -> Measured:
    cells = [cell for cell, *_ in group]
    middle = sorted(cells, key=lambda cell: cell.median_s)[len(cells) // 2]
    seconds = [cell.median_s for cell in cells]
    energies = [cell.energy_j for cell in cells if cell.energy_j is not None]
    workload = _fair_workload(middle)
    assert workload is not None, middle
    numbers = frozenset(number for *_, number in group)
    low, high = _interval(cells, len(numbers))
    return Measured(
        card=card,
        workload=workload,
        seconds=median(seconds),
        seconds_low=low,
        seconds_high=high,
        denoising_s=median(cell.denoising_s for cell in cells),
        energy_j=median(energies) if energies else None,
        calls=sum(cell.n for cell in cells),
        source=source_names([source for _, source, _ in group]),
        numbers=numbers,
        here=here,
        spilled=any(cell.memory_fit == "spilled" for cell in cells),
        limited=_is_limited(middle),
    )


def interval_words(one: Evidence) -> str:
    """Return what the interval of a figure is, "" where it has none and tells of no reports."""
    if one.reports and one.reports > 1:
        return spread_words(one.reports)
    if one.seconds_low is None:
        return ""
    return "80 % interval" if one.kind == "predicted" else "95 % interval of the median"


def spread_words(reports: int) -> str:
    """Return what the interval of a figure of several reports is."""
    return "the interval holds 80 % of them" if reports >= MANY else "the interval is their range"


def _interval(cells: Sequence[CellDigest], reports: int) -> tuple[float | None, float | None]:
    if reports == 1:  # of one sampler, or of several
        lows = [cell.low_s for cell in cells if cell.low_s is not None]
        highs = [cell.high_s for cell in cells if cell.high_s is not None]
        return (min(lows), max(highs)) if len(lows) == len(highs) == len(cells) else (None, None)
    seconds = [cell.median_s for cell in cells]
    if reports < MANY:
        return min(seconds), max(seconds)
    tenths = quantiles(seconds, n=10, method="inclusive")
    return tenths[0], tenths[-1]
