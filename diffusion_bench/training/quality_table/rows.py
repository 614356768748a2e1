"""The table's rows: what each is drawn with, measured once, and kept a line each in a file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.scoring.clip import ClipScorer
from diffusion_bench.backends.scoring.quality import measure_quality
from diffusion_bench.records import (
    Estimate,
    ImageRequest,
    Quality,
    QualityPlan,
    Record,
    SamplerName,
    explain,
)


class Setting(NamedTuple):
    """A row of the paper's table: its name, and the sampler and eta that draw it."""

    name: str
    sampler: SamplerName
    eta: float
    published_eta: str  # as `benchmarks/published/ddim_tables.csv` has it


SETTINGS = (
    Setting("DDIM (eta 0)", "ddim", 0.0, "0.0"),
    Setting("eta 0.2", "ddim", 0.2, "0.2"),
    Setting("eta 0.5", "ddim", 0.5, "0.5"),
    Setting("DDPM (eta 1)", "ddim", 1.0, "1.0"),
    Setting("DDPM, larger variance", "ddpm-large", 0.0, "sigma_hat"),
)
DDIM, DDPM = SETTINGS[0].name, SETTINGS[3].name
STEPS = (10, 20, 50, 100, 1000)


class Row(Record):
    """What one setting at one number of steps came to. `revision` is the model's, if known."""

    setting: str
    steps: int
    request: ImageRequest
    revision: str | None
    device: str
    wall_s: float
    quality: Quality

    @property
    def distance(self) -> Estimate:
        """Return the Frechet distance; raise ValueError where the scorer had no reference."""
        if self.quality.frechet is None:
            raise ValueError(f"no Frechet distance: {self.quality.missing.get('frechet')}")
        return self.quality.frechet


def measure_rows(
    backend: ImageBackend,
    request: ImageRequest,
    scorer: ClipScorer,
    plan: QualityPlan,
    path: Path,
    *,
    revision: str | None,
    steps: Sequence[int] = STEPS,
) -> Iterator[Row]:
    """Yield the rows that `path` does not hold yet as they are measured, each appended at once.

    `request` gives all but sampler, eta and steps. Few steps come first. Raises ValueError for a
    file of rows that another model, scorer or plan made.
    """
    held = read_rows(path)
    for row in held:
        _check_alike(row, request, scorer, plan, revision)
    done = {(row.setting, row.steps) for row in held}
    for number in sorted(steps):
        for setting in SETTINGS:
            if (setting.name, number) in done:
                continue
            asked = request.model_copy(
                update={"sampler": setting.sampler, "eta": setting.eta, "steps": number}
            )
            start_s = time.perf_counter()
            quality = measure_quality(backend, asked, plan, scorer=scorer)
            row = Row(
                setting=setting.name,
                steps=number,
                request=asked,
                revision=revision,
                device=backend.device,
                wall_s=time.perf_counter() - start_s,
                quality=quality,
            )
            _append(path, row)
            yield row


def read_rows(path: Path) -> tuple[Row, ...]:
    """Return the rows of a file, none where it is not there; a torn last line is left out.

    Raises ValueError, in one line, for a line that is damaged otherwise.
    """
    if not path.is_file():
        return ()
    lines = path.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines[:-1], start=1):  # after the last newline: nothing, or torn
        try:
            rows.append(Row.model_validate_json(line))
        except ValidationError as error:
            raise ValueError(f"{path}, line {number}: {explain(error):.300}") from None
    return tuple(rows)


def _append(path: Path, row: Row) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)  # what a kill left of a line
        file.write(row.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _check_alike(
    row: Row, request: ImageRequest, scorer: ClipScorer, plan: QualityPlan, revision: str | None
) -> None:
    own = {"sampler": row.request.sampler, "eta": row.request.eta, "steps": row.steps}
    pairs = {
        "another model": (row.revision, revision),
        "other settings": (row.request, request.model_copy(update=own)),
        "another scorer": (row.quality.scorer_digest, scorer.digest),
        "other captions": (row.quality.prompts, plan.prompts),
        "another number of pictures": (row.quality.pictures, plan.pictures),
    }
    for what, (there, here) in pairs.items():
        if there != here:
            raise ValueError(f"the rows kept are of {what}; give another file, or remove it")
