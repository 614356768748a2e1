"""What the tab *Text to image* does, without the page: values in, views out."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from diffusion_bench.backends.catalog import ModelEntry, catalog, find_model
from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.picture_recipes import recipe_of
from diffusion_bench.backends.pictures import read_request, save_png
from diffusion_bench.records import Generation, ImageRequest, Step
from diffusion_bench.ui.jobs import Done, Job, Jobs
from diffusion_bench.ui.outbox import Outbox

PREVIEW_EVERY_S = 0.4
WAIT_S = 24 * 3600.0
UNSET = -1  # of a seed on the page, where an empty number would be taken for 0
MAX_PAGE_SEED = 2**53 - 1  # a browser rounds larger whole numbers

# What a visitor may ask of a shared machine.
SHARED_LIMITS = {"steps": 250, "batch": 4, "width": 1024, "height": 1024}

FIELDS = tuple(ImageRequest.model_fields)


class View(NamedTuple):
    """What the page shows next; `None` leaves what is there."""

    pictures: Sequence[str] | None = None
    done: int | None = None
    total: int = 0
    status: str | None = None
    used_seed: int | None = None
    warnings: tuple[str, ...] = ()


class _Waiting(NamedTuple):
    """The device is taken."""


class _Drawn(NamedTuple):
    """A step has ended; `pictures` are previews, if there are any."""

    step: Step
    pictures: tuple[str, ...]


class Drawing:
    """Draws what the page asks for."""

    def __init__(self, engine: Engine, jobs: Jobs, outbox: Outbox, *, shared: bool) -> None:
        self._engine = engine
        self._jobs = jobs
        self._outbox = outbox
        self._shared = shared

    def to_request(self, values: Mapping[str, Any]) -> ImageRequest:
        """Return the request of the page's fields; raise ValueError for what cannot be drawn.

        A negative or empty seed picks one at random; such a noise seed is the same as the seed.
        """
        fields = {name: value for name, value in values.items() if name in FIELDS}
        if _is_unset(fields.get("seed")):
            fields["seed"] = secrets.randbelow(2**32)
        if _is_unset(fields.get("noise_seed")):
            fields["noise_seed"] = None
        if fields.get("sampler") == "ddpm":
            fields["eta"] = 0.0  # its field is hidden, whatever it holds
        request = ImageRequest(**fields)
        check_model(request.model, shared=self._shared)
        if self._shared:
            check_limits(request)
        return request

    def draw(self, values: Mapping[str, Any]) -> Iterator[View]:
        """Draw, yielding what to show; closing the iterator stops at the next step."""
        request = self.to_request(values)
        yield View(
            done=0, total=request.steps, status="Starting: the first picture loads the model."
        )
        work = partial(self._work, request, live=bool(values.get("live_preview", True)))
        with closing(self._jobs.watch(work)) as events:
            for event in events:
                yield self._to_view(request, event)

    def _to_view(self, request: ImageRequest, event: object) -> View:
        match event:
            case _Waiting():
                return View(status="Waiting for the device: another job is on it.")
            case _Drawn(step, pictures):
                return View(
                    pictures=pictures or None,
                    done=step.index + 1,
                    total=step.num_steps,
                    status=_step_line(step),
                )
            case Done((generation, pictures)):
                return View(
                    pictures=pictures,
                    done=request.steps,
                    total=request.steps,
                    status="\n".join([summary(generation), *_notes(generation)]),
                    used_seed=request.seed,
                    warnings=generation.warnings,
                )
            case _:
                return View()

    def read_settings(self, path: str | None) -> dict[str, Any]:
        """Return the fields a picture of ours carries; raise ValueError in one line if none."""
        if not path:
            raise ValueError("choose a PNG that Diffusion Bench has made")
        request = read_request(Path(path))
        if request is None:
            raise ValueError("this picture carries no settings of Diffusion Bench")
        check_model(request.model, shared=self._shared)
        noise_seed = request.noise_seed
        if max(request.seed, noise_seed or 0) > MAX_PAGE_SEED:
            raise ValueError("its seed is larger than a browser can hold; use the command line")
        return request.model_dump() | {"noise_seed": UNSET if noise_seed is None else noise_seed}

    def _work(
        self, request: ImageRequest, job: Job, *, live: bool
    ) -> tuple[Generation, tuple[str, ...]]:
        folder = self._outbox.new_folder()
        last_preview_s = 0.0
        waiting = False

        def on_wait() -> None:
            nonlocal waiting
            job.check()
            if not waiting:
                waiting = True
                job.tell(_Waiting())

        def on_step(step: Step) -> None:
            nonlocal last_preview_s
            job.check()
            pictures: tuple[str, ...] = ()
            due = step.elapsed_s - last_preview_s >= PREVIEW_EVERY_S
            if live and due and step.index + 1 < step.num_steps:
                pictures = _save_previews(step.preview(), folder, step)
                last_preview_s = step.elapsed_s
            job.tell(_Drawn(step, pictures))

        generation = self._engine.generate(request, on_step, wait_s=WAIT_S, on_wait=on_wait)
        return generation, _save(generation, folder)


def check_model(model: str, *, shared: bool) -> ModelEntry:
    """Return the model's entry; raise ValueError for an unknown one, or one not for visitors."""
    if shared and model not in catalog():
        raise ValueError(f"a shared app offers the models of its list only: {', '.join(catalog())}")
    return find_model(model)


def _is_unset(seed: int | None) -> bool:
    return seed is None or seed < 0


def summary(generation: Generation) -> str:
    """Return times, by stage and by step, and the peak memory in one line."""
    stages, memory = generation.stages, generation.memory
    parts = [
        f"{generation.wall_s:.2f} s on {generation.device}",
        f"text encoder {stages.text_encoder_s:.3f} s",
        f"denoising {stages.denoising_s:.2f} s ({1000 * median(generation.step_s):.1f} ms a step)",
        f"decoder {stages.decoder_s:.3f} s",
        f"other, with previews, {stages.other_s:.2f} s",
    ]
    if memory.torch_allocated_mib is not None:
        parts.append(f"peak GPU memory {memory.torch_allocated_mib:.0f} MiB")
    elif memory.rss_mib is not None:
        parts.append(f"peak memory of the app {memory.rss_mib:.0f} MiB")
    else:
        parts.append(f"peak memory unknown ({memory.missing.get('rss_mib', 'not measured')})")
    return " · ".join(parts)


def _notes(generation: Generation) -> list[str]:
    notes = [f"Note: {warning}" for warning in generation.warnings]
    request = generation.request
    if request.negative_prompt.strip() and request.guidance_scale <= 1:
        notes.append("Note: the negative prompt had no effect; it needs guidance above 1.")
    return notes


def _step_line(step: Step) -> str:
    done = step.index + 1
    left_s = step.elapsed_s / done * (step.num_steps - done)
    return f"Step {done} of {step.num_steps}, about {left_s:.0f} s left."


def check_limits(request: ImageRequest) -> None:
    """Raise ValueError for a request that is too much for a machine its owner shares."""
    for name, most in SHARED_LIMITS.items():
        if getattr(request, name) > most:
            raise ValueError(
                f"{name} {getattr(request, name)} is too much for a shared app: {most}"
            )


def _save_previews(pictures: Sequence[Any], folder: Path, step: Step) -> tuple[str, ...]:
    """Write what there is so far, without the recipe: it is not what the recipe makes."""
    paths = []
    for index, picture in enumerate(pictures):
        path = folder / f"step-{step.index + 1}-picture-{index}.png"
        picture.save(path)
        paths.append(str(path))
    return tuple(paths)


def _save(generation: Generation, folder: Path) -> tuple[str, ...]:
    paths = []
    for index, picture in enumerate(generation.images):
        recipe = recipe_of(generation, index)
        path = folder / f"picture-seed-{recipe.alone.seed}.png"
        save_png(picture, path, recipe)
        paths.append(str(path))
    return tuple(paths)
