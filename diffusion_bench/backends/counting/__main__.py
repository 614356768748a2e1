"""Write costs.json and voice_costs.json of tiers.

python -m diffusion_bench.backends.counting [MODEL...]
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from diffusion_bench.backends.counting.fit import count_model
from diffusion_bench.backends.counting.networks import configurations
from diffusion_bench.backends.counting.voice_networks import VOICES
from diffusion_bench.backends.counting.voices import count_voice
from diffusion_bench.tiers.cost import COSTS, ModelCounts
from diffusion_bench.tiers.voice_cost import VOICE_COSTS, VoiceCounts


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help="Models by their short names; all if none is named.")
    ] = None,
) -> None:
    """Count the named models, or all, and keep the others' counts."""
    known = [*configurations(), *VOICES]
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise typer.BadParameter(f"unknown model {unknown[0]!r}; known: {', '.join(known)}")
    asked = names or known
    pictures = {name: count_model(configurations()[name]) for name in asked if name not in VOICES}
    voices = {name: count_voice(VOICES[name]()) for name in asked if name in VOICES}
    keep(COSTS, pictures, configurations())
    keep(VOICE_COSTS, voices, VOICES)


def keep(
    path: Path, found: dict[str, ModelCounts] | dict[str, VoiceCounts], order: Iterable[str]
) -> None:
    """Write counts in their order, with those that the file has of other models."""
    if not found:
        return
    rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for name, counts in found.items():
        rows[name] = counts.model_dump(mode="json", exclude_defaults=True)
        params = sum(part.params for part in counts.parts.values())
        print(f"{name}: {params / 1e6:.1f} M parameters")
    lines = (f"{json.dumps(name)}: {json.dumps(rows[name])}" for name in order if name in rows)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
