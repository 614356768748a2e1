"""One model on several cards: each of its networks lies on one of them, whole.

diffusers' `device_map="balanced"` hands out the networks, the largest first, to the cards in turn,
and accelerate's hooks carry what passes between them. So one card works while the others wait, and
a network that fits no card alone cannot be placed.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Literal

from diffusion_bench.records import Speed


def split_options(cards: Sequence[str], speed: Speed) -> dict[str, Any]:
    """Return how diffusers is to load a pipeline over cards; nothing for one card.

    Raises ValueError, in one line, where that cannot be.
    """
    if len(cards) < 2:
        return {}
    if find_spec("accelerate") is None:
        raise ValueError("a model over several cards needs accelerate: pip install accelerate")
    check_split_speed(cards, speed)
    import torch

    free = {int(name.removeprefix("cuda:")): name for name in cards}
    return {
        "device_map": "balanced",
        "max_memory": {index: torch.cuda.mem_get_info(name)[0] for index, name in free.items()},
    }


def check_split_speed(cards: Sequence[str], speed: Speed | Literal["auto"]) -> None:
    """Raise ValueError for several cards at another speed than plain."""
    if len(cards) > 1 and speed != Speed():
        raise ValueError(f"a model over several cards runs at speed plain, not {speed}")


def execution_device(pipeline: Any, model: str, cards: Sequence[str]) -> str:
    """Return the card on which a split pipeline keeps its latents.

    Raises ValueError where its networks do not lie on two cards or more, and nowhere else.
    """
    places = getattr(pipeline, "hf_device_map", None) or {}
    outside = sorted(name for name, place in places.items() if place in ("cpu", "disk"))
    if outside:
        raise ValueError(
            f"{', '.join(outside)} of {model!r} fits none of {', '.join(cards)}: a network is "
            "placed whole"
        )
    if len(set(places.values())) < 2:
        raise ValueError(f"{model!r} lies on one card; there is nothing to split")
    return str(pipeline._execution_device)
