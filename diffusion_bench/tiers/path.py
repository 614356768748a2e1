"""The upgrade path: path.toml, or a user's own file of the same shape."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from diffusion_bench.records import MOST_PRICE, Record
from diffusion_bench.records.toml_text import explain_toml, parse_tables, read_text
from diffusion_bench.tiers.cards import Card, known_cards, refuse_same_names
from diffusion_bench.tiers.memory import Ram

PATH = Path(__file__).parent / "path.toml"
Name = Annotated[str, Field(min_length=1, max_length=100)]
CloudPrice = Annotated[float, Field(gt=0, lt=MOST_PRICE)]


class Tier(Record):
    """One step of the path. `price` is what the step costs; `approximate`: nobody has set it.

    `count` cards called `gpu`, or one of them and one called `other_gpu`. `ram_gbs`: how fast the
    machine's memory is, in 10**9 bytes a second, `None` for what is usual. `after`: the tier above
    that the step is taken from, `None` for the one before. `cloud_price`: of an hour of a rented
    machine that is as fast, `None` for the one that is told for all tiers.
    """

    name: Name
    gpu: Name
    count: Annotated[int, Field(ge=1, le=2)] = 1
    other_gpu: Name | None = None
    ram_gib: Annotated[float, Field(gt=0, le=65536)]
    ram_gbs: Annotated[float, Field(ge=1, le=10_000)] | None = None
    cores: Annotated[int, Field(ge=1, le=1024)]
    price: Annotated[float, Field(ge=0, lt=MOST_PRICE)] | None = None
    approximate: bool = False
    cloud_price: CloudPrice | None = None
    after: Name | None = None

    @model_validator(mode="after")
    def _two_of_one_kind_or_a_pair(self) -> Self:
        if self.other_gpu and self.count != 1:
            raise ValueError("count is of gpu alone; leave it at 1 where there is an other_gpu")
        return self

    @property
    def gpus(self) -> tuple[str, ...]:
        """Return the names of the tier's cards."""
        return (self.gpu, self.other_gpu) if self.other_gpu else (self.gpu,) * self.count

    @property
    def ram(self) -> Ram:
        """Return the machine's memory."""
        return Ram(self.ram_gib, self.ram_gbs)


class UpgradePath(Record):
    """The tiers in the order in which they are bought, and the currency of their prices.

    `cards` are those that the user describes beside them.
    """

    currency: Annotated[str, Field(min_length=1, max_length=10)] = "USD"
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1, max_length=50, alias="tier")]
    cards: Annotated[tuple[Card, ...], Field(max_length=50, alias="card")] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [tier.name for tier in self.tiers]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"two tiers are called {twice[0]!r}; give each its own name")
        refuse_same_names(self.cards)
        return self

    @model_validator(mode="after")
    def _steps_are_taken_from_tiers_above(self) -> Self:
        for place, tier in enumerate(self.tiers):
            if tier.after is not None and tier.after not in [
                one.name for one in self.tiers[:place]
            ]:
                raise ValueError(
                    f"{tier.name!r} is after {tier.after!r}, which is no tier above it"
                )
        return self

    def before(self, tier: Tier) -> Tier | None:
        """Return the tier that a step is taken from, `None` for the first."""
        place = self.tiers.index(tier)
        if tier.after is None:
            return self.tiers[place - 1] if place else None
        return next(one for one in self.tiers if one.name == tier.after)

    def all_cards(self, known: Sequence[Card] | None = None) -> tuple[Card, ...]:
        """Return the path's own cards before those known, the shipped ones where none are given."""
        return (*self.cards, *(known_cards() if known is None else known))


@cache
def shipped_path() -> UpgradePath:
    """Return the path that ships with this program."""
    return read_path(PATH)


def read_path(path: Path) -> UpgradePath:
    """Return the path in a TOML file; raise ValueError, in one line, where it holds none."""
    return parse_path(read_text(path, "TOML file"), str(path))


def parse_path(text: str, source: str) -> UpgradePath:
    """Return the path in a TOML text; `source` names it in the one line of a ValueError."""
    document = parse_tables(text, "tier", source)
    try:
        return UpgradePath.model_validate(document)
    except ValidationError as error:
        raise ValueError(f"{source}: {explain_toml(error, UpgradePath, document)}") from None
