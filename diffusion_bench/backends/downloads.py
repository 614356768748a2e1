"""Fetching from the hub with progress; which files of a model is said in `model_files.py`."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diffusion_bench.backends.catalog import (
    ModelEntry,
    ModelUnavailable,
    Repository,
    cached_folder,
)
from diffusion_bench.backends.model_files import (
    PICKLES,
    chosen_files,
    components_of,
    files_of,
    pickle_words,
    pickled_weights,
    presence,
    wanted_variant,
)
from diffusion_bench.backends.model_sizes import INDEX
from diffusion_bench.records import PrecisionName, Record
from diffusion_bench.tiers.cost import counts, short_name

MIB = 2**20
ANSWER_S = 20.0
LONGEST = 300  # characters of what the hub said


class Progress(Record):
    """How far a download is; `total_mib` counts the files that were here before."""

    done_mib: float
    total_mib: float

    @property
    def share(self) -> float:
        """Return the done part, 0 to 1."""
        return min(1.0, self.done_mib / self.total_mib) if self.total_mib else 1.0


OnProgress = Callable[[Progress], None]


class Fetching(Record):
    """How far the download of which repository is."""

    model: Repository
    progress: Progress


class DownloadSize(Record):
    """How much a model takes on disk; `source` says whence that is known."""

    total_mib: float | None
    source: str


def ignore_progress(progress: Progress) -> None:
    """Do nothing: the callback of a caller that does not watch."""


def ignore_count(count: float) -> None:
    """Do nothing: the callback of a download that nobody watches."""


def expected_size(entry: ModelEntry, precision: PrecisionName = "fp32") -> DownloadSize:
    """Return a model's size without asking the hub: parameters times bytes, or what is on disk."""
    folder = cached_folder(entry)
    if folder is not None and presence(entry, precision) == "here":
        files = [path for path in folder.rglob("*") if path.is_file()]
        total_mib = sum(path.stat().st_size for path in files) / MIB
        return DownloadSize(total_mib=total_mib, source="the files on disk")
    try:
        parts = counts()[short_name(entry.location)].parts.values()
    except ValueError as error:
        return DownloadSize(total_mib=None, source=f"not known before the hub is asked: {error}")
    value = 2 if wanted_variant(entry, precision) else entry.stored_bytes
    params = sum(part.params for part in parts) + entry.unlisted_params
    return DownloadSize(
        total_mib=params * value / MIB,
        source=f"predicted: {params / 1e6:,.0f} M parameters of {value} bytes",
    )


def fetch(
    entry: ModelEntry,
    precision: PrecisionName = "fp32",
    on_progress: OnProgress = ignore_progress,
) -> Path:
    """Fetch a hub model into the hub's cache and return its folder; do nothing for another.

    What is there already is not fetched again, and a download that was broken off goes on.
    `on_progress` is called from other threads, and may raise to stop. Raises `ModelUnavailable`.
    """
    if entry.source != "hub":
        return Path(entry.location)
    return fetch_files(entry, _files(entry, precision), on_progress)


def fetch_files(entry: Repository, files: Sequence[Any], on_progress: OnProgress) -> Path:
    """Fetch files of which the hub has told, and return their folder, as `fetch` does."""
    total = sum(file.file_size or 0 for file in files)
    here = sum(file.file_size or 0 for file in files if not file.will_download)
    on_progress(Progress(done_mib=here / MIB, total_mib=total / MIB))

    def arrived(count: float) -> None:
        on_progress(Progress(done_mib=min(here + count, total) / MIB, total_mib=total / MIB))

    names = [file.filename for file in files]
    folder = asking(entry, lambda: snapshot(entry, arrived, allow_patterns=names))
    on_progress(Progress(done_mib=total / MIB, total_mib=total / MIB))
    return Path(folder)


def fetch_settings(entry: ModelEntry) -> None:
    """Fetch what tells of a hub model without its weights: its index, its parts' settings.

    Raises `ModelUnavailable`.
    """

    def ask() -> None:
        _index(entry)
        snapshot(entry, allow_patterns="*/*config.json")

    asking(entry, ask)


def _files(entry: ModelEntry, precision: PrecisionName) -> list[Any]:
    """Return the hub's word on each file that is needed; only the small index is fetched."""

    def ask() -> tuple[Any, list[str]]:
        index = _index(entry)
        return snapshot(entry, dry_run=True), components_of(index)

    listed, components = asking(entry, ask)
    names = [file.filename for file in listed]
    for own in (files_of(names, component) for component in components):
        pickles = [name for name in own if name.endswith(PICKLES)]
        if pickles and not any(name.endswith(".safetensors") for name in own):
            raise ModelUnavailable(pickle_words(entry, pickles[0]))
    wanted = set(chosen_files(names, components, wanted_variant(entry, precision)))
    return [file for file in listed if file.filename in wanted]


def _index(entry: ModelEntry) -> Path:
    """Return the path of a hub model's index, which is fetched."""
    reach(entry)
    return fetch_file(entry, INDEX)


def reach(entry: Repository) -> None:
    """Ask the hub whether it has a repository, before anything else is asked of it."""
    from huggingface_hub import HfApi

    # It does not try again for half a minute, as the others do where there is no network.
    HfApi().model_info(entry.location, revision=entry.revision, timeout=ANSWER_S)


def fetch_file(entry: Repository, name: str) -> Path:
    """Return the path of a small file of a repository, which is fetched without being told."""
    from huggingface_hub import hf_hub_download

    silent = _bar_class(ignore_count)
    return Path(hf_hub_download(entry.location, name, revision=entry.revision, tqdm_class=silent))


def snapshot(
    entry: Repository, arrived: Callable[[float], None] = ignore_count, **chosen: Any
) -> Any:
    """Return what the hub's client makes of a model's files; `arrived` hears of bytes."""
    from huggingface_hub import snapshot_download

    return snapshot_download(
        entry.location, revision=entry.revision, tqdm_class=_bar_class(arrived), **chosen
    )


def asking(entry: Repository, ask: Callable[[], Any]) -> Any:
    """Return what the hub answers; `ModelUnavailable`, in one line, where it does not."""
    from huggingface_hub import errors

    what = f"{entry.kind} {entry.name!r}"
    # The base of what its HTTP client raises, whichever client it is.
    http_error: type[Exception] = vars(errors)["HTTPError"]
    try:
        return ask()
    except errors.GatedRepoError as error:
        raise ModelUnavailable(gate_words(entry)) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelUnavailable(
            f"{what} is not on the hub, or is private: check the name at {entry.page}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelUnavailable(
            f"{entry.kind} {entry.location!r} has no commit {entry.revision} on the hub: "
            f"see {entry.page}"
        ) from error
    except errors.RemoteEntryNotFoundError as error:
        raise ModelUnavailable(
            f"{what} has no {INDEX} on the hub, so it is no pipeline of diffusers: see {entry.page}"
        ) from error
    except (http_error, OSError, ValueError) as error:
        if pickles := pickled_weights(entry):  # what is here is not what was to be fetched
            raise ModelUnavailable(pickle_words(entry, pickles[0])) from error
        said = str(error).strip().splitlines()
        reason = said[0] if said else type(error).__name__
        raise ModelUnavailable(
            f"{what} is not on this machine and could not be fetched from the hub: "
            f"{reason:.{LONGEST}}"
        ) from error


def gate_words(entry: Repository) -> str:
    """Return in one line what the hub asks for before it hands out a gated model."""
    asked = entry.gated or "asking its authors for access"
    return (
        f"{entry.title} is gated: the hub hands it out after {asked}. Log in at {entry.page}, "
        "accept there, then run `hf auth login` on this machine"
    )


def _bar_class(arrived: Callable[[float], None]) -> type:
    """Return a progress bar for the hub's client that shows nothing and tells the bytes."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Listener(tqdm):
        """Counts what the client says has come; of its two bars of bytes the further one."""

        def __init__(self, *given: Any, **named: Any) -> None:
            named |= {"file": io.StringIO(), "disable": False}
            super().__init__(*given, **named)

        def update(self, n: float | None = 1) -> None:
            """Count, and tell of bytes."""
            super().update(n)
            if self.unit == "B":
                arrived(self.n)

    return Listener
