"""The command that measures: sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffusion_bench.cli.picture_options import Device
from diffusion_bench.cli.refusals import refuse_unwritable
from diffusion_bench.cli.report_tables import print_reports
from diffusion_bench.cli.telling import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from pydantic import ValidationError

    from diffusion_bench.bench.progress import Progress
    from diffusion_bench.bench.sweep import Sweep


def sweep(
    file: Annotated[Path, typer.Argument(help="The sweep to run, a TOML file of axes.")],
    out: Annotated[
        Path | None, typer.Option(help="The report to write; named after the sweep if not given.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --out: skip the cells it already has.")
    ] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="As --resume, and try again the cells that failed.")
    ] = False,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Time every step of long cells too.")
    ] = False,
    sustain: Annotated[
        str | None,
        typer.Option(
            help="Go on with each cell for so long, as 10m: burst against heat. In less than 90s "
            "the two are not told apart."
        ),
    ] = None,
    emulate_vram: Annotated[
        str | None, typer.Option(help="Give out no more memory than that, as 12GiB; cells say so.")
    ] = None,
    find_limit: Annotated[
        str | None, typer.Option(help="Instead, find the largest batch or resolution that fits.")
    ] = None,
    device: Device = None,
) -> None:
    """Measure a sweep, cell by cell, into a report.

    diffusion-bench sweep benchmarks/quick.toml --out quick.jsonl

    diffusion-bench sweep benchmarks/ddpm_vs_ddim.toml --out mine.jsonl --resume

    diffusion-bench sweep benchmarks/quick.toml --emulate-vram 12GiB --find-limit batch
    """
    from diffusion_bench.bench.limit import run_limit
    from diffusion_bench.bench.runner import run_sweep
    from diffusion_bench.bench.sweep import read_sweep
    from diffusion_bench.reports.read import read_report

    resume = resume or retry
    if find_limit is not None:
        _check_search(
            find_limit, {"--sustain": sustain, "--exhaustive": exhaustive or None}, resume
        )
    plan = _with_options(read_sweep(file), exhaustive, sustain, emulate_vram)
    if plan.devices is not None and device is not None:
        raise ValueError("this sweep names its devices in the table [devices]; leave out --device")
    path = out or Path(f"{file.stem}.jsonl")
    if not (resume and path.exists()):
        refuse_unwritable("--out", path, (".jsonl",))
    if resume and not path.exists():  # a run may be killed before its first line
        tell(f"note: there is no report {path} yet; starting it")
    if find_limit is None:
        _watch(run_sweep(plan, path, resume=resume, retry=retry, device=device))
    else:
        _watch(
            run_limit(plan, path, "batch" if find_limit == "batch" else "resolution", device=device)
        )
    print_reports([read_report(path)])
    typer.echo(f"report: {path}")


def _check_search(axis: str, meaningless: Mapping[str, object], resume: bool) -> None:
    """Raise ValueError for what no limit is looked for on, or with."""
    if axis not in ("batch", "resolution") or resume:
        raise ValueError("--find-limit takes batch or resolution, and starts a new report")
    if given := [name for name, value in meaningless.items() if value is not None]:
        raise ValueError(
            f"--find-limit tries each value once, in few steps: leave out {', '.join(given)}"
        )


def _with_options(
    plan: Sweep, exhaustive: bool, sustain: str | None, emulate_vram: str | None
) -> Sweep:
    """Return the sweep with what the command line says over what its file says."""
    from pydantic import ValidationError

    from diffusion_bench.cli.amounts import memory_bytes, seconds

    changes: dict[str, object] = {}
    if sustain is not None:
        changes["sustain_s"] = _amount("--sustain", sustain, seconds)
    if emulate_vram is not None:
        changes["emulated_memory"] = _amount("--emulate-vram", emulate_vram, memory_bytes)
    try:
        chosen = type(plan).model_validate(plan.model_dump() | changes)
    except ValidationError as error:
        raise ValueError(_out_of_range(error, sustain, emulate_vram)) from None
    _note_too_short(chosen)
    return chosen.exhaustive() if exhaustive else chosen


def _amount(option: str, text: str, read: Callable[[str], float]) -> float:
    """Return what an option says; raise ValueError by its name for what is no such amount."""
    try:
        return read(text)
    except ValueError as error:
        raise ValueError(f"{option} {error}") from None


def _out_of_range(error: ValidationError, sustain: str | None, emulate_vram: str | None) -> str:
    """Return what a sweep refuses by the option that said it, and what that takes."""
    from diffusion_bench.bench.sweep import LARGEST_VRAM, LONGEST_CELL_S, SMALLEST_VRAM
    from diffusion_bench.bench.wording import in_words
    from diffusion_bench.records import explain

    least, most = SMALLEST_VRAM.human_readable(), LARGEST_VRAM.human_readable()
    words: dict[tuple[int | str, ...], str] = {
        ("sustain_s",): f"--sustain {sustain!s:.40} is too long: it takes up to "
        f"{in_words(LONGEST_CELL_S)}, said as 90s, 10m or 1.5h",
        ("emulated_memory",): f"--emulate-vram {emulate_vram!s:.40} is out of range: it takes "
        f"{least} to {most}, said with the unit, as 12GiB; a bare number is bytes",
    }
    told = (words.get(item["loc"]) for item in error.errors(include_url=False))
    return next(filter(None, told), explain(error))


def _note_too_short(plan: Sweep) -> None:
    """Say before anything is measured that so short a time will not tell burst from heat."""
    from diffusion_bench.reports.sustained import LEAST_S, too_short_words

    if plan.sustain_s is not None and plan.sustain_s < LEAST_S:
        words = f"cells go on for {plan.sustain_s:g} s and will show neither figure"
        tell(f"note: {words}: {too_short_words()}")


def _watch(events: Generator[Progress]) -> None:
    """Show a run's progress until it ends; the run ends with its worker if this is interrupted."""
    from contextlib import closing

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from diffusion_bench.cli.tables import printable
    from diffusion_bench.ui.launch import ended_as_by_ctrl_c

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TextColumn("{task.fields[left]}"),
    )
    console = Console(stderr=True)
    # In a pipe and on TERM=dumb rich would draw no bar and end it with an empty line.
    screen = console if console.is_interactive else Console(quiet=True)
    with (
        ended_as_by_ctrl_c(),  # SIGTERM is that of `timeout`, which sends two, or of a batch system
        closing(events),
        Progress(*columns, console=screen, transient=True) as bar,
    ):
        task = bar.add_task("starting the worker", total=None, unit="", left="")
        fetched = ""
        for event in events:
            part, whole = event.bar
            words = describe(event)
            bar.update(
                task,
                total=whole or None,
                completed=part,
                description=words,
                unit=_unit(event) if whole else "",
                left=time_left(event.remaining_s),
            )
            if event.kind == "fetching" and words != fetched and not console.is_interactive:
                fetched = words
                console.print(words, markup=False, soft_wrap=True)
            ended = event.cell or event.shared
            if ended is not None and ended.status != "ok":
                line = printable(f"{ended.status}: {ended.message}")  # of anybody's model
                console.print(line, markup=False, soft_wrap=True)
            elif event.kind in ("cell", "round_done") and not console.is_interactive:
                if event.kind == "cell":
                    words = f"{event.num_done}/{event.num_cells} {words}"
                left = time_left(event.remaining_s)
                console.print(f"{words}; {left}" if left else words, markup=False, soft_wrap=True)


def _unit(event: Progress) -> str:
    if event.fetching is not None:
        return "MiB"
    return "cells" if event.rounds == 1 else "visits to cells"


def describe(event: Progress) -> str:
    """Return in a few words what a run is at."""
    from diffusion_bench.reports.labels import name_request

    if event.fetching is not None:
        return f"fetching {event.fetching.model.title}"
    waits = {"starting": "starting the worker", "waiting": "waiting for the device"}
    if event.kind in waits:
        return waits[event.kind]
    if event.kind == "done":
        return "done"
    if event.kind == "round_done":
        # A stop rule may ask for more than are planned.
        planned = f" of {event.rounds}" if event.rounds_done <= event.rounds else ""
        return f"round {event.rounds_done}{planned} done"
    if event.request is None:
        return "starting"
    repeat = f", repeat {event.repeat} done" if event.repeat else ""
    share = f", share {event.share}" if event.share else ""
    return name_request(event.request) + share + repeat


def time_left(remaining_s: float | None) -> str:
    """Return the time left in words, or nothing while it is not known."""
    from diffusion_bench.bench.wording import in_words

    return "" if remaining_s is None else f"about {in_words(remaining_s)} left"
