"""A study of an upgrade path as one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from diffusion_bench.charts.captions import CAPTIONS
from diffusion_bench.charts.document import Section, details, document, section_html
from diffusion_bench.charts.tiers.bars import METRICS, bars_numbers, bars_table, row_key
from diffusion_bench.charts.tiers.evidence import bars_figure
from diffusion_bench.charts.tiers.fits import tight_lines
from diffusion_bench.charts.tiers.gains import gains_figure, gains_table
from diffusion_bench.charts.tiers.room import room_figure
from diffusion_bench.charts.tiers.runnable import Room, runnable_table
from diffusion_bench.charts.tiers.speech import speech_table
from diffusion_bench.charts.tiers.study import Study, path_notes, price_lines
from diffusion_bench.charts.tiers.vram import vram_figure, vram_numbers, vram_table
from diffusion_bench.charts.tiers.why import fit_table, why

KINDS = (
    "Measured here, measured in an imported report, published and predicted are four kinds of "
    "evidence; they look different and are never averaged. Imported reports are unverified."
)


def tiers_html(study: Study, room: Room | None = None, told: Sequence[str] = ()) -> str:
    """Return a page with every chart and table of a study.

    `room` is of a card to be shown too, and `told` are lines on what the whole rests on.
    """
    parts = [f"<p>{escape(line)}</p>" for line in (KINDS, *told)]
    parts += _lines("Prices", price_lines(study.path))
    parts += [f"<p>{escape(note)}</p>" for note in path_notes(study.path, study.cards)]
    parts += _lines("What holds each step back", study.bottlenecks)
    for number, section in enumerate(_sections(study, room)):
        parts.append(section_html(section, with_plotly=number == 0))
    parts.append("<h2>What fits</h2>")
    parts += [f"<p>{escape(line)}</p>" for line in tight_lines(row.fit for row in study.rows)]
    parts.append(details("Table", fit_table(study.rows)))
    if study.speech:
        parts += ["<h2>Speech</h2>", details("Table", speech_table(study.speech))]
    parts.append("<h2>Why</h2>")
    parts += [
        f"<details><summary>{escape(row_key(row))}</summary>"
        f"<pre>{escape(why(study.rows, row_key(row), study.cards))}</pre></details>"
        for row in study.rows
    ]
    return document("Upgrade path", parts)


def _lines(title: str, lines: tuple[str, ...] | list[str]) -> list[str]:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return [f"<h2>{escape(title)}</h2>", f"<ul>{items}</ul>"]


def _sections(study: Study, room: Room | None) -> list[Section]:
    vram = vram_numbers(study.path, study.workloads, study.cards)
    title = "VRAM is king"
    found = [Section("vram", title, CAPTIONS["vram"], vram_figure(vram), vram_table(vram))]
    currency = study.path.currency
    for metric in METRICS:
        if metric.startswith("money") and study.prices.per_kwh is None:
            continue
        numbers = bars_numbers(
            study.rows, metric, currency=currency, prices=study.prices, cards=study.cards
        )
        name, title = metric.replace(" ", "-"), metric.capitalize()
        found.append(
            Section(name, title, CAPTIONS["bars"], bars_figure(numbers), bars_table(numbers))
        )
    found.append(
        Section(
            "gains",
            "What each step buys",
            CAPTIONS["gains"],
            gains_figure(study.steps, currency),
            gains_table(study.steps, currency),
        )
    )
    if room is not None:
        title = f"What {room.name} can run"
        caption = " ".join(tight_lines(one.fit for one in room.runs))
        found.append(Section("room", title, caption, room_figure(room), runnable_table(room)))
    return found
