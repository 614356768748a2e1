"""Write tiers/costs.json: python -m diffusion_bench.backends.counting [MODEL...]."""

from __future__ import annotations

import json
import sys

from diffusion_bench.backends.counting.fit import count_model
from diffusion_bench.backends.counting.networks import configurations
from diffusion_bench.tiers.cost import COSTS


def main(names: list[str]) -> None:
    """Count the named models, or all, and keep the others' counts."""
    rows = json.loads(COSTS.read_text(encoding="utf-8")) if COSTS.is_file() else {}
    for name in names or configurations():
        counts = count_model(configurations()[name])
        rows[name] = counts.model_dump(mode="json", exclude_defaults=True)
        print(
            f"{name}: {sum(part.params for part in counts.parts.values()) / 1e6:.1f} M parameters"
        )
    ordered = {name: rows[name] for name in configurations() if name in rows}
    lines = (f"{json.dumps(name)}: {json.dumps(row)}" for name, row in ordered.items())
    COSTS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


main(sys.argv[1:])
