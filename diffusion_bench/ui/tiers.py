"""The tab *Tiers*: an upgrade path, what it does with each workload, and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gradio as gr

from diffusion_bench.ui.complaints import FAULTS, complaining, in_one_line, said_and_raised
from diffusion_bench.ui.events import HIDDEN, QUIET
from diffusion_bench.ui.readouts import announce
from diffusion_bench.ui.style import DOWNLOAD_TIERS
from diffusion_bench.ui.tier_fields import Parts, details, question_fields, room_fields, summary
from diffusion_bench.ui.upgrades import Upgrades, View, check_path, to_question

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
            asked, check = question_fields()
            with gr.Row():
                update = gr.Button("Update", variant="primary", elem_id="tiers-update", size="md")
                download = gr.Button(
                    "All of it (.html)", elem_id="tiers-html", size="md", min_width=120
                )
                page = gr.DownloadButton("Page", visible="hidden", elem_id="tiers-page")
        with gr.Column(scale=6, min_width=300):
            shown = summary()
    shown |= details()
    card, room = room_fields()
    fields = list(asked.values())
    _wire_answer(upgrades, (asked, shown), update, tab)
    _wire_why(upgrades, fields, shown)
    _wire_room(upgrades, asked, card, room, tab)
    _wire_fields(upgrades, asked, check, tab)

    @complaining
    def on_download(*, card: str, uploads: Any = None, **values: Any) -> str:
        """Make an HTML file of everything that the tab Tiers shows."""
        return upgrades.page(to_question((*values.values(), uploads)), card)

    download.click(
        on_download,
        outputs=page,
        inputs_kwargs={"card": card, **asked},
        api_name="tiers_page",
        show_progress="minimal",
        show_progress_on=shown["status"],
    ).success(None, js=DOWNLOAD_TIERS, **HIDDEN)


def _wire_answer(
    upgrades: Upgrades, wires: tuple[Parts, Parts], update: gr.Button, tab: gr.Tab
) -> None:
    asked, shown = wires
    names = ("status", "vram", "vram_table", "bars", "bars_table", "gains", "gains_table", "fits")
    outputs = [*(shown[name] for name in (*names, "key", "why", "speech"))]

    def on_update(*, metric: str, uploads: Any = None, **values: Any) -> Iterator[tuple[Any, ...]]:
        """Answer for an upgrade path: what each step does with each workload, and why."""
        question = to_question((*values.values(), uploads))
        views = said_and_raised(upgrades.views(question, metric), View)
        with closing(views):
            for view in views:
                yield to_updates(view)

    wiring: dict[str, Any] = {
        "fn": on_update,
        "inputs_kwargs": {"metric": shown["metric"], **asked},
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
        [shown["metric"], *asked.values()],
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
    upgrades: Upgrades, asked: Parts, card: gr.Dropdown, room: list[Any], tab: gr.Tab
) -> None:
    @complaining
    def on_card(*, card: str, uploads: Any = None, **values: Any) -> tuple[Any, ...]:
        """Tell what a card can run, in words, as a chart and as a table."""
        words, chart = upgrades.room(to_question((*values.values(), uploads)), card)
        return (words, *chart)

    wiring: dict[str, Any] = {
        "fn": on_card,
        "inputs_kwargs": {"card": card, **asked},
        "outputs": room,
        "show_progress": "hidden",
    }
    chosen = card.input(**wiring, api_name="tiers_card")
    announce(chosen, room[0], faults=False)
    tab.select(**wiring, api_visibility="private")


def _wire_fields(upgrades: Upgrades, asked: Parts, check: gr.Textbox, tab: gr.Tab) -> None:
    def on_edit(text: str) -> str:
        try:
            return check_path(text)
        except FAULTS as error:
            return f"Error: {in_one_line(error)}"

    asked["path"].change(on_edit, asked["path"], check, trigger_mode="always_last", **HIDDEN)
    tab.select(lambda: gr.Dropdown(upgrades.names()), None, asked["names"], **HIDDEN)
