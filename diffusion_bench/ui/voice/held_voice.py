"""The voice that a page of *Voice cloning* holds: a recording or an x-vector, and the consent.

They lie on the server, in the page's session, and go with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from diffusion_bench.ui.complaints import complaining, in_one_line
from diffusion_bench.ui.events import HIDDEN, TELLING
from diffusion_bench.ui.voice.fields import Fields
from diffusion_bench.ui.voice.limits import check_voice_model
from diffusion_bench.ui.voice.recordings import Heard, read_vector
from diffusion_bench.ui.voice.speaking import OWN_RECORDING, Speaking
from diffusion_bench.ui.voice.words import report_lines

HELD = ("heard", "vector", "taken")  # the states: both kinds of voice, and which the consent is for


def forget(heard: Heard | None) -> None:
    """Let the recording of a visitor go who has left or has put another in its place."""
    if heard is not None:
        heard.forget()


def wire_voice(speaking: Speaking, fields: Fields, heard: gr.State) -> None:
    """Take a recording in, say what it is like, and let the one before it go."""

    def on_recording(
        path: str | None, before: Heard | None, model: str | None = None
    ) -> tuple[Any, ...]:
        """Show what a recording is like. The one before it goes, and the consent with it."""
        try:
            found = speaking.hear(path, model) if path else None
        except ValueError as error:
            # Not raised: the recording before it must not be spoken with in its place.
            said = f"This recording cannot be used: {in_one_line(error)}."
            return None, said, gr.skip(), False
        finally:
            forget(before)  # not before the new one is held: it may be the same file
        if found is None:
            return None, "", gr.skip(), False
        return found, report_lines(found.report), OWN_RECORDING, False

    @complaining
    def on_another_model(model: str | None, held: Heard | None) -> Any:
        """Show what the model that was chosen takes of the recording."""
        return gr.skip() if held is None else report_lines(speaking.heard_by(model, held).report)

    fields["recording"].change(
        on_recording,
        [fields["recording"], heard, fields["model"]],
        [heard, *(fields[name] for name in ("report", "voice", "consent"))],
        **HIDDEN,
    )
    # Not `input`: a file that settings are read from changes the model too.
    fields["model"].change(on_another_model, [fields["model"], heard], fields["report"], **HIDDEN)


def wire_consent(speaking: Speaking, fields: Fields, taken: gr.State) -> None:
    """Let the consent go when a model is chosen that would speak with another voice.

    A recording and an x-vector may be held at once, each somebody's: the tick was for one of them.
    """

    def on_another_kind(model: str, before: str) -> tuple[Any, ...]:
        try:
            takes = check_voice_model(model, shared=speaking.shared).takes
        except ValueError:  # which is said when it is to speak
            return gr.skip(), gr.skip()
        return takes, gr.skip() if takes == before else False

    # Not `input`: a file that settings are read from changes the model too.
    fields["model"].change(
        on_another_kind, [fields["model"], taken], [taken, fields["consent"]], **HIDDEN
    )


def wire_vector(speaking: Speaking, fields: Fields, vector: gr.State) -> None:
    """Take an x-vector in, and let the one before it go."""

    def on_vector_gone() -> tuple[Any, ...]:
        """Let the numbers go, and the consent with them, whatever becomes of the next file."""
        return None, False

    def on_vector(path: str | None, model: str) -> tuple[Any, ...]:
        """Hold the numbers of a file. They need a consent of their own."""
        if not path:
            return None, gr.skip(), False
        try:
            return read_vector(Path(path), model, speaking.uploads), OWN_RECORDING, False
        except ValueError as error:
            gr.Warning(in_one_line(error))
            return None, gr.skip(), False

    fields["vector"].change(on_vector_gone, None, [vector, fields["consent"]], **HIDDEN).then(
        on_vector,
        [fields["vector"], fields["model"]],
        [vector, fields["voice"], fields["consent"]],
        **TELLING,
    )


def wire_leaving(page: gr.Blocks, heard: gr.State, vector: gr.State) -> None:
    """Let both voices go when the page is left."""

    def on_leave(request: gr.Request) -> None:
        """Delete the voice with its page: Gradio would keep it for an hour more."""
        session = page.state_holder[request.session_hash]
        forget(session[heard._id])
        session[heard._id] = session[vector._id] = None

    page.unload(on_leave)


def agreed(speaking: Speaking, values: Fields) -> Fields:
    """Return the values without a consent that was `taken` for a voice of the other kind.

    A click may come before the page has heard that the tick is gone with the model.
    """
    values = dict(values)
    taken = values.pop("taken")
    takes = check_voice_model(values["model"], shared=speaking.shared).takes
    return values if takes == taken else values | {"consent": False}
