"""Where the tab *Voice cloning* shows what was said."""

from __future__ import annotations

import gradio as gr

from diffusion_bench.ui.readouts import readout
from diffusion_bench.ui.voice.fields import Fields


def result_fields() -> Fields:
    """Lay out what was said, what was measured of it, and its files."""
    shown: Fields = {
        "live": gr.Audio(
            label="As it is made",
            streaming=True,
            autoplay=True,
            interactive=False,
            visible=False,
            buttons=[],  # what is to be kept says what it is
            elem_id="voice-live",
        ),
        "audio": gr.Audio(
            label="What was said",
            type="filepath",
            interactive=False,
            buttons=["download"],
            elem_id="voice-audio",
        ),
        "candidate": gr.Radio(
            [], label="Candidates, the most alike first", visible=False, elem_id="voice-candidate"
        ),
        "progress": gr.HTML(elem_id="voice-progress", elem_classes=["progress-line"]),
        "status": readout("Ready.", label="Status", elem_id="voice-status"),
        # Not a number: an empty one shows 0, a seed that was never used.
        "used_seed": readout(label="Seed used", elem_id="voice-used-seed"),
    }
    shown["reuse"] = gr.Button("Use this seed again", size="sm", elem_id="voice-reuse")
    shown["measures"] = gr.Markdown(elem_id="voice-measures")
    shown["figure"] = gr.Plot(show_label=False, elem_id="voice-spectrogram")
    with gr.Accordion("The spectrograms as a table", open=False, elem_id="voice-table-fold"):
        shown["table"] = gr.Dataframe(
            label="The spectrograms as a table",
            show_label=False,
            interactive=False,
            elem_id="voice-table",
        )
    shown["files"] = gr.File(
        label="Files: speech and the settings that made it",
        file_count="multiple",
        interactive=False,
        elem_id="voice-files",
    )
    return shown
