"""What a sweep needs of the hub and this machine lacks: fetched before anything is measured.

A worker that fetched one would have the download in the cell's `load_s`, and be ended by its time
limit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial

from diffusion_bench.backends import downloads
from diffusion_bench.backends.catalog import (
    ModelEntry,
    ModelUnavailable,
    Repository,
    UnknownModel,
    find_model,
)
from diffusion_bench.backends.model_files import presence
from diffusion_bench.backends.network_files import NetworkRepository, fetch, missing
from diffusion_bench.backends.pipeline_names import check_pipeline
from diffusion_bench.backends.samplers import check_sampler
from diffusion_bench.backends.scoring.scorers import scorer_of, scorer_repository
from diffusion_bench.backends.voice.catalog import find_voice_model
from diffusion_bench.backends.voice.repositories import lacking
from diffusion_bench.bench.progress import Progress
from diffusion_bench.bench.worker_process import HEARTBEAT_S
from diffusion_bench.records import Cancelled, ImageRequest, PrecisionName, QualityPlan, Request


def fetch_models(requests: Iterable[Request]) -> Iterator[Progress]:
    """Fetch their models and vocoders that are not here whole, yielding how far that is.

    One that cannot be fetched is left to its cells, which say why. Closing it stops the download.
    """
    asked: dict[tuple[str, PrecisionName], list[ImageRequest]] = {}
    voices: dict[tuple[str, str], None] = {}
    for cell in requests:
        if isinstance(cell, ImageRequest):
            asked.setdefault((cell.model, cell.precision), []).append(cell)
        elif cell.sampler in find_voice_model(cell.model).samplers:
            voices[cell.model, cell.vocoder] = None
    for (model, precision), cells in asked.items():
        entry = find_model(model)
        if presence(entry, precision) != "here":
            with suppress(ModelUnavailable):
                yield from _fetch(entry, partial(_fetch_drawn, entry, precision, cells))
    for voice, vocoder in voices:
        with suppress(ModelUnavailable, UnknownModel):
            yield from _fetch_each(lacking(find_voice_model(voice), vocoder))


def fetch_scorers(requests: Iterable[Request], plan: QualityPlan) -> Iterator[Progress]:
    """Fetch the scorers of their pictures that are not here, as `fetch_models` does."""
    for name in dict.fromkeys(scorer_of(plan, cell.model) for cell in requests):
        with suppress(ModelUnavailable, UnknownModel):
            yield from _fetch_each(missing([scorer_repository(name)]))


def _fetch_each(needed: Iterable[NetworkRepository]) -> Iterator[Progress]:
    for repository in needed:
        yield from _fetch(repository, partial(fetch, repository))


def _fetch(
    model: Repository, fetch: Callable[[downloads.OnProgress], object]
) -> Iterator[Progress]:
    unwanted = threading.Event()
    latest = downloads.Progress(done_mib=0.0, total_mib=0.0)

    def on_progress(progress: downloads.Progress) -> None:
        nonlocal latest
        if unwanted.is_set():
            raise Cancelled("cancelled")
        latest = progress

    with ThreadPoolExecutor(1, thread_name_prefix="fetching") as threads:
        done = threads.submit(fetch, on_progress)
        try:
            while True:  # said once at least, also of what fails at once
                now = downloads.Fetching(model=model, progress=latest)
                yield Progress(kind="fetching", num_cells=0, num_done=0, fetching=now)
                if wait([done], HEARTBEAT_S).done:
                    break
        finally:
            unwanted.set()
    done.result()


def _fetch_drawn(
    entry: ModelEntry,
    precision: PrecisionName,
    cells: Sequence[ImageRequest],
    on_progress: downloads.OnProgress,
) -> None:
    downloads.fetch_settings(entry)  # its class and the samplers it excludes may now be known
    check_pipeline(entry)
    if any(_is_drawn(entry, cell) for cell in cells):
        downloads.fetch(entry, precision, on_progress)


def _is_drawn(entry: ModelEntry, cell: ImageRequest) -> bool:
    """Return whether a cell's sampler is one that the model allows."""
    try:
        check_sampler(entry, cell.sampler, cell.steps)
    except ValueError:
        return False
    return True
