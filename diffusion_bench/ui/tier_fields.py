"""The fields, charts and tables of the tab *Tiers*, as they are laid out."""

from __future__ import annotations

from typing import Any

import gradio as gr

from diffusion_bench.charts.captions import CAPTIONS
from diffusion_bench.charts.tiers.bars import METRICS
from diffusion_bench.charts.tiers.fits import TIGHT
from diffusion_bench.charts.tiers.runnable import SHOWN
from diffusion_bench.ui.chart_fields import chart_fields
from diffusion_bench.ui.readouts import readout
from diffusion_bench.ui.upgrades import (
    ALL,
    HERE,
    USES,
    card_choices,
    check_path,
    shipped_text,
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


def question_fields() -> tuple[Parts, gr.Textbox]:
    """Return the fields in the order of `Question`, and the line that says if the path is one."""
    path = gr.Textbox(
        shipped_text(),
        label="Upgrade path (TOML)",
        info="Your own parts and prices. other_gpu is a second, different card; after names "
        "the tier that a step starts from; [[card]] describes a card that is not known.",
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
        info="Type others: sdxl 1024x1024 b4 fp16 30 (batch 4, 30 steps); speech: echo 10s b1 "
        "fp32 25, echo 160chars.",
        elem_id="tiers-workloads",
    )
    with gr.Row():
        cloud = gr.Number(
            CLOUD_PRICE,
            label="Cloud, an hour",
            info="For tiers without a cloud_price. Approximate: set your own.",
            step=0.01,
            elem_id="tiers-cloud",
            min_width=120,
        )
        tariff = gr.Number(
            TARIFF,
            label="Price of a kWh",
            info="Approximate: set your own.",
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
                label="Reports of other machines (.jsonl)",
                file_count="multiple",
                file_types=[".jsonl"],
                height=120,
                elem_id="tiers-uploads",
            ),
        }


def summary() -> Parts:
    """Return the words on the whole path and the chart of memory, by name."""
    shown: Parts = {
        "status": readout(label="What holds each step back", lines=4, elem_id="tiers-status")
    }
    gr.Markdown("## VRAM is king\nLines: what a workload needs as it is. Bands: how sure that is.")
    return shown | _chart("vram")


def details() -> Parts:
    """Return the bars with the evidence behind them, the gains, and the tables of fits, by name."""
    shown: Parts = {}
    words = "Each bar is a piece of evidence; click it for details."
    gr.Markdown(f"## By tier and workload\n{words} {CAPTIONS['bars']}")
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
            gr.Markdown(f"## What each step buys for its price\n{CAPTIONS['gains']}")
            shown |= _chart("gains")
    gr.Markdown(f"## What fits\n{TIGHT}")
    shown["fits"] = gr.Dataframe(
        label="What fits",
        show_label=False,
        interactive=False,
        wrap=True,
        column_widths=FIT_WIDTHS,
        elem_id="tiers-fits",
    )
    shown["speech"] = gr.Dataframe(
        label="Speech, all predicted. A real-time factor below 1 is faster than it plays.",
        visible=False,  # until there is some
        interactive=False,
        wrap=True,
        elem_id="tiers-speech",
    )
    return shown


def _chart(name: str) -> Parts:
    plot, table = chart_fields(f"tiers-{name}", TABLES[name])
    return {name: plot, f"{name}_table": table}


def room_fields() -> tuple[gr.Dropdown, list[Any]]:
    """Return the choice of a card, and what is shown of it: words, a chart, its table."""
    gr.Markdown("## What can I run on my card?")
    card = gr.Dropdown(
        card_choices(),
        value=HERE,
        allow_custom_value=True,
        label="Card",
        info="Or type the name of a card that the path above describes.",
        elem_id="tiers-card",
    )
    words = readout(label="What it runs", show_label=False, elem_id="tiers-room-words")
    return card, [words, *_chart("room").values()]
