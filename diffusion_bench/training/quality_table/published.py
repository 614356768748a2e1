"""The paper's own figures, from `benchmarks/published/ddim_tables.csv`, which names the source."""

from __future__ import annotations

import csv
from pathlib import Path

from diffusion_bench.training.quality_table.rows import SETTINGS
from diffusion_bench.training.quality_table.shape import Distance

DATASETS = ("CIFAR-10", "CelebA")
PATH = Path(__file__).parents[3] / "benchmarks" / "published" / "ddim_tables.csv"


def published(path: Path = PATH) -> dict[str, dict[str, dict[int, Distance]]]:
    """Return FID by data set, setting and steps; Song et al. (2021), table 1.

    None without the file, which is part of the repository and not of an installed package.
    """
    if not path.is_file():
        return {}
    names = {setting.published_eta: setting.name for setting in SETTINGS}
    found: dict[str, dict[str, dict[int, Distance]]] = {
        dataset: {name: {} for name in names.values()} for dataset in DATASETS
    }
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["dataset"] in found and row["eta"] in names and row["metric"] == "FID":
                value = float(row["value"])
                steps = int(float(row["steps_S"]))
                found[row["dataset"]][names[row["eta"]]][steps] = Distance(value, value, value)
    return found
