"""Published speeds: the rows of published_speed.csv whose card, model and software are known.

Each row keeps its source. `image_steps_per_s` is batch x steps over the time; where `metric` is
"it/s" that time is the denoising loop's, else the whole call's.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from diffusion_bench.records import Record
from diffusion_bench.tiers.cards import Card, find_card
from diffusion_bench.tiers.table_words import precision_named, software_named
from diffusion_bench.tiers.workload import Software, Workload, guided_by_default, model_named

SPEEDS = Path(__file__).parent / "published_speed.csv"
LOOP_ONLY = "it/s"
LONG = 10_000  # steps, where a table gives none: a rate of the loop alone
MIN_RECORDS = 5  # of users, for a median that is fitted to or shown


class PublishedSpeed(Record):
    """One published figure. `configuration` is equal where only the card differs.

    `records`: how many users' records it is the median of; `None` for a table's own measurement.
    """

    group: str
    configuration: str
    card: Card
    workload: Workload
    software: Software
    loop_only: bool
    image_steps_per_s: float
    records: int | None
    source: str
    source_locator: str


@cache
def published_speeds() -> tuple[PublishedSpeed, ...]:
    """Return the published speeds that ship with this program."""
    with SPEEDS.open(encoding="utf-8", newline="") as file:
        return tuple(_read(row) for row in csv.DictReader(file))


def enough_records(row: PublishedSpeed) -> bool:
    """Return whether a figure is a table's own measurement, or the median of enough users'."""
    return row.records is None or row.records >= MIN_RECORDS


def workload_of_row(row: Mapping[str, str]) -> Workload:
    """Return the workload of a table's row; raise ValueError, with the reason, where it is unknown.

    A row without steps is one long loop.
    """
    model = model_named(row["model"])
    steps = row.get("steps", "").strip()
    return Workload(
        model=model,
        width=_whole(row, "width"),
        height=_whole(row, "height"),
        batch=_whole(row, "batch"),
        precision=precision_named(row["precision"]),
        steps=_whole(row, "steps") if steps else LONG,
        sampler=row.get("sampler", ""),
        guided=guided_by_default(model),
    )


def _whole(row: Mapping[str, str], name: str) -> int:
    text = row.get(name, "").strip()
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}, which is no number") from None
    if not value.is_integer():
        raise ValueError(f"{name} {text} is no whole number")
    return int(value)


def _read(row: dict[str, str]) -> PublishedSpeed:
    card = find_card(row["gpu_canonical"]).card
    assert card is not None, row["gpu_canonical"]
    same = ("group_id", "model", "precision", "app_backend", "variant", "sampler", "steps")
    return PublishedSpeed(
        group=row["group_id"],
        configuration=" | ".join(row[k] for k in (*same, "width", "height", "batch", "metric")),
        card=card,
        workload=workload_of_row(row),
        software=software_named(row["app_backend"], row["variant"]),
        loop_only=row["metric"] == LOOP_ONLY,
        image_steps_per_s=float(row["image_steps_per_s"]),
        records=int(float(row["n_records"])) if row["n_records"] else None,
        source=row["source"],
        source_locator=row["source_locator"],
    )
