"""A chart on the page and its table beside it."""

from __future__ import annotations

import gradio as gr


def chart_fields(elem_id: str, title: str) -> tuple[gr.Plot, gr.Dataframe]:
    """Return the fields of a chart and of its table, which is closed at first.

    `title` names the table to who cannot see where it is.
    """
    plot = gr.Plot(show_label=False, elem_id=elem_id)
    with gr.Accordion("As a table", open=False, elem_id=f"{elem_id}-more"):
        table = gr.Dataframe(
            label=f"{title}, as a table",
            show_label=False,
            interactive=False,
            elem_id=f"{elem_id}-table",
        )
    return plot, table
