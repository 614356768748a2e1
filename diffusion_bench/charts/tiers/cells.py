"""A report's cells as workloads on known cards: what all that learns from reports begins with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from diffusion_bench.reports.digests import CellDigest, FailedDigest, ReportDigest, SharedDigest
from diffusion_bench.tiers.cards import Card, find_card
from diffusion_bench.tiers.workload import Workload, guided_at, model_named

REMEMBERED = 65_536  # workloads
NAMED = 3  # of the reports that a figure rests on


class KnownCards:
    """The cards of reports, each name looked up once: there are thousands of reports."""

    def __init__(self, cards: Sequence[Card] | None) -> None:
        self._cards = cards
        self._known: dict[tuple[str, float | None], Card | None] = {}
        self.found: dict[str, Card] = {}

    def of(self, digest: ReportDigest) -> Card | None:
        """Return the known card a report was measured on."""
        if not digest.on_gpu or digest.gpu is None:
            return None
        return self.named(digest.gpu, digest.gpu_memory_mib)

    def named(self, name: str, memory_mib: float | None) -> Card | None:
        """Return the known card by the driver's name."""
        key = (name, memory_mib)
        if key not in self._known:
            card = find_card(name, self._cards, memory_mib=memory_mib).card
            self._known[key] = card
            if card is not None:
                self.found[card.name] = card
        return self._known[key]


def card_words(gpus: Sequence[str], cards: Sequence[Card] | None) -> str:
    """Return the cards of a tier by their whole names; as typed what is not known."""
    matches = [(name, find_card(name, cards).card) for name in gpus]
    names = [card.name if card else name for name, card in matches]
    if len(names) > 1 and len(set(names)) == 1:
        return f"{len(names)} x {names[0]}"
    return " + ".join(names)


def asked_workload(cell: CellDigest | FailedDigest | SharedDigest) -> Workload | None:
    """Return what a cell asked for, `None` for a model nobody has counted."""
    return _workload(
        (cell.model, cell.sampler, cell.precision),
        (cell.width, cell.height, cell.batch, cell.steps),
        cell.guidance_scale,
    )


@lru_cache(maxsize=REMEMBERED)
def _workload(
    names: tuple[str, str, str], sizes: tuple[int, int, int, int], guidance_scale: float
) -> Workload | None:
    """Return a workload, remembered: thousands of reports measure the same few."""
    model, sampler, precision = names
    width, height, batch, steps = sizes
    try:
        known = model_named(model)
        return Workload.model_validate(
            {
                "model": known,
                "width": width,
                "height": height,
                "batch": batch,
                "precision": precision,
                "steps": steps,
                "sampler": sampler,
                "guided": guided_at(known, guidance_scale),
            }
        )
    except ValueError:  # a model nobody has counted, or a size nothing draws
        return None


def source_names(sources: Sequence[str]) -> str:
    """Return the names of a few of the reports that a figure rests on, and how many more."""
    names = list(dict.fromkeys(sources))
    more = f" and {len(names) - NAMED} more reports" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
