"""A grid of settings to compare, of pictures and of speech: its axes, its bounds, its cells."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from diffusion_bench.backends.samplers import TITLES
from diffusion_bench.records import ImageRequest, VoiceRequest

ROW_AXES = ("sampler", "guidance_scale")
COLUMN_AXES = ("steps", "seed")
AXES = (*ROW_AXES, *COLUMN_AXES)
MAX_AXIS_TEXT = 200  # characters of a list of numbers
WARMUP_STEPS = 2  # of what is thrown away: the first work of a process is slower
WORDS: Mapping[str, Callable[[Any], str]] = {
    "sampler": TITLES.__getitem__,
    "guidance_scale": "guidance {:g}".format,
    "steps": lambda steps: f"{steps} step{'s' if steps != 1 else ''}",
    "seed": "seed {}".format,
}

R = TypeVar("R", ImageRequest, VoiceRequest)
Values = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Grid(Generic[R]):
    """A request, and the values that take the place of its own along the axes."""

    request: R
    axes: Values

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return what each row changes."""
        return _product(self.axes, ROW_AXES)

    @property
    def columns(self) -> list[dict[str, Any]]:
        """Return what each column changes."""
        return _product(self.axes, COLUMN_AXES)

    def requests(self) -> list[R]:
        """Return the request of each cell, row by row; raise ValueError for one that cannot be."""
        return [
            _changed(self.request, row | column)
            for row, column in itertools.product(self.rows, self.columns)
        ]

    def varied(self, request: R) -> str:
        """Return a cell's values along the axes that have several, in words."""
        names = [name for name, values in self.axes.items() if len(values) > 1]
        return axis_words({name: getattr(request, name) for name in names})


def make_grid(request: R, axes: Mapping[str, Any], most: int, what: str) -> Grid[R]:
    """Return a grid of `most` cells at most; an empty axis is the request's own value.

    `axes` are a list of samplers and texts of numbers. Raises ValueError for what is none, and for
    too many cells, which are called `what`.
    """
    given = {name: axis_values(name, axes.get(name)) for name in AXES}
    filled = {name: each or (getattr(request, name),) for name, each in given.items()}
    # Counted before they are made: two long lists multiply to more than memory holds.
    rows, columns = (_count(filled, names) for names in (ROW_AXES, COLUMN_AXES))
    if rows * columns > most:
        raise ValueError(f"{rows} rows of {columns} {what} are more than {most}; shorten a list")
    return Grid(request, filled)


def axis_values(name: str, given: Any) -> tuple[Any, ...]:
    """Return the values of an axis, each once: from a list, or from the numbers in a text.

    Where semicolons part numbers that have fractions, a comma is a decimal one: "3,5; 7".
    """
    if not isinstance(given, str):
        return tuple(dict.fromkeys(given or ()))
    if len(given) > MAX_AXIS_TEXT:
        raise ValueError(f"{name}: a list of more than {MAX_AXIS_TEXT} characters; shorten it")
    make = float if name == "guidance_scale" else int
    if make is float and ";" in given:
        given = re.sub(r"(?<=\d),(?=\d)", ".", given)
    words = [word for word in re.split(r"[,;\s]+", given) if word]
    try:
        return tuple(dict.fromkeys(make(word) for word in words))
    except ValueError:
        raise ValueError(f"{name}: {given!r:.60} is no list of numbers, as in 10, 20, 50") from None


def axis_words(values: Mapping[str, Any]) -> str:
    """Return values along axes in words."""
    return ", ".join(WORDS[name](value) for name, value in values.items())


def _count(axes: Values, names: Sequence[str]) -> int:
    return math.prod(len(axes[name]) for name in names)


def _product(axes: Values, names: Sequence[str]) -> list[dict[str, Any]]:
    values = (axes[name] for name in names)
    return [dict(zip(names, each, strict=True)) for each in itertools.product(*values)]


def _changed(request: R, values: Mapping[str, Any]) -> R:
    fields = request.model_dump() | dict(values)
    if fields["sampler"] != "ddim":
        fields["eta"] = 0.0
    if fields["guidance_scale"] <= 1 and "guidance_rescale" in fields:
        fields["guidance_rescale"] = 0.0
    return type(request).model_validate(fields)
