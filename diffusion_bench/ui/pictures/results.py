"""The pictures of the tab *Text to image*: those of now, of the session, and what made them."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import gradio as gr

from diffusion_bench.backends.infotext import infotext
from diffusion_bench.ui.complaints import complaining
from diffusion_bench.ui.events import HIDDEN
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.pictures.drawing import Picture
from diffusion_bench.ui.pictures.limits import MAX_PICTURES
from diffusion_bench.ui.readouts import readout
from diffusion_bench.ui.style import DOWNLOAD_PICTURES

SHOWN_HEIGHT = 460  # two rows of three small ones, whole
MOST_KEPT = MAX_PICTURES  # of a session: no click draws more
MOST_WORDS = 300  # letters of a prompt
KEEP_S = 24 * 3600.0

Fields = dict[str, Any]


def result_fields() -> Fields:
    """Lay out the pictures, how far they are, and what is said of them."""
    return {
        "pictures": gr.Gallery(
            label="Pictures",
            elem_id="t2i-pictures",
            height=SHOWN_HEIGHT,
            columns=3,
            object_fit="contain",
            format="png",
            interactive=False,
            buttons=["download", "fullscreen"],
        ),
        "progress": gr.HTML(elem_id="t2i-progress", elem_classes=["progress-line"]),
        "status": readout("Ready.", label="Status", elem_id="t2i-status"),
        # Not a number: an empty one shows 0, a seed that was never used.
        "used_seed": readout(label="Seed used", elem_id="t2i-used-seed"),
    }


def session_fields() -> Fields:
    """Lay out what made the chosen picture, and the pictures of the session."""
    fields: Fields = {
        "now": gr.State((), time_to_live=KEEP_S),
        "kept": gr.State((), time_to_live=KEEP_S),
        "chosen": gr.State(None, time_to_live=KEEP_S),
        "parameters": readout(
            label="What made the chosen picture",
            info="Choose a picture above or below.",
            lines=3,
            buttons=["copy"],
            elem_id="t2i-recipe",
        ),
    }
    with gr.Row():
        fields["again"] = gr.Button(
            "Use its settings", size="sm", min_width=120, elem_id="t2i-again"
        )
        fields["go_on"] = gr.Button("Start from it", size="sm", min_width=120, elem_id="t2i-go-on")
    with gr.Accordion("Pictures of this session", open=False, elem_id="t2i-session"):
        fields["history"] = gr.Gallery(
            label=f"Newest first, {MOST_KEPT} at most",
            elem_id="t2i-history",
            columns=5,
            height=260,
            object_fit="contain",
            format="png",
            interactive=False,
            buttons=["download", "fullscreen"],
        )
        fields["pack"] = gr.Button("Download these as a zip", size="sm", elem_id="t2i-pack")
        fields["packed"] = gr.DownloadButton("Zip", visible="hidden", elem_id="t2i-packed")
    return fields


def with_finished(kept: Sequence[Picture], finished: Sequence[Picture]) -> tuple[Picture, ...]:
    """Return the pictures of a session, newest first, with those that have just been finished."""
    return (*reversed(finished), *kept)[:MOST_KEPT]


def paths_of(pictures: Sequence[Picture]) -> list[str]:
    """Return the files of pictures, those that are still there."""
    return [picture.path for picture in pictures if Path(picture.path).is_file()]


def named(paths: Sequence[str], pictures: Sequence[Picture]) -> list[tuple[str, str]]:
    """Return files as a gallery takes them, with words for who cannot see them; previews have none.

    The page does not show the words: the same stand elsewhere on it.
    """
    requests = {picture.path: picture.recipe.alone for picture in pictures}
    return [
        (path, f"{shorten(requests[path].prompt, MOST_WORDS)}, seed {requests[path].seed}")
        if path in requests
        else (path, "")
        for path in paths
    ]


def chosen_of(pictures: Sequence[Picture], index: int | None) -> tuple[Picture | None, str]:
    """Return the picture of a gallery at an index and what made it; none for a preview."""
    if index is None or not 0 <= index < len(pictures):
        return None, "This picture is not finished yet."
    return pictures[index], infotext(pictures[index].recipe)


def zip_of(pictures: Sequence[Picture], outbox: Outbox) -> str:
    """Return a zip of the pictures' files, oldest first; raise ValueError if there are none.

    The files are as they were saved: with their recipes, or without where those were off.
    """
    paths = paths_of(pictures)
    if not paths:
        raise ValueError("there are no pictures yet")
    with outbox.lease() as folder:
        packed = folder / "pictures.zip"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:  # PNGs are packed already
            for number, path in enumerate(reversed(paths), 1):
                archive.write(path, f"{number:03}-{Path(path).name}")
    return str(packed)


def wire_session(session: Fields, shown: Fields, outbox: Outbox) -> None:
    """Wire the choice of a picture and the download of all."""

    def on_choice(pictures: Sequence[Picture], event: gr.SelectData) -> tuple[Any, str]:
        index = event.index if isinstance(event.index, int) else None
        return chosen_of(pictures, index)

    def on_kept_choice(pictures: Sequence[Picture], event: gr.SelectData) -> tuple[Any, str]:
        # As the gallery shows them: without files that are gone.
        here = [picture for picture in pictures if Path(picture.path).is_file()]
        return on_choice(here, event)

    told = [session["chosen"], session["parameters"]]
    shown["pictures"].select(on_choice, session["now"], told, **HIDDEN)
    session["history"].select(on_kept_choice, session["kept"], told, **HIDDEN)

    @complaining
    def on_pack(pictures: Sequence[Picture]) -> str:
        return zip_of(pictures, outbox)

    session["pack"].click(on_pack, session["kept"], session["packed"], **HIDDEN).success(
        None, js=DOWNLOAD_PICTURES, **HIDDEN
    )
