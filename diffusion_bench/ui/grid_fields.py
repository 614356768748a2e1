"""The fields of a grid of settings: its samplers, and a list of numbers for each other axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from diffusion_bench.ui.grids import MAX_AXIS_TEXT


def axis_fields(
    samplers: Sequence[tuple[str, str]], steps: str, elem_id: str
) -> dict[str, gr.components.Component]:
    """Lay out the axes, by their names; `samplers` can be chosen, `steps` are there at first."""
    with gr.Row():
        sampler = gr.CheckboxGroup(
            samplers, value=["ddim", "ddpm"], label="Samplers", elem_id=f"{elem_id}-sampler"
        )
    with gr.Row():
        return {
            "sampler": sampler,
            "steps": _numbers("Steps", steps, f"{elem_id}-steps"),
            "guidance_scale": _numbers("Guidance", "", f"{elem_id}-guidance"),
            "seed": _numbers("Seeds", "", f"{elem_id}-seed"),
        }


def still_chosen(choices: Sequence[tuple[str, str]] | None, chosen: Sequence[str]) -> Any:
    """Return these samplers to choose from, with those chosen that are among them.

    `None` is of a model whose name is half typed: nothing changes.
    """
    if choices is None:
        return gr.skip()
    names = [name for _, name in choices]
    return gr.CheckboxGroup(choices=choices, value=[name for name in chosen if name in names])


def _numbers(label: str, value: str, elem_id: str) -> gr.Textbox:
    return gr.Textbox(
        value,
        label=label,
        placeholder="as above",
        max_length=MAX_AXIS_TEXT,
        min_width=120,
        elem_id=elem_id,
    )
