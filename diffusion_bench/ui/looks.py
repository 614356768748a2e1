"""What *How it works* looks at in pictures: each look, from a loaded model to what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from diffusion_bench.backends.catalog import find_model
from diffusion_bench.backends.pipeline_names import NO_UNET, denoiser_kind
from diffusion_bench.backends.samplers import check_sampler
from diffusion_bench.records import ImageRequest
from diffusion_bench.ui.figures import Chart, to_table
from diffusion_bench.ui.pictures.contact_sheet import draw_frames

if TYPE_CHECKING:
    from diffusion_bench.backends.images import ImageBackend
    from diffusion_bench.backends.inside.viewer import Viewer

NOISE_SEEDS = 3  # pictures by which it is seen what the added noise decides
SKIP_SCALES = (1.0, 0.75, 0.5, 0.25, 0.0)
GUIDANCE_SCALES = (1.0, 1.5, 2.0, 3.0, 5.0, 9.0)
MOST_STEPS = 250  # of one picture: up to a dozen are drawn at a click

# Names of the rows of pictures.
PIXELS, LATENTS = "Pixels under noise, dimmed to fit", "Latents under noise, decoded"
NOISY, CLEAN, OTHER = (
    "{}: x_t, what each step is given",
    "{}: x_0, by which each step goes",
    "{}: other noise on the way",
)
MAPS, SKIPS = "What blocks hand on", "The picture with weaker skips"
WHOLE, WITHOUT, WITH, GUIDED = (
    "The whole picture",
    "x_0 without the prompt",
    "x_0 with the prompt",
    "x_0 guided: from the one past the other",
)

Labelled = tuple[Any, str]


class Found(NamedTuple):
    """What a look found: rows of labelled pictures, a chart of them, and a sentence.

    `frames` are those of a film, `sounds` (samples, hertz) by what they are, where there are any.
    """

    words: str
    rows: Mapping[str, Sequence[Labelled]]
    chart: Chart
    frames: Sequence[Any] = ()
    sounds: Mapping[str, tuple[Any, int]] = {}


Run = Callable[["ImageBackend", ImageRequest, "Viewer"], Found]


def check(name: str, request: ImageRequest) -> None:
    """Raise ValueError, before a model is fetched, for a look that it does not allow."""
    check_steps(request.steps)
    entry = find_model(request.model)
    check_sampler(entry, "ddim", request.steps)
    if name == "unet" and denoiser_kind(entry.pipeline) == "transformer":
        raise ValueError(f"{entry.title} denoises with a transformer, which is {NO_UNET}")


def check_steps(steps: int) -> None:
    """Raise ValueError for more steps of one picture, or one sentence, than a look has."""
    if steps > MOST_STEPS:
        raise ValueError(f"{steps} steps are more than {MOST_STEPS}, the most here")


def look_at_noising(backend: ImageBackend, request: ImageRequest, viewer: Viewer) -> Found:
    """Show a picture under more and more noise, and the schedule by which it grows."""
    from diffusion_bench.backends.inside.film import film
    from diffusion_bench.backends.inside.noised import noised, usual_timesteps
    from diffusion_bench.charts.noise_levels import (
        noise_level_figure,
        noise_level_numbers,
        noise_level_table,
    )

    drawn = film(backend, request, viewer, most=0)
    count = int(backend.schedule["num_train_timesteps"])
    steps = noised(backend, request, drawn.latents, usual_timesteps(count), viewer)
    numbers = noise_level_numbers(backend.schedule)
    return Found(
        words="Read from left to right, this is what training undoes: the network is given the "
        "noisy picture and the timestep, and learns to tell the noise from the picture. Read from "
        "right to left it is drawing. Below each are its timestep and the factor of x_0. Pixels "
        "are dimmed, divided by that factor plus twice the noise's, so that no noise is cut off.",
        rows={
            PIXELS: [(each.pixels, _factor(each.level)) for each in steps],
            LATENTS: [(each.latents, _factor(each.level)) for each in steps],
        },
        chart=Chart(noise_level_figure(numbers), to_table(*noise_level_table(numbers))),
        frames=[each.pixels for each in steps],
    )


def _factor(level: Any) -> str:
    """Return the timestep and the factor of the picture, as formula and table have it."""
    return f"t {level.timestep}: {level.signal:.2f} x_0"


def look_at_denoising(backend: ImageBackend, request: ImageRequest, viewer: Viewer) -> Found:
    """Show DDIM and DDPM step by step from one noise, and what their noise decides."""
    from diffusion_bench.backends.inside.film import film
    from diffusion_bench.charts.denoising import (
        denoising_figure,
        denoising_numbers,
        denoising_table,
    )

    rows: dict[str, list[Labelled]] = {}
    progress: dict[str, Any] = {}
    strips: dict[str, list[Labelled]] = {}
    for sampler in ("ddim", "ddpm"):
        name = sampler.upper()
        own = with_sampler(request, sampler)
        seen = film(backend, own, viewer)
        rows[NOISY.format(name)] = [(f.noisy, f"t {f.at.timestep}") for f in seen.frames]
        rows[CLEAN.format(name)] = [(f.clean, f"step {f.at.step}") for f in seen.frames]
        rows[OTHER.format(name)] = [(seen.picture, "as above")]
        for number in range(1, NOISE_SEEDS):
            other = own.model_copy(update={"noise_seed": request.seed + number})
            picture = backend.generate(other, viewer.on_step).images[0]
            rows[OTHER.format(name)].append((picture, f"noise {number + 1}"))
        progress[name] = seen.progress
        strips[name] = [*rows[NOISY.format(name)], (seen.picture, "the picture")]
    predicted = str(backend.schedule.get("prediction_type", "epsilon"))
    courses = denoising_numbers(progress)
    return Found(
        words="Both begin with the same noise. DDIM adds none on its way, so its picture follows "
        "from the first noise alone; DDPM adds fresh noise at every step but the last, so other "
        "noise gives another picture, and it needs more steps to take it out again. "
        + prediction_words(predicted)
        + guided_words(request.guidance_scale),
        rows=rows,
        chart=Chart(denoising_figure(courses), to_table(*denoising_table(courses))),
        frames=draw_frames(strips),
    )


def prediction_words(predicted: str) -> str:
    """Return what a network predicts, by diffusers' name of it, and what follows."""
    said = {
        "epsilon": "the noise, of which x_0 follows",
        "v_prediction": "v, of which both noise and x_0 follow (Salimans and Ho 2022)",
        "sample": "x_0, of which the noise follows",
    }
    return f"This model's network predicts {said[predicted]}."


def guided_words(scale: float) -> str:
    """Return what guidance did to the x_0 that are shown."""
    if scale <= 1:
        return " Each x_0 is what it sees with the prompt, without guidance."
    return (
        f" Each x_0 is the guided one, at scale {scale:g}: past what the network sees with the "
        "prompt."
    )


def with_sampler(request: ImageRequest, sampler: str) -> ImageRequest:
    """Return a request drawn by another sampler, at eta 0."""
    return ImageRequest.model_validate(
        request.model_dump() | {"sampler": sampler, "eta": 0.0, "noise_seed": request.seed}
    )


def look_at_unet(backend: ImageBackend, request: ImageRequest, viewer: Viewer) -> Found:
    """Show the blocks of the U-Net at the middle step, and the picture with weaker skips."""
    from diffusion_bench.backends.inside.anatomy import anatomy, without_skips
    from diffusion_bench.charts.unet_shape import unet_figure, unet_numbers, unet_table

    own = with_sampler(request, "ddim")
    seen = anatomy(backend, own, _middle(own), viewer.on_step)
    shape = unet_numbers(seen.blocks, seen.parameters)
    layers = sum(block.attentions for block in seen.blocks)
    reading = sum(block.reading for block in seen.blocks)
    weaker = without_skips(backend, own, SKIP_SCALES, viewer.on_step)
    return Found(
        words=f"{seen.parameters / 1e6:.1f} million parameters. The maps are what each block hands "
        f"on at timestep {seen.timestep}, white where it is most active. The way down sees "
        "more of the picture at once and loses its detail; skips carry that across. Of "
        f"{layers} attention layers {reading} read the prompt, {layers - reading} the picture "
        "itself.",
        rows={
            MAPS: [
                (block.activity, f"{block.name}, {block.rows}x{block.columns}")
                for block in seen.blocks
            ],
            SKIPS: [(drawn.images[0], f"skips at {scale:.0%}") for scale, drawn in weaker],
        },
        chart=Chart(unet_figure(shape), to_table(*unet_table(shape))),
    )


def look_at_guidance(backend: ImageBackend, request: ImageRequest, viewer: Viewer) -> Found:
    """Show one picture at several guidance scales, and the two answers it is made from."""
    from diffusion_bench.backends.inside.guidance import guided
    from diffusion_bench.charts.guidance import guidance_figure, guidance_numbers, guidance_table

    own = with_sampler(request, "ddim")
    scales = _scales(own)
    pictures = guided(backend, own, scales, viewer)
    moments = [moment for each in pictures for moment in each.moments]
    rows = {WHOLE: [(each.picture, f"guidance {each.scale:g}") for each in pictures]}
    if moments:
        rows[WITHOUT] = [(m.without_prompt, f"step {m.step}") for m in moments]
        rows[WITH] = [(m.with_prompt, f"step {m.step}") for m in moments]
        rows[GUIDED] = [(m.guided, f"step {m.step}") for m in moments]
        words = f"The x_0 are those of guidance {own.guidance_scale:g}."
    else:
        words = "Of guidance 1 or less, as asked for, no two x_0 can be shown."
    numbers = guidance_numbers(pictures)
    return Found(
        words="At each step the network is asked twice, with the prompt and without, and the "
        "answer is pushed on from the one past the other: more of what the prompt says, and at "
        "high scales colours and shapes that no training picture had. At 1 or less it is asked "
        "once. " + words,
        rows=rows,
        chart=Chart(guidance_figure(numbers), to_table(*guidance_table(numbers))),
    )


def _middle(request: ImageRequest) -> int:
    return (request.steps + 1) // 2


def _scales(request: ImageRequest) -> tuple[float, ...]:
    """Return the guidance scales that are shown: the usual ones and the request's own."""
    return tuple(sorted({*GUIDANCE_SCALES, request.guidance_scale}))


class Look(NamedTuple):
    """A look: how many steps it takes in all, the names of its rows, and how it is done."""

    steps: Callable[[ImageRequest], int]
    rows: tuple[str, ...]
    run: Run
    has_film: bool = False


LOOKS = {
    "noising": Look(
        lambda request: request.steps, (PIXELS, LATENTS), look_at_noising, has_film=True
    ),
    "denoising": Look(
        lambda request: 2 * NOISE_SEEDS * request.steps,
        tuple(words.format(name) for name in ("DDIM", "DDPM") for words in (NOISY, CLEAN, OTHER)),
        look_at_denoising,
        has_film=True,
    ),
    "unet": Look(
        lambda request: len(SKIP_SCALES) * request.steps + _middle(request),
        (MAPS, SKIPS),
        look_at_unet,
    ),
    "guidance": Look(
        lambda request: len(_scales(request)) * request.steps,
        (WHOLE, WITHOUT, WITH, GUIDED),
        look_at_guidance,
    ),
}
