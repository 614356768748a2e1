"""Which samplers a model can be drawn with, and why it cannot with the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from diffusion_bench.backends.catalog import ModelEntry, cached_folder
from diffusion_bench.backends.model_sizes import SCHEDULE, read_settings
from diffusion_bench.records import Record, SamplerName

if TYPE_CHECKING:
    from diffusion_bench.backends.images import ImageBackend

TITLES: dict[SamplerName, str] = {
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "ddpm-large": "DDPM, larger variance",
    "dpm++": "DPM++ 2M",
    "euler": "Euler",
    "unipc": "UniPC",
    "lcm": "LCM",
    "native": "Native",
}
LCM_NOTE = "made for models distilled as latent consistency models; others draw blurs with it"


class SamplerChoice(Record):
    """A sampler for one model. `reason`: why it cannot be chosen, `None` where it can."""

    name: SamplerName
    title: str
    reason: str | None = None
    note: str = ""


def allowed_samplers(model: ModelEntry | ImageBackend) -> tuple[SamplerChoice, ...]:
    """Return every sampler, each with the reason, in one line, where the model excludes it.

    Of a model that is not loaded its own files are read; without them what the catalog says counts,
    and of a model that nothing is known of all are allowed until it is loaded.
    """
    from diffusion_bench.diffusion.schedulers import why_not

    config = schedule_of(model) if isinstance(model, ModelEntry) else model.schedule
    own = f"{config['_class_name']}, as the model came" if "_class_name" in config else "as it came"
    notes = {"lcm": LCM_NOTE, "native": own}
    return tuple(
        SamplerChoice(
            name=name, title=TITLES[name], reason=why_not(name, config), note=notes.get(name, "")
        )
        for name in get_args(SamplerName)
    )


def check_sampler(entry: ModelEntry, sampler: SamplerName, steps: int) -> None:
    """Raise ValueError, before a model is fetched or loaded, for a sampler that is not for it.

    Nor may the sampler take fewer than so many steps.
    """
    from diffusion_bench.diffusion.schedulers import why_not

    reason = why_not(sampler, schedule_of(entry), steps)
    if reason is not None:
        raise ValueError(reason)


def schedule_of(entry: ModelEntry) -> Mapping[str, Any]:
    """Return the configuration of a model's scheduler, or as much as is known before it is here."""
    folder = cached_folder(entry)
    if folder is not None and (found := read_settings(folder / SCHEDULE)):
        return found
    if entry.scheduler:
        flow = entry.prediction == "flow"
        return {
            "_class_name": entry.scheduler,
            **({"use_flow_sigmas": True} if flow else {"beta_schedule": "scaled_linear"}),
        }
    return {"beta_schedule": "scaled_linear"}
