"""What several devices came to together, against each of them alone; computed when it is read.

pictures an hour    the pictures of a start over its seconds, from the common beginning to the
                    end of the last device
alone               those of the same request on one device while the others rest
efficiency          pictures an hour together over the sum of those alone: 1 is all there is
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from diffusion_bench.records import Record
from diffusion_bench.records.figures import figure
from diffusion_bench.reports.compare import UNEQUAL_WORK, unequal_work
from diffusion_bench.reports.intervals import Interval, median_interval
from diffusion_bench.reports.labels import name_among, report_labels, work_columns
from diffusion_bench.reports.privacy import without_home
from diffusion_bench.reports.schema import DeviceJob, Header, Report, SharedCell
from diffusion_bench.reports.shift import ratio_of_samples
from diffusion_bench.reports.verdicts import Verdict, absences, judge, why_absent

HOUR_S = 3600.0
FLAT_FIGURES = ("energy_per_image_j", "pictures", "images_per_hour", "efficiency", "speedup")


class SharedSummary(Record):
    """What the starts of a shared cell say. `None`: it cannot be told.

    `begin_apart_s` is the largest time between the first and the last device to begin. `speedup` is
    over the fastest device alone. `energy_per_image_j` is of all devices, until the last is done.
    """

    n: int
    pictures: int
    wall_s: float
    interval_s: Interval | None
    images_per_hour: float
    alone_per_hour: tuple[float | None, ...]
    efficiency: float | None
    speedup: float | None
    begin_apart_s: float
    energy_per_image_j: float | None


class SharedRow(Record):
    """One request, shared in one way by as many devices, in the baseline and in another report.

    `absent` is as in `compare.Row`.
    """

    cell: str
    baseline: str
    other: str
    verdict: Verdict
    ratio: float | None = None
    reason: str
    absent: tuple[str, str] = ("", "")

    def words(self) -> str:
        """Return it as one line of text."""
        return f"{self.cell}, {self.other} against {self.baseline}: {self.verdict} ({self.reason})"


def summarise_shared(cell: SharedCell) -> SharedSummary | None:
    """Return the statistics of a shared cell; `None` for one that did not end well."""
    walls = cell.wall_s
    if not walls:
        return None
    middle = median(walls)
    rate = HOUR_S * cell.pictures / middle
    alone = tuple(_alone_per_hour(job, cell) for job in cell.jobs)
    known = [one for one in alone if one is not None]
    begins = zip(*(job.begin_s for job in cell.jobs), strict=True)
    return SharedSummary(
        n=len(walls),
        pictures=cell.pictures,
        wall_s=middle,
        interval_s=median_interval(walls),
        images_per_hour=rate,
        alone_per_hour=alone,
        efficiency=rate / sum(known) if len(known) == len(alone) else None,
        speedup=rate / max(known) if known else None,
        begin_apart_s=max(max(each) - min(each) for each in begins),
        energy_per_image_j=_energy_j(cell, len(walls)),
    )


def device_names(cell: SharedCell, header: Header) -> tuple[str, ...]:
    """Return the hardware of each job: the card's name, or the processor's."""
    cards = {card.index: card.name for card in header.machine.gpus}
    untold = {"cpu": header.machine.cpu, "mps": cards.get(0, "mps")}  # a Mac has one GPU
    return tuple(
        untold.get(job.device, job.device)
        if job.gpu_index is None
        else cards.get(job.gpu_index, job.device)
        for job in cell.jobs
    )


def shared_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Return a row a shared cell, in words: what was shared how, and what it came to."""
    header = ["devices", "share", "work", "status", "n", "seconds", "images/h", "each alone"]
    header += ["efficiency", "began apart", "each: seconds, MiB, J", "labels", "message"]
    name = name_shared([report])
    return header, [_table_row(cell, report.header, name(cell)) for cell in report.shared]


def shared_rows(report: Report, label: str) -> list[dict[str, str | float | int | None]]:
    """Return a flat row a shared cell, in the columns of `export.to_rows` where they mean the same.

    `pictures` are those of one start, on all devices; the others are as in `SharedSummary`.
    """
    return [_flat_row(cell, report.header, label) for cell in report.shared]


def compare_shared(reports: Sequence[Report]) -> list[SharedRow]:
    """Return a row for every shared cell and every report but the first, which is the baseline."""
    if len(reports) < 2:
        return []
    labels = report_labels(reports)
    return [
        row
        for report, label in zip(reports[1:], labels[1:], strict=True)
        for row in _rows((reports[0], report), (labels[0], label))
    ]


def name_shared(reports: Sequence[Report]) -> Callable[[SharedCell], str]:
    """Return a function that names a shared cell in a few words that tell it from the others."""
    requests = [cell.request for report in reports for cell in report.shared]
    name = name_among(requests, with_model=True)
    return lambda cell: name(cell.request)


def name_whole(reports: Sequence[Report]) -> Callable[[SharedCell], str]:
    """Return a function that names a shared cell with the way it is shared, and by how many."""
    name = name_shared(reports)
    return lambda cell: f"{name(cell)}, {cell.share} on {len(cell.jobs)}"


def _alone_per_hour(job: DeviceJob, cell: SharedCell) -> float | None:
    return HOUR_S * cell.request.batch / median(job.alone_s) if job.alone_s else None


def _energy_j(cell: SharedCell, starts: int) -> float | None:
    found = [job.energy.total_j for job in cell.jobs if job.energy is not None]
    return sum(found) / (starts * cell.pictures) if len(found) == len(cell.jobs) else None


def _key(cell: SharedCell) -> tuple[object, ...]:
    return without_home(cell.request).workload_id(), cell.share, len(cell.jobs)


def _rows(reports: tuple[Report, Report], labels: tuple[str, str]) -> list[SharedRow]:
    old, new = ({_key(cell): cell for cell in report.shared} for report in reports)
    headers = (reports[0].header, reports[1].header)
    name, rows = name_whole(reports), []
    for key in {**old, **new}:
        cell = new.get(key) or old[key]
        named = {
            "cell": name(cell),
            "baseline": labels[0],
            "other": labels[1],
        }
        rows.append(_compared(headers, (old.get(key), new.get(key)), named))
    return rows


def _compared(
    headers: tuple[Header, Header],
    pair: tuple[SharedCell | None, SharedCell | None],
    named: dict[str, str],
) -> SharedRow:
    old, new = pair
    unequal = unequal_work(headers, (old.request, new.request)) if old and new else []
    if unequal:
        reason = f"{UNEQUAL_WORK}: {'; '.join(difference.words() for difference in unequal)}"
        return SharedRow(**named, verdict="cannot compare", reason=reason)
    absent = absences(old, new)
    if old is None or new is None or any(absent):
        why = why_absent(absent, (named["baseline"], named["other"]))
        return SharedRow(**named, verdict="cannot compare", reason=why, absent=absent)
    # Of unequal devices a start has other numbers of pictures: seconds a picture are compared.
    each = [[wall / cell.pictures for wall in cell.wall_s] for cell in (old, new)]
    ratio = ratio_of_samples(each[0], each[1])
    verdict, reason = judge(ratio, (len(each[0]), len(each[1])))
    return SharedRow(**named, verdict=verdict, ratio=ratio.middle, reason=reason)


def _table_row(cell: SharedCell, header: Header, name: str) -> list[str]:
    found = summarise_shared(cell)
    names = device_names(cell, header)
    devices = [f"{job.device} ({name})" for job, name in zip(cell.jobs, names, strict=True)]
    told = ["", "", "", "", "", ""]
    if found is not None:
        alone = [figure(one) or "cannot tell" for one in found.alone_per_hour]
        told = [
            str(found.n),
            figure(found.wall_s),
            figure(found.images_per_hour),
            " + ".join(alone),
            "cannot tell" if found.efficiency is None else f"{found.efficiency:.0%}",
            f"{1000 * found.begin_apart_s:.1f} ms",
        ]
    return [
        "; ".join(devices),
        _share_words(cell),
        name,
        cell.status,
        *told,
        "; ".join(_job_words(job) for job in cell.jobs),
        ", ".join(cell.labels),
        cell.message,
    ]


def _flat_row(cell: SharedCell, header: Header, label: str) -> dict[str, str | float | int | None]:
    request, found = cell.request, summarise_shared(cell)
    figures = found.model_dump() if found else {}
    interval = figures.get("interval_s") or {}
    return {
        "report": label,
        "device": "; ".join(device_names(cell, header)),
        "devices": ", ".join(job.device for job in cell.jobs),
        "share": _share_words(cell),
        **work_columns(request),
        "speed": str(request.speed),
        "guidance_scale": request.guidance_scale,
        "seed": request.seed,
        "status": cell.status,
        "message": cell.message,
        "repeats": figures.get("n"),
        "median_s": figures.get("wall_s"),
        "interval_low_s": interval.get("low"),
        "interval_high_s": interval.get("high"),
        "interval_confidence": interval.get("confidence"),
        **{name: figures.get(name) for name in FLAT_FIGURES},
        "labels": ", ".join(cell.labels),
        "prompt": request.prompt,
        "order": cell.order,
        "started_utc": cell.started_utc,
        "cell_id": cell.cell_id,
    }


def _share_words(cell: SharedCell) -> str:
    """Return "batch 4 + 4", "jobs 8 + 8", "jobs 3 x 8 + 8", or "model"."""
    if cell.share == "model":
        return "model"
    parts = [f"{j.calls} x {j.batch}" if j.calls > 1 else str(j.batch) for j in cell.jobs]
    return f"{cell.share} {' + '.join(parts)}"


def _job_words(job: DeviceJob) -> str:
    if not job.end_s:
        return job.status
    own = median(end - begin for begin, end in zip(job.begin_s, job.end_s, strict=True))
    memory = job.memory
    peaks = (memory.nvml_used_mib, memory.torch_reserved_mib, memory.rss_mib)
    peak = next((value for value in peaks if value is not None), None)
    told = [figure(own), figure(peak) or "cannot tell"]
    told.append(figure(job.energy.total_j / len(job.end_s)) if job.energy else "cannot tell")
    return ", ".join(told)
