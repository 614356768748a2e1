"""A workload as a row of a table names it, and which of those names we know.

The words are those of the published tables: "SD1.5 (base or same-architecture fine-tune)",
"fp16/bf16", "diffusers 0.13, torch.compile". What they mean is decided here once, for the fit, for
`predict --rows` and for published evidence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import Field

from diffusion_bench.records import MAX_SIDE, PrecisionName, Record, SamplerName
from diffusion_bench.tiers.cost import short_name

SoftwareName = Literal["eager", "plain attention", "compiled", "engine"]

# The whole name, folded, of a model in published tables: our short name.
TABLE_NAMES = {
    "sd1.4": "sd15",
    "sd1.5": "sd15",
    "sd1.x": "sd15",
    "sd1.5 (base or same-architecture fine-tune)": "sd15",
    "sd2.1": "sd21",
    "sdxl": "sdxl",
    "sdxl base": "sdxl",
    "sdxl-turbo": "sdxl-turbo",
    "ssd-1b": "ssd-1b",
    "pixart-sigma": "pixart-sigma",
    "sd3-medium": "sd3-medium",
    "sd3.5-medium": "sd35-medium",
    "flux.1-dev": "flux1-dev",
    "flux.1-schnell": "flux1-schnell",
}
# Distilled to draw without guidance, or with a guidance that is an input of the network.
UNGUIDED = ("sdxl-turbo", "flux1-schnell", "flux1-dev")
GUIDED_INSIDE = ("flux1-dev",)  # whatever the scale is, it is an input of the only pass
# Of second order by two calls a step; "DPM++ 2M", its SDE by Heun too, has it from the step before,
# and a plain "2S" (diffusers' single-step solver) spreads its calls over the steps. Folded names.
TWICE = re.compile(r"(?<!2msde)heun|dpm2(?!m)|dpm(\+\+|pp)(2sa|sde)|dpmsolversde")
BETWEEN = re.compile(r"[\s_-]+")
# What `predict` takes: what can be drawn with here, and those that call the network twice a step.
TWICE_NAMES = ("heun", "dpm2", "dpm2-a", "dpm++-2s-a", "dpm++-sde")
KNOWN_SAMPLERS: tuple[str, ...] = (*get_args(SamplerName), *TWICE_NAMES)

ENGINE = re.compile(r"tensorrt|aitemplate|oneflow|stable.?fast|onnx|nvfuser", re.IGNORECASE)
NOT_COMPILED = re.compile(r"no compile|compile=false", re.IGNORECASE)
PLAIN_ATTENTION = re.compile(r"vanilla attention|no xformers|without xformers", re.IGNORECASE)
WEB_UI = re.compile(r"a1111|auto1111|automatic1111|sd\.next|forge|webui", re.IGNORECASE)
# What changes the work or the traffic in a way that nothing here counts.
UNCOUNTED = re.compile(
    r"offload|fbcache|teacache|deepcache|tome|token merging|tiny vae|consistency decoder"
    r"|medvram|lowvram|quant=(?!none)|tensor parallel|pipefusion",
    re.IGNORECASE,
)
NOT_UNCOUNTED = re.compile(r"no medvram/lowvram", re.IGNORECASE)

EXAMPLE = "sdxl 1024x1024 b1 fp16 30"
LEAST_SIDE = 256  # a bare number from here on may be meant for a side
WORDS = tuple(
    map(
        re.compile,
        (
            r"(?P<width>\d+)x(?P<height>\d+)",
            r"b(?P<batch>\d+)",
            r"(?P<precision>fp32|fp16|bf16)",
            r"(?P<steps>\d+)",
            r"steps?",
        ),
    )
)


class Workload(Record):
    """What is drawn, and how often the network is called for it."""

    model: str
    width: Annotated[int, Field(ge=8, le=MAX_SIDE)] = 512
    height: Annotated[int, Field(ge=8, le=MAX_SIDE)] = 512
    batch: Annotated[int, Field(ge=1, le=4096)] = 1
    precision: PrecisionName = "fp16"
    steps: Annotated[int, Field(ge=1, le=10_000)] = 20
    sampler: str = "ddim"
    guided: bool = True

    @property
    def name(self) -> str:
        """Return the workload in the words of `parse_workload`."""
        size = f"{self.width}x{self.height}"
        return f"{self.model} {size} b{self.batch} {self.precision} {self.steps} steps"

    @property
    def work(self) -> dict[str, Any]:
        """Return what decides the work of a pass, by the names that the counting functions take."""
        return self.model_dump(exclude={"steps", "sampler"})

    @property
    def calls(self) -> int:
        """Return how often the network is called: samplers of second order do it twice a step."""
        return self.steps * (2 if TWICE.search(_folded(self.sampler)) else 1)


# What a workload is beside its model, as its name has it, and what that leaves out.
PARTS: tuple[Callable[[Workload], str], ...] = (
    lambda one: f"{one.width}x{one.height}",
    lambda one: f"b{one.batch}",
    lambda one: one.precision,
    lambda one: f"{one.steps} steps",
    lambda one: one.sampler,
    lambda one: "guided" if one.guided else "not guided",
)


def told_apart(workload: Workload, others: Sequence[Workload]) -> str:
    """Return what tells a workload from others of its model, as "b4", empty where nothing does."""
    alike = [one for one in others if one.model == workload.model]
    parts = [part for part in PARTS if len({part(one) for one in (*alike, workload)}) > 1]
    return " ".join(part(workload) for part in parts)


def sized_name(workload: Workload, others: Sequence[Workload], between: str = " ") -> str:
    """Return a workload's model and size, and what tells it from others of both."""
    size = (workload.width, workload.height)
    alike = [one for one in others if (one.width, one.height) == size]
    name = f"{workload.model}{between}{workload.width}x{workload.height}"
    return f"{name} {told_apart(workload, alike)}".rstrip()


class TimedCell(NamedTuple):
    """A measured workload: seconds of the whole call, and of its denoising steps."""

    workload: Workload
    seconds: float
    denoising_s: float


class Software(Record):
    """What runs it. `web_ui` saves and shows each picture, which takes the host a while."""

    name: SoftwareName = "eager"
    web_ui: bool = False


def model_named(name: str) -> str:
    """Return our short name of a model in anybody's words; raise ValueError for an unknown one."""
    return short_name(TABLE_NAMES.get(name.strip().casefold(), name.strip()))


def sampler_named(name: str) -> str:
    """Return a sampler that somebody names by hand; raise ValueError for an unknown one.

    Published tables name others too, which `Workload` takes as they are.
    """
    for known in KNOWN_SAMPLERS:
        if _folded(known) == _folded(name):
            return known
    raise ValueError(f"unknown sampler {name!r}; known: {', '.join(KNOWN_SAMPLERS)}")


def _folded(sampler: str) -> str:
    return BETWEEN.sub("", sampler.casefold())


def guided_by_default(model: str) -> bool:
    """Return whether a model, by its short name, is usually called twice a step, for guidance."""
    return model not in UNGUIDED


def guided_at(model: str, guidance_scale: float) -> bool:
    """Return whether a model, by its short name, is called twice a step at a guidance scale.

    Models distilled to do without guidance do it twice as well when they are given one.
    """
    return guidance_scale > 1 and model not in GUIDED_INSIDE


def precision_named(text: str) -> PrecisionName:
    """Return the precision a table's words begin with; raise ValueError for a quantised one."""
    found = re.fullmatch(r"(fp16|bf16|fp32)(/bf16|/tf32| autocast| \(.*\))?", text.strip().lower())
    if not found:
        said = f"precision {text!r}" if text.strip() else "no precision"
        raise ValueError(f"{said}; known: fp32, bf16, fp16")
    names: dict[str, PrecisionName] = {"fp16": "fp16", "bf16": "bf16", "fp32": "fp32"}
    return names[found[1]]


def software_named(backend: str, variant: str) -> Software:
    """Return what a table's words say of the software; raise ValueError for what is not counted."""
    words = f"{backend} {variant}"
    uncounted = UNCOUNTED.search(NOT_UNCOUNTED.sub("", words))
    if uncounted:
        raise ValueError(f"{uncounted[0]!r} changes the work in a way that is not counted")
    web_ui = bool(WEB_UI.search(words))
    if ENGINE.search(words):
        return Software(name="engine", web_ui=web_ui)
    if "compile" in NOT_COMPILED.sub("", words).casefold():
        return Software(name="compiled", web_ui=web_ui)
    if PLAIN_ATTENTION.search(words):
        return Software(name="plain attention", web_ui=web_ui)
    return Software(web_ui=web_ui)


def parse_workload(text: str) -> Workload:
    """Return the workload in words like "sd15 512x512 b4 fp16 20 steps", the model first.

    What is left out has a default. Raise ValueError for a word that says nothing known, for a thing
    said twice, and for a bare number that may be a side as well as steps.
    """
    model, *words = text.replace(",", " ").split() or [""]
    if not model:
        raise ValueError(f"a workload is empty; say it as {EXAMPLE!r}")
    name = model_named(model)
    given = said_once(words, WORDS, text, EXAMPLE)
    steps = given.get("steps", "0")
    if int(steps) >= LEAST_SIDE and not re.search(r"\bsteps?\b", text.casefold()):
        raise ValueError(
            f"{steps} in workload {text!r} may be a side or steps; "
            f"say {steps}x{steps}, or {steps} steps"
        )
    return workload_of(model=name, **given)


def workload_of(*, model: str, **given: Any) -> Workload:
    """Return a workload of a model in anybody's words and the fields that are given.

    Raise ValueError for an unknown model, and for a value that is none.
    """
    name = model_named(model)
    return Workload.model_validate({"guided": guided_by_default(name), **given, "model": name})


def said_once(
    words: Sequence[str], patterns: Sequence[re.Pattern[str]], text: str, example: str
) -> dict[str, str]:
    """Return what words say, by the names of the patterns' groups.

    Raise ValueError for a word of no pattern, and for a thing that two words say; `text` is the
    workload they are of, and `example` shows how to say one.
    """
    given: dict[str, str] = {}
    for word in words:
        found = next(filter(None, (each.fullmatch(word.casefold()) for each in patterns)), None)
        if found is None:
            raise ValueError(f"{word!r} in workload {text!r} is unknown; say it as {example!r}")
        for name, value in found.groupdict().items():
            if name in given:
                raise ValueError(
                    f"workload {text!r} says its {name} twice, {given[name]} and {value}; "
                    f"say it as {example!r}"
                )
            given[name] = value
    return given
