"""Reports in figures: what a prediction learns from them, and what a list of them shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

from diffusion_bench.records import ImageRequest, Request, Speed
from diffusion_bench.reports.fits import above_line
from diffusion_bench.reports.labels import card_of, is_gpu, report_card
from diffusion_bench.reports.memory_fit import fit_verdict
from diffusion_bench.reports.schema import Cell, Header, Report, SharedCell
from diffusion_bench.reports.schema_machine import GpuCard
from diffusion_bench.reports.shared import summarise_shared
from diffusion_bench.reports.stats import summarise
from diffusion_bench.reports.unfinished import finished_ids

LIMITED = "power limit lowered"
LEAST_LOWERED_W = 1.0  # limits are whole watts in practice


class CellDigest(NamedTuple):
    """A measured cell in figures: what was asked, and seconds of a call with their interval.

    `labels` are joined by commas, `LIMITED` among them where the card's power limit was lowered.
    `n` counts the timed calls. `denoising_s` is the part of `median_s` that the steps take.
    `energy_j` is of one call, where it was measured. `memory_fit` is the verdict on a GPU's memory
    and `peak_mib` what it rests on, where they are known.
    """

    model: str
    sampler: str
    steps: int
    width: int
    height: int
    batch: int
    precision: str
    guidance_scale: float
    labels: str
    n: int
    median_s: float
    low_s: float | None
    high_s: float | None
    denoising_s: float
    energy_j: float | None
    memory_fit: str | None
    peak_mib: float | None


class FailedDigest(NamedTuple):
    """What was asked of a cell that ran out of a GPU's memory; `labels` are joined by commas."""

    model: str
    sampler: str
    steps: int
    width: int
    height: int
    batch: int
    precision: str
    guidance_scale: float
    labels: str


class SharedDigest(NamedTuple):
    """A cell of several devices in figures: what was asked and shared how, and what it came to.

    `labels` are as a `CellDigest`'s, of any of its cards. `gpus` are those by the driver's names
    with their memory and hash, nothing for a device that is none. `wall_s` is of one start, in
    which `pictures` were drawn by `n` timed ones.
    """

    model: str
    sampler: str
    steps: int
    width: int
    height: int
    batch: int
    precision: str
    guidance_scale: float
    labels: str
    share: str
    gpus: tuple[tuple[str, float | None, str | None], ...]
    n: int
    pictures: int
    parts: tuple[int, ...]
    wall_s: float
    efficiency: float | None
    speedup: float | None

    def made_foreign(self) -> SharedDigest:
        """Return it without the hashes of its cards."""
        return self._replace(gpus=tuple((name, memory, None) for name, memory, _ in self.gpus))


class ReportDigest(NamedTuple):
    """A report in figures: where it was measured, its cells that ended well or out of memory.

    `gpu` is the card it was measured on as the driver names it, `None` for a CPU and for a card
    that the header does not list; `gpu_hash` tells equal cards apart. `unfinished` counts the cells
    of its plan that a resumed sweep would measure.
    """

    source: str
    on_gpu: bool
    gpu: str | None
    gpu_memory_mib: float | None
    gpu_hash: str | None
    cpu: str
    cores_logical: int
    ram_mib: float
    unfinished: int
    cells: tuple[CellDigest, ...]
    shared: tuple[SharedDigest, ...] = ()
    failed: tuple[FailedDigest, ...] = ()

    def made_foreign(self) -> ReportDigest:
        """Return it as a report of another machine, whatever cards and processor it names."""
        shared = tuple(cell.made_foreign() for cell in self.shared)
        return self._replace(gpu_hash=None, cpu="", shared=shared)


ASKED = {"model", "sampler", "steps", "width", "height", "batch", "precision", "guidance_scale"}
NOTHING = ReportDigest("", False, None, None, None, "", 0, 0.0, 0, ())


def digest_of(report: Report) -> ReportDigest:
    """Return a report in figures."""
    header = report.header
    card = report_card(report)
    planned = set(header.planned_ids())
    slow = above_line(report.cells) if is_gpu(header) else set()
    cells = (_cell_digest(cell, header, slow=cell.cell_id in slow) for cell in report.cells)
    return ReportDigest(
        source=report.source,
        on_gpu=is_gpu(header),
        gpu=card.name if card else None,
        gpu_memory_mib=card.memory_total_mib if card else None,
        gpu_hash=card.uuid_hash if card else None,
        cpu=header.machine.cpu,
        cores_logical=header.machine.cores_logical,
        ram_mib=header.machine.ram_mib,
        unfinished=len(planned - finished_ids(report)),
        cells=tuple(filter(None, cells)),
        shared=tuple(filter(None, (_shared_digest(cell, header) for cell in report.shared))),
        failed=tuple(filter(None, (_failed_digest(cell, header) for cell in report.cells))),
    )


def _shared_digest(cell: SharedCell, header: Header) -> SharedDigest | None:
    summary = summarise_shared(cell)
    request = cell.request
    if summary is None or not _is_plain(request):
        return None
    cards = {card.index: card for card in header.machine.gpus}
    found = [cards.get(job.gpu_index) for job in cell.jobs if job.gpu_index is not None]
    return SharedDigest(
        **_asked(request),
        labels=_labels(cell, found),
        share=cell.share,
        gpus=tuple((one.name, one.memory_total_mib, one.uuid_hash) for one in found if one),
        n=summary.n,
        pictures=summary.pictures,
        parts=tuple(job.batch * job.calls for job in cell.jobs),
        wall_s=summary.wall_s,
        efficiency=summary.efficiency,
        speedup=summary.speedup,
    )


def _failed_digest(cell: Cell, header: Header) -> FailedDigest | None:
    # A card that is made smaller than it is says nothing of itself.
    whole = is_gpu(header) and header.plan.emulated_memory_mib is None
    if cell.status != "oom" or not whole or not _is_plain(cell.request):
        return None
    return FailedDigest(**_asked(cell.request), labels=",".join(cell.labels))


def _is_plain(request: Request) -> TypeGuard[ImageRequest]:
    """Return whether pictures are drawn in diffusers' own way, the only one that is predicted."""
    return isinstance(request, ImageRequest) and request.speed == Speed()


def _cell_digest(cell: Cell, header: Header, *, slow: bool) -> CellDigest | None:
    summary = summarise(cell)
    if summary is None or not _is_plain(cell.request):
        return None
    interval = summary.interval_s
    memory = fit_verdict(cell, header, slow=slow) if is_gpu(header) else None
    return CellDigest(
        **_asked(cell.request),
        labels=_labels(cell, [card_of(cell, header)]),
        n=summary.n,
        median_s=summary.median_s,
        low_s=interval.low if interval else None,
        high_s=interval.high if interval else None,
        denoising_s=summary.stages.denoising_s,
        energy_j=summary.energy_j,
        memory_fit=memory.verdict if memory else None,
        peak_mib=memory.used_mib if memory else None,
    )


def _labels(cell: Cell | SharedCell, cards: Sequence[GpuCard | None]) -> str:
    """Return a cell's labels, and `LIMITED` where one of its cards was set to draw less."""
    return ",".join([*cell.labels, *([LIMITED] if any(map(_is_limited, cards)) else [])])


def _is_limited(card: GpuCard | None) -> bool:
    """Return whether a card was set to draw less than one that nobody touched."""
    limit_w, usual_w = (card.power_limit_w, card.power_limit_default_w) if card else (None, None)
    return limit_w is not None and usual_w is not None and limit_w < usual_w - LEAST_LOWERED_W


def _asked(request: ImageRequest) -> dict[str, Any]:
    """Return the fields with which every kind of digest begins."""
    return request.model_dump(include=ASKED)
