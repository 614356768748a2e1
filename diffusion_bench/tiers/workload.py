"""A workload: what is drawn, how often the network is called for it, and what tables call that.

What they say of its precision and of the software is read in `table_words.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BeforeValidator, Field

from diffusion_bench.records import MAX_SIDE, PrecisionName, Record, SamplerName
from diffusion_bench.tiers.cost import counts, short_name


def _folded_case(value: object) -> object:
    return value.strip().casefold() if isinstance(value, str) else value


# Case says nothing, as in names of models, samplers and cards.
TypedPrecision = Annotated[PrecisionName, BeforeValidator(_folded_case)]
SoftwareName = Literal["eager", "plain attention", "compiled", "engine"]

# The whole name of a model, as people write it: our short name. It is folded, as are short names
# and hub ids: case and what stands between words say nothing.
TABLE_NAMES = {
    "sd1.4": "sd15",
    "sd1.x": "sd15",
    "sd v1.4": "sd15",
    "sd v1.5": "sd15",
    "stable diffusion 1.4": "sd15",
    "stable diffusion 1.5": "sd15",
    "stable diffusion v1.4": "sd15",
    "stable diffusion v1.5": "sd15",
    "sd1.5 (base or same-architecture fine-tune)": "sd15",
    "sd2.0": "sd21",
    "stable diffusion 2.1": "sd21",
    "stable diffusion v2.1": "sd21",
    "sdxl base": "sdxl",
    "sdxl 1.0": "sdxl",
    "sdxl base 1.0": "sdxl",
    "stable diffusion xl": "sdxl",
    "stable diffusion xl base 1.0": "sdxl",
    "stable diffusion 3 medium": "sd3-medium",
    "stable diffusion 3.5 medium": "sd35-medium",
    "flux dev": "flux1-dev",
    "flux schnell": "flux1-schnell",
}
# Distilled to draw without guidance, or with a guidance that is an input of the network.
UNGUIDED = ("sdxl-turbo", "flux1-schnell", "flux1-dev")
GUIDED_INSIDE = ("flux1-dev",)  # whatever the scale is, it is an input of the only pass
# Of second order by two calls a step; "DPM++ 2M", its SDE by Heun too, has it from the step before,
# and a plain "2S" (diffusers' single-step solver) spreads its calls over the steps. Folded names.
TWICE = re.compile(r"(?<!2msde)heun|dpm2(?!m)|dpm(\+\+|pp)(2sa|sde)|dpmsolversde")
BETWEEN = re.compile(r"[\s_-]+")
BETWEEN_WORDS = re.compile(r"[\s._()\[\]-]+")
# What `predict` takes: what can be drawn with here, and those that call the network twice a step.
TWICE_NAMES = ("heun", "dpm2", "dpm2-a", "dpm++-2s-a", "dpm++-sde")
KNOWN_SAMPLERS: tuple[str, ...] = (*get_args(SamplerName), *TWICE_NAMES)

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
    precision: TypedPrecision = "fp16"
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
    return _known_names().get(_plain(name)) or short_name(name.strip())


@cache
def _known_names() -> dict[str, str]:
    """Return our short names by every name of their models, folded."""
    own = {name: short for short, row in counts().items() for name in (short, *row.aliases)}
    return {_plain(name): short for name, short in (own | TABLE_NAMES).items()}


def _plain(name: str) -> str:
    return BETWEEN_WORDS.sub("", name.casefold())


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
