"""The page: its heading and its tabs. Nothing is computed while it is built."""

from __future__ import annotations

import gradio as gr

from diffusion_bench.backends.engine import Engine
from diffusion_bench.ui import (
    benchmark,
    hardware,
    how_it_works,
    reports,
    text_to_image,
    tiers,
    voice_cloning,
)
from diffusion_bench.ui.events import HIDDEN
from diffusion_bench.ui.hardware import Machine
from diffusion_bench.ui.jobs import VISITOR_JOBS, Jobs
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.pictures.drawing import Drawing
from diffusion_bench.ui.pictures.limits import SHARED_LIMITS, SHARED_PICTURES
from diffusion_bench.ui.plans import Planning
from diffusion_bench.ui.reading import Reading
from diffusion_bench.ui.report_files import ReportFolder
from diffusion_bench.ui.sweeping import Sweeping
from diffusion_bench.ui.upgrades import Upgrades
from diffusion_bench.ui.voice.limits import MAX_SHARED_TEXT, SHARED_VOICE_LIMITS
from diffusion_bench.ui.voice.speaking import Speaking

TITLE = "Diffusion Bench"


def guests_line() -> str:
    """Return what a guest may have on a shared app, so that nobody has to be refused to know."""
    return (
        f"This app is shared. Each visitor may have {VISITOR_JOBS} jobs at a time, running or "
        f"waiting: pictures of up to {SHARED_LIMITS['steps']} steps and {SHARED_LIMITS['width']} x "
        f"{SHARED_LIMITS['height']} pixels, {SHARED_PICTURES} at a click; speech of up to "
        f"{SHARED_VOICE_LIMITS['steps']} steps and {MAX_SHARED_TEXT} characters."
    )


def build(
    engine: Engine,
    *,
    reports_folder: ReportFolder,
    machine: Machine,
    jobs: Jobs,
    outbox: Outbox,
    shared: bool,
) -> gr.Blocks:
    """Return the page. With `shared`, visitors choose from the lists of models only."""
    drawing = Drawing(engine, jobs, outbox, shared=shared)
    speaking = Speaking(engine, jobs, outbox, shared=shared)
    sweeping = Sweeping(engine, jobs, outbox, reports_folder, shared=shared)
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(f"# {TITLE}\nTry diffusion, see how it works, and measure it on this machine.")
        if shared:
            gr.Markdown(guests_line(), elem_id="guests")
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap"):  # a phone has them in two rows
            with gr.Tab("Text to image", id="t2i") as pictures:
                text_to_image.build(drawing, shared=shared)
            with gr.Tab("Voice cloning", id="voice") as voices:
                voice_cloning.build(speaking, page, voices)
            with gr.Tab("How it works", id="inside") as inside:
                how_it_works.build(drawing, speaking)
            with gr.Tab("Benchmark", id="bench") as sweeps:
                planning = Planning(engine, jobs, reports_folder, machine.info, shared=shared)
                benchmark.build(sweeping, planning, reports_folder, sweeps)
            with gr.Tab("Reports", id="reports") as measured:
                reports.build(Reading(reports_folder, outbox, machine.info), measured)
            with gr.Tab("Tiers", id="tiers") as path:
                index = reports_folder.index
                tiers.build(Upgrades(reports_folder, index, outbox, machine.info), path)
            with gr.Tab("Hardware", id="hardware") as watched:
                timer = hardware.build(machine, page, watched)
        for tab in (pictures, voices, inside, sweeps, measured, path):
            tab.select(lambda: gr.Timer(active=False), None, timer, **HIDDEN)
    return page
