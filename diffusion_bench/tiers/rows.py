"""Predict every row of a table for other programs: `predict --rows FILE.csv --out FILE.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from diffusion_bench.records import explain
from diffusion_bench.records.csv_text import separator_of
from diffusion_bench.tiers.cards import Card, find_card
from diffusion_bench.tiers.knowledge import Knowledge
from diffusion_bench.tiers.memory import Fit, MemoryNeed, Ram, fit_of, memory_of
from diffusion_bench.tiers.published import LOOP_ONLY, workload_of_row
from diffusion_bench.tiers.remedy_price import seconds_on
from diffusion_bench.tiers.table_words import software_named
from diffusion_bench.tiers.workload import Software, Workload

CARD_COLUMNS = ("gpu_canonical", "card")  # the first of them that says something names the card
NEEDED = ("model", "precision", "steps", "width", "height", "batch")
# What `predict --card` is not asked: without them diffusers as it is, and one call a step.
OPTIONAL = ("app_backend", "variant", "sampler")
ANSWERED = ("predicted_image_steps_per_s", "low", "high", "memory_gib", "fit", "basis")
CANNOT_TELL = "cannot tell"
# As where a number has a comma that is not quoted: 1,024.
MORE_VALUES = "the row has more values than the table has columns"


def predict_rows(
    text: str, cards: Sequence[Card] | None = None, knowledge: Knowledge | None = None
) -> str:
    """Return a CSV table with the answers appended to each row, whatever other columns it has.

    Raise ValueError for what is no CSV, and for a table that lacks one of `NEEDED`, or all of
    `CARD_COLUMNS`; those of `OPTIONAL` may be left out. `metric`, where there is such a column,
    says whether the rate is of the denoising loop ("it/s") or, as without it, of the whole call.
    `knowledge` corrects the rates by what was measured. A row is answered as it is asked: where it
    takes remedies to fit, `fit` names them, and rate and memory are those without.
    """
    columns, rows = _read(text)
    asked = (next((name for name in CARD_COLUMNS if name in columns), "card"), *NEEDED)
    lacking = [name for name in asked if name not in columns]
    if lacking:
        raise ValueError(
            f"the table has no column {lacking[0]!r}; it needs {', '.join(asked)}, "
            f"and may have {', '.join(OPTIONAL)}"
        )
    out = io.StringIO()
    names = [*(name for name in columns if name not in ANSWERED), *ANSWERED]
    parted = separator_of(text)
    writer = csv.DictWriter(
        out, names, delimiter=parted, lineterminator="\n", extrasaction="ignore"
    )
    writer.writeheader()
    for row, is_whole in rows:
        told = answer(row, cards, knowledge) if is_whole else _untold(MORE_VALUES)
        writer.writerow(row | told)
    return out.getvalue()


def _read(text: str) -> tuple[list[str], list[tuple[dict[str, str], bool]]]:
    """Return a table's columns, and each row with whether it has no more values than those.

    Raise ValueError, with the line, for what is no CSV.
    """
    reader = csv.DictReader(
        io.StringIO(text), delimiter=separator_of(text), strict=True, skipinitialspace=True
    )
    rows, begins = [], 1
    try:
        columns = list(reader.fieldnames or ())
        begins = reader.line_num + 1
        for row in reader:
            more = any(row.get(None) or ())  # a comma behind a row adds an empty one
            rows.append(({name: (row[name] or "") for name in columns}, not more))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"no CSV: in the row that begins in line {begins}: {error}") from None
    return columns, rows


def answer(
    row: Mapping[str, str], cards: Sequence[Card] | None = None, knowledge: Knowledge | None = None
) -> dict[str, str]:
    """Return the answers for one row; where none can be given, "cannot tell" and why."""
    try:
        return _answer(row, cards, knowledge or Knowledge())
    except ValidationError as error:
        reason = explain(error)
    except ValueError as error:
        reason = str(error)
    return _untold(reason)


def _untold(reason: str) -> dict[str, str]:
    unknown = dict.fromkeys(ANSWERED, "")
    return unknown | {"fit": CANNOT_TELL, "basis": f"{CANNOT_TELL}: {reason}"}


def fit_on(
    card: Card,
    workload: Workload,
    software: Software,
    ram: Ram | None = None,
    *,
    given_mib: float | None = None,
) -> Fit:
    """Return how a workload fits what a card gives of its memory, or `given_mib` of it."""
    return fit_of(
        need_of(workload, software),
        card.vram_mib if given_mib is None else given_mib,
        ram_mib=None if ram is None or ram.gib is None else 1024 * ram.gib,
        seconds=seconds_on(card, workload, ram.gbs if ram else None),
    )


def need_of(workload: Workload, software: Software) -> MemoryNeed:
    """Return the memory a workload needs without any remedy."""
    return memory_of(
        **workload.work, attention="plain" if software.name == "plain attention" else "fused"
    )


def _answer(
    row: Mapping[str, str], cards: Sequence[Card] | None, knowledge: Knowledge
) -> dict[str, str]:
    names = (row.get(name, "").strip() for name in CARD_COLUMNS)
    match = find_card(next(filter(None, names), ""), cards)
    if match.card is None:
        raise ValueError(match.reason)
    if row.get("gpu_count", "1").strip() not in ("", "1", "1.0"):
        raise ValueError("several GPUs at one picture depend on software that is not modelled")
    workload = workload_of_row(row)
    software = software_named(row.get("app_backend", ""), row.get("variant", ""))
    loop_only = row.get("metric", "").strip().casefold() == LOOP_ONLY or not row["steps"].strip()
    found = knowledge.predict(match.card, workload, software, loop_only=loop_only)
    fit = fit_on(match.card, workload, software)
    return {
        "predicted_image_steps_per_s": f"{found.image_steps_per_s:.4g}",
        "low": f"{found.image_steps_per_s_low:.4g}",
        "high": f"{found.image_steps_per_s_high:.4g}",
        "memory_gib": f"{need_of(workload, software).peak_mib / 1024:.3g}",
        "fit": fit.words(),
        "basis": "; ".join(filter(None, (found.basis, _caveat(fit), match.note))),
    }


def _caveat(fit: Fit) -> str:
    """Return what is to be known of a rate where the card's memory does not do for it."""
    if fit.remedies:
        return f"rate and memory are without the {' and '.join(fit.remedies)} that it takes"
    if fit.verdict == "does not fit":
        return "the rate is that of a card with more memory"
    return ""
