"""Cards by whole name: what NVML reports, what people type, and nothing that merely looks like it.

gpus.csv holds each card's figures with their source. `tensor_tflops` is dense fp16 or bf16 with
fp32 accumulation, `fp32_tflops` the plain cores. A name that memory variants share is told apart
by the memory NVML reports; without it, it means the variant first sold under that name, and the
match says so; where two were first sold in one year, nobody can tell.

What a card gives is less than what is on it: ECC and the driver take some. `usable_mib` is what the
driver was seen to report, with its source; where nobody was found who says it, all of it counts. Of
that CUDA gives `GIVEN`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from diffusion_bench.records import Record
from diffusion_bench.records.toml_text import explain_toml, parse_tables, read_text

GPUS = Path(__file__).parent / "gpus.csv"
MAKERS = ("nvidia", "geforce", "tesla", "amd", "radeon")
APART = re.compile(r"\((tm|r)\)|[™®\s_()-]+")  # what people put between words
USUAL_CAPABILITY = "8.9"  # other makers have none, and NVIDIA's newer cards do as these
MEMORY_TOLERANCE = 0.08  # ECC and the driver take some: NVML reports 15 of a T4's 16 GiB
# Names that are near one that is none: they hold this much of it at least, or are as like it.
LEAST_NEAR, MOST_NEAR, NEAR = 3, 3, 0.8
# Of what the driver reports, so much is for programs: it keeps some itself, and a context is
# the larger the more cores there are. Fitted on benchmarks/published/context.csv.
GIVEN = 0.98

GEFORCE = re.compile(r"RTX [2-5]0[5-9]0\b")

# Of no card a figure is beyond these, and what follows from others overflows.
Positive = Annotated[float, Field(ge=1e-3, le=1e7)]


class Card(Record):
    """A card's specification. `also`: other whole names of it, without the maker's.

    `usable_mib`: of the memory, as the driver reports it; `None` where no report was found.
    `bandwidth_gbs` is in 10**9 bytes a second. `price_usd` is rounded and of no shop: users set
    their own. `launch_year` is `None` for a user's own card.
    """

    name: Annotated[str, Field(min_length=1, max_length=100)]
    also: tuple[str, ...] = ()
    memory_gib: Positive
    usable_mib: Positive | None = None
    memory_type: str = ""
    bandwidth_gbs: Positive
    fp32_tflops: Positive
    tensor_tflops: Positive
    tensor_value: str = ""
    sm_count: int | None = None
    boost_mhz: Positive | None = None
    l2_mib: Positive
    tdp_w: Positive
    price_usd: Positive | None = None
    compute_capability: Annotated[str, Field(pattern=r"^\d+\.\d+$")] = USUAL_CAPABILITY
    bf16: bool = True
    pcie: str = ""
    launch_year: int | None = None
    source: str = "the user"
    source_locator: str = ""
    tensor_source: str = ""
    usable_source: str = ""
    notes: str = ""

    @model_validator(mode="after")
    def _gives_no_more_than_it_has(self) -> Self:
        if self.reported_mib > 1024 * self.memory_gib:
            raise ValueError("usable_mib is more than memory_gib holds")
        return self

    @property
    def reported_mib(self) -> float:
        """Return the memory that the driver reports, in MiB."""
        return self.usable_mib or 1024 * self.memory_gib

    @property
    def vram_mib(self) -> float:
        """Return the memory that programs are given, in MiB."""
        return GIVEN * self.reported_mib

    def giving(self, reported_mib: float | None) -> Card:
        """Return this card as the driver at hand reports it; `None` is no report."""
        if reported_mib is None:
            return self
        told = {"usable_mib": reported_mib, "usable_source": "the driver of this machine"}
        return self.model_copy(update=told)

    @property
    def capability(self) -> tuple[int, int]:
        """Return the compute capability as two numbers, so that 10.0 is above 9.0."""
        major, minor = self.compute_capability.split(".")
        return int(major), int(minor)


class OwnCards(Record):
    """The cards of a user's file."""

    cards: Annotated[tuple[Card, ...], Field(alias="card")]

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        refuse_same_names(self.cards)
        return self


class CardMatch(Record):
    """What a name means: a card, or the `reason` why it means none. `note`: what was assumed."""

    card: Card | None = None
    reason: str | None = None
    note: str | None = None


def refuse_same_names(cards: Sequence[Card]) -> None:
    """Raise ValueError where two cards have one name."""
    keys = [_key(card.name) for card in cards]
    twice = [card.name for card in cards if keys.count(_key(card.name)) > 1]
    if twice:
        raise ValueError(f"two cards are called {twice[0]!r}; give each its own name")


def is_geforce(name: str) -> bool:
    """Return whether a card's name, as in gpus.csv, is a GeForce RTX 20 to 50."""
    return GEFORCE.match(name) is not None


@cache
def known_cards() -> tuple[Card, ...]:
    """Return the cards of gpus.csv."""
    with GPUS.open(encoding="utf-8", newline="") as file:
        rows = [_from_row(row) for row in csv.DictReader(file)]
    return tuple(TypeAdapter(list[Card]).validate_python(rows))


def read_cards(path: Path) -> tuple[Card, ...]:
    """Return the cards of a user's TOML file, a table `[[card]]` each, before the known ones.

    Raises ValueError, in one line, for a file that is no such thing.
    """
    document = parse_tables(read_text(path, "TOML file"), "card", str(path))
    try:
        own = OwnCards.model_validate(document)
    except ValidationError as error:
        raise ValueError(f"{path}: {explain_toml(error, OwnCards, document)}") from None
    return own.cards + known_cards()


def find_card(
    name: str, cards: Sequence[Card] | None = None, *, memory_mib: float | None = None
) -> CardMatch:
    """Return what a card's name means, as NVML reports it or as people write it.

    The whole name must match, but for case, what stands between its words, the maker's name and
    the memory that the card has. `memory_mib`: what NVML reports; another amount is another card's.
    """
    key = _key(name)
    named = [card for card in cards or known_cards() if key in _keys(card)]
    if not named:
        return CardMatch(reason=f"no card is called {name!r}; {_what_then(key, cards)}")
    if memory_mib is not None:
        return _by_memory(name, named, memory_mib / 1024)
    whole = next((card for card in named if _key(card.name) == key), None)
    return CardMatch(card=whole) if whole else _first_sold(name, named)


def named_card(name: str, cards: Sequence[Card] | None = None) -> tuple[Card, str | None]:
    """Return the card that a person named, and what was assumed; raise ValueError for none."""
    match = find_card(name, cards)
    if match.card is None:
        raise ValueError(f"cannot tell: {match.reason}")
    return match.card, match.note


def _by_memory(name: str, named: Sequence[Card], memory_gib: float) -> CardMatch:
    fitting = [c for c in named if abs(memory_gib / c.memory_gib - 1) <= MEMORY_TOLERANCE]
    if fitting:
        return CardMatch(card=fitting[0])
    sizes = _either(f"{card.memory_gib:g}" for card in named)
    reason = f"{name} has {sizes} GiB and this one reports {memory_gib:.1f}; it is another card"
    return CardMatch(reason=reason)


def _what_then(key: str, cards: Sequence[Card] | None) -> str:
    """Return the known names that are near one that is none, or how to describe the card."""
    known = cards or known_cards()
    inside = [card.name for card in known if len(key) >= LEAST_NEAR and key in _key(card.name)]
    if inside:
        return f"did you mean {_either(inside[:MOST_NEAR])}?"
    by_key = {_key(card.name): card.name for card in known}
    near = get_close_matches(key, by_key, MOST_NEAR, NEAR)
    if near:
        return f"did you mean {_either(by_key[one] for one in near)}?"
    return (
        "describe it as a [[card]] in the upgrade path or in a file for --cards "
        "(docs/methodology.md, Cards of your own)"
    )


def _first_sold(name: str, named: Sequence[Card]) -> CardMatch:
    if len(named) == 1 or named[0].launch_year is None:
        return CardMatch(card=named[0])
    ordered = sorted(named, key=lambda card: card.launch_year or 0)
    names = _either(card.name for card in ordered)
    if ordered[0].launch_year == ordered[1].launch_year:
        return CardMatch(reason=f"{name} may be {names}; say which")
    note = f"{name} read as {ordered[0].name}, the first sold by that name"
    return CardMatch(card=ordered[0], note=note)


def _either(words: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(words))


@lru_cache(maxsize=1024)  # every name that is looked up is compared with all of them
def _keys(card: Card) -> set[str]:
    keys = {_key(name) for name in (card.name, *card.also)}
    return keys | {f"{key}{card.memory_gib:g}gb" for key in keys}


def _key(name: str) -> str:
    words = APART.sub(" ", name.casefold()).split()
    while words and words[0] in MAKERS:
        words.pop(0)
    return "".join(words)


def _from_row(row: dict[str, str]) -> dict[str, Any]:
    given: dict[str, Any] = {name: value for name, value in row.items() if value}
    given["also"] = tuple(filter(None, row["also"].split("|")))
    return given
