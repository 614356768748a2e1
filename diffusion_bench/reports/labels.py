"""Names for reports, devices and cells that tell apart what is shown together, and no more."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from diffusion_bench.records import Request, Speed, VoiceRequest
from diffusion_bench.reports.schema import Cell, GpuCard, Header, Report

LONGEST_PROMPT = 24  # characters of a prompt in a label
# What a request that stands alone is named by only where it is not the usual.
SETTINGS = ("precision", "guidance_scale", "seed", "speed")


def is_gpu(header: Header) -> bool:
    """Return whether a report was measured on a GPU: CUDA's, which ROCm's are too, or Apple's."""
    return _gpu_number(header) is not None


def gpu_card(header: Header) -> GpuCard | None:
    """Return the card that a report was measured on; `None` for a CPU and an unknown card.

    An older header has torch's number of the card only, which may be another for the driver.
    """
    number, uuid_hash = _gpu_number(header), header.plan.gpu_uuid_hash
    if number is not None and uuid_hash is not None:
        return next((card for card in header.machine.gpus if card.uuid_hash == uuid_hash), None)
    return card_numbered(number, header)


def card_of(cell: Cell, header: Header) -> GpuCard | None:
    """Return the card that a cell ran on, the header's where the cell does not tell."""
    if cell.gpu_index is None:
        return gpu_card(header)
    return card_numbered(cell.gpu_index, header)


def card_numbered(index: int | None, header: Header) -> GpuCard | None:
    """Return the card of that number of the driver's."""
    return next((card for card in header.machine.gpus if card.index == index), None)


def report_card(report: Report) -> GpuCard | None:
    """Return the card that a report was measured on, as its cells have it where they tell."""
    header = report.header
    jobs = [job for cell in report.shared for job in cell.jobs if job.device == header.plan.device]
    told = {cell.gpu_index for cell in report.cells} | {job.gpu_index for job in jobs}
    told -= {None}
    if is_gpu(header) and header.plan.gpu_uuid_hash is None and len(told) == 1:
        return card_numbered(told.pop(), header)
    return gpu_card(header)


def device_name(report: Report) -> str:
    """Return the name of what a report was measured on: the GPU's, or the processor's."""
    header = report.header
    if not is_gpu(header):
        return header.machine.cpu
    card = report_card(report)
    return card.name if card else header.plan.device


def emulated_words(header: Header) -> str:
    """Return to how much memory a sweep was held, "" where it had all of its device's."""
    mib = header.plan.emulated_memory_mib
    return "" if mib is None else f"{mib / 1024:.4g} GiB of emulated memory"


def report_labels(reports: Sequence[Report]) -> list[str]:
    """Return a name a report, all different: the machine where it differs, and the file.

    A single report gets the empty name.
    """
    if len(reports) < 2:
        return ["" for _ in reports]
    machines = [device_name(report) for report in reports]
    files = [report.source or report.header.report_id for report in reports]
    if len(set(machines)) > 1:
        labels = [f"{machine}, {file}" for machine, file in zip(machines, files, strict=True)]
    else:
        labels = files
    return _numbered(labels)


def size(request: Request) -> str:
    """Return how large the work is: "64x64", or "12 words" of speech."""
    if isinstance(request, VoiceRequest):
        words = len(request.text.split())
        return f"{words} word{'s' if words != 1 else ''}"
    return f"{request.width}x{request.height}"


def work_columns(request: Request) -> dict[str, str | int]:
    """Return the columns that say what the work was, as the exports name them."""
    return {
        "model": request.model,
        "sampler": sampler(request),
        "steps": request.steps,
        "resolution": size(request),
        "batch": request.batch,
        "precision": request.precision,
    }


def sampler(request: Request) -> str:
    """Return "ddpm", "ddim", or "ddim eta 0.5"."""
    return f"{request.sampler} eta {request.eta:g}" if request.eta else request.sampler


def name_request(request: Request) -> str:
    """Return a request in a few words, with those of its settings that are not the usual."""
    usual = {field: type(request).model_fields[field].default for field in SETTINGS}
    return name_among([request, request.model_copy(update=usual)])(request)


def name_among(
    requests: Sequence[Request], *, with_model: bool = False
) -> Callable[[Request], str]:
    """Return a function that names a request in a few words that tell it from the others.

    The model stands first `with_model`, and else is named where there are several.
    """
    others = other_parts(requests, but=("batch", "model") if with_model else ("batch",))

    def name(request: Request) -> str:
        steps = f"{request.steps} step{'s' if request.steps != 1 else ''}"
        words = f"{sampler(request)}, {steps}, {size(request)}, batch {request.batch}"
        model = request.model if with_model else ""
        return ", ".join(filter(None, (model, words, others(request))))

    return name


def other_parts(
    requests: Sequence[Request], *, but: Collection[str] = ()
) -> Callable[[Request], str]:
    """Return a function that names what else differs among the requests, "" where nothing does.

    Sampler, size and steps are not named: charts have their own place for those. `but` are fields
    that have one in a table.
    """
    found = {field: {getattr(r, field) for r in requests if hasattr(r, field)} for field in _PARTS}
    varying = [name for name, values in found.items() if name not in but and len(values) > 1]
    short = {field: short_texts(found[field]) for field in varying if field in _TEXTS}

    def words(field: str, value: Any) -> str:
        return _PARTS[field](short[field][value] if field in short else value)

    return lambda request: ", ".join(
        words(field, getattr(request, field)) for field in varying if hasattr(request, field)
    )


def _gpu_number(header: Header) -> int | None:
    """Return torch's number of the GPU, `None` on a processor."""
    found = re.fullmatch(r"mps|cuda(?::([0-9]{1,4}))?", header.plan.device)  # a Mac has one GPU
    return int(found[1] or 0) if found else None


def _numbered(labels: list[str]) -> list[str]:
    """Return the labels, the second and later of equal ones with the next number that is free."""
    numbered: dict[str, None] = {}
    seen: Counter[str] = Counter()
    for label in labels:
        name = label
        while name in numbered:
            seen[label] += 1
            name = f"{label} ({seen[label] + 1})"
        numbered[name] = None
    return list(numbered)


def short_texts(texts: Collection[str]) -> dict[str, str]:
    """Return a short form of each text, all different; those that begin alike from where they part.

    Where two are equal even so (they part, and part again far behind), the later is numbered.
    """
    alike: dict[str, list[str]] = {}
    for text in sorted(texts):
        alike.setdefault(_short(text), []).append(text)
    short: dict[str, str] = {}
    for beginning, group in alike.items():
        # Sorted, so that the first and the last are those that part first.
        parts = _same_letters(group[0], group[-1]) if len(group) > 1 else 0
        word = group[0].rfind(" ", 0, parts + 1) + 1
        for text in group:
            short[text] = f"…{_short(text[word:])}" if word else beginning
    return dict(zip(short, _numbered(list(short.values())), strict=True))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_PROMPT else text[: LONGEST_PROMPT - 1] + "…"


def _same_letters(one: str, other: str) -> int:
    """Return how many letters two texts begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _without(text: str) -> str:
    return f"not “{text}”" if text else "no negative prompt"


def _speed(speed: Speed | str | float) -> str:
    """Return at which speed a picture is drawn, or how fast a voice speaks."""
    return f"speed {speed:g}" if isinstance(speed, float) else f"speed {speed}"


_PARTS: dict[str, Callable[[Any], str]] = {
    "batch": "batch {}".format,
    "model": str,
    "precision": str,
    "guidance_scale": "guidance {:g}".format,
    "seed": "seed {}".format,
    "noise_seed": "noise seed {}".format,
    "prompt": "“{}”".format,
    "negative_prompt": _without,
    "text": "“{}”".format,
    "voice": "voice {}".format,
    "temperature": "temperature {:g}".format,
    "speed": _speed,
    "vocoder": "vocoder {}".format,
}
_TEXTS = ("prompt", "negative_prompt", "text")
