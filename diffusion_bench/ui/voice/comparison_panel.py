"""The part of the tab *Voice cloning* that compares: one text in one voice, a grid of settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import gradio as gr

from diffusion_bench.backends.voice.catalog import find_voice_model
from diffusion_bench.records import BUNDLED_VOICE_MODEL
from diffusion_bench.ui.chart_fields import chart_fields
from diffusion_bench.ui.complaints import LESS_OF_SPEECH, said_and_raised
from diffusion_bench.ui.events import HIDDEN
from diffusion_bench.ui.giving_up import WATCHED, Cancel
from diffusion_bench.ui.grid_fields import axis_fields, still_chosen
from diffusion_bench.ui.grids import AXES
from diffusion_bench.ui.readouts import announce, readout
from diffusion_bench.ui.style import progress_line
from diffusion_bench.ui.voice.comparing import MAX_CELLS, CompareView, Comparing
from diffusion_bench.ui.voice.fields import Fields, sampler_choices
from diffusion_bench.ui.voice.held_voice import HELD, agreed
from diffusion_bench.ui.voice.limits import check_voice_model
from diffusion_bench.ui.voice.speaking import FIELDS, Speaking

ASKED = (*FIELDS, "voice", "consent", "transcript", "watermark", *HELD)
# A phone scrolls: narrower, headers break within a word.
WIDTHS = ["150px", "75px", "105px", "115px", "125px", "100px", "510px"]


def build(speaking: Speaking, fields: Fields) -> None:
    """Lay out the panel, closed, and wire it; `fields` hold the voice, the text and the rest."""
    with gr.Accordion("Compare: one text, many settings", open=False, elem_id="voice-compare"):
        gr.Markdown(
            "Says the text above once for each combination, in the voice and with all other "
            "settings as above. An empty list takes the setting above."
        )
        usual = sampler_choices(find_voice_model(BUNDLED_VOICE_MODEL))
        axes = axis_fields(usual, "5, 25", "voice-compare")
        with gr.Row():
            speak = gr.Button("Say the grid", variant="primary", elem_id="voice-compare-speak")
            cancel = gr.Button("Cancel", elem_id="voice-compare-cancel")
        shown = _result_fields()
    _wire_samplers(speaking, fields["model"], axes["sampler"])
    asked = {name: fields[name] for name in ASKED}
    asked |= {f"axis_{name}": axis for name, axis in axes.items()}
    _wire(Comparing(speaking), asked, shown, (speak, cancel))


def _player_fields() -> Fields:
    """Lay out a player for each candidate there may be, to be shown when it is said."""
    with gr.Row(elem_id="voice-compare-players"):
        return {
            f"player-{number}": gr.Audio(
                visible=False,
                type="filepath",
                interactive=False,
                buttons=["download"],
                elem_id=f"voice-compare-player-{number}",
            )
            for number in range(1, MAX_CELLS + 1)
        }


def _result_fields() -> Fields:
    fields: Fields = {
        "progress": gr.HTML(elem_id="voice-compare-progress", elem_classes=["progress-line"]),
        "status": readout(label="Status", elem_id="voice-compare-status"),
    }
    fields |= _player_fields()
    with gr.Column(visible=False, elem_id="voice-compare-results") as fields["results"]:
        fields["figures"] = gr.Dataframe(
            label="What was measured",
            interactive=False,
            wrap=True,
            column_widths=WIDTHS,
            elem_id="voice-compare-figures",
        )
        fields["spectrograms"], fields["table"] = chart_fields(
            "voice-compare-spectrograms", "The spectrograms"
        )
    return fields


def _wire_samplers(speaking: Speaking, model: Any, sampler: Any) -> None:
    def on_other_samplers(name: str, chosen: list[str]) -> Any:
        try:
            entry = check_voice_model(name, shared=speaking.shared)
        except ValueError:  # which is said when it is to speak
            return still_chosen(None, chosen)
        return still_chosen(sampler_choices(entry), chosen)

    model.change(on_other_samplers, [model, sampler], sampler, **HIDDEN)


def _wire(
    comparing: Comparing, asked: Fields, shown: Fields, buttons: tuple[gr.Button, gr.Button]
) -> None:
    speak, cancel = buttons
    wanted = Cancel()

    def on_compare(**values: Any) -> Iterator[list[Any]]:
        kept: list[CompareView] = []
        views = said_and_raised(
            wanted.until(_compare(comparing, values, kept)),
            lambda text: given_up(kept, text),
            advice=LESS_OF_SPEECH,
        )
        with closing(views):
            for view in views:
                yield to_updates(view)

    done = speak.click(
        on_compare,
        outputs=list(shown.values()),
        inputs_kwargs=asked,
        # A player that plays is not sent anew at the end, which a caller of the API would need.
        api_name="compare_speech",
        api_visibility="private",
        **WATCHED,
    )
    announce(done, shown["status"])
    wanted.wire(cancel)


def _compare(
    comparing: Comparing, values: Fields, kept: list[CompareView]
) -> Iterator[CompareView]:
    # In a generator, so that a model that is none is said as any other fault is.
    axes = {name: values.pop(f"axis_{name}") for name in AXES}
    heard = values.pop("heard")
    yield from comparing.speak(agreed(comparing.speaking, values), axes, heard, kept)


def given_up(kept: Sequence[CompareView], said: str) -> CompareView:
    """Return what a grid shows that has not come to its end: what is said by then is compared."""
    if not kept:
        return CompareView(done=0, status=said)
    return kept[-1]._replace(
        done=0, total=0, status=f"{said} {kept[-1].done} said by then: they can be heard."
    )


def to_updates(view: CompareView) -> list[Any]:
    """Return the view as values of progress, status, the players, and what is below them."""
    players: list[Any] = [
        gr.Audio(value=None, visible=False) if view.begins else gr.skip() for _ in range(MAX_CELLS)
    ]
    if view.said is not None:
        number, said = view.said
        players[number] = gr.Audio(value=said.path, label=said.label, visible=True)
    results: Any = gr.skip()
    figure: Any = gr.skip()
    table: Any = gr.skip()
    if view.begins or view.table is not None:
        results = gr.Column(visible=not view.begins)
    if view.begins or view.chart is not None:
        figure, table = view.chart or (None, None)
    return [
        gr.skip() if view.done is None else progress_line(view.done, view.total, "Candidates said"),
        gr.skip() if view.status is None else view.status,
        *players,
        results,
        gr.skip() if view.table is None else view.table,
        figure,
        table,
    ]
