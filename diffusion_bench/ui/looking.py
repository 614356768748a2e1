"""What the tab *How it works* does, without the page: values in, views out.

Each look draws, or speaks, with the model as its own tab does, and shows what went on inside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from diffusion_bench.records import ImageRequest
from diffusion_bench.ui.figures import Table
from diffusion_bench.ui.jobs import Done
from diffusion_bench.ui.looks import LOOKS, Found, Labelled, Run, check
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.pictures.contact_sheet import Sheet, draw_sheet
from diffusion_bench.ui.pictures.drawing import Drawing
from diffusion_bench.ui.pictures.limits import check_model

if TYPE_CHECKING:
    from diffusion_bench.backends.images import ImageBackend
    from diffusion_bench.ui.jobs import Job

FRAME_MS, LAST_MS = 250, 2000  # of the film


class LookView(NamedTuple):
    """What the page shows next; `None` leaves what is there.

    `rows` are files of pictures and their words, by the name of the row. `sheet` is a file of them
    all, `film` an animation, where there is one. `sounds` are files by what can be heard in them.
    """

    done: int | None = None
    total: int = 0
    status: str | None = None
    rows: Mapping[str, Sequence[tuple[str, str]]] | None = None
    sheet: str | None = None
    film: str | None = None
    figure: Any = None
    table: Table | None = None
    sounds: Mapping[str, str] | None = None


class Looking:
    """Looks into the model that draws a prompt."""

    def __init__(self, drawing: Drawing) -> None:
        self._drawing = drawing

    def request(self, values: Mapping[str, Any]) -> ImageRequest:
        """Return the request of the tab's fields; raise ValueError for what cannot be drawn."""
        entry = check_model(values["model"], shared=self._drawing.shared)
        side = {"width": entry.side, "height": entry.side}
        return self._drawing.to_request({"batch": 1, **side, **values})

    def look(self, name: str, values: Mapping[str, Any]) -> Iterator[LookView]:
        """Look by a name of `LOOKS`, yielding what to show; closing stops at the next step."""
        request = self.request(values)
        check(name, request)
        look = LOOKS[name]
        events = self._drawing.look(request, partial(_call, look.run, request))
        show = partial(shown, self._drawing.outbox, name, picture_title(request))
        yield from views_of(events, look.steps(request), show)


def _call(run: Run, request: ImageRequest, backend: ImageBackend, job: Job) -> Found:
    from diffusion_bench.backends.inside.viewer import Viewer

    return run(backend, request, Viewer(job.tell, job.check))


def views_of(
    events: Generator[object | None],
    total: int,
    show: Callable[[Found], LookView],
) -> Iterator[LookView]:
    """Yield what to show of a look that takes `total` steps; closing it closes the events.

    What an event is that is no word, no heartbeat and no end, is a step.
    """
    yield LookView(done=0, total=total, status="Starting: the first look loads the model.")
    done = 0
    with closing(events):
        for event in events:
            match event:
                case None:
                    yield LookView()  # a heartbeat: a look is stopped only where it yields
                case str():
                    yield LookView(status=event)
                case Done(found):
                    yield show(found)
                case _:
                    done += 1
                    yield LookView(done=done, total=total, status=f"Step {done} of {total}.")


def shown(outbox: Outbox, name: str, title: str, found: Found) -> LookView:
    """Save what was found, and return it as it is shown."""
    with outbox.lease(long=True) as folder:
        sheet = folder / f"{name}.png"
        draw_sheet(to_sheet(title, found)).save(sheet)
        film = folder / f"{name}.gif"
        if found.frames:
            save_film(found.frames, film)
        return LookView(
            done=1,
            total=1,
            status=found.words,
            rows=_saved(found.rows, folder),
            sheet=str(sheet),
            film=str(film) if found.frames else None,
            figure=found.chart.figure,
            table=found.chart.table,
            sounds=save_sounds(name, found, folder),
        )


def _saved(
    rows: Mapping[str, Sequence[Labelled]], folder: Path
) -> dict[str, list[tuple[str, str]]]:
    saved: dict[str, list[tuple[str, str]]] = {}
    for number, (name, row) in enumerate(rows.items(), 1):
        saved[name] = []
        for place, (picture, words) in enumerate(row, 1):
            path = folder / f"{number:02}-{place:02}.png"
            picture.save(path)
            saved[name].append((str(path), words))
    return saved


def save_sounds(name: str, found: Found, folder: Path) -> dict[str, str]:
    """Write each sound, marked as generated; return the files, whose names say what is heard."""
    from diffusion_bench.audio.files import write_sound
    from diffusion_bench.audio.watermark.marking import embed

    saved = {}
    for number, (words, (samples, rate)) in enumerate(found.sounds.items(), 1):
        told = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
        path = folder / f"{name}-{number}-{told}.wav"
        write_sound(path, embed(samples, rate), rate)
        saved[words] = str(path)
    return saved


def picture_title(request: ImageRequest) -> str:
    """Return the title of a sheet of pictures."""
    return (
        f"{request.prompt} ({request.model}, {request.steps} steps, "
        f"guidance {request.guidance_scale:g}, seed {request.seed})"
    )


def to_sheet(title: str, found: Found) -> Sheet:
    """Return the rows of pictures as a sheet; its columns have no heads, the pictures words."""
    across = max(len(row) for row in found.rows.values())
    return Sheet(
        title=title,
        rows=list(found.rows),
        columns=[""] * across,
        cells={
            (number, column): labelled
            for number, row in enumerate(found.rows.values())
            for column, labelled in enumerate(row)
        },
        footer=found.words,
    )


def save_film(frames: Sequence[Any], file: Path | IO[bytes]) -> None:
    """Write pictures as an animated GIF that stays on its last one for a while."""
    first, *others = [frame.convert("RGB") for frame in frames]
    times = [FRAME_MS] * len(others) + [LAST_MS]
    first.save(file, format="GIF", save_all=True, append_images=others, duration=times, loop=0)
