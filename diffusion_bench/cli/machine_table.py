"""The machine in a terminal: a table of what it does now, and the last minutes as sparklines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from diffusion_bench.hardware.quantities import (
    CANNOT_TELL,
    GPU,
    HOST,
    Quantity,
    Shown,
    gpu_rows,
    gpu_title,
    host_rows,
    limit_of,
    spread,
    value_of,
)
from diffusion_bench.hardware.trace import find_look

if TYPE_CHECKING:
    from rich.table import Table

    from diffusion_bench.records import GpuReading, Reading

BLOCKS = "▁▂▃▄▅▆▇█"
SHOWN_S = 180.0
SPARK_WIDTH = 30  # blocks, of 6 s each
BESIDE_ROWS = 4  # of a table: its head and its lines


def machine_table(readings: Sequence[Reading], *, history: bool, blocks: bool = True) -> Table:
    """Return every quantity of the newest reading, with its course where `history` asks for it.

    `blocks`: whether the terminal can show block characters; else the course is its extremes.
    """
    from rich.table import Table
    from rich.text import Text

    at_s = [reading.at_s for reading in readings]
    table = Table()
    for name in ("what", "now", *(("the last minutes",) if history else ())):
        table.add_column(name, overflow="fold")

    def add(rows: Sequence[Shown]) -> None:
        for row in _grouped(rows):
            course = [] if not history else [sparkline(row, at_s) if blocks else spread(row)]
            table.add_row(*map(Text, (row.title, row.now, *course)))

    add(host_rows(readings))
    for gpu in readings[-1].gpus:
        table.add_section()
        table.add_row(Text(gpu_title(gpu)))
        add(gpu_rows(readings, gpu.index))
    return table


def _grouped(rows: Sequence[Shown]) -> list[Shown]:
    """Return the rows; those that tell nothing for one reason are one, with all their names."""
    found: dict[str, Shown] = {}
    for row in rows:
        silent = row.now.startswith(CANNOT_TELL) and all(value is None for value in row.values)
        key = row.now if silent else row.title
        same = found.get(key)
        found[key] = row if same is None else row._replace(title=f"{same.title}, {row.title}")
    return list(found.values())


def compact_table(readings: Sequence[Reading]) -> Table:
    """Return a row a GPU, for machines with more GPUs than the terminal has lines."""
    from rich.table import Table
    from rich.text import Text

    newest = readings[-1]
    table = Table()
    drawn = [quantity for quantity in GPU if quantity.field != "fan_percent"]
    for name in ("", *(f"{quantity.title}, {quantity.unit}" for quantity in drawn)):
        table.add_column(name, overflow="fold")
    for gpu in newest.gpus:
        table.add_row(*map(Text, (gpu_title(gpu), *(_cell(gpu, each) for each in drawn))))
    host = {row.title: row.now for row in host_rows(readings)}
    table.caption = f"CPU {host['CPU']}; {host['CPU cores']}; memory in use {host['memory in use']}"
    return table


def fitting_table(readings: Sequence[Reading], height: int, *, blocks: bool) -> Table:
    """Return the table with every quantity, or the compact one where that has too many lines."""
    table = machine_table(readings, history=True, blocks=blocks)
    sections = len(readings[-1].gpus)
    if sections and table.row_count + sections + BESIDE_ROWS > height:
        return compact_table(readings)
    return table


def machine_line(readings: Sequence[Reading]) -> str:
    """Return the newest reading in one line, for a log."""
    host = {row.title: row.now for row in host_rows(readings)}
    parts = [f"CPU {_short(host['CPU'])}", f"memory {_short(host['memory in use'])}"]
    for gpu in readings[-1].gpus:
        rows = {row.title: _short(row.now) for row in gpu_rows(readings, gpu.index)}
        told = (rows[name] for name in ("use", "memory in use", "power", "temperature"))
        parts.append(f"GPU {gpu.index} {', '.join(told)}")
    return "; ".join(parts)


def extremes(readings: Sequence[Reading]) -> tuple[Reading, ...]:
    """Return two readings at most that keep the least and the most of each quantity of all.

    They are of the moment, and of the GPUs, of the newest one.
    """
    return tuple(readings) if len(readings) <= 2 else (_all(min, readings), _all(max, readings))


def _all(pick: Callable[..., Any], readings: Sequence[Reading]) -> Reading:
    newest = readings[-1]
    hosts = [reading.host for reading in readings]
    cores = [host.core_percents for host in hosts if host.core_percents]
    host = _each(pick, hosts, HOST)
    if cores:
        host = host.model_copy(update={"core_percents": pick(cores, key=max)})
    gpus = [
        _each(pick, [same for each in readings if (same := find_look(each, gpu.index))], GPU)
        for gpu in newest.gpus
    ]
    return newest.model_copy(update={"host": host, "gpus": tuple(gpus)})


def _each(pick: Callable[..., Any], records: Sequence[Any], quantities: Sequence[Quantity]) -> Any:
    fields = [quantity.field for quantity in quantities]
    told = {name: [getattr(record, name) for record in records] for name in fields}
    known = {name: [v for v in values if v is not None] for name, values in told.items()}
    return records[-1].model_copy(
        update={name: pick(values) for name, values in known.items() if values}
    )


def sparkline(row: Shown, at_s: Sequence[float]) -> str:
    """Return the last minutes of a row as blocks from 0 to its top, a space where none is told.

    A block is the most that was told in 6 seconds: no peak is lost, however fast the readings come.
    `at_s` is when each of the row's values was read.
    """
    slots: dict[float, list[float]] = {}
    for value, at in zip(row.values, at_s, strict=bool(row.values)):
        known = slots.setdefault(at // (SHOWN_S / SPARK_WIDTH), [])
        if value is not None:
            known.append(value)
    peaks = [max(known, default=None) for known in slots.values()][-SPARK_WIDTH:]
    told = [peak for peak in peaks if peak is not None]
    if not told:
        return ""
    top = max([*told, row.top or 0.0]) or 1.0
    return "".join(" " if peak is None else _block(peak / top) for peak in peaks)


def _block(share: float) -> str:
    return BLOCKS[min(len(BLOCKS) - 1, max(0, int(share * len(BLOCKS))))]


def _short(now: str) -> str:
    return CANNOT_TELL if now.startswith(CANNOT_TELL) else now


def _cell(gpu: GpuReading, quantity: Quantity) -> str:
    value, limit = value_of(gpu, quantity), limit_of(gpu, quantity)
    if value is None:
        return CANNOT_TELL
    return f"{value:.0f}/{limit:.0f}" if quantity.limit_field and limit else f"{value:.0f}"
