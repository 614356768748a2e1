"""What a card can run: a row a model at its usual size, with verdict, time and largest batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from diffusion_bench.charts.tiers.fits import verdict_words
from diffusion_bench.charts.tiers.measured import Findings
from diffusion_bench.charts.tiers.numbers import TierRow, alone_on
from diffusion_bench.charts.tiers.speech import SpeechRow
from diffusion_bench.records import BUNDLED_MODEL, BUNDLED_SIDE
from diffusion_bench.tiers.cards import Card
from diffusion_bench.tiers.cost import known_models
from diffusion_bench.tiers.evidence import Evidence, EvidenceKind
from diffusion_bench.tiers.memory import Ram
from diffusion_bench.tiers.roofline import AMPERE
from diffusion_bench.tiers.rows import need_of
from diffusion_bench.tiers.voice_workload import (
    VoiceWorkload,
    is_voice_workload,
    parse_voice_workload,
)
from diffusion_bench.tiers.workload import Software, Workload, parse_workload

# Each model as its makers use it; those in bf16 are fp16's size, and overflow in fp16.
USUAL = {
    BUNDLED_MODEL: f"{BUNDLED_MODEL} {BUNDLED_SIDE}x{BUNDLED_SIDE} b1 fp32 20",
    "sd15": "sd15 512x512 b1 fp16 20",
    "sd21": "sd21 768x768 b1 fp16 20",
    "sdxl": "sdxl 1024x1024 b1 fp16 30",
    "sdxl-turbo": "sdxl-turbo 512x512 b1 fp16 1",
    "ssd-1b": "ssd-1b 1024x1024 b1 fp16 30",
    "pixart-sigma": "pixart-sigma 1024x1024 b1 fp16 20",
    "sana": "sana 1024x1024 b1 bf16 20",
    "sd3-medium": "sd3-medium 1024x1024 b1 fp16 28",
    "sd35-medium": "sd35-medium 1024x1024 b1 bf16 28",
    "flux1-schnell": "flux1-schnell 1024x1024 b1 bf16 4",
    "flux1-dev": "flux1-dev 1024x1024 b1 bf16 28",
}
# What `tiers` and its tab show when nothing else is asked for.
SHOWN = (
    "sd15 512x512 b4 fp16 20",
    "sdxl 1024x1024 b1 fp16 30",
    "sd35-medium 1024x1024 b1 bf16 28",
    "flux1-schnell 1024x1024 b1 bf16 4",
)
LARGEST_BATCH = 64
NO_ROOM = "does not fit"


class Runnable(NamedTuple):
    """One model on one card. `None` where it cannot be told; `reason` says why.

    `largest_batch` is predicted to fit without a remedy, 0 where not even one picture is; `None`
    where what was measured says otherwise. `fit_kind`, `fit_basis` and `peak_gib` as in `TierRow`.
    """

    workload: Workload
    fit: str | None
    memory_gib: float | None
    memory_gib_low: float | None
    memory_gib_high: float | None
    seconds_per_image: float | None
    seconds_per_image_low: float | None
    seconds_per_image_high: float | None
    largest_batch: int | None
    evidence: Evidence | None
    reason: str = ""
    fit_kind: EvidenceKind = "predicted"
    fit_basis: str = ""
    peak_gib: float | None = None

    @property
    def verdict(self) -> str:
        """Return the verdict as tables show it."""
        return verdict_words(self.fit, self.fit_kind)

    @property
    def batch_words(self) -> str:
        """Return the largest batch as tables show it, empty where it cannot be told."""
        if self.largest_batch is None:
            return ""
        more = " or more" if self.largest_batch == LARGEST_BATCH else ""
        return f"{self.largest_batch or 'none'}{more}"

    @property
    def rests_on(self) -> str:
        """Return what is to be known of the row, what its time rests on, and its verdict."""
        time = f"{self.evidence.kind}: {self.evidence.source}" if self.evidence else ""
        return "; ".join(filter(None, (self.reason, time, self.fit_basis)))


class Room(NamedTuple):
    """A card or a machine by name, the memory it gives, and what it can run.

    `speech` where it was asked.
    """

    name: str
    memory_gib: float
    runs: tuple[Runnable, ...]
    speech: tuple[SpeechRow, ...] = ()


def usual_workloads() -> list[Workload]:
    """Return each counted model as it is usually used."""
    return [parse_workload(USUAL[name]) for name in known_models() if name in USUAL]


def shown_workloads(texts: Sequence[str] = ()) -> list[Workload]:
    """Return the workloads in these words, or those that are shown when none is asked for."""
    known = [text for text in SHOWN if text.split()[0] in known_models()]
    return [parse_workload(text) for text in texts or known]


def asked_workloads(texts: Sequence[str] = ()) -> tuple[list[Workload], list[VoiceWorkload]]:
    """Return the pictures and the speech in these words; those shown when nothing is asked for."""
    spoken = [text for text in texts if is_voice_workload(text)]
    drawn = [text for text in texts if text not in spoken]
    pictures = [] if spoken and not drawn else shown_workloads(drawn)
    return pictures, [parse_voice_workload(text) for text in spoken]


def runnable_on(
    card: Card,
    findings: Findings | None = None,
    *,
    ram_gib: float | None = None,
    workloads: Sequence[Workload] = (),
) -> Room:
    """Return what a card can run; `ram_gib` holds what is offloaded, `None` is enough of it."""
    known = findings or Findings()
    found = []
    for asked in workloads or usual_workloads():
        workload, note = _on_its_precision(asked, card)
        row = alone_on(card, workload, known, Ram(ram_gib))
        found.append(
            Runnable(
                workload=workload,
                fit=row.fit,
                memory_gib=row.memory_gib,
                memory_gib_low=row.memory_gib_low,
                memory_gib_high=row.memory_gib_high,
                seconds_per_image=row.seconds_per_image,
                seconds_per_image_low=row.seconds_per_image_low,
                seconds_per_image_high=row.seconds_per_image_high,
                largest_batch=_largest_batch(card, row),
                evidence=row.evidence[0] if row.evidence else None,
                reason=row.reason or note,
                fit_kind=row.fit_kind,
                fit_basis=row.fit_basis,
                peak_gib=row.peak_gib,
            )
        )
    return Room(card.name, card.reported_mib / 1024, tuple(found))


def _on_its_precision(workload: Workload, card: Card) -> tuple[Workload, str]:
    """Return a workload in a precision that the card has, and what that means."""
    if workload.precision != "bf16" or (card.bf16 and card.capability >= AMPERE):
        return workload, ""
    note = f"in fp16, since {card.name} has no bf16; the model was made for bf16"
    return workload.model_copy(update={"precision": "fp16"}), note


def _largest_batch(card: Card, row: TierRow) -> int | None:
    """Return the largest batch of a row's workload, unless what was measured contradicts it."""
    if row.fit is None:
        return None
    found = largest_batch(card.vram_mib, row.workload)
    enough = found >= min(row.workload.batch, LARGEST_BATCH)
    return found if row.ran in (None, enough) else None


def largest_batch(vram_mib: float, workload: Workload) -> int:
    """Return the most pictures that so much memory surely holds at once, to `LARGEST_BATCH`."""

    def fits(batch: int) -> bool:
        asked = workload.model_copy(update={"batch": batch})
        return need_of(asked, Software()).high_mib <= vram_mib

    low, high = 0, LARGEST_BATCH + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def runnable_table(room: Room) -> tuple[list[str], list[list[Any]]]:
    """Return a row a model."""
    header = [
        "workload",
        "verdict",
        "needs, predicted (GiB)",
        "from",
        "to",
        "measured peak (GiB)",
        "s/image",
        "from",
        "to",
        "largest batch sure to fit (predicted)",
        "evidence",
        "rests on",
    ]
    rows: list[list[Any]] = [
        [
            one.workload.name,
            one.verdict,
            one.memory_gib,
            one.memory_gib_low,
            one.memory_gib_high,
            one.peak_gib,
            one.seconds_per_image,
            one.seconds_per_image_low,
            one.seconds_per_image_high,
            one.batch_words,
            one.evidence.kind if one.evidence else "none",
            one.rests_on,
        ]
        for one in room.runs
    ]
    return header, rows
