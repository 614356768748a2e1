"""From options to PNG files: the work behind `generate`, once for each file or batch of files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from diffusion_bench.cli.amounts import peak_words
from diffusion_bench.cli.refusals import (
    option_of,
    refuse_over,
    refuse_unwritable,
    told_by_option,
)
from diffusion_bench.cli.telling import (
    WAIT_S,
    fetching_bar,
    moving_bar,
    tell,
    tell_written,
    waiting,
    warn,
)
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest

if TYPE_CHECKING:
    from diffusion_bench.backends.catalog import ModelEntry
    from diffusion_bench.backends.input_pictures import InputPictures
    from diffusion_bench.backends.picture_recipes import PictureRecipe
    from diffusion_bench.cli.batch_rows import Row
    from diffusion_bench.records import Generation, OnStep

DEFAULT_OUT = Path("picture.png")
OPTIONS = {"batch": "--pictures"}


@dataclass(frozen=True)
class Settings:
    """What was asked of the model; `None` is the model's own."""

    model: str | None = None
    sampler: str | None = None
    eta: float | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    guidance_rescale: float | None = None
    negative_prompt: str | None = None
    seed: int | None = None
    noise_seed: int | None = None
    variation_seed: int | None = None
    variation_strength: float | None = None
    strength: float | None = None
    size: str | None = None
    batch: int | None = None
    precision: str | None = None
    speed: str | None = None

    def given(self) -> dict[str, object]:
        """Return the settings by the names of their options."""
        return {option_of(name, OPTIONS): value for name, value in asdict(self).items()}

    def request(self, prompt: str, inputs: InputPictures | None = None) -> ImageRequest:
        """Return the request, with the model's own settings for what was not given.

        A negative seed picks one at random. Raises ValueError for an unknown model or bad setting.
        """
        import secrets

        from diffusion_bench.backends.input_pictures import check_inputs
        from diffusion_bench.backends.model_sizes import check_sides

        model = self.model or BUNDLED_MODEL
        entry = _entry(model)
        width, height = parse_size(self.size) if self.size else (entry.side, entry.side)
        check_sides(entry.multiple, width, height)
        seed = self.seed or 0
        own = {
            "prompt": prompt,
            "model": model,
            "width": width,
            "height": height,
            "seed": secrets.randbelow(2**32) if seed < 0 else seed,
        }
        defaults = {
            "steps": entry.steps,
            "guidance_scale": entry.guidance_scale,
            "sampler": entry.sampler,
        }
        given = {k: v for k, v in asdict(self).items() if v is not None and k != "size"}
        if (given.get("variation_seed") or 0) < 0:
            given["variation_seed"] = secrets.randbelow(2**32)
        pictures = inputs.digests() if inputs is not None else {}
        with told_by_option(OPTIONS):
            request = ImageRequest.model_validate({**defaults, **given, **own, **pictures})
        check_inputs(request, inputs)
        return request


class Drawing:
    """Draws into files, one after another, with one model kept loaded.

    With an `image` all pictures start from it, and with a `mask` only its white part changes;
    neither is written over.
    """

    def __init__(
        self,
        device: str | None,
        *,
        parameters: bool,
        image: Path | None = None,
        mask: Path | None = None,
    ) -> None:
        from diffusion_bench.backends.engine import Engine
        from diffusion_bench.backends.input_pictures import read_inputs

        if mask is not None and image is None:
            raise ValueError("--mask needs --image, whose part it is to draw anew")
        self._engine = Engine(device)
        self._parameters = parameters
        self.kept: dict[str, Path | None] = {"the image": image, "the mask": mask}
        self._inputs = read_inputs(image, mask) if image is not None else None

    def check(self, settings: Settings) -> None:
        """Raise ValueError for what is wrong with settings whatever the prompt, to say it once."""
        settings.request("a prompt", self._inputs)

    def draw(
        self, prompt: str, settings: Settings, out: Path | None, *, out_is: str = "--out"
    ) -> None:
        """Draw a prompt; raise ValueError before any work for what can be seen to fail.

        `out_is` is what `out` is called where it was written.
        """
        request = settings.request(prompt, self._inputs)
        paths = _paths(out or DEFAULT_OUT, request.batch, called=out_is)
        refuse_over(paths, self.kept)
        generation = self._generate(request)
        for index, path in enumerate(paths):
            self._save(generation, index, path)
        _summarise(generation)

    def draw_row(self, row: Row, settings: Settings) -> None:
        """Draw a row of a batch; what it leaves open is as the options say."""
        seed = settings.seed if row.seed is None else row.seed
        prompt = row.fields.get("prompt", "")
        self.draw(prompt, replace(settings, seed=seed), row.out, out_is="out")

    def draw_again(self, file: Path, out: Path | None) -> None:
        """Draw again what made a PNG, from the recipe it carries: the same bytes where it was made.

        Raises ValueError if it carries none. Other weights or software are said.
        """
        from diffusion_bench.backends.picture_recipes import recipe_of
        from diffusion_bench.backends.pictures import read_recipe

        (path,) = _paths(out or DEFAULT_OUT, 1)
        refuse_over([path], {"the picture": file, **self.kept})
        recipe = read_recipe(file)
        if recipe is None:
            raise ValueError(f"{file.name} carries no recipe of Diffusion Bench")
        self._check_inputs(recipe, file)
        generation = self._generate(recipe.request)
        self._save(generation, recipe.picture, path)
        for difference in recipe.differences(recipe_of(generation, recipe.picture)):
            warn(f"the picture may differ: {difference}")
        _summarise(generation)

    def _check_inputs(self, recipe: PictureRecipe, file: Path) -> None:
        """Raise ValueError unless the pictures given are those that a recipe started from."""
        drawn_from = recipe.drawn_from
        if self._inputs is None:
            if drawn_from:
                add = "--image" if recipe.request.mask is None else "--image and --mask"
                raise ValueError(
                    f"{file.name} was drawn from {drawn_from}, which it does not hold: add {add}"
                )
        elif not drawn_from:
            raise ValueError(f"{file.name} was drawn from no image: leave --image out")
        elif other := recipe.other_inputs(self._inputs):
            raise ValueError(f"{file.name} was drawn from {drawn_from}; {other}")

    def _generate(self, request: ImageRequest) -> Generation:
        _fetch(request)
        with step_bar(request) as on_step:
            return self._engine.generate(
                request, on_step, inputs=self._inputs, wait_s=WAIT_S, on_wait=waiting()
            )

    def _save(self, generation: Generation, index: int, path: Path) -> None:
        from diffusion_bench.backends.picture_recipes import recipe_of
        from diffusion_bench.backends.pictures import save_png

        recipe = recipe_of(generation, index) if self._parameters else None
        save_png(generation.images[index], path, recipe)
        tell_written(path)


def _entry(model: str) -> ModelEntry:
    """Return a model's entry; of a hub model that is no catalog row, its settings are fetched."""
    from diffusion_bench.backends.catalog import cached_folder, catalog, find_model
    from diffusion_bench.backends.downloads import fetch_settings

    entry = find_model(model)
    if model in catalog() or cached_folder(entry) is not None:
        return entry
    fetch_settings(entry)
    return find_model(model)


def _fetch(request: ImageRequest) -> None:
    """Fetch the model of a request if it is not here whole, as the page does."""
    from diffusion_bench.backends.catalog import ModelUnavailable, find_model
    from diffusion_bench.backends.downloads import fetch
    from diffusion_bench.backends.model_files import presence
    from diffusion_bench.backends.pipeline_names import check_pipeline
    from diffusion_bench.backends.samplers import check_sampler

    entry = find_model(request.model)
    before = presence(entry, request.precision)
    if before == "here":
        return
    check_pipeline(entry)
    check_sampler(entry, request.sampler, request.steps)
    with fetching_bar() as on_progress:
        try:
            fetch(entry, request.precision, on_progress)
        except ModelUnavailable:
            if before == "not here":
                raise
            # What is here may be enough; if it is not, loading says what is wrong with it.


def parse_size(size: str) -> tuple[int, int]:
    """Return width and height of "64" or "96x64"."""
    width, cross, height = size.lower().partition("x")
    height = height if cross else width
    if not (width.isdecimal() and height.isdecimal()):
        raise ValueError(
            f"size {size!r} is neither a side, as in 64, nor WIDTHxHEIGHT, as in 96x64"
        )
    return int(width), int(height)


def _paths(out: Path, batch: int, *, called: str = "--out") -> list[Path]:
    """Return the files to write; raise ValueError before any work if they cannot be written."""
    refuse_unwritable(called, out, (".png",))
    if batch == 1:
        return [out]
    paths = [out.with_stem(f"{out.stem}-{index}") for index in range(batch)]
    for path in paths:
        refuse_unwritable(called, path, (".png",))
    return paths


@contextmanager
def step_bar(request: ImageRequest) -> Iterator[OnStep]:
    """Yield a step callback that moves a bar, as `moving_bar` does.

    Of several pictures one after another the bar begins anew with each.
    """
    with moving_bar(request.steps) as moved:
        yield lambda step: moved(step.index, step.num_steps)


def _summarise(generation: Generation) -> None:
    for warning in generation.warnings:
        warn(warning)
    for note in generation.notes:
        tell(note)
    stages = generation.stages
    varied = generation.request.variation_seed
    parts = [
        f"seed {generation.request.seed}",
        *([] if varied is None else [f"variation seed {varied}"]),
        f"{generation.wall_s:.2f} s on {generation.device}",
        f"text encoder {stages.text_encoder_s:.3f} s",
        f"denoising {stages.denoising_s:.2f} s",
        f"decoder {stages.decoder_s:.3f} s",
        *([] if generation.compile_s is None else [f"compiling {generation.compile_s:.1f} s"]),
        peak_words(generation.memory),
    ]
    tell(", ".join(parts))
