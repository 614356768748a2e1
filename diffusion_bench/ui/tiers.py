"""The tab *Tiers*: an upgrade path, what it does with each workload, and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gradio as gr

from diffusion_bench.charts.captions import CAPTIONS
from diffusion_bench.charts.tier_bars import METRICS
from diffusion_bench.charts.tier_fits import TIGHT
from diffusion_bench.charts.tier_runnable import SHOWN
from diffusion_bench.ui.complaints import FAULTS, complaining, in_one_line, said_and_raised
from diffusion_bench.ui.events import HIDDEN, QUIET
from diffusion_bench.ui.readouts import announce, readout
from diffusion_bench.ui.style import DOWNLOAD_TIERS
from diffusion_bench.ui.upgrades import (
    ALL,
    HERE,
    USES,
    Upgrades,
    View,
    card_choices,
    check_path,
    shipped_text,
    to_question,
    workload_choices,
)

CLOUD_PRICE, TARIFF = 0.5, 0.3
# Of the columns of `fit_table`, so that verdict and memory are seen at once and what is long wraps.
FIT_WIDTHS = ["110px", "120px", "170px", "150px", "80px", "60px", "60px", "330px", "150px"]
TABLES = {
    "vram": "VRAM is king",
    "bars": "By tier and workload",
    "gains": "What each step buys for its price",
    "room": "What can I run on my card?",
}
Parts = dict[str, Any]

# gr.Plot tells of no click, so that plotly's own is passed on to a field that nobody sees. The
# figure is drawn some time after its data came, and anew by every answer.
LISTEN_TO_BARS = """
() => {
  if (window.tiersListener) return;
  let clicks = 0;  // a field that is given what it holds does not change
  window.tiersListener = setInterval(() => {
    const plot = document.querySelector("#tiers-bars .js-plotly-plot");
    if (!plot || !plot.on || plot === window.tiersPlot) return;
    window.tiersPlot = plot;
    plot.on("plotly_click", (event) => {
      const data = event.points[0].customdata;
      const field = document.querySelector("#tiers-clicked textarea, #tiers-clicked input");
      if (!data || !field) return;
      field.value = `${++clicks} ${data[1]}`;
      field.dispatchEvent(new Event("input", {bubbles: true}));
    });
  }, 400);
}
"""


def build(upgrades: Upgrades, tab: gr.Tab) -> None:
    """Lay out the tab and wire it; `tab` is the one that it lies in."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300):
            asked, check = _question_fields()
            with gr.Row():
                update = gr.Button("Update", variant="primary", elem_id="tiers-update", size="md")
                download = gr.Button(
                    "All of it (.html)", elem_id="tiers-html", size="md", min_width=120
                )
                page = gr.DownloadButton("Page", visible="hidden", elem_id="tiers-page")
        with gr.Column(scale=6, min_width=300):
            shown = _summary()
    shown |= _details()
    card, room = _room_fields()
    fields = list(asked.values())
    _wire_answer(upgrades, (fields, shown), update, tab)
    _wire_why(upgrades, fields, shown)
    _wire_room(upgrades, fields, card, room, tab)
    _wire_fields(upgrades, asked, check, tab)

    @complaining
    def on_download(card: str, *values: Any) -> str:
        return upgrades.page(to_question(values), card)

    download.click(
        on_download,
        [card, *fields],
        page,
        api_name="tiers_page",
        show_progress="minimal",
        show_progress_on=shown["status"],
    ).success(None, js=DOWNLOAD_TIERS, **HIDDEN)


def _question_fields() -> tuple[Parts, gr.Textbox]:
    """Return the fields in the order of `Question`, and the line that says if the path is one."""
    path = gr.Textbox(
        shipped_text(),
        label="Upgrade path (TOML)",
        info="Your own parts and prices; other_gpu makes an unequal pair.",
        lines=12,
        max_lines=22,
        max_length=20_000,
        elem_id="tiers-path",
        elem_classes=["code"],
    )
    check = readout(
        check_path(shipped_text()),
        label="Is it a path?",
        show_label=False,
        container=False,
        elem_id="tiers-check",
    )
    workloads = gr.Dropdown(
        workload_choices(),
        value=list(SHOWN),
        multiselect=True,
        allow_custom_value=True,
        label="Workloads",
        info="Type others as sdxl 1024x1024 b4 fp16 30, speech as echo 10s b1 fp32 25 or echo "
        "160chars.",
        elem_id="tiers-workloads",
    )
    with gr.Row():
        cloud = gr.Number(
            CLOUD_PRICE,
            label="Cloud, an hour",
            info="Approximate: set your own.",
            minimum=0,
            step=0.01,
            elem_id="tiers-cloud",
            min_width=120,
        )
        tariff = gr.Number(
            TARIFF,
            label="Price of a kWh",
            info="Approximate: set your own.",
            minimum=0,
            step=0.01,
            elem_id="tiers-tariff",
            min_width=120,
        )
    parts = {"path": path, "workloads": workloads, "cloud": cloud, "tariff": tariff}
    return parts | _report_fields(), check


def _report_fields() -> Parts:
    with gr.Accordion("Reports that correct the predictions", open=False, elem_id="tiers-more"):
        return {
            "use": gr.Radio(list(USES), value=ALL, label="Use", elem_id="tiers-use"),
            "names": gr.Dropdown(
                [],
                value=[],
                multiselect=True,
                allow_custom_value=True,  # the list is filled later; names are checked when used
                label="Saved reports, newest first",
                elem_id="tiers-names",
            ),
            "uploads": gr.File(
                label="Of other machines (.jsonl)",
                file_count="multiple",
                file_types=[".jsonl"],
                height=120,
                elem_id="tiers-uploads",
            ),
        }


def _summary() -> Parts:
    shown: Parts = {
        "status": readout(label="What holds each step back", lines=4, elem_id="tiers-status")
    }
    gr.Markdown("### VRAM is king\nLines: what a workload needs as it is. Bands: how sure that is.")
    return shown | _chart("vram")


def _details() -> Parts:
    shown: Parts = {}
    words = "A bar a piece of evidence; click one to see behind it."
    gr.Markdown(f"### By tier and workload\n{words} {CAPTIONS['bars']}")
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=300):
            shown["metric"] = gr.Dropdown(
                list(METRICS), value=METRICS[0], label="Show", elem_id="tiers-metric"
            )
            shown |= _chart("bars")
        with gr.Column(scale=5, min_width=300):
            shown["key"] = gr.Dropdown([], value=None, label="Why?", elem_id="tiers-key")
            shown["why"] = readout(
                label="The evidence", show_label=False, lines=8, elem_id="tiers-why"
            )
            shown["clicked"] = gr.Textbox(visible="hidden", elem_id="tiers-clicked")
            gr.Markdown(f"### What each step buys for its price\n{CAPTIONS['gains']}")
            shown |= _chart("gains")
    gr.Markdown(f"### What fits\n{TIGHT}")
    shown["fits"] = gr.Dataframe(
        label="What fits",
        show_label=False,
        interactive=False,
        wrap=True,
        column_widths=FIT_WIDTHS,
        elem_id="tiers-fits",
    )
    shown["speech"] = gr.Dataframe(
        label="Speech. A real-time factor below 1 is faster than it is heard. All predicted.",
        visible=False,  # until there is some
        interactive=False,
        wrap=True,
        elem_id="tiers-speech",
    )
    return shown


def _chart(name: str) -> Parts:
    plot = gr.Plot(show_label=False, elem_id=f"tiers-{name}")
    with gr.Accordion("As a table", open=False, elem_id=f"tiers-{name}-more"):
        table = gr.Dataframe(
            label=f"{TABLES[name]}, as a table",
            show_label=False,
            interactive=False,
            elem_id=f"tiers-{name}-table",
        )
    return {name: plot, f"{name}_table": table}


def _room_fields() -> tuple[gr.Dropdown, list[Any]]:
    gr.Markdown("### What can I run on my card?")
    card = gr.Dropdown(card_choices(), value=HERE, label="Card", elem_id="tiers-card")
    words = readout(label="What it runs", show_label=False, elem_id="tiers-room-words")
    return card, [words, *_chart("room").values()]


def _wire_answer(
    upgrades: Upgrades, wires: tuple[list[Any], Parts], update: gr.Button, tab: gr.Tab
) -> None:
    fields, shown = wires
    names = ("status", "vram", "vram_table", "bars", "bars_table", "gains", "gains_table", "fits")
    outputs = [*(shown[name] for name in (*names, "key", "why", "speech"))]

    def on_update(metric: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        views = said_and_raised(upgrades.views(to_question(values), metric), View)
        with closing(views):
            for view in views:
                yield to_updates(view)

    wiring: dict[str, Any] = {
        "fn": on_update,
        "inputs": [shown["metric"], *fields],
        "outputs": outputs,
        "show_progress": "minimal",
        "show_progress_on": shown["status"],
        "trigger_mode": "always_last",
    }
    announce(update.click(**wiring, api_name="tiers"), shown["status"])
    tab.select(**wiring, api_visibility="private").then(
        None, js=LISTEN_TO_BARS, queue=False, api_visibility="private"
    )

    @complaining
    def on_metric(metric: str, *values: Any) -> tuple[Any, ...]:
        return upgrades.bars(to_question(values), metric)

    shown["metric"].input(
        on_metric,
        [shown["metric"], *fields],
        [shown["bars"], shown["bars_table"]],
        **QUIET,
    )


def to_updates(view: View) -> tuple[Any, ...]:
    """Return the view as values of status, charts with their tables, verdicts and the reason."""
    if view.vram is None or view.bars is None or view.gains is None:
        return (view.status, *[gr.skip()] * 10)
    keys = gr.Dropdown(list(view.keys), value=view.keys[0] if view.keys else None)
    shown = (*view.vram, *view.bars, *view.gains, view.fits)
    speech = gr.Dataframe(view.speech, visible=bool(view.speech and view.speech["data"]))
    return (view.status, *shown, keys, view.why, speech)


def _wire_why(upgrades: Upgrades, fields: list[Any], shown: Parts) -> None:
    @complaining
    def on_key(key: str | None, *values: Any) -> str:
        return upgrades.why(to_question(values), key) if key else ""

    @complaining
    def on_click(clicked: str, *values: Any) -> tuple[Any, str]:
        key = clicked.partition(" ")[2]  # after the number of the click
        return gr.Dropdown(value=key), upgrades.why(to_question(values), key)

    @complaining
    def on_row(event: gr.SelectData, *values: Any) -> tuple[Any, str]:
        key = f"{event.row_value[0]} | {event.row_value[2]}"
        return gr.Dropdown(value=key), upgrades.why(to_question(values), key)

    opened = [shown["key"], shown["why"]]
    shown["key"].input(on_key, [shown["key"], *fields], shown["why"], **HIDDEN)
    shown["clicked"].change(on_click, [shown["clicked"], *fields], opened, **HIDDEN)
    for table in (shown["bars_table"], shown["fits"]):
        table.select(on_row, fields, opened, **HIDDEN)


def _wire_room(
    upgrades: Upgrades, fields: list[Any], card: gr.Dropdown, room: list[Any], tab: gr.Tab
) -> None:
    @complaining
    def on_card(card: str, *values: Any) -> tuple[Any, ...]:
        words, chart = upgrades.room(to_question(values), card)
        return (words, *chart)

    chosen = card.input(
        on_card, [card, *fields], room, show_progress="hidden", api_name="tiers_card"
    )
    announce(chosen, room[0], faults=False)
    tab.select(on_card, [card, *fields], room, **QUIET)


def _wire_fields(upgrades: Upgrades, asked: Parts, check: gr.Textbox, tab: gr.Tab) -> None:
    def on_edit(text: str) -> str:
        try:
            return check_path(text)
        except FAULTS as error:
            return f"Error: {in_one_line(error)}"

    asked["path"].change(on_edit, asked["path"], check, trigger_mode="always_last", **HIDDEN)
    tab.select(lambda: gr.Dropdown(upgrades.names()), None, asked["names"], **HIDDEN)
