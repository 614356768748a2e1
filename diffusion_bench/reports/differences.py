"""The leaves in which two JSON values of one shape differ, each with both its values."""

from __future__ import annotations

from typing import Any

from diffusion_bench.records import Record
from diffusion_bench.reports.schema import Header

LONGEST_VALUE = 60

# The plan's part in the environment: how it was measured, not what.
PLAN_SETTINGS = (
    *("device", "warmups", "repeats", "rounds", "stop", "measured_steps", "sustain_s"),
    "emulated_memory_mib",
)

CHOICES = {"plan", "request"}  # what somebody set, or left out
FACTS = {"gpu_uuid_hash", "models"}  # of a plan: what the machine and its models are


class Difference(Record):
    """A field that differs, named by its path, and its two values as text."""

    field: str
    baseline: str
    other: str

    def words(self) -> str:
        """Return "torch: 2.10.0 and 2.11.0"."""
        return f"{self.field}: {self.baseline} and {self.other}"


def find_differences(old: Any, new: Any, name: str = "") -> list[Difference]:
    """Return every leaf in which two JSON values differ; lists of one length item by item."""
    if old == new:
        return []
    pairs: list[tuple[str, Any, Any]] = []
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = [(str(key), old.get(key), new.get(key)) for key in {**old, **new}]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(str(index), *both) for index, both in enumerate(zip(old, new, strict=True))]
    if not pairs:
        absent = _absent(name.split("."))
        return [Difference(field=name, baseline=_text(old, absent), other=_text(new, absent))]
    return [
        found
        for key, first, second in pairs
        for found in find_differences(first, second, f"{name}.{key}" if name else key)
    ]


def environment_differences(old: Header, new: Header) -> list[Difference]:
    """Return how machine, software and the way of measuring of two reports differ."""
    return find_differences(_environment(old), _environment(new))


def _environment(header: Header) -> dict[str, Any]:
    plan = header.plan.model_dump(mode="json")
    return {
        "machine": header.machine.model_dump(mode="json"),
        "software": header.software.model_dump(mode="json"),
        "plan": {name: plan[name] for name in PLAN_SETTINGS},
    }


def _absent(path: list[str]) -> str:
    """Return what `None` means at a path: a choice left open, or a fact that nobody could tell."""
    is_choice = path[0] in CHOICES and not FACTS.intersection(path)
    return "not set" if is_choice else "unknown"


def _text(value: Any, absent: str) -> str:
    text = absent if value is None else str(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
