"""What a visitor of a shared app may ask of a model of pictures."""

from __future__ import annotations

from diffusion_bench.backends.catalog import ModelEntry, catalog, find_model
from diffusion_bench.backends.model_files import presence
from diffusion_bench.records import ImageRequest, PrecisionName
from diffusion_bench.ui.guests import check_here, check_most

SHARED_LIMITS = {"steps": 250, "batch": 4, "width": 1024, "height": 1024}
MAX_PICTURES = 256  # of one click
SHARED_PICTURES = 8
USUAL_SPEEDS = ("plain", "auto")  # all that a guest may choose from


def check_model(model: str, *, shared: bool) -> ModelEntry:
    """Return the model's entry; raise ValueError for an unknown one, or one not for visitors."""
    if shared and model not in catalog():
        raise ValueError(f"a shared app offers the models of its list only: {', '.join(catalog())}")
    return find_model(model)


def check_is_here(entry: ModelEntry, precision: PrecisionName) -> None:
    """Raise ValueError for a model that is not on this machine whole."""
    check_here(entry.title, here=presence(entry, precision) == "here")


def check_limits(request: ImageRequest) -> None:
    """Raise ValueError for a request that is too much for a machine its owner shares."""
    check_most(dict(request), SHARED_LIMITS)
    if str(request.speed) not in USUAL_SPEEDS:
        raise ValueError(
            f"a shared app offers the speeds of its list only: {', '.join(USUAL_SPEEDS)}"
        )


def check_rounds(rounds: int, batch: int, *, shared: bool) -> None:
    """Raise ValueError for more pictures than one click may ask for."""
    most = SHARED_PICTURES if shared else MAX_PICTURES
    if rounds < 1:
        raise ValueError("rounds must be 1 or more")
    if rounds * batch > most:
        raise ValueError(f"{rounds} rounds of {batch} pictures are more than {most} at a click")
