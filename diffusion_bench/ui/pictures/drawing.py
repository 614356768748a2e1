"""What the tab *Text to image* does, without the page: values in, views out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from diffusion_bench.backends.downloads import Fetching, Progress, fetch, fetch_settings
from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.input_pictures import InputPictures
from diffusion_bench.backends.model_files import presence
from diffusion_bench.backends.picture_recipes import PictureRecipe, recipe_of
from diffusion_bench.backends.pictures import save_png
from diffusion_bench.backends.pipeline_names import check_pipeline
from diffusion_bench.backends.samplers import check_sampler
from diffusion_bench.records import Generation, ImageRequest, Step
from diffusion_bench.ui.asked import Asked, asked, to_request
from diffusion_bench.ui.jobs import Done, Job, Jobs
from diffusion_bench.ui.model_words import download_words
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.pictures.limits import check_is_here, check_model
from diffusion_bench.ui.pictures.previews import Previews
from diffusion_bench.ui.pictures.words import notes, step_line, summary
from diffusion_bench.ui.waiting_line import WAIT_S, Waiting, event_words, waiting_words

if TYPE_CHECKING:
    from diffusion_bench.backends.images import ImageBackend

T = TypeVar("T")


class Picture(NamedTuple):
    """A finished picture: its file, and what made it, which the file need not carry."""

    path: str
    recipe: PictureRecipe


class View(NamedTuple):
    """What the page shows next; `None` leaves what is there.

    `pictures` are files, previews among them; `finished` are those of a round that has just ended.
    """

    pictures: Sequence[str] | None = None
    done: int | None = None
    total: int = 0
    status: str | None = None
    used_seed: int | None = None
    warnings: tuple[str, ...] = ()
    finished: tuple[Picture, ...] = ()


class _Drawn(NamedTuple):
    """A step of a round has ended; `pictures` are previews, if there are any."""

    round: int
    step: Step
    pictures: tuple[str, ...]


class _Finished(NamedTuple):
    """A round has ended."""

    round: int
    generation: Generation
    pictures: tuple[Picture, ...]


class Drawing:
    """Draws what the page asks for."""

    def __init__(self, engine: Engine, jobs: Jobs, outbox: Outbox, *, shared: bool) -> None:
        self.shared = shared
        self.outbox = outbox
        self._engine = engine
        self._jobs = jobs

    @property
    def device(self) -> str:
        """Return the device that draws; the first call imports torch."""
        return self._engine.device

    def to_request(self, values: Mapping[str, Any]) -> ImageRequest:
        """Return the request of the page's fields; raise ValueError for what cannot be drawn."""
        return to_request(values, shared=self.shared)

    def asked(self, values: Mapping[str, Any]) -> Asked:
        """Return what a click with these fields asks for; raise ValueError if it cannot be."""
        return asked(values, shared=self.shared)

    def draw(self, values: Mapping[str, Any]) -> Iterator[View]:
        """Draw, yielding what to show; closing the iterator stops at the next step."""
        click = self.asked(values)
        steps = click.request.steps * click.rounds
        yield View(
            done=0, total=steps, status="Starting: the first picture loads the model.", pictures=[]
        )
        before: list[str] = []
        last = View()
        with closing(self._jobs.watch(partial(self._work, click))) as events:
            for event in events:
                view = to_view(click, event, before)
                if isinstance(event, _Finished):
                    before += [picture.path for picture in event.pictures]
                    last = view._replace(warnings=(), finished=())
                # A caller of the API is given what was yielded last.
                yield last if isinstance(event, Done) else view

    def watch(
        self, requests: Sequence[ImageRequest], heartbeat_s: float = 0.2
    ) -> Generator[tuple[int, Generation] | Step | str | None]:
        """Draw requests one after another, once it is their turn; nothing is saved.

        Yields words while it waits, each step, and each request's number with what came of it.
        """

        def work(job: Job) -> None:
            for number, request in enumerate(requests):
                generation = self.generate(request, job, job.tell)
                job.tell((number, generation))

        with closing(self._jobs.watch(work, heartbeat_s)) as events:
            for event in events:
                if isinstance(event, Done):
                    return
                yield event_words(event)

    def generate(
        self,
        request: ImageRequest,
        job: Job,
        on_step: Callable[[Step], None],
        inputs: InputPictures | None = None,
    ) -> Generation:
        """Draw a request for a job that may be given up, once it is its turn."""
        return self._with_model(
            request, job, lambda backend: backend.generate(request, on_step, inputs=inputs)
        )

    def look(
        self, request: ImageRequest, looking: Callable[[ImageBackend, Job], T]
    ) -> Generator[object | None]:
        """Look into the model that draws a request, once it is its turn.

        Yields words while it waits, what `looking` tells its job, and `Done` with what it returned.
        """

        def work(job: Job) -> T:
            return self._with_model(request, job, lambda backend: looking(backend, job))

        with closing(self._jobs.watch(work)) as events:
            for event in events:
                yield event_words(event)

    def _with_model(self, request: ImageRequest, job: Job, use: Callable[[ImageBackend], T]) -> T:
        self._fetch(request, job)
        with self._jobs.turn(job, "a picture") as turn:
            return self._engine.look(request, use, wait_s=WAIT_S, on_wait=turn.on_wait)

    def _fetch(self, request: ImageRequest, job: Job) -> None:
        """Fetch the model if it is not here, before the device is taken; guests may not."""
        entry = check_model(request.model, shared=self.shared)

        def on_progress(progress: Progress) -> None:
            job.check()
            job.tell(Fetching(model=entry, progress=progress))

        if self.shared:
            check_is_here(entry, request.precision)
        elif presence(entry, request.precision) != "here":
            fetch_settings(entry)
            check_pipeline(entry)  # these may only now be known
            check_sampler(entry, request.sampler, request.steps)
            fetch(entry, request.precision, on_progress)

    def _work(self, asked: Asked, job: Job) -> None:
        with self.outbox.lease(passing=True) as forming, self.outbox.lease(long=True) as finished:
            previews = Previews(forming, live=asked.live)
            for number in range(asked.rounds):

                def on_step(step: Step, number: int = number) -> None:
                    job.check()
                    job.tell(_Drawn(number, step, previews.after(step)))

                generation = self.generate(asked.round(number), job, on_step, asked.inputs)
                pictures = save_pictures(generation, finished, parameters=asked.parameters)
                job.tell(_Finished(number, generation, pictures))


def to_view(asked: Asked, event: object, before: Sequence[str]) -> View:
    """Return what an event of the work shows; `before` are the files of the rounds that ended."""
    match event:
        case Waiting():
            return View(status=waiting_words(event))
        case Fetching(progress=progress):
            return View(
                done=round(progress.done_mib),
                total=max(1, round(progress.total_mib)),
                status=download_words(event),
            )
        case _Drawn(number, step, pictures):
            return View(
                pictures=[*before, *pictures] if pictures else None,
                done=number * step.num_steps + step.index + 1,
                total=asked.rounds * step.num_steps,
                status=step_line(step, number, asked.rounds),
            )
        case _Finished(number, generation, finished):
            return View(
                pictures=[*before, *(picture.path for picture in finished)],
                done=number + 1,
                total=asked.rounds,
                status="\n".join([summary(generation), *notes(generation)]),
                used_seed=asked.request.seed,
                warnings=(*asked.warnings, *generation.warnings) if number == 0 else (),
                finished=finished,
            )
        case _:
            return View()


def save_pictures(generation: Generation, folder: Path, *, parameters: bool) -> tuple[Picture, ...]:
    """Write a generation's pictures, with their recipes unless `parameters` is off."""
    pictures = []
    for index, image in enumerate(generation.images):
        recipe = recipe_of(generation, index)
        path = folder / f"{_file_stem(recipe.alone)}.png"
        save_png(image, path, recipe if parameters else None)
        pictures.append(Picture(str(path), recipe))
    return tuple(pictures)


def _file_stem(request: ImageRequest) -> str:
    varied = "" if request.variation_seed is None else f"-variation-{request.variation_seed}"
    return f"picture-seed-{request.seed}{varied}"
