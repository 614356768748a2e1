"""Which files of a model are read, and which of them are on this machine.

Files are chosen as diffusers chooses them, so that what was fetched here loads without a network:
all that is no weight of the folders that the pipeline names, and of weights the 16-bit variant or
the plain safetensors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from diffusion_bench.backends.catalog import ModelEntry, Repository, cached_folder
from diffusion_bench.backends.model_sizes import INDEX, read_settings
from diffusion_bench.records import PrecisionName

HALVES = ("fp16", "bf16")  # variants that are read where there is no plain file
WEIGHTS = re.compile(
    r"\.(safetensors|bin|ckpt|pth?|msgpack|h5|onnx|onnx_data|pb|xml|gguf|flashpack|npz)$"
)
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
PLAIN = re.compile(r"^(diffusion_pytorch_)?model(-\d{5}-of-\d{5})?\.safetensors$")

# Of a tokenizer, files that hold no words: without its words it loads, and knows none.
WORDLESS = re.compile(r"(_config|_map|added_tokens|merges)\.(json|txt)$|\.jinja$")

Presence = Literal["here", "partly here", "not here"]


def presence(entry: ModelEntry, precision: PrecisionName = "fp32") -> Presence:
    """Return whether a model's files are on this machine, without asking the hub."""
    if entry.source != "hub":
        return "here"
    folder = cached_folder(entry)
    if folder is None:
        return "not here"
    return "partly here" if missing_parts(folder, wanted_variant(entry, precision)) else "here"


def missing_parts(folder: Path, variant: str | None = None) -> list[str]:
    """Return the parts of a pipeline whose files a folder lacks, all shards of weights counted."""
    names = components_of(folder / INDEX)
    return [name for name in names if not _is_whole(folder / name, variant)]


def _is_whole(part: Path, variant: str | None) -> bool:
    if not part.is_dir():
        return False
    files = [path.name for path in part.iterdir() if path.is_file()]
    if "tokenizer" in part.name:
        return not all(map(WORDLESS.search, files))
    if "config.json" not in files:  # a scheduler, a feature extractor
        return bool(files) and not any(map(WEIGHTS.search, files))
    weights = _weights(files, variant)
    shards = {int(found[1]) for name in weights if (found := re.search(r"-of-(\d{5})", name))}
    return len(weights) >= max(shards, default=1)


def chosen_files(names: Sequence[str], components: Iterable[str], variant: str | None) -> list[str]:
    """Return which files of a repository a pipeline of those components is loaded from."""
    chosen = [name for name in names if "/" not in name and name.endswith((".json", ".txt"))]
    for component in components:
        own = files_of(names, component)
        chosen += [name for name in own if not WEIGHTS.search(name)]
        weights = set(_weights([PurePosixPath(name).name for name in own], variant))
        chosen += [name for name in own if PurePosixPath(name).name in weights]
    return chosen


def files_of(names: Sequence[str], component: str) -> list[str]:
    """Return the names of the files that lie in a part's folder."""
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


def components_of(index: Path) -> list[str]:
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
    wanted = wanted_variant(entry, precision)
    folder = cached_folder(entry)
    if folder is None or missing_parts(folder, wanted):
        return wanted
    weights = [
        name
        for part in components_of(folder / INDEX)
        for name in _weights([path.name for path in (folder / part).iterdir()], wanted)
    ]
    variants = (*([wanted] if wanted else []), *HALVES)
    return next((own for own in variants if any(f".{own}" in name for name in weights)), None)


def pickled_weights(entry: Repository) -> list[str]:
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


def pickle_words(entry: Repository, pickle: str) -> str:
    """Return in one line why one whose weights are pickles, such as that, is not read."""
    # Names of voice models have no commit behind them.
    can_name = entry.source == "hub" and entry.kind != "voice model"
    elsewhere = ", or name a commit that has them" if can_name else ""
    return (
        f"{entry.kind} {entry.name!r} has its weights in pickles ({pickle}), which can run code "
        "when they are read; only safetensors are: convert it where you trust it, with "
        f"save_pretrained{elsewhere}"
    )


def wanted_variant(entry: ModelEntry, precision: PrecisionName) -> str | None:
    """Return the variant that a model's repository has for a precision, `None` for plain files."""
    return entry.variant if precision != "fp32" else None
