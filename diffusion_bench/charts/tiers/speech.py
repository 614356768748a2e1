"""What each tier of an upgrade path does with speech: predicted, in figures and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffusion_bench.charts.tiers.cells import card_words
from diffusion_bench.records import Record
from diffusion_bench.tiers.cards import Card, find_card
from diffusion_bench.tiers.path import Tier, UpgradePath
from diffusion_bench.tiers.voice_predict import VoicePrediction, predict_voice
from diffusion_bench.tiers.voice_workload import VoiceWorkload

NO_ROOM = "does not fit"
HEADER = (
    "tier",
    "card",
    "speech",
    "real-time factor",
    "from",
    "to",
    "s",
    "GiB",
    "fit",
    "held back by",
    "evidence",
    "rests on",
)


class SpeechRow(Record):
    """One tier and one workload. `prediction` is of the faster card; without one `reason` says why.

    Of what does not fit, the prediction's memory is to be shown and not its time.
    """

    tier: str
    card: str
    workload: VoiceWorkload
    prediction: VoicePrediction | None = None
    reason: str = ""

    @property
    def timed(self) -> VoicePrediction | None:
        """Return the prediction where its time means something."""
        fits = self.prediction is not None and self.prediction.fit != NO_ROOM
        return self.prediction if fits else None


def speech_rows(
    path: UpgradePath, workloads: Sequence[VoiceWorkload], cards: Sequence[Card] | None = None
) -> list[SpeechRow]:
    """Return a row for each tier and workload, in their order."""
    return [_row(tier, workload, cards) for workload in workloads for tier in path.tiers]


def speech_on(card: Card, workload: VoiceWorkload) -> SpeechRow:
    """Return what one card does, as a row without a tier."""
    row = SpeechRow(tier="", card=card.name, workload=workload)
    try:
        found = predict_voice(card, workload)
    except ValueError as error:
        return row.model_copy(update={"reason": str(error)})
    reason = f"it does not fit {card.name}" if found.fit == NO_ROOM else ""
    return row.model_copy(update={"prediction": found, "reason": reason})


def _row(tier: Tier, workload: VoiceWorkload, cards: Sequence[Card] | None) -> SpeechRow:
    names = card_words(tier.gpus, cards)
    row = SpeechRow(tier=tier.name, card=names, workload=workload)
    matches = [find_card(name, cards) for name in tier.gpus]
    unknown = next((match.reason for match in matches if match.card is None), None)
    if unknown:
        return row.model_copy(update={"reason": unknown})
    alone = [speech_on(match.card, workload) for match in matches if match.card is not None]
    best = min(alone, key=_untold_and_slow)
    named = best.card if len(alone) == 1 else f"{best.card} of {names}"
    return best.model_copy(update={"tier": tier.name, "card": named})


def _untold_and_slow(row: SpeechRow) -> tuple[bool, float]:
    """Return what the best of a tier's cards has least of."""
    return row.prediction is None, row.timed.seconds if row.timed else float("inf")


def speech_table(rows: Sequence[SpeechRow]) -> tuple[list[str], list[list[Any]]]:
    """Return a row a tier and workload; what cannot be told is `None`."""
    return list(HEADER), [_cells(row) for row in rows]


def _cells(row: SpeechRow) -> list[Any]:
    found, timed = row.prediction, row.timed
    return [
        row.tier,
        row.card,
        row.workload.name,
        timed and timed.real_time_factor,
        timed and timed.real_time_factor_low,
        timed and timed.real_time_factor_high,
        timed and timed.seconds,
        found and found.need.peak_mib / 1024,
        found.fit if found else "cannot tell",
        timed and timed.limit,
        found.kind if found else "none",
        row.reason or (found.basis if found else ""),
    ]
