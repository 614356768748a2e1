"""One text in one voice over a grid of samplers, guidance, steps and seeds, heard and seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.voice.measuring import measure_candidate, warnings_of
from diffusion_bench.backends.voice.ranking import Candidate
from diffusion_bench.backends.voice.recipes import Recipe
from diffusion_bench.records import Speech, VoiceRequest, VoiceStep
from diffusion_bench.ui.figures import Chart, Table, to_table
from diffusion_bench.ui.grids import WARMUP_STEPS, Grid, make_grid
from diffusion_bench.ui.voice.files import save_candidates
from diffusion_bench.ui.voice.limits import check_voice_limits
from diffusion_bench.ui.voice.recordings import Heard
from diffusion_bench.ui.voice.speaking import Asked, Speaking
from diffusion_bench.ui.voice.words import step_line

if TYPE_CHECKING:  # it imports torch, which the page does without until it speaks
    from diffusion_bench.audio.speech_measures import SpeechMeasures

MAX_CELLS, SHARED_CELLS = 12, 6
MAX_CHARACTERS = 7200  # of all cells: their speech is in memory until they are drawn
UNVARIED = "What was said"


class Said(NamedTuple):
    """A cell of the grid: its file, what its settings are called, its speech and figures."""

    path: str
    words: str
    speech: Speech
    measured: SpeechMeasures | None

    @property
    def label(self) -> str:
        """Return what its player is called."""
        return f"{self.words}: {self.speech.wall_s:.2f} s"


class CompareView(NamedTuple):
    """What the page shows next; `None` leaves what is there.

    `said` is what can be heard now beside what could before; with `begins` that all goes.
    """

    said: tuple[int, Said] | None = None
    begins: bool = False
    done: int | None = None
    total: int = 0
    status: str | None = None
    table: Table | None = None
    chart: Chart | None = None


class Comparing:
    """Says grids."""

    def __init__(self, speaking: Speaking) -> None:
        self.speaking = speaking

    def grid(
        self, values: Mapping[str, Any], axes: Mapping[str, Any], heard: Heard | None
    ) -> tuple[Grid[VoiceRequest], Asked]:
        """Return the grid of the page's fields and the voice; ValueError for what cannot be said.

        Without consent to clone a recording, it cannot be.
        """
        shared = self.speaking.shared
        asked = self.speaking.asked(dict(values) | {"batch": 1}, heard)
        grid = make_grid(asked.request, axes, SHARED_CELLS if shared else MAX_CELLS, "candidates")
        requests = grid.requests()
        if len(requests) * asked.request.amount > MAX_CHARACTERS:
            raise ValueError(
                f"{len(requests)} times a text of {asked.request.amount} characters is more than "
                f"{MAX_CHARACTERS}; shorten it or a list"
            )
        from diffusion_bench.backends.voice.synthesis import check_request

        for each in requests:
            check_request(asked.entry, each, asked.voice)
            if shared:
                check_voice_limits(each)
        return grid, asked

    def speak(
        self,
        values: Mapping[str, Any],
        axes: Mapping[str, Any],
        heard: Heard | None,
        kept: list[CompareView] | None = None,
    ) -> Iterator[CompareView]:
        """Say a grid, yielding what to show; closing the iterator stops at the next step.

        However it ends, the view that compares what is said by then goes into `kept`.
        """
        kept = [] if kept is None else kept
        grid, asked = self.grid(values, axes, heard)
        requests = grid.requests()
        warm_up = requests[0].model_copy(update={"steps": WARMUP_STEPS})
        yield CompareView(
            begins=True, done=0, total=len(requests), status="Starting: a short warm-up."
        )
        said: list[Said] = []
        with self.speaking.outbox.lease(long=True) as folder:
            finish = partial(
                _finish, grid, asked, folder, watermark=bool(values.get("watermark", True))
            )
            events = self.speaking.watch([warm_up, *requests], asked, finish)
            try:
                with closing(events):
                    for event in events:
                        if isinstance(event, Said):
                            said.append(event)
                        yield _to_view(event, said, len(requests))
            finally:
                if said:
                    kept.append(_compared(said))
        yield kept[-1]


def _finish(
    grid: Grid[VoiceRequest],
    asked: Asked,
    folder: Path,
    number: int,
    speech: Speech,
    *,
    watermark: bool,
) -> Said | None:
    """Save and measure what was said; `None` of the warm-up, which is number 0."""
    if not number:
        return None
    own = folder / f"{number:03}"
    own.mkdir()
    reference = asked.voice if isinstance(asked.voice, Reference) else None
    candidate = Candidate(0, speech.candidate(0), None)
    recipe = Recipe.of(speech.request, asked.entry, asked.voice, watermark=watermark).pinned()
    words = grid.varied(speech.request)
    return Said(
        save_candidates(speech, [candidate], recipe, own, words)[0].path,
        words or UNVARIED,
        speech,
        measure_candidate(speech, candidate, reference),
    )


def _to_view(event: object, said: Sequence[Said], total: int) -> CompareView:
    match event:
        case Said():
            return CompareView(
                said=(len(said) - 1, event),
                done=len(said),
                total=total,
                table=figures_table(said, [None] * len(said)),
            )
        case VoiceStep():
            return CompareView(status=f"Candidate {len(said) + 1} of {total}. {step_line(event)}")
        case str():
            return CompareView(status=event)
        case _:  # a heartbeat: Gradio stops a grid only where it yields
            return CompareView()


def _compared(said: Sequence[Said]) -> CompareView:
    from diffusion_bench.ui.voice.figures import mel_of, spectrogram_chart

    total_s = sum(each.speech.wall_s for each in said)
    apart, words = mel_distances(said)
    mels = [
        (each.words, *mel_of(each.speech.candidate(0), each.speech.sample_rate)) for each in said
    ]
    return CompareView(
        done=len(said),
        total=len(said),
        status=f"{len(said)} candidates in {total_s:.1f} s on {said[0].speech.device}, each said "
        f"once: for times to rely on, run a sweep. {words}".strip(),
        table=figures_table(said, apart),
        chart=spectrogram_chart(mels),
    )


def mel_distances(said: Sequence[Said]) -> tuple[list[float | None], str]:
    """Return how far each is from the one of the most steps, the first of those, and words on it.

    Other seeds' distances from it are what chance makes.
    """
    from diffusion_bench.backends.voice.more_steps import apart_db

    most = max(said, key=lambda each: each.speech.request.steps)
    end, rate = most.speech.candidate(0), most.speech.sample_rate
    if len(said) == 1:
        return [None], ""
    try:
        apart = [
            None if one is most else apart_db(one.speech.candidate(0), end, rate) for one in said
        ]
    except ValueError as error:
        return [None] * len(said), f"Mel distances cannot be told: {error}."
    return apart, f"Mel distances are from {most.words}."


def figures_table(said: Sequence[Said], apart_db: Sequence[float | None]) -> Table:
    """Return a row for each: its times, what was measured of it, and its mel distance."""
    from diffusion_bench.audio.timbre import NAME as SIMILARITY

    against = (SIMILARITY, "semitones from the reference", "mel distance (dB)")
    rows = []
    for (_, words, speech, measured), distance_db in zip(said, apart_db, strict=True):
        row = [words, f"{speech.wall_s:.2f}", f"{speech.real_time_factor:.2f}"]
        row.append(_figure(measured.timbre_similarity if measured else None, ".2f"))
        row.append(_figure(measured.pitch_semitones if measured else None, "+.2f"))
        row.append(_figure(distance_db, ".2f"))
        rows.append([*row, "; ".join(warnings_of(speech, measured))])
    return to_table(["settings", "time (s)", "real-time factor", *against, "warnings"], rows)


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else f"{round(value, 2) + 0.0:{form}}"  # no minus before a zero
