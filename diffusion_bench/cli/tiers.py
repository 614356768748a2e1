"""The commands about what to buy: predict, tiers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffusion_bench.cli.prediction import (
    picture_times,
    print_answer,
    speech_asked,
    speech_times,
    what_is_drawn,
    what_is_said,
)
from diffusion_bench.cli.refusals import HTML, refuse_over, refuse_unwritable, told_by_option
from diffusion_bench.cli.telling import tell_written
from diffusion_bench.cli.typed import typed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusion_bench.charts.tiers.runnable import Room
    from diffusion_bench.charts.tiers.study import Study
    from diffusion_bench.cli.tier_reports import Told
    from diffusion_bench.tiers.cards import Card

PATIENCE_S = 1.0
OPTIONS = {"seconds": "--length"}  # those of predict that are not called after their field
# What `--rows` takes from the table, or does not print, by the names of the function's arguments.
OF_ONE = ("card", "model", "size", "length", "batch", "precision", "steps", "sampler", "json")
# What `tiers` shows of a path and not of one card, and what it shows of pictures and not of speech.
OF_A_PATH = ("path", "cloud_price", "tariff")
OF_PRICES = ("cloud_price", "tariff")
REPORTS_HELP = "Reports, or folders of them, that correct the predictions."
# The backslash keeps rich from taking the brackets for its own.
CARDS_HELP = "Your own cards, a TOML file with a table [\\[card]] each: see docs/methodology.md."
ROWS_HELP = (
    "Predict each row of a CSV file with columns card, model, precision, steps, width, height, "
    "batch, and as you like sampler, app_backend, variant: see docs/methodology.md."
)
SAMPLER_HELP = (
    "ddim, ddpm, ddpm-large, dpm++, euler, unipc, lcm or native; or heun, dpm2, dpm2-a, "
    "dpm++-2s-a or dpm++-sde, which call the model twice a step."
)
PATH_HELP = "Your own upgrade path, a TOML file: a copy of tiers/path.toml, changed."
PATIENCE_HELP = "Seconds to spend on reports that were not read before; 0: as long as it takes."


def predict(
    context: typer.Context,
    card: Annotated[str | None, typer.Option(help='As in "RTX 4070 Ti", the whole name.')] = None,
    model: Annotated[str, typer.Option(help="A short name as sd15, or a hub id.")] = "sd15",
    size: Annotated[
        str, typer.Option(help="In pixels: WIDTHxHEIGHT, or one number for a square.")
    ] = "512x512",
    length: Annotated[
        str, typer.Option(help="Of speech, for a voice model: 10s, or 160chars of text.")
    ] = "10s",
    batch: Annotated[int, typer.Option(help="Pictures or candidates a call.", min=1)] = 1,
    precision: Annotated[
        str, typer.Option(help="fp16, bf16 or fp32; speech is usually made in fp32.")
    ] = "fp16",
    steps: Annotated[
        int, typer.Option(help="Denoising steps; of speech as is usual for the model.", min=1)
    ] = 20,
    sampler: Annotated[str, typer.Option(help=SAMPLER_HELP)] = "ddim",
    report: Annotated[list[Path] | None, typer.Option(help=f"{REPORTS_HELP} Repeatable.")] = None,
    cards: Annotated[Path | None, typer.Option(help=CARDS_HELP)] = None,
    rows: Annotated[Path | None, typer.Option(help=ROWS_HELP)] = None,
    out: Annotated[Path | None, typer.Option(help="Where --rows writes its CSV file.")] = None,
    patience: Annotated[float, typer.Option(help=PATIENCE_HELP, min=0)] = PATIENCE_S,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Predict the time and memory of a workload on a card that need not be here.

    diffusion-bench predict --card "RTX 4070 Ti" --model sd15 --size 512x512 --batch 4 --steps 20

    diffusion-bench predict --card "RTX 4070 Ti" --model echo --length 160chars

    diffusion-bench predict --rows published.csv --out predicted.csv
    """
    known = _known_cards(cards)
    if rows is not None:
        _refuse_typed(context, OF_ONE, "--rows predicts what its table says")
        _predict_rows(rows, out, known, report or [], patience)
        return
    if out is not None:
        raise ValueError("--out goes with --rows; a single prediction is printed")
    if card is None:
        raise ValueError('name a card, as in --card "RTX 4070 Ti", or a table with --rows')
    from diffusion_bench.cli.drawing import parse_size
    from diffusion_bench.cli.tier_reports import HERE, read_reports
    from diffusion_bench.tiers.workload import sampler_named, workload_of

    if card.strip().casefold() == HERE:
        raise ValueError('--card here is for `tiers`; say the name of a card, as in "RTX 4070 Ti"')
    asked = {"batch": batch, "precision": precision, "steps": steps}
    with told_by_option(OPTIONS):
        spoken = speech_asked(context, model, length=length, **asked)
    if spoken is not None:
        answer = what_is_said(card, spoken, known)
        print_answer(answer, spoken.name, speech_times(answer), json=json)
        return
    width, height = parse_size(size)
    named = sampler_named(sampler)
    with told_by_option(OPTIONS):
        workload = workload_of(model=model, width=width, height=height, sampler=named, **asked)
    told = read_reports(report or [], known, patience_s=patience or None)
    answer = what_is_drawn(card, workload, told.findings, known)
    print_answer(answer, f"{workload.name}, {named}", picture_times(answer), json=json)


def tiers(
    context: typer.Context,
    reports: Annotated[list[Path] | None, typer.Argument(help=REPORTS_HELP)] = None,
    path: Annotated[Path | None, typer.Option(help=PATH_HELP)] = None,
    workload: Annotated[
        list[str] | None,
        typer.Option(
            help='As in "sdxl 1024x1024 b1 fp16 30", or of speech "echo 10s b1 fp32 25" or '
            '"echo 160chars"; repeatable.'
        ),
    ] = None,
    card: Annotated[
        str | None,
        typer.Option(help='What this card can run: "RTX 4070 Ti", or "here" for the one in here.'),
    ] = None,
    cards: Annotated[Path | None, typer.Option(help=CARDS_HELP)] = None,
    cloud_price: Annotated[
        float | None,
        typer.Option(
            help="Price of an hour in the cloud, of tiers that say no cloud_price of their own."
        ),
    ] = None,
    tariff: Annotated[
        float | None, typer.Option(help="Price of a kilowatt-hour, for the money of an image.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write charts and tables into one HTML file.")
    ] = None,
    patience: Annotated[float, typer.Option(help=PATIENCE_HELP, min=0)] = PATIENCE_S,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show what each tier of an upgrade path does with each workload, or what a card can run.

    diffusion-bench tiers

    diffusion-bench tiers mine.jsonl --workload "sdxl 1024x1024 b4 fp16 30" --path my_path.toml

    diffusion-bench tiers --card "RTX 4070 Ti"

    diffusion-bench tiers --workload "echo 160chars b1 fp32 25"

    diffusion-bench tiers reports --cloud-price 0.50 --tariff 0.30 --html tiers.html
    """
    from diffusion_bench.charts.tiers.runnable import asked_workloads
    from diffusion_bench.charts.tiers.steps import prices_of
    from diffusion_bench.cli.tier_reports import read_reports, room_of
    from diffusion_bench.tiers.path import read_path, shipped_path

    if html is not None:
        _refuse_typed(context, ("json",), "--html writes a page and prints none")
        refuse_unwritable("--html", html, HTML)
    if card is not None and html is None:
        _refuse_typed(context, OF_A_PATH, "--card shows one card and no path")
    prices = prices_of(cloud_price, tariff)
    chosen = read_path(path) if path else shipped_path()
    known = chosen.all_cards(_known_cards(cards))
    asked, spoken = asked_workloads(workload or ())
    if not asked:
        _refuse_typed(context, OF_PRICES, "speech has no price here")
    told = read_reports(reports or [], known, patience_s=patience or None)
    room = room_of(card, told, known, asked if workload else (), spoken) if card else None
    if room is not None and html is None:
        _show(room, json=json)
        return
    from diffusion_bench.charts.tiers.study import study

    found = study(chosen, asked, told.findings, prices=prices, cards=known, spoken=spoken)
    if html is None:
        _show(found, json=json)
    else:
        _write_page(html, found, room, told)


def _show(found: Study | Room, *, json: bool) -> None:
    """Print a study, or what a card can run."""
    from diffusion_bench.charts.tiers.runnable import Room
    from diffusion_bench.cli.tier_tables import print_json, print_room, print_study

    if isinstance(found, Room):
        print_json(found) if json else print_room(found)
    elif json:
        print_json(
            {
                "path": found.path,
                "prices": found.prices,
                "rows": found.rows,
                "steps": found.steps,
                "bottlenecks": found.bottlenecks,
                "speech": found.speech,
            }
        )
    else:
        print_study(found)


def _write_page(path: Path, found: Study, room: Room | None, told: Told) -> None:
    from diffusion_bench.charts.tiers.page import tiers_html
    from diffusion_bench.charts.tiers.study import rests_on
    from diffusion_bench.whole_file import write_whole

    lines = rests_on(told.findings, told.digests, found.cards)
    write_whole(path, tiers_html(found, room, lines).encode())
    tell_written(path, "wrote ")


def _known_cards(path: Path | None) -> tuple[Card, ...]:
    from diffusion_bench.tiers.cards import known_cards, read_cards

    return read_cards(path) if path else known_cards()


def _refuse_typed(context: typer.Context, names: Sequence[str], why: str) -> None:
    """Raise ValueError for options, by their arguments, that were typed and mean nothing."""
    given = [f"--{name.replace('_', '-')}" for name in names if typed(context, name)]
    if given:
        raise ValueError(f"{why}: leave out {', '.join(given)}")


def _predict_rows(
    rows: Path, out: Path | None, cards: Sequence[Card], reports: list[Path], patience: float
) -> None:
    from diffusion_bench.cli.tier_reports import read_reports
    from diffusion_bench.records.toml_text import read_text
    from diffusion_bench.tiers.rows import predict_rows
    from diffusion_bench.whole_file import write_whole

    if out is None:
        raise ValueError("say with --out where the predictions go")
    refuse_over([out], {"the table of --rows": rows})
    refuse_unwritable("--out", out, (".csv",))
    text = read_text(rows, "CSV file")
    knowledge = read_reports(reports, cards, patience_s=patience or None).findings.knowledge
    try:
        answered = predict_rows(text, cards, knowledge)
    except ValueError as error:
        raise ValueError(f"{rows}: {error}") from None
    write_whole(out, answered.encode())
    tell_written(out, "predictions: ")
