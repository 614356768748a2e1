"""A picture: what is asked, what is seen on the way, what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from diffusion_bench.records.base import PrecisionName, Record, Seed, digest

BUNDLED_MODEL = "pictogram"
MAX_SIDE = 4096

SamplerName = Literal["ddim", "ddpm"]
Stage = Literal["load", "text encoder", "denoising", "decoder"]


class ImageRequest(Record):
    """What to draw and how: the one request of a click, a command and a sweep's cell.

    `seed` decides the initial latents, the same for every sampler; `noise_seed` decides the noise
    that DDPM, and DDIM with `eta` above 0, add on the way (`None`: the same as `seed`). Image `i`
    of a batch is drawn from `seed + i`. `guidance_scale` 1 or less turns guidance off.
    """

    prompt: Annotated[str, Field(max_length=2000)]
    negative_prompt: Annotated[str, Field(max_length=2000)] = ""
    model: Annotated[str, Field(min_length=1, max_length=500)] = BUNDLED_MODEL
    sampler: SamplerName = "ddim"
    eta: Annotated[float, Field(ge=0, le=1)] = 0.0
    steps: Annotated[int, Field(ge=1, le=1000)] = 20
    guidance_scale: Annotated[float, Field(ge=0, le=50)] = 3.0
    width: Annotated[int, Field(ge=8, le=MAX_SIDE)] = 64
    height: Annotated[int, Field(ge=8, le=MAX_SIDE)] = 64
    batch: Annotated[int, Field(ge=1, le=64)] = 1
    precision: PrecisionName = "fp32"
    seed: Seed = 0
    noise_seed: Seed | None = None

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
        if self.sampler == "ddpm" and self.eta:
            raise ValueError("eta belongs to ddim; ddpm takes none (leave it at 0)")
        return self

    @property
    def amount(self) -> int:
        """Return how much one pass of the denoiser works on, for one of a batch: pixels."""
        return self.width * self.height

    def of_picture(self, index: int) -> Self:
        """Return the request that draws picture `index` of this batch on its own."""
        own: dict[str, Any] = {"seed": self.seed + index, "batch": 1}
        if self.noise_seed is not None:
            own["noise_seed"] = self.noise_seed + index
        return self.model_copy(update=own)

    def workload_id(self) -> str:
        """Return 16 hexadecimal digits that name the work: equal requests, equal names."""
        return digest(self.model_dump(mode="json"))


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
    """What came of a request: pictures (PIL images, not serialised), times and memory."""

    request: ImageRequest
    images: tuple[Any, ...] = Field(exclude=True, repr=False)
    device: str
    wall_s: float
    stages: Stages
    step_s: tuple[float, ...]
    memory: Memory
    warnings: tuple[str, ...] = ()
