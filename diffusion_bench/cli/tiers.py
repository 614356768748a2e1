"""The commands about what to buy: predict, tiers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from diffusion_bench.charts.tier_numbers import Measured, TierRow
    from diffusion_bench.charts.tier_steps import StepBought
    from diffusion_bench.records import Record
    from diffusion_bench.tiers.cards import Card
    from diffusion_bench.tiers.path import UpgradePath
    from diffusion_bench.tiers.workload import Workload

USUAL = (
    "sd15 512x512 b4 fp16 20",
    "sdxl 1024x1024 b1 fp16 30",
    "sd35-medium 1024x1024 b1 bf16 28",
    "flux1-schnell 1024x1024 b1 bf16 4",
)
UNKNOWN = "cannot tell"
PIPE_WIDTH = 170


def predict(
    card: Annotated[str | None, typer.Option(help='As in "RTX 4070 Ti", the whole name.')] = None,
    model: Annotated[str, typer.Option(help="A short name as sd15, or a hub id.")] = "sd15",
    size: Annotated[str, typer.Option(help="Width x height in pixels.")] = "512x512",
    batch: Annotated[int, typer.Option(help="Pictures a call.", min=1)] = 1,
    precision: Annotated[str, typer.Option(help="fp16, bf16 or fp32.")] = "fp16",
    steps: Annotated[int, typer.Option(help="Denoising steps.", min=1)] = 20,
    sampler: Annotated[str, typer.Option(help="The sampler; some call the model twice.")] = "ddim",
    report: Annotated[
        list[Path] | None, typer.Option(help="Reports that correct the prediction; repeatable.")
    ] = None,
    cards: Annotated[Path | None, typer.Option(help="Your own cards, a TOML file.")] = None,
    rows: Annotated[Path | None, typer.Option(help="Predict each row of a CSV file.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where --rows writes its CSV file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Predict the time and memory of a workload on a card that need not be here.

    diffusion-bench predict --card "RTX 4070 Ti" --model sd15 --size 512x512 --batch 4 --steps 20

    diffusion-bench predict --rows published.csv --out predicted.csv
    """
    if rows is not None:
        _predict_rows(rows, out, _known_cards(cards))
        return
    if card is None:
        raise ValueError('name a card, as in --card "RTX 4070 Ti", or a table with --rows')
    from diffusion_bench.tiers.workload import parse_workload

    words = f"{model} {size} b{batch} {precision} {steps}"
    workload = parse_workload(words).model_copy(update={"sampler": sampler})
    answer = _prediction(card, workload, report or [], _known_cards(cards))
    if json:
        _print_json(answer)
    else:
        _print_prediction(answer, workload.name)


def tiers(
    reports: Annotated[
        list[Path] | None, typer.Argument(help="Reports that correct the predictions.")
    ] = None,
    path: Annotated[Path | None, typer.Option(help="Your own upgrade path, a TOML file.")] = None,
    workload: Annotated[
        list[str] | None, typer.Option(help='As in "sdxl 1024x1024 b1 fp16 30"; repeatable.')
    ] = None,
    cards: Annotated[Path | None, typer.Option(help="Your own cards, a TOML file.")] = None,
    cloud_price: Annotated[
        float | None, typer.Option(help="Price of an hour in the cloud, to break even against.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show what each tier of an upgrade path does with each workload.

    diffusion-bench tiers

    diffusion-bench tiers mine.jsonl --workload "sdxl 1024x1024 b4 fp16 30" --path my_path.toml
    """
    from diffusion_bench.charts.tier_numbers import tier_rows
    from diffusion_bench.charts.tier_steps import steps_bought
    from diffusion_bench.tiers.path import read_path, shipped_path

    chosen = read_path(path) if path else shipped_path()
    measured = _measured(reports or [])
    known = _known_cards(cards)
    rows = tier_rows(chosen, _workloads(workload), measured, known)
    steps = steps_bought(chosen, rows, cloud_price=cloud_price, cards=known)
    if json:
        answer = {"path": chosen.model_dump(mode="json"), "rows": rows, "steps": steps}
        _print_json(answer)
    else:
        _print_tiers(rows)
        _print_steps(chosen, steps)


def _known_cards(path: Path | None) -> tuple[Card, ...]:
    from diffusion_bench.tiers.cards import known_cards, read_cards

    return read_cards(path) if path else known_cards()


def _workloads(texts: Sequence[str] | None) -> list[Workload]:
    """Return the workloads asked for, or the usual ones of the models that were counted."""
    from diffusion_bench.tiers.cost import known_models
    from diffusion_bench.tiers.workload import parse_workload

    usual = [text for text in USUAL if text.split()[0] in known_models()]
    return [parse_workload(text) for text in texts or usual]


def _measured(paths: Sequence[Path]) -> list[Measured]:
    from diffusion_bench.charts.tier_numbers import measured_of
    from diffusion_bench.reports.read import read_report

    if not paths:
        return []
    return measured_of([read_report(path) for path in paths], _gpus_here())


def _gpus_here() -> frozenset[str]:
    """Return the hashes of this machine's GPUs, by which reports know them."""
    from contextlib import closing

    from diffusion_bench.hardware.sensors import open_sensor, uuid_hash

    with closing(open_sensor()) as sensor:
        return frozenset(uuid_hash(gpu.uuid) for gpu in sensor.cards() if gpu.uuid)


def _predict_rows(rows: Path, out: Path | None, cards: Sequence[Card]) -> None:
    from diffusion_bench.reports.whole_file import write_whole
    from diffusion_bench.tiers.rows import predict_rows

    if out is None:
        raise ValueError("say with --out where the predictions go")
    try:
        text = rows.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{rows} is no CSV file in UTF-8: {error}") from None
    write_whole(out, predict_rows(text, cards).encode())
    typer.echo(f"predictions: {out}")


def _prediction(
    name: str, workload: Workload, reports: Sequence[Path], cards: Sequence[Card]
) -> dict[str, Any]:
    """Return everything that is predicted of a workload on a card, as plain values."""
    from diffusion_bench.tiers.cards import find_card
    from diffusion_bench.tiers.predict import predict as predict_time
    from diffusion_bench.tiers.predict import residual_of
    from diffusion_bench.tiers.rows import fit_on
    from diffusion_bench.tiers.workload import Software

    match = find_card(name, cards)
    if match.card is None:
        raise ValueError(f"{UNKNOWN}: {match.reason}")
    residuals = [residual_of(m.card, m.workload, m.seconds) for m in _measured(reports)]
    found = predict_time(match.card, workload, residuals=residuals)
    fit = fit_on(match.card, workload, Software())
    return found.model_dump(mode="json") | {
        "memory_gib": fit.need.peak_mib / 1024,
        "memory_gib_low": fit.need.low_mib / 1024,
        "memory_gib_high": fit.need.high_mib / 1024,
        "card_memory_gib": match.card.memory_gib,
        "fit": fit.words(),
        "note": match.note,
    }


def _print_prediction(answer: dict[str, Any], name: str) -> None:
    low, high = answer["seconds_low"], answer["seconds_high"]
    rate_low, rate_high = answer["image_steps_per_s_low"], answer["image_steps_per_s_high"]
    lines = [
        f"{answer['card']}, {name}",
        f"time: {answer['seconds']:.3g} s a call (80 percent interval {low:.3g} to {high:.3g}), "
        f"{answer['seconds_per_image']:.3g} s a picture",
        f"speed: {answer['image_steps_per_s']:.3g} image-steps/s ({rate_low:.3g} to "
        f"{rate_high:.3g})",
        f"memory: {answer['memory_gib']:.3g} GiB ({answer['memory_gib_low']:.3g} to "
        f"{answer['memory_gib_high']:.3g}) of {answer['card_memory_gib']:g}: {answer['fit']}",
        f"rests on: {answer['basis']}",
    ]
    if answer["note"]:
        lines.append(f"note: {answer['note']}")
    typer.echo("\n".join(lines))


def _print_tiers(rows: Sequence[TierRow]) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = _console()
    columns = ("tier", "card", "workload", "s/image", "80 %", "images/h", "J/image <=", "GiB")
    table = Table(*columns, "fit", "basis")
    for row in rows:
        table.add_row(*map(escape, _cells(row)))
    console.print(table)
    for row in rows:
        for way in row.two_gpus:
            console.print(_two_gpus_line(row, way), markup=False, soft_wrap=True)


def _print_steps(path: UpgradePath, steps: Sequence[StepBought]) -> None:
    from rich.markup import escape
    from rich.table import Table

    columns = ("step", "workload", "images/h, predicted", "than before", "for 1 image/h more")
    table = Table(*columns, "even with the cloud", "held back by")
    for step in steps:
        faster = "first time" if step.first_time else _figure(step.times_before)
        gained = step.price_per_gained_image_per_hour
        table.add_row(
            escape(step.tier),
            escape(step.workload),
            _figure(step.images_per_hour) or UNKNOWN,
            f"{faster} times" if step.times_before else faster,
            "" if gained is None else f"{gained:.3g} {path.currency}",
            "" if step.break_even_hours is None else f"{_figure(step.break_even_hours)} h",
            escape(step.held_back_by),
        )
    console = _console()
    console.print(table)
    for tier in path.tiers:
        price = UNKNOWN if tier.price is None else f"{tier.price:g} {path.currency}"
        said = ", approximate: set your own with --path" if tier.approximate else ""
        console.print(f"{tier.name}: {price}{said}", markup=False, soft_wrap=True)


def _console() -> Console:
    from rich.console import Console

    return Console() if Console().is_terminal else Console(width=PIPE_WIDTH)


def _cells(row: TierRow) -> list[str]:
    interval = ""
    if row.seconds_per_image_low is not None and row.seconds_per_image_high is not None:
        interval = f"{row.seconds_per_image_low:.3g} to {row.seconds_per_image_high:.3g}"
    return [
        row.tier,
        row.card,
        row.workload.name,
        _figure(row.seconds_per_image),
        interval,
        _figure(row.images_per_hour),
        _figure(row.at_most_j_per_image),
        _figure(row.memory_gib),
        row.fit or UNKNOWN,
        row.evidence[0].kind if row.evidence else f"{UNKNOWN}: {row.reason}",
    ]


def _two_gpus_line(row: TierRow, way: Any) -> str:
    start = f"{row.tier}, {row.workload.name}, {way.way}"
    if way.images_per_hour is None:
        return f"{start}: {way.reason}"
    share = f" ({' + '.join(map(str, way.share))})" if way.share else ""
    faster = f", {way.speedup:.2f} times the faster card" if way.speedup else ""
    return f"{start}{share}: {_figure(way.images_per_hour)} images/h{faster} (predicted)"


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _print_json(value: Any) -> None:
    import json

    typer.echo(json.dumps(value, indent=2, allow_nan=False, default=_as_json))


def _as_json(record: Record) -> dict[str, Any]:
    return record.model_dump(mode="json")
