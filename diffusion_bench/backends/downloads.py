"""Fetching a hub model with progress, and whether it is on this machine already.

Files are chosen as diffusers chooses them, so that what was fetched here loads without a network:
all that is no weight of the folders that the pipeline names, and of weights the 16-bit variant or
the plain safetensors.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from diffusion_bench.backends.catalog import ModelEntry, ModelUnavailable, cached_folder
from diffusion_bench.backends.model_sizes import INDEX, read_settings
from diffusion_bench.records import PrecisionName, Record
from diffusion_bench.tiers.cost import counts, short_name

MIB = 2**20
HALVES = ("fp16", "bf16")  # variants that are read where there is no plain file
WEIGHTS = re.compile(
    r"\.(safetensors|bin|ckpt|pth?|msgpack|h5|onnx|onnx_data|pb|xml|gguf|flashpack|npz)$"
)
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
PLAIN = re.compile(r"^(diffusion_pytorch_)?model(-\d{5}-of-\d{5})?\.safetensors$")
ANSWER_S = 20.0
LONGEST = 300  # characters of what the hub said

Presence = Literal["here", "partly here", "not here"]


class Progress(Record):
    """How far a download is; `total_mib` counts the files that were here before."""

    done_mib: float
    total_mib: float

    @property
    def share(self) -> float:
        """Return the done part, 0 to 1."""
        return min(1.0, self.done_mib / self.total_mib) if self.total_mib else 1.0


OnProgress = Callable[[Progress], None]


class DownloadSize(Record):
    """How much a model takes on disk, and how much of it must be fetched; `source` says whence.

    `left_mib` is `None` where the hub was not asked.
    """

    total_mib: float | None
    left_mib: float | None = None
    source: str


def ignore_progress(progress: Progress) -> None:
    """Do nothing: the callback of a caller that does not watch."""


def presence(entry: ModelEntry, precision: PrecisionName = "fp32") -> Presence:
    """Return whether a model's files are on this machine, without asking the hub."""
    if entry.source != "hub":
        return "here"
    folder = cached_folder(entry)
    if folder is None:
        return "not here"
    return "partly here" if missing_parts(folder, _variant(entry, precision)) else "here"


def missing_parts(folder: Path, variant: str | None = None) -> list[str]:
    """Return the parts of a pipeline whose files a folder lacks, all shards of weights counted."""
    names = _components(folder / INDEX)
    return [name for name in names if not _is_whole(folder / name, variant)]


def _is_whole(part: Path, variant: str | None) -> bool:
    if not part.is_dir():
        return False
    files = [path.name for path in part.iterdir() if path.is_file()]
    if "config.json" not in files:  # a tokenizer, a scheduler, a feature extractor
        return bool(files)
    weights = _weights(files, variant)
    shards = {int(found[1]) for name in weights if (found := re.search(r"-of-(\d{5})", name))}
    return len(weights) >= max(shards, default=1)


def expected_size(entry: ModelEntry, precision: PrecisionName = "fp32") -> DownloadSize:
    """Return a model's size without asking the hub: parameters times bytes, or what is on disk."""
    folder = cached_folder(entry)
    if folder is not None and presence(entry, precision) == "here":
        files = [path for path in folder.rglob("*") if path.is_file()]
        total_mib = sum(path.stat().st_size for path in files) / MIB
        return DownloadSize(total_mib=total_mib, left_mib=0.0, source="the files on disk")
    try:
        parts = counts()[short_name(entry.location)].parts.values()
    except ValueError as error:
        return DownloadSize(total_mib=None, source=f"not known before the hub is asked: {error}")
    value = 2 if _variant(entry, precision) else entry.stored_bytes
    params = sum(part.params for part in parts) + entry.unlisted_params
    return DownloadSize(
        total_mib=params * value / MIB,
        source=f"predicted: {params / 1e6:,.0f} M parameters of {value} bytes",
    )


def exact_size(entry: ModelEntry, precision: PrecisionName = "fp32") -> DownloadSize:
    """Return a hub model's size by asking the hub; raise `ModelUnavailable` in one line."""
    files = _files(entry, precision)
    return DownloadSize(
        total_mib=sum(file.file_size or 0 for file in files) / MIB,
        left_mib=sum(file.file_size or 0 for file in files if file.will_download) / MIB,
        source=f"the hub, at commit {files[0].commit_hash[:12]}",
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
    from huggingface_hub import snapshot_download

    files = _files(entry, precision)
    total = sum(file.file_size or 0 for file in files)
    here = sum(file.file_size or 0 for file in files if not file.will_download)
    on_progress(Progress(done_mib=here / MIB, total_mib=total / MIB))

    def arrived(count: float) -> None:
        on_progress(Progress(done_mib=min(here + count, total) / MIB, total_mib=total / MIB))

    with_bar = _bar_class(arrived)
    names = [file.filename for file in files]
    folder = _asking(
        entry, lambda: snapshot_download(entry.location, allow_patterns=names, tqdm_class=with_bar)
    )
    on_progress(Progress(done_mib=total / MIB, total_mib=total / MIB))
    return Path(folder)


def fetch_settings(entry: ModelEntry) -> None:
    """Fetch what tells of a hub model without its weights: its index, its parts' settings.

    Raises `ModelUnavailable`.
    """
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    silent = _bar_class(lambda count: None)

    def ask() -> None:
        HfApi().model_info(entry.location, timeout=ANSWER_S)  # as in `_files`
        hf_hub_download(entry.location, INDEX, tqdm_class=silent)
        snapshot_download(entry.location, allow_patterns="*/*config.json", tqdm_class=silent)

    _asking(entry, ask)


def _files(entry: ModelEntry, precision: PrecisionName) -> list[Any]:
    """Return the hub's word on each file that is needed; only the small index is fetched."""
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    silent = _bar_class(lambda count: None)

    def ask() -> tuple[Any, list[str]]:
        # It does not try again for half a minute, as the others do where there is no network.
        HfApi().model_info(entry.location, timeout=ANSWER_S)
        index = Path(hf_hub_download(entry.location, INDEX, tqdm_class=silent))
        listed = snapshot_download(entry.location, dry_run=True, tqdm_class=silent)
        return listed, _components(index)

    listed, components = _asking(entry, ask)
    names = [file.filename for file in listed]
    for own in (_of_part(names, component) for component in components):
        pickles = [name for name in own if name.endswith(PICKLES)]
        if pickles and not any(name.endswith(".safetensors") for name in own):
            raise ModelUnavailable(pickle_words(entry, pickles[0]))
    wanted = set(chosen_files(names, components, _variant(entry, precision)))
    return [file for file in listed if file.filename in wanted]


def chosen_files(names: Sequence[str], components: Iterable[str], variant: str | None) -> list[str]:
    """Return which files of a repository a pipeline of those components is loaded from."""
    chosen = [name for name in names if "/" not in name and name.endswith((".json", ".txt"))]
    for component in components:
        own = _of_part(names, component)
        chosen += [name for name in own if not WEIGHTS.search(name)]
        weights = set(_weights([PurePosixPath(name).name for name in own], variant))
        chosen += [name for name in own if PurePosixPath(name).name in weights]
    return chosen


def _of_part(names: Sequence[str], component: str) -> list[str]:
    return [name for name in names if PurePosixPath(name).parent.as_posix() == component]


def _weights(names: Sequence[str], variant: str | None) -> list[str]:
    safe = [name for name in names if name.endswith(".safetensors")]
    of_variant = {
        half: [name for name in safe if re.search(rf"\.{half}[.-]", name)]
        for half in (*([variant] if variant else []), *HALVES)
    }
    if variant is not None and of_variant[variant]:
        return of_variant[variant]
    plain = [name for name in safe if PLAIN.match(name)]
    return plain or next(filter(None, of_variant.values()), [])


def _components(index: Path) -> list[str]:
    """Return the parts that a pipeline's index names, without those it does without."""
    return [
        name
        for name, value in read_settings(index).items()
        if not name.startswith("_") and isinstance(value, list) and value and value[0] is not None
    ]


def variant_to_read(entry: ModelEntry, precision: PrecisionName) -> str | None:
    """Return the variant among the weights that a model is read from, `None` for the plain files.

    Of one that is not here whole, the one to fetch.
    """
    wanted = _variant(entry, precision)
    folder = cached_folder(entry)
    if folder is None or missing_parts(folder, wanted):
        return wanted
    weights = [
        name
        for part in _components(folder / INDEX)
        for name in _weights([path.name for path in (folder / part).iterdir()], wanted)
    ]
    variants = (*([wanted] if wanted else []), *HALVES)
    return next((own for own in variants if any(f".{own}" in name for name in weights)), None)


def pickled_weights(entry: ModelEntry) -> list[str]:
    """Return the pickles among a model's files here, by part, where there are no safetensors."""
    folder = cached_folder(entry)
    if folder is None:
        return []
    return [
        f"{part}/{file.name}"
        for part in missing_parts(folder)
        for file in sorted((folder / part).glob("*"))
        if file.suffix in PICKLES
    ]


def pickle_words(entry: ModelEntry, pickle: str) -> str:
    """Return in one line why a model whose weights are pickles, such as that, is not read."""
    return (
        f"model {entry.name!r} has its weights in pickles ({pickle}), which can run code when they "
        "are read; only safetensors are: convert it where you trust it, with diffusers' "
        "save_pretrained"
    )


def _variant(entry: ModelEntry, precision: PrecisionName) -> str | None:
    return entry.variant if precision != "fp32" else None


def _asking(entry: ModelEntry, ask: Callable[[], Any]) -> Any:
    """Return what the hub answers; `ModelUnavailable`, in one line, where it does not."""
    from huggingface_hub import errors

    # The base of what its HTTP client raises, whichever client it is.
    http_error: type[Exception] = vars(errors)["HTTPError"]
    try:
        return ask()
    except errors.GatedRepoError as error:
        raise ModelUnavailable(gate_words(entry)) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelUnavailable(
            f"model {entry.name!r} is not on the hub, or is private: check the name at {entry.page}"
        ) from error
    except errors.RemoteEntryNotFoundError as error:
        raise ModelUnavailable(
            f"model {entry.name!r} has no {INDEX} on the hub, so it is no pipeline of diffusers: "
            f"see {entry.page}"
        ) from error
    except (http_error, OSError, ValueError) as error:
        if pickles := pickled_weights(entry):  # what is here is not what was to be fetched
            raise ModelUnavailable(pickle_words(entry, pickles[0])) from error
        said = str(error).strip().splitlines()
        reason = said[0] if said else type(error).__name__
        raise ModelUnavailable(
            f"model {entry.name!r} is not on this machine and could not be fetched from the hub: "
            f"{reason:.{LONGEST}}"
        ) from error


def gate_words(entry: ModelEntry) -> str:
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
