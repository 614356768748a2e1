"""What predict and tiers print: tables and lines for a terminal, JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from diffusion_bench.cli.tables import print_table, table_console
from diffusion_bench.tiers.figures import figure_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusion_bench.charts.tiers.numbers import TierRow
    from diffusion_bench.charts.tiers.runnable import Room, Runnable
    from diffusion_bench.charts.tiers.speech import SpeechRow
    from diffusion_bench.charts.tiers.steps import StepBought
    from diffusion_bench.charts.tiers.study import Study

UNKNOWN = "cannot tell"


def print_study(study: Study) -> None:
    """Print what each tier does, what each step buys, and what then holds it back."""
    from diffusion_bench.charts.tiers.fits import tight_lines
    from diffusion_bench.charts.tiers.study import path_notes, price_lines

    if study.rows:
        _print_rows(study)
        _print_lines(tight_lines(row.fit for row in study.rows))
        _print_steps(study.steps, study.path.currency)
    if study.speech:
        _print_speech(study.speech)
    notes = path_notes(study.path, study.cards)
    _print_lines([*study.bottlenecks, *price_lines(study.path), *notes])


def print_room(room: Room) -> None:
    """Print what a card can run."""
    from diffusion_bench.charts.tiers.fits import tight_lines

    columns = ("workload", "verdict", "predicted GiB", "s/image", "interval", "largest batch sure")
    if room.runs:
        print_table((*columns, "rests on"), [_run_cells(one) for one in room.runs])
        _print_lines(tight_lines(one.fit for one in room.runs))
    if room.speech:
        _print_speech(room.speech)
    _print_lines([f"{room.name}: {room.memory_gib:.3g} GiB"])


def print_json(value: Any) -> None:
    """Print a value of records, named tuples and plain values as one JSON document."""
    import json

    typer.echo(json.dumps(as_json(value), indent=2, allow_nan=False))


def as_json(value: Any) -> Any:
    """Return a value as JSON has it; a record or a named tuple becomes an object."""
    from diffusion_bench.records import Record

    if isinstance(value, Record):
        return value.model_dump(mode="json")
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return as_json(value._asdict())
    if isinstance(value, dict):
        return {name: as_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(part) for part in value]
    return value


def _print_rows(study: Study) -> None:
    from diffusion_bench.charts.tiers.measured import interval_words

    cost = [] if study.prices.per_kwh is None else [f"{study.path.currency} for 1000 images"]
    columns = ("tier", "card", "workload", "s/image", "interval", "images/h", "J/image", *cost)
    cells = [_row_cells(row, with_cost=bool(cost)) for row in study.rows]
    print_table((*columns, "predicted GiB", "fit", "basis"), cells)
    best = [row.evidence[0] for row in study.rows if row.evidence]
    told = dict.fromkeys((one.kind, words) for one in best if (words := interval_words(one)))
    _print_lines([f"{kind}: {words}" for kind, words in told])
    for row in study.rows:
        start = f"{row.tier}, {row.workload.name}"
        _print_lines([f"{start}, {row.fit_basis}"] if row.fit_basis else [])
        _print_lines([f"{start}, {one.words}" for one in row.measured_together])
        _print_lines([f"{start}, {way.words}" for way in row.two_gpus])


def _print_speech(rows: Sequence[SpeechRow]) -> None:
    """Print speech with its 80 percent interval, and once what each figure rests on."""
    columns = ("tier", "card", "speech", "real-time factor", "80 %", "s", "80 %", "GiB", "fit")
    print_table((*columns, "held back by", "basis"), [_speech_cells(row) for row in rows])
    bases = dict.fromkeys(row.prediction.basis for row in rows if row.prediction)
    reasons = dict.fromkeys(f"{row.workload.name}: {row.reason}" for row in rows if row.reason)
    notes = dict.fromkeys(row.workload.length_note for row in rows)
    _print_lines([f"note: {note}" for note in notes if note])
    _print_lines([*(f"speech rests on: {basis}" for basis in bases), *reasons])


def _speech_cells(row: SpeechRow) -> list[str]:
    start, found, timed = [row.tier, row.card, row.workload.name], row.prediction, row.timed
    if found is None:
        return [*start, "", "", "", "", "", UNKNOWN, "", "none"]
    times = (
        ["", "", "", ""]
        if timed is None
        else [
            figure_words(timed.real_time_factor),
            _interval(timed.real_time_factor_low, timed.real_time_factor_high),
            figure_words(timed.seconds),
            _interval(timed.seconds_low, timed.seconds_high),
        ]
    )
    limit = timed.limit if timed else ""
    return [*start, *times, figure_words(found.need.peak_mib / 1024), found.fit, limit, found.kind]


def _print_steps(steps: Sequence[StepBought], currency: str) -> None:
    columns = ("step", "workload", "images/h, predicted", "than before", "80 %")
    more = ("for 1 image/h more", "even with the cloud", "held back by")
    print_table((*columns, *more), [_step_cells(step, currency) for step in steps])


def _step_cells(step: StepBought, currency: str) -> list[str]:
    faster = "first time" if step.first_time else figure_words(step.times_before)
    gained = step.price_per_gained_image_per_hour
    hours, images = step.break_even_hours, step.break_even_images
    even = "" if hours is None else f"{figure_words(hours)} h"
    return [
        step.tier,
        step.workload,
        figure_words(step.images_per_hour) or UNKNOWN,
        f"{faster} times" if step.times_before else faster,
        _interval(step.times_low, step.times_high),
        "" if gained is None else f"{figure_words(gained)} {currency}",
        even if images is None else f"{even}, {figure_words(images)} images",
        step.held_back_by,
    ]


def _row_cells(row: TierRow, *, with_cost: bool) -> list[str]:
    cost = _at_most(row.cost_per_1000_images, row.at_most_cost_per_1000_images)
    return [
        row.tier,
        row.card,
        row.workload.name,
        figure_words(row.seconds_per_image),
        _interval(row.seconds_per_image_low, row.seconds_per_image_high),
        figure_words(row.images_per_hour),
        _at_most(row.j_per_image, row.at_most_j_per_image),
        *([cost] if with_cost else []),
        figure_words(row.memory_gib),
        row.verdict,
        row.evidence[0].kind if row.evidence else f"{UNKNOWN}: {row.reason}",
    ]


def _at_most(measured: float | None, bound: float | None) -> str:
    """Return what was measured, else the bound marked as one."""
    if measured is not None or bound is None:
        return figure_words(measured)
    return f"<= {figure_words(bound)}"


def _run_cells(one: Runnable) -> list[str]:
    return [
        one.workload.name,
        one.verdict,
        figure_words(one.memory_gib),
        figure_words(one.seconds_per_image),
        _interval(one.seconds_per_image_low, one.seconds_per_image_high),
        one.batch_words,
        one.rests_on,
    ]


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{figure_words(low)} to {figure_words(high)}"


def _print_lines(lines: Sequence[str]) -> None:
    console = table_console()
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
