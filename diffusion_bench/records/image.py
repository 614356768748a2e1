"""A picture: what is asked, what is seen on the way, what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from diffusion_bench.records.base import PrecisionName, Record, Seed, digest, named_fields
from diffusion_bench.records.speed import AskedSpeed, Speed

BUNDLED_MODEL = "picturebook"
BUNDLED_SIDE = 128  # pixels, that it was trained at
MAX_SIDE = 4096

# "native" is the scheduler that the model came with.
SamplerName = Literal["ddim", "ddpm", "ddpm-large", "dpm++", "euler", "unipc", "lcm", "native"]
STRENGTH = 0.75  # of the noise on an image: A1111's default
DIGEST = r"^[0-9a-f]{16}$"
# The fields of the first reports: any other is part of the work's name only off its default.
FIRST_FIELDS = (
    "prompt",
    "negative_prompt",
    "model",
    "sampler",
    "eta",
    "steps",
    "guidance_scale",
    "width",
    "height",
    "batch",
    "precision",
    "seed",
    "noise_seed",
)
Stage = Literal["load", "text encoder", "denoising", "decoder"]


class ImageRequest(Record):
    """What to draw and how: the one request of a click, a command and a sweep's cell.

    `seed` decides the initial latents, the same for every sampler; `noise_seed` decides the noise
    that DDPM, and DDIM with `eta` above 0, add on the way (`None`: the same as `seed`). Image `i`
    of a batch is drawn from `seed + i`. `guidance_scale` 1 or less turns guidance off.

    With a `variation_strength` the initial latents lie that far on the way to those of
    `variation_seed`, and it is the variation seed that counts up in a batch. `image` and `mask` are
    digests of pictures that travel beside the request: what is drawn starts from the image with
    noise of `strength`, and only where the mask is white. `speed` "auto" is what a short
    measurement finds best.
    """

    prompt: Annotated[str, Field(max_length=2000)]
    negative_prompt: Annotated[str, Field(max_length=2000)] = ""
    model: Annotated[str, Field(min_length=1, max_length=500)] = BUNDLED_MODEL
    sampler: SamplerName = "ddim"
    eta: Annotated[float, Field(ge=0, le=1)] = 0.0
    steps: Annotated[int, Field(ge=1, le=1000)] = 20
    guidance_scale: Annotated[float, Field(ge=0, le=50)] = 3.0
    width: Annotated[int, Field(ge=8, le=MAX_SIDE)] = BUNDLED_SIDE
    height: Annotated[int, Field(ge=8, le=MAX_SIDE)] = BUNDLED_SIDE
    batch: Annotated[int, Field(ge=1, le=64)] = 1
    precision: PrecisionName = "fp32"
    seed: Seed = 0
    noise_seed: Seed | None = None
    guidance_rescale: Annotated[float, Field(ge=0, le=1)] = 0.0
    variation_seed: Seed | None = None
    variation_strength: Annotated[float, Field(ge=0, le=1)] = 0.0
    image: Annotated[str, Field(pattern=DIGEST)] | None = None
    mask: Annotated[str, Field(pattern=DIGEST)] | None = None
    strength: Annotated[float, Field(gt=0, le=1)] = STRENGTH
    speed: AskedSpeed = Speed()

    @model_validator(mode="after")
    def _words_and_sizes(self) -> Self:
        if not self.prompt.strip():
            raise ValueError("the prompt is empty; say what to draw, as in 'a cat'")
        for name, side in (("width", self.width), ("height", self.height)):
            if side % 8:
                near = (side // 8 * 8 or 8, side // 8 * 8 + 8)
                raise ValueError(
                    f"{name} {side} is not a multiple of 8; the nearest are {near[0]} and {near[1]}"
                )
        if self.sampler != "ddim" and self.eta:
            raise ValueError(f"eta belongs to ddim; {self.sampler} takes none (leave it at 0)")
        return self

    @model_validator(mode="after")
    def _settings_that_need_another(self) -> Self:
        if self.guidance_rescale and self.guidance_scale <= 1:
            raise ValueError("guidance_rescale needs guidance: a guidance_scale above 1")
        if (self.variation_seed is None) != (self.variation_strength == 0):
            raise ValueError("variation_seed and a variation_strength above 0 go together")
        if self.image is None and self.mask is not None:
            raise ValueError("a mask needs an image whose part it is to draw anew")
        if self.image is None and self.strength != STRENGTH:
            raise ValueError("strength belongs to a picture drawn from an image; give an image")
        compute = self.speed.compute if isinstance(self.speed, Speed) else "as asked"
        if compute != "as asked" and self.precision != "fp32":
            word = compute.replace(" ", "-")
            raise ValueError(f"speed {word} is for fp32 models; the precision is {self.precision}")
        return self

    @property
    def amount(self) -> int:
        """Return how much one pass of the denoiser works on, for one of a batch: pixels."""
        return self.width * self.height

    def of_picture(self, index: int) -> Self:
        """Return the request that draws picture `index` of this batch on its own."""
        own: dict[str, Any] = {"batch": 1}
        if self.variation_seed is not None:
            return self.model_copy(update=own | {"variation_seed": self.variation_seed + index})
        own["seed"] = self.seed + index
        if self.noise_seed is not None:
            own["noise_seed"] = self.noise_seed + index
        return self.model_copy(update=own)

    def named_fields(self) -> dict[str, Any]:
        """Return the fields, as JSON, that name the work."""
        return named_fields(self, FIRST_FIELDS)

    def workload_id(self) -> str:
        """Return 16 hexadecimal digits that name the work: equal requests, equal names."""
        return digest(self.named_fields())


class Step(Record):
    """One denoising step that has just ended. `preview` decodes what there is so far, if asked."""

    index: int
    num_steps: int
    timestep: float
    elapsed_s: float
    preview: Callable[[], list[Any]] = Field(exclude=True, repr=False)


OnStep = Callable[[Step], None]


def ignore_step(step: Step) -> None:
    """Do nothing: the step callback of a caller that does not watch."""


class Stages(Record):
    """Where the time of one generation went. The four add up to its `wall_s`."""

    text_encoder_s: float
    denoising_s: float
    decoder_s: float
    other_s: float


class Memory(Record):
    """Peak memory of one generation or cell. `torch_*` and `nvml_*` are GPU memory.

    `alloc_retries` is how often torch's allocator had to free its cache and ask again. `missing`
    maps each field that is `None` to its reason.
    """

    torch_allocated_mib: float | None = None
    torch_reserved_mib: float | None = None
    nvml_used_mib: float | None = None
    nvml_idle_mib: float | None = None
    nvml_idle_after_mib: float | None = None
    alloc_retries: int | None = None
    rss_mib: float | None = None
    missing: dict[str, str] = {}


class Generation(Record):
    """What came of a request: pictures (PIL images, not serialised), times and memory.

    The request's `speed` is the one it was run at, also where "auto" was asked. `compile_s` is the
    part of `wall_s` in which torch compiled, `None` where it was not to. `notes` say how the speed
    was chosen. `input_size` is width and height of the picture it started from, as that came.
    `num_steps` are those of the whole call, some of which `step_s` may lack; `None` where they are
    as many as asked for. `blackened` are the pictures, from 0, that the model's own safety checker
    made black.
    """

    request: ImageRequest
    images: tuple[Any, ...] = Field(exclude=True, repr=False)
    device: str
    wall_s: float
    stages: Stages
    step_s: tuple[float, ...]
    memory: Memory
    num_steps: int | None = None
    compile_s: float | None = None
    input_size: tuple[int, int] | None = None
    blackened: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
