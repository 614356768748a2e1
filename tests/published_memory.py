"""Rows of benchmarks/published/vram.csv that say what was measured, and factors fitted on them."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

from diffusion_bench.tiers.cost import STAGES, counts, value_width
from diffusion_bench.tiers.stage_memory import StageNeed, Workload, stage_needs

VRAM = Path(__file__).parents[1] / "benchmarks" / "published" / "vram.csv"
MODELS = {"SD1.4": "sd15", "SDXL": "sdxl", "SD3-medium": "sd3-medium", "FLUX.1-dev": "flux1-dev"}
NONE = "none"
MEASURES = {
    "torch.cuda.memory_reserved after run": "reserved",
    "max memory (torch.cuda) per source": "allocated",
    "none: a table of speeds": NONE,
}
BYTES = {"GB (1e9 bytes)": 1e9, "GiB": 2**30}
# Pipelines with a part of another model, or without one of theirs.
OTHER_PARTS = ("Tiny autoencoder", "precomputed text", "no T5", "8bit T5")
REMEDY_WORDS = {
    "sliced VAE": "VAE slicing",
    "VAE slicing": "VAE slicing",
    "sequential": "sequential offload",
    "model CPU offload": "model offload",
    "model offload": "model offload",
    "8-bit": "8-bit weights",
    "int8": "8-bit weights",
    "float8": "8-bit weights",
    "INT8": "8-bit weights",
    "FP8": "8-bit weights",
    "4-bit": "4-bit weights",
    "int4": "4-bit weights",
    "INT4": "4-bit weights",
    "nf4": "4-bit weights",
}
# Without a mark of fused attention, as in these sources' baselines.
PLAIN_WORDS = ("vanilla attention", "default attn", "unoptimised", "offload", "VAE slicing")
FACTORS_TRIED = tuple(1 + 0.1 * step for step in range(25))
FITTED = ("denoising step", "decoder 32", "decoder 16")

Factors = dict[str, float]


class Row(NamedTuple):
    """A published figure and the workload it is of; `measured_mib` is `None` where it ran out."""

    source: str
    card: str
    measure: str
    workload: Workload
    remedies: frozenset[str]
    measured_mib: float | None

    def stages(self) -> dict[str, StageNeed]:
        """Return what each stage needs, by the name of its factor."""
        found = counts()[self.workload.model]
        widths = [value_width(found, stage, self.workload.precision) for stage in STAGES]
        names = ("text encoder", "denoising step", f"decoder {widths[2]}")
        needs = stage_needs(self.workload, self.remedies)
        return dict(zip(names, needs, strict=True))


def published_rows() -> list[Row]:
    """Return the rows of models that were counted, with a measure that torch defines."""
    return [row for row in _rows() if row.measure != NONE]


def ran_out_in_tables_of_speeds() -> list[Row]:
    """Return what tables of speeds say to have run out of memory, of counted models."""
    return [row for row in _rows() if row.measure == NONE]


def _rows() -> list[Row]:
    with VRAM.open(encoding="utf-8", newline="") as file:
        return [row for line in csv.DictReader(file) if (row := _row(line)) is not None]


def _row(line: dict[str, str]) -> Row | None:
    mode, model = line["pipeline_mode"], MODELS.get(line["model"])
    measure = MEASURES.get(line["measure"])
    if model is None or measure is None or any(words in mode for words in OTHER_PARTS):
        return None
    precision = line["precision"] if line["precision"] in ("fp32", "fp16") else "bf16"
    plain = "flux" not in model and any(words in mode for words in PLAIN_WORDS)
    workload = Workload(
        model=model,
        width=int(line["width"]),
        height=int(line["height"]),
        batch=int(line["batch"]),
        precision=precision,
        guided="flux" not in model,
        attention="plain" if plain and "xformers" not in mode else "fused",
    )
    taken = frozenset(remedy for words, remedy in REMEDY_WORDS.items() if words in mode)
    held = line["measured"]
    measured = None if held == "OOM" else float(held) * BYTES[line["unit"]] / 2**20
    return Row(line["source"], line["gpu"], measure, workload, taken, measured)


def fit_factors(rows: list[Row]) -> Factors:
    """Return the factors with the least mean error, each workload once: the median of its cards."""
    cards = defaultdict(list)
    for row in rows:
        if row.measured_mib is not None:
            cards[row._replace(card="", measured_mib=None)].append(row.measured_mib)
    known = [(row.stages(), median(measured)) for row, measured in cards.items()]
    best: Factors = dict.fromkeys(FITTED, 1.2)
    for _ in range(3):  # one at a time, until they settle
        for name in FITTED:
            tried = [best | {name: factor} for factor in FACTORS_TRIED]
            best = min(tried, key=lambda factors: _loss(known, factors))
    return best


def _loss(known: list[tuple[dict[str, StageNeed], float]], factors: Factors) -> float:
    # Capped, so that one odd row does not pull.
    return mean(min(abs(held_mib(stages, factors) / mib - 1), 0.3) for stages, mib in known)


def held_mib(stages: dict[str, StageNeed], factors: Factors) -> float:
    """Return the peak with other factors than the shipped ones."""
    shared = factors | {"text encoder": factors["denoising step"]}
    return max(need.weights + shared[name] * need.live for name, need in stages.items()) / 2**20
